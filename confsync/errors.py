"""Every error that confsync raises on purpose.

    ConfsyncError                exit  transient
    ├── SettingsError             78   no    settings file, environment, flags
    ├── DiscoveryError                       the registry
    │   ├── Unavailable           69   yes   not reachable, no leader, timeout, nonsense
    │   └── RegistryDenied        77   yes   token refused
    ├── RenderError               65   no    a template fails
    ├── CheckRejected             65   no    HAProxy refuses the candidate
    ├── CheckUnavailable          69   yes   no binary, wrong version, check timed out
    ├── WriteError                73   yes   cannot write, or not ours to replace
    │   └── NotOurs               73   no    the destination is unknown to the record
    ├── TargetError                          the running HAProxy
    │   ├── TargetUnavailable     69   yes   socket absent, unit unknown
    │   ├── TargetDenied          77   yes   socket or unit forbidden
    │   └── ReloadFailed          75   yes   refused, failed or not confirmed
    ├── CertificateRefused        65   no    a certificate cannot or must not be served
    ├── NeedsReload               75   no    the running HAProxy cannot do it otherwise
    ├── StateError                73   no    state directory unusable, newer version
    ├── Locked                    75   no    another agent holds the configuration
    ├── VipError                  69   no    the shared address cannot be set or elected
    │   └── VipDenied             77   no    for want of a right
    └── AgentUnreachable          69   no    no agent answers on the control socket

The exit code and the transience are facts of the class. Fields go in, the message is built inside;
an adapter wraps what it catches (`raise Unavailable(...) from error`). The remedy is a sentence that
tells the operator what to do next.
"""

from typing import ClassVar


class ConfsyncError(Exception):
    """An error with a message for the operator, and what to do about it."""

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __init__(self, what: str, *, remedy: str = "", detail: str = "") -> None:
        """`what`: one line; `remedy`: one sentence; `detail`: text of several lines (HAProxy's)."""
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.what} ({self.remedy})" if self.remedy else self.what


class SettingsError(ConfsyncError):
    """Settings are wrong; `faults` has one line for each fault."""

    exit_code = 78

    def __init__(self, faults: list[str]) -> None:
        super().__init__(
            f"{len(faults)} fault{'s' if len(faults) != 1 else ''} in the settings",
            detail="\n".join(faults),
        )
        self.faults = faults


class DiscoveryError(ConfsyncError):
    """The registry gave no usable answer; `retry_after` (seconds) when it said how long to wait."""

    exit_code = 69
    transient = True

    def __init__(
        self, what: str, *, remedy: str = "", detail: str = "", retry_after: float = 0
    ) -> None:
        super().__init__(what, remedy=remedy, detail=detail)
        self.retry_after = retry_after


class Unavailable(DiscoveryError):
    """The registry cannot be reached, has no leader, or answers nonsense."""


class RegistryDenied(DiscoveryError):
    """The registry refuses the token."""

    exit_code = 77


class RenderError(ConfsyncError):
    """A template fails; `template` and `line` say where (line 0: unknown)."""

    exit_code = 65

    def __init__(self, what: str, *, template: str, line: int = 0, remedy: str = "") -> None:
        where = f"{template}:{line}" if line else template
        super().__init__(f"{where}: {what}", remedy=remedy)
        self.template = template
        self.line = line


class CheckRejected(ConfsyncError):
    """HAProxy refuses the candidate; `detail` has its words beside the rendered lines."""

    exit_code = 65


class CheckUnavailable(ConfsyncError):
    """The check could not be made: no binary, another version, no answer in time."""

    exit_code = 69
    transient = True


class WriteError(ConfsyncError):
    """A destination cannot be written; nothing was changed."""

    exit_code = 73
    transient = True


class NotOurs(WriteError):
    """A destination exists that confsync's record does not know."""

    transient = False


class TargetError(ConfsyncError):
    """The running HAProxy cannot be observed or reloaded."""

    exit_code = 69
    transient = True


class TargetUnavailable(TargetError):
    """A socket, unit or process that confsync needs does not answer."""


class TargetDenied(TargetError):
    """A socket or unit may not be used by this user."""

    exit_code = 77


class ReloadFailed(TargetError):
    """A reload was refused, failed, or could not be confirmed in time."""

    exit_code = 75


class CertificateRefused(ConfsyncError):
    """A certificate cannot be served, or must not; what was served before is served on."""

    exit_code = 65


class NeedsReload(ConfsyncError):
    """What was asked of the running HAProxy it can do by a reload only; the message says why."""

    exit_code = 75


class StateError(ConfsyncError):
    """The state directory cannot be used."""

    exit_code = 73


class Locked(ConfsyncError):
    """Another agent holds the configuration."""

    exit_code = 75


class AgentUnreachable(ConfsyncError):
    """No agent answers on the control socket."""

    exit_code = 69


class VipError(ConfsyncError):
    """The shared address cannot be set or elected: no device, no program."""

    exit_code = 69


class VipDenied(VipError):
    """Addresses may not be set, or raw sockets not be opened, by this user."""

    exit_code = 77


def leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    """List what a group of errors is about."""
    found: list[BaseException] = []
    for each in group.exceptions:
        found += leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
