"""What the HAProxy adapter must be told. Paths are as confsync sees them; times are seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """How to reach one HAProxy, and how to check for it.

    `config`: HAProxy's main file, read only for `mworker-max-reloads`. `binary`: a name on PATH, else
    that of the extra. `weak`: another version may check (`check = "weak"`). `timeout`: of one reload,
    until it is confirmed. `check_timeout`: of one `haproxy -c`. `patience`: how long a refused
    connection may be that of a reload. `lost`: after so long, a reload that the master has not counted
    is asked for again (2.6 executes itself anew before it closes the connection, so that the next
    answer comes from the reloaded master).
    """

    config: str = "/etc/haproxy/haproxy.cfg"
    master_socket: str = "/run/haproxy-master.sock"
    stats_socket: str = "/run/haproxy/admin.sock"
    binary: str = "haproxy"
    weak: bool = False
    timeout: float = 30.0
    check_timeout: float = 20.0
    patience: float = 1.0
    lost: float = 1.0
