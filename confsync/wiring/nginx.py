"""From settings to the web server behind HAProxy."""

from pathlib import Path

from confsync.adapters.nginx.server import Nginx
from confsync.engine.webserver import WebServer
from confsync.settings.model import Settings

FOLDER = "nginx"
"""In `lb.directory`."""


def nginx(settings: Settings) -> WebServer | None:
    """Build what checks and reloads it; None when there is no site. Starts and writes nothing."""
    chosen = settings.nginx
    server = Nginx(
        str(Path(settings.lb.directory) / FOLDER), chosen.directory, program=chosen.binary
    )
    return WebServer(server) if server.wanted() else None
