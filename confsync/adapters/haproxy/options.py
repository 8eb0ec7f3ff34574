"""What the HAProxy adapter must be told. Paths are as confsync sees them; times are seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """How to reach one HAProxy, and how to check for it.

    `config`: HAProxy's main file, read only for `mworker-max-reloads`. `binary`: a name on PATH, else
    that of the extra. `weak`: another version may check (`check = "weak"`). `timeout`: of one reload,
    until it is confirmed. `check_timeout`: of one `haproxy -c`.
    """

    config: str = "/etc/haproxy/haproxy.cfg"
    master_socket: str = "/run/haproxy-master.sock"
    stats_socket: str = "/run/haproxy/admin.sock"
    binary: str = "haproxy"
    weak: bool = False
    timeout: float = 30.0
    check_timeout: float = 20.0
