"""A configuration that somebody wrote by hand, as the load balancer runs it. Pure."""

import re

_SOCKET = re.compile(r"^\s*stats\s+socket\s+(?:unix@)?(\S+)", re.MULTILINE)


def sockets(text: str) -> tuple[str, ...]:
    """Name the runtime sockets that it opens by their whole paths."""
    found = (path.strip("\"'") for path in _SOCKET.findall(text))
    return tuple(path for path in found if path.startswith("/") and "$" not in path)


def beneath(text: str, stats_socket: str) -> str:
    """Give what is added at the end, so that no line changes its number: the runtime socket.

    "": the configuration opens it by itself.
    """
    if stats_socket in sockets(text):
        return ""
    return (
        "\n# Added by `confsync lb`: the socket through which it looks after HAProxy.\n"
        "global\n"
        f"    stats socket {stats_socket} mode 600 level admin expose-fd listeners\n"
    )
