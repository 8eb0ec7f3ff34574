"""What the Consul adapter is told: the settings' [source] as one value.

It stands apart so that whoever builds it need not import aiohttp. Where the values come from, and
what is legal for them, is the settings' business.
"""

import dataclasses

from confsync.core.selection import Selection


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConsulOptions:
    """The registry and how to watch it.

    `address`: http://, https:// or unix:///path of a socket. `token_file` beats CONSUL_HTTP_TOKEN.
    `wait`: seconds of a blocking query. `connections`: most requests at once, at least 2.
    `max_stale`: seconds; an answer older than this is asked again of the leader.
    """

    address: str = "http://127.0.0.1:8500"
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    datacenter: str = ""
    selection: Selection = dataclasses.field(default_factory=Selection)
    wait: float = 45
    connections: int = 90
    max_stale: float = 10
