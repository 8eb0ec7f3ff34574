"""What can go wrong between confsync and an engine, in words for an operator. Knows no SDK."""

import errno
import os
import ssl

from confsync import errors
from confsync.domain.printable import printable, shortened

NEEDED = (
    "GET /version, /events, /containers/json; GET, HEAD and PUT below /containers/; "
    "POST /containers/NAME/exec, /containers/NAME/kill, /exec/ID/start; for a check while HAProxy "
    "does not run, POST /containers/create, /containers/NAME/start and DELETE /containers/NAME"
)
"""What a proxy before the engine must let through."""

_WORDS = 300


class EngineGone(errors.TargetUnavailable):
    """The engine cannot be reached, or left in the middle of an answer."""


class Refusal(errors.TargetUnavailable):
    """The engine says no. `status`: of HTTP; `words`: its own."""

    def __init__(self, what: str, *, status: int, words: str, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.status = status
        self.words = words


def unreachable(where: str, cause: BaseException) -> errors.TargetError:
    """Say what a failed connection to the engine at `where` means."""
    match cause:
        case PermissionError():
            return errors.TargetDenied(
                f"this user may not use the Docker engine at {where}",
                remedy="run confsync as root or in the group that owns the socket (docker), set "
                "DOCKER_HOST to a proxy of it, or do without: share HAProxy's sockets by a volume",
            )
        case FileNotFoundError():
            return EngineGone(
                f"no Docker engine at {where}: there is no such socket",
                remedy="start Docker, mount its socket, or set DOCKER_HOST",
            )
        case ConnectionRefusedError():
            return EngineGone(f"no Docker engine at {where}: nobody listens", remedy="start Docker")
        case ssl.SSLCertVerificationError():
            return EngineGone(
                f"the certificate of the Docker engine at {where} is refused: "
                f"{getattr(cause, 'verify_message', '') or 'not trusted'}",
                remedy="put its CA into ca.pem in DOCKER_CERT_PATH, and use a name that is in it",
            )
        case ssl.SSLError():
            reason = (getattr(cause, "reason", None) or "no reason given").lower().replace("_", " ")
            return EngineGone(
                f"TLS with the Docker engine at {where} fails: {reason}",
                remedy="is it its TLS port, and are cert.pem and key.pem in DOCKER_CERT_PATH signed "
                "for it?",
            )
        case TimeoutError():
            return EngineGone(
                f"the Docker engine at {where} does not answer", remedy="is the engine overloaded?"
            )
        case ConnectionResetError() | BrokenPipeError() | EOFError():
            return EngineGone(f"the Docker engine at {where} closed the connection")
        case OSError(errno=int(number)) if number > 0:
            return EngineGone(
                f"the Docker engine at {where} cannot be reached: {os.strerror(number)}",
                remedy="is DOCKER_HOST right?" if number != errno.EMFILE else "",
            )
        case OSError() if not isinstance(cause, ValueError):  # requests' errors of JSON are both
            return EngineGone(
                f"the Docker engine at {where} cannot be reached: {_line(str(cause))}",
                remedy="is DOCKER_HOST right?",
            )
        case _:
            return EngineGone(
                f"what answers at {where} is no Docker engine ({type(cause).__name__})",
                remedy="is DOCKER_HOST right?",
            )


def late(where: str, what: str, seconds: float) -> EngineGone:
    """Say that a request was not answered in time."""
    return EngineGone(
        f"the Docker engine at {where} did not {what} within {seconds:g} s",
        remedy="is the engine overloaded?",
    )


def too_old(where: str) -> EngineGone:
    """Say that the engine speaks no version of the API that the SDK speaks."""
    return EngineGone(f"the Docker engine at {where} is too old", remedy="update it")


def refused(where: str, status: int, words: str, *, asked: str) -> errors.TargetError:
    """Say what an answer that is no success means; `asked`: METHOD and path."""
    words = _line(words)
    if status in {401, 403} and "read-only" not in words:
        return errors.TargetDenied(
            f"what stands before the Docker engine at {where} forbids {asked}"
            + (f": {words}" if words else ""),
            remedy=f"let it allow {NEEDED}",
        )
    return Refusal(
        f"the Docker engine refuses: {words or f'status {status} at {asked}'}",
        status=status,
        words=words,
    )


def _line(text: str) -> str:
    return shortened(printable(" ".join(text.split())), _WORDS)
