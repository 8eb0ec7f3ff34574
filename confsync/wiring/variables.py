"""From settings to the variables of the built-in template."""

import pwd
import re
from pathlib import Path

from confsync.core.builtin import BUILTIN_VARS
from confsync.domain.rendered import VarValue
from confsync.settings.model import Settings

_PORT = re.compile(r":(\d+)\Z")


def certificates(settings: Settings) -> str:
    """Name the folder of certificates' copies in `lb.directory`: what HAProxy's `crt` names."""
    return str(Path(settings.lb.directory) / "certs")


def builtin(settings: Settings, *, balancer: bool = False) -> dict[str, VarValue]:
    """Give the defaults of the built-in template, with TLS as [tls] says.

    `balancer`: for `confsync lb`, which starts HAProxy as root and logs what it says.
    """
    defaults = {**BUILTIN_VARS, **(_started_here() if balancer else {})}
    chosen = settings.tls
    if not chosen.enabled:
        return defaults
    port = _PORT.search(chosen.bind.split()[0])
    return {
        **defaults,
        "tls_bind": chosen.bind,
        "tls_certificates": certificates(settings),
        "tls_minimum": chosen.minimum,
        "tls_redirect": chosen.redirect,
        "tls_port": int(port[1]) if port else 443,
        "hsts": chosen.hsts,
    }


def _started_here() -> dict[str, VarValue]:
    found: dict[str, VarValue] = {"log": "stdout format raw local0"}
    try:
        pwd.getpwnam("haproxy")
    except KeyError:
        return found
    return {**found, "user": "haproxy", "group": "haproxy"}
