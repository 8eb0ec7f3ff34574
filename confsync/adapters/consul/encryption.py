"""TLS to the agent: the context, with errors that name the file at fault."""

import os
import ssl
from pathlib import Path

from confsync.adapters.consul.options import ConsulOptions
from confsync.errors import RegistryDenied, SettingsError


def context(options: ConsulOptions) -> ssl.SSLContext:
    """Build the client's context: the CA's certificates (else the system's), and the client's own.

    Raises SettingsError, RegistryDenied when a file may not be read.
    """
    if options.ca_file:
        _readable("ca_file", options.ca_file)
        try:
            made = ssl.create_default_context(cafile=options.ca_file)
        except ssl.SSLError as error:
            raise SettingsError(
                [f"source.ca_file: {options.ca_file} holds no certificate in PEM form"]
            ) from error
    else:
        made = ssl.create_default_context()
    if options.key_file and not options.cert_file:
        raise SettingsError(["source.key_file needs source.cert_file beside it"])
    if options.cert_file:
        _own(made, options.cert_file, options.key_file)
    return made


def _own(made: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    _readable("cert_file", cert_file)
    if key_file:
        _readable("key_file", key_file)
    try:
        # A password, though no key should need it: without one OpenSSL asks on the terminal.
        made.load_cert_chain(cert_file, key_file or None, password="")
    except ssl.SSLError as error:
        reason = (error.reason or "not usable").lower().replace("_", " ")
        fault = (
            f"source.cert_file, source.key_file: {cert_file} and {key_file or cert_file} are no"
            f" certificate in PEM form with its key, without a passphrase ({reason})"
        )
        raise SettingsError([fault]) from error


def _readable(setting: str, path: str) -> None:
    """Open a file, since OpenSSL's own errors do not say which one was at fault."""
    try:
        with Path(path).open("rb"):
            pass
    except PermissionError as error:
        raise RegistryDenied(
            f"source.{setting}: {path} may not be read",
            remedy="let confsync's user read the file",
        ) from error
    except OSError as error:
        raise SettingsError(
            [f"source.{setting}: {path} cannot be read: {os.strerror(error.errno or 0)}"]
        ) from error
