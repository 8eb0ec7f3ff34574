"""From settings to certificates: the folder that HAProxy loads, and renewals."""

from collections.abc import Callable
from pathlib import Path

from confsync.adapters.haproxy.certificates import RuntimeCertificates
from confsync.adapters.tls.folder import SELF_SIGNED, Folders
from confsync.adapters.tls.selfsigned import SelfSigned
from confsync.engine.certificates import Certificates
from confsync.ports import Telemetry
from confsync.settings.model import Settings
from confsync.wiring import variables


def certificates(
    settings: Settings, telemetry: Telemetry, *, reload: Callable[[str], None] = lambda _: None
) -> Certificates:
    """Build what keeps certificates. Opens nothing.

    `prepare` comes before each start of HAProxy and each check of its configuration, `renew` every
    `tls.interval` seconds and on SIGHUP; `reload` is told what only a reload can do. Without [tls] a
    configuration that an operator wrote is followed in the same way, but nothing is made up.
    """
    chosen = settings.tls
    folder = variables.certificates(settings)
    return Certificates(
        Folders(chosen.certificates, folder),
        RuntimeCertificates(settings.target.stats_socket),
        SelfSigned(str(Path(settings.state.directory) / SELF_SIGNED), chosen.names),
        telemetry,
        directory=folder,
        source=chosen.certificates,
        self_signed=str(Path(folder) / SELF_SIGNED),
        warn=chosen.warn,
        needed=chosen.enabled,
        reload=reload,
    )
