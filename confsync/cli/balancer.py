"""The command `lb`: its words and short variables, and where the password comes from."""

import argparse
import asyncio
import dataclasses
import ipaddress
import os
import signal
from collections.abc import Mapping, MutableMapping

from confsync import errors
from confsync.cli.printed import Printed
from confsync.settings.load import Loaded, load

SHORT = {
    "VIP": "vip.address",
    "DEV": "vip.device",
    "SRCIP": "vip.source",
    "VHID": "vip.vhid",
    "ADVBASE": "vip.advbase",
    "ADVSKEW": "vip.advskew",
    "HA": "vip.engine",
    "PASSWORD_FILE": "vip.password_file",
}
"""Short variables of the image -> settings."""
_SEEN = (
    "the password stands on the command line, where everybody here can read it: "
    "use PASSWORD_FILE or vip.password_file"
)
_OTHER = "the pair's password is another one now: that takes effect with the next start"
PASSWORD = "PASSWORD"  # noqa: S105 - the variable's name


class Misused(errors.ConfsyncError):
    """Words that do not go together."""

    exit_code = 2


def perform(options: argparse.Namespace, environ: MutableMapping[str, str]) -> Printed:
    """Run the load balancer until a signal ends it. Raises ConfsyncError."""
    from confsync.wiring import lb  # noqa: PLC0415

    # Sent too early it would end us: nothing is there yet that could be read anew.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if options.config:
        # A later reading must find the same file, wherever the process stands by then.
        options.config = os.path.abspath(options.config)  # noqa: PTH100
    secret = environ.pop(PASSWORD, "")
    loaded, password = read(options, environ, secret)

    def again() -> Loaded:
        return read_again(options, environ, secret, password)

    asyncio.run(lb.run(loaded, password=password, reload=again, environ=environ))
    return Printed()


def read(
    options: argparse.Namespace, environ: Mapping[str, str], secret: str
) -> tuple[Loaded, str]:
    """Load the settings and find the password (`secret`: the variable's). Raises ConfsyncError."""
    flags: dict[str, object] = {"log.level": "debug"} if options.debug else {}
    words = [word for word in (options.password, *options.more) if word is not None]
    if options.vip is not None:
        flags["vip.address"] = options.vip
    loaded = load(options.config, environ=environ, flags=flags, short=SHORT, balancer=True)
    if secret and environ.get("PASSWORD_FILE"):
        raise Misused(
            "PASSWORD and PASSWORD_FILE are both set", remedy="unset one of them, best PASSWORD"
        )
    vip = loaded.settings.vip
    kept = bool(secret or vip.password_file)
    password, warned = secret, False
    if words and (not kept or not _is_address(words[0])):
        if kept:
            raise Misused(
                "the word after VIP is no address, and the password comes from elsewhere already",
                remedy="leave it out, or unset PASSWORD, PASSWORD_FILE and vip.password_file",
            )
        password, words = words[0], words[1:]
        warned = True
    if words:
        flags["vip.more"] = words
        loaded = load(options.config, environ=environ, flags=flags, short=SHORT, balancer=True)
        vip = loaded.settings.vip
    if warned:
        loaded = dataclasses.replace(loaded, warnings=(*loaded.warnings, _SEEN))
    if not vip.addresses:
        return loaded, ""
    if not password and vip.password_file:
        from confsync.wiring.vip import password as from_file  # noqa: PLC0415

        password = from_file(vip.password_file)
    if not password and vip.engine == "ucarp":
        raise Misused(
            f"the shared address {vip.address} needs the pair's password",
            remedy="give it in a file: PASSWORD_FILE or vip.password_file (or after VIP)",
        )
    return loaded, password


def read_again(
    options: argparse.Namespace, environ: Mapping[str, str], secret: str, before: str
) -> Loaded:
    """Load the settings while the load balancer runs with the password `before`, which stays."""
    loaded, password = read(options, environ, secret)
    if before and password not in {"", before}:
        loaded = dataclasses.replace(loaded, warnings=(*loaded.warnings, _OTHER))
    return loaded


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
