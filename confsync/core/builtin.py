"""The templates that confsync brings, by name, and the variables that they read, with defaults.

Facts only. Where the texts are on disk and how operators' variables are merged over these is the
loader's business (adapters/files); what the variables mean stands in docs/templates.md.
"""

from dataclasses import dataclass

from confsync.domain.rendered import Language, VarValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """One of them. `file`: in the folder `templates`. `destination`: the name of what it makes."""

    name: str
    file: str
    destination: str
    language: Language


BUILTINS: tuple[Builtin, ...] = (
    Builtin(
        name="builtin:hosts.map",
        file="hosts.map.j2",
        destination="hosts.map",
        language=Language.MAP,
    ),
    Builtin(
        name="builtin:503.http",
        file="503.http.j2",
        destination="503.http",
        language=Language.PLAIN,
    ),
    Builtin(
        name="builtin:haproxy.cfg",
        file="haproxy.cfg.j2",
        destination="haproxy.cfg",
        language=Language.HAPROXY,
    ),
)
"""In the order of promotion: what HAProxy's main file names comes before it."""

BUILTIN_VARS: dict[str, VarValue] = {
    "bind": ":80",
    "domain": "",
    "stats_bind": "127.0.0.1:8404",
    "stats_user": "",
    "stats_password": "",
    "hard_stop_after": "10m",
    "user": None,
    "group": None,
    "chroot": "",
    "log": None,
    "tls_bind": "",
    "tls_certificates": "",
    "tls_minimum": "TLSv1.2",
    "tls_redirect": True,
    "tls_port": 443,
    "hsts": 0,
}
"""Variables of the built-in set. None: by the target's type (see the template)."""
