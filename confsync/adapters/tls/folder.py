"""The operator's folder of certificates, and the folder of checked copies that HAProxy loads.

HAProxy refuses a whole configuration for one bad certificate, at a reload as at a start. So it is
given copies: a file that is half written or whose key belongs to another certificate costs itself and
not the next reload. Copies are 0600 in a folder of 0700.
"""

import os
import ssl
from contextlib import suppress
from pathlib import Path

from confsync.core import tls
from confsync.domain.tls import Bundle
from confsync.errors import WriteError

SELF_SIGNED = "confsync-self-signed.pem"
"""Among the copies only; the operator's own file of this name is left out."""

_ENDING = ".pem"
_BESIDE = (".ocsp", ".issuer", ".sctl")
_WHY = {
    "KEY_VALUES_MISMATCH": "its private key belongs to another certificate",
    "KEY_TYPE_MISMATCH": "its private key belongs to another certificate",
    "EE_KEY_TOO_SMALL": "its key is too short for this machine's OpenSSL",
    "CA_MD_TOO_WEAK": "it is signed in a way that this machine's OpenSSL finds too weak",
}
_NO_PASSWORD = ""

Stamp = tuple[str, int, int, int]


class Folders:
    """Both. `source` may be absent; `copies` is made."""

    def __init__(self, source: str, copies: str) -> None:
        self.source = Path(source)
        self.copies = Path(copies)

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Name the files of a folder (the operator's) that HAProxy would take for certificates.

        Raises WriteError when it may not be read: that is not an empty one.
        """
        place = Path(folder) if folder else self.source
        try:
            found = [p.name for p in place.iterdir() if tls.serves(p.name) and p.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise WriteError(
                f"the certificates in {place} cannot be read: {error.strerror}",
                remedy="let confsync's user read the folder",
            ) from error
        if place == self.source:
            # Of two that would have one copy, the one that has its name.
            doubled = {name.removesuffix(_ENDING) for name in found if name.endswith(_ENDING)}
            found = [name for name in found if name != SELF_SIGNED and name not in doubled]
        return tuple(sorted(found))

    def copied(self) -> tuple[str, ...]:
        """Name the copies."""
        return self.names(str(self.copies))

    def origin(self, path: str) -> str:
        """Name the file that what HAProxy knows as `path` comes from; "" for the self-signed one."""
        place = Path(path)
        if place.parent != self.copies:
            return path
        if place.name == SELF_SIGNED:
            return ""
        same, other = self.source / place.name, self.source / place.name.removesuffix(_ENDING)
        return str(other if other.exists() and not same.exists() else same)

    def copy_of(self, name: str) -> str:
        """Name the copy of one of the operator's files. HAProxy 2.6 takes no new `.crt` by socket."""
        return str(self.copies / (name if name.endswith(_ENDING) else name + _ENDING))

    def stamps(self, origins: tuple[str, ...]) -> tuple[Stamp, ...]:
        """Tell cheaply whether files, or the keys beside them, have changed: stat only."""
        return tuple(_stamp(place) for origin in origins for place in (origin, *_keys(origin)))

    def read(self, origin: str) -> Bundle:
        """Read a certificate with its key. Raises core.tls.Unfit, FileNotFoundError."""
        if not tls.sayable(Path(origin).name):
            raise tls.Unfit(
                "its name has characters that HAProxy's socket does not take: rename it"
            )
        data, key = _content(Path(origin)), None
        if b"PRIVATE KEY-----" not in data:
            for beside in _keys(origin):
                with suppress(FileNotFoundError):
                    key = _content(Path(beside))
                    break
        bundle = tls.bundle(data, key)
        _belongs(bundle)
        return bundle

    def same(self, path: str, bundle: Bundle) -> bool:
        """Tell whether HAProxy finds this bundle at `path` when it loads anew."""
        try:
            return tls.bundle(Path(path).read_bytes()).pem == bundle.pem
        except (OSError, tls.Unfit):
            return Path(path).parent != self.copies  # another's file, perhaps with its key beside

    def put(self, path: str, bundle: Bundle) -> None:
        """Make a copy, whole or not at all; a file that is no copy is left alone. Raises WriteError."""
        place = Path(path)
        if place.parent != self.copies:
            return
        try:
            self.copies.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(place, bundle.pem.encode("ascii"))
            for ending in _BESIDE:
                beside = Path(self.origin(path) + ending)
                if place.name != SELF_SIGNED and beside.is_file():
                    _replace(place.with_name(place.name + ending), beside.read_bytes())
                else:
                    place.with_name(place.name + ending).unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(
                f"cannot write {place}: {error.strerror}",
                remedy="see that the folder can be written",
            ) from error

    def drop(self, path: str) -> None:
        """Remove a copy; a file that is no copy is left alone. Raises WriteError."""
        place = Path(path)
        if place.parent != self.copies:
            return
        try:
            for ending in ("", *_BESIDE):
                place.with_name(place.name + ending).unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(
                f"cannot remove {place}: {error.strerror}",
                remedy="see that the folder can be written",
            ) from error


def _keys(origin: str) -> tuple[str, ...]:
    place = Path(origin)
    return tuple(str(place.with_name(name)) for name in tls.key_names(place.name))


def _stamp(place: str) -> Stamp:
    try:
        found = os.stat(place)  # noqa: PTH116 - many, each second
    except OSError:
        return place, 0, 0, 0
    return place, found.st_mtime_ns, found.st_ino, found.st_size


def _content(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            data = file.read(tls.LARGEST + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise tls.Unfit(f"it cannot be read: {error.strerror}") from error
    if len(data) > tls.LARGEST:
        raise tls.Unfit(f"it has more than {tls.LARGEST // 1024} kB, which no certificate has")
    return data


def _belongs(bundle: Bundle) -> None:
    """Have OpenSSL say whether key and certificate are sound and belong together. Raises Unfit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # In memory: the ssl module takes only files, and a key has no business on a disk for this.
    fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(fd, bundle.pem.encode("ascii"))
        context.load_cert_chain(f"/proc/self/fd/{fd}", password=_NO_PASSWORD)
    except ssl.SSLError as error:
        reason = error.reason or ""
        why = _WHY.get(
            reason, f"OpenSSL says {reason or 'it is garbled'}".replace("_", " ").lower()
        )
        raise tls.Unfit(why.replace("openssl", "OpenSSL")) from None
    finally:
        os.close(fd)


def _replace(place: Path, data: bytes) -> None:
    beside = place.with_name(f".{place.name}.confsync")
    beside.unlink(missing_ok=True)
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    beside.replace(place)
