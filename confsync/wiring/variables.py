"""From settings to the variables of the built-in template."""

import re
from pathlib import Path

from confsync.core.builtin import BUILTIN_VARS
from confsync.domain.rendered import VarValue
from confsync.settings.model import Settings

_PORT = re.compile(r":(\d+)\Z")


def certificates(settings: Settings) -> str:
    """Name the folder of certificates' copies in `lb.directory`: what HAProxy's `crt` names."""
    return str(Path(settings.lb.directory) / "certs")


def builtin(settings: Settings) -> dict[str, VarValue]:
    """Give the defaults of the built-in template, with TLS as [tls] says."""
    chosen = settings.tls
    if not chosen.enabled:
        return dict(BUILTIN_VARS)
    port = _PORT.search(chosen.bind.split()[0])
    return {
        **BUILTIN_VARS,
        "tls_bind": chosen.bind,
        "tls_certificates": certificates(settings),
        "tls_minimum": chosen.minimum,
        "tls_redirect": chosen.redirect,
        "tls_port": int(port[1]) if port else 443,
        "hsts": chosen.hsts,
    }
