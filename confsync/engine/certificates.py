"""Certificates: there before HAProxy starts, taken over when they are renewed, warned of in time.

Nothing that works is given up for something that might not: a file that cannot serve is refused with
one line, and what was served before is served on. HAProxy is told by name what to serve, then asked;
what it cannot do while it runs is asked for as a reload, with the checked copies in place for it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import Protocol

from confsync.core import tls
from confsync.domain.tls import Bundle, Certificate, Expiry, Loaded, Renewal, Standing
from confsync.errors import (
    CertificateRefused,
    CheckRejected,
    NeedsReload,
    TargetError,
)
from confsync.ports import CertificateFiles, ServedCertificates, Telemetry

GONE = 60.0
"""Seconds after which a file that was removed is believed to be gone: who renews by removing and
writing anew shall not lose the name in between."""
AGAIN = 60.0
"""Seconds after which all is compared anew, changed or not."""


class Maker(Protocol):
    """Who makes a certificate where none is given."""

    async def bundle(self) -> tuple[Bundle, bool]:
        """Return it, and whether it is new. Raises ConfsyncError."""


class Certificates:
    """The certificates of one HAProxy. `directory`: the folder for its `crt`.

    `self_signed`: the path of the copy that is made when the operator gives none. `warn`: days before
    its end from which a certificate is warned of. `needed`: HAProxy loads `directory` in any case, so
    that something must be in it. `reload`: told why HAProxy must load its files anew.
    """

    def __init__(
        self,
        files: CertificateFiles,
        served: ServedCertificates,
        maker: Maker,
        telemetry: Telemetry,
        *,
        directory: str,
        source: str,
        self_signed: str,
        warn: int = 30,
        needed: bool = True,
        reload: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self._source = source
        self._files = files
        self._served = served
        self._maker = maker
        self._telemetry = telemetry
        self._self_signed = self_signed
        self._warn = warn
        self._needed = needed
        self._ask_reload = reload
        self._clock = clock
        self._busy = asyncio.Lock()
        self._loaded = Loaded(worker=0)
        self._known: dict[str, str] = {}
        """Digest of the file that the worker has, by HAProxy's path."""
        self._refused: dict[str, str] = {}
        """Why, by the file."""
        self._reload: dict[str, str] = {}
        self._missing: dict[str, float] = {}
        self._stamps: tuple[object, ...] | None = None
        self._compared = 0.0
        self._ends: frozenset[str] = frozenset()
        """What was said of those that end."""

    # Before HAProxy starts

    async def prepare(self) -> None:
        """Fill `directory`, before each start of HAProxy and before a check of its configuration.

        Raises CheckRejected when files are given and none can be used: nothing is made up then.
        """
        async with self._busy:
            self._stamps = None
            given = await asyncio.to_thread(self._copy_all)
            if given or not self._needed:
                return
            bundle, new = await self._maker.bundle()
            await asyncio.to_thread(self._files.put, self._self_signed, bundle)
            self._telemetry.event(
                "warning",
                "no certificate is given: one is used that nobody has signed, and clients refuse it",
                remedy=f"put NAME.pem, with its chain and key, into {self._source}",
                new=new,
            )

    def _copy_all(self) -> bool:
        """Copy what can be used; tell whether any is given."""
        names = self._files.names()
        there = {self._files.copy_of(name) for name in self._files.copied()}
        good: set[str] = set()
        refused: list[str] = []
        for path in map(self._files.copy_of, names):
            origin = self._files.origin(path)
            try:
                bundle = self._files.read(origin)
            except (tls.Unfit, FileNotFoundError) as error:
                refused.append(f"{origin}: {_why(error)}")
                self._refuse(origin, _why(error))
                good |= {path} & there  # its last good copy serves on
            else:
                self._refused.pop(origin, None)
                if not self._files.same(path, bundle):
                    self._files.put(path, bundle)
                good.add(path)
        if names and not good and self._needed:
            raise CheckRejected(
                f"none of the certificates in {self._source} can be used",
                remedy="correct one; without any, one is made that nobody has signed",
                detail="\n".join(refused),
            )
        for path in there - good:
            if names or path != self._self_signed:
                self._files.drop(path)
        return bool(names)

    # While it runs

    async def renew(self) -> Renewal:
        """Take over what has changed on disk; cheap when nothing has. Call it every some seconds.

        Raises WriteError when the folder of copies cannot be written.
        """
        async with self._busy:
            try:
                worker = await self._served.worker()
                stamps = await asyncio.to_thread(self._seen)
                now = self._clock()
                same = (worker, stamps) == (self._loaded.worker, self._stamps)
                if same and 0 <= now - self._compared < AGAIN and not self._missing:
                    renewal = Renewal()
                else:
                    self._look(await self._served.loaded())
                    self._compared, self._stamps = now, stamps
                    renewal = await self._renewed()
            except TargetError as error:
                self._stamps = None
                return self._report(Renewal(), waits=str(error))
            finally:
                self._tell_ends()
            return self._report(renewal)

    def expiries(self) -> tuple[Expiry, ...]:
        """Tell when the certificates end that HAProxy serves, the next first."""
        return tls.expiring(self._loaded.certificates.values(), self._clock())

    def _tell_ends(self) -> None:
        """Say which have ended or end soon: when that is seen first, and again each day."""
        said = set()
        for each in self.expiries():
            if each.days <= self._warn:
                said.add(words := tls.warning(each))
                if words not in self._ends:
                    level = "warning" if each.days >= 0 else "error"
                    text = (
                        "a certificate ends soon" if each.days >= 0 else "a certificate has ended"
                    )
                    self._telemetry.event(level, text, certificate=words)
        self._ends = frozenset(said)

    def standing(self) -> Standing:
        """Tell what is served, until when, and what is not taken."""
        return Standing(
            directory=self.directory,
            served=self.expiries(),
            refused=self._lines(),
            reload=tuple(self._reload.values()),
        )

    def _look(self, loaded: Loaded) -> None:
        if loaded.worker != self._loaded.worker:
            # It has loaded what is on disk: that is compared anew, and no reload is waited for.
            self._known.clear()
            self._reload.clear()
        self._loaded = loaded

    def _paths(self) -> dict[str, str]:
        """Name what should be served: HAProxy's path, and the file that it comes from."""
        paths = [self._files.copy_of(name) for name in self._files.names()]
        for folder in self._loaded.folders:
            if folder != self.directory:
                paths += [f"{folder}/{name}" for name in self._files.names(folder)]
        paths += self._loaded.certificates
        return {path: self._files.origin(path) for path in sorted(set(paths))}

    def _seen(self) -> tuple[object, ...]:
        return self._files.stamps(tuple(filter(None, self._paths().values())))

    async def _renewed(self) -> Renewal:
        taken: list[str] = []
        gone: list[str] = []
        paths = await asyncio.to_thread(self._paths)
        self._missing = {path: at for path, at in self._missing.items() if path in paths}
        given = await asyncio.to_thread(self._files.names)
        judged = {*paths.values(), *(() if given else (self._source,))}
        self._refused = {name: why for name, why in self._refused.items() if name in judged}
        for path, origin in paths.items():
            if not origin:
                continue
            try:
                bundle = await asyncio.to_thread(self._files.read, origin)
            except FileNotFoundError:
                if await self._vanished(path, origin, given):
                    gone.append(path)
                continue
            except tls.Unfit as error:
                self._refuse(origin, _why(error))
                continue
            self._missing.pop(path, None)
            if await self._current(path, bundle):
                self._refused.pop(origin, None)
                continue
            if await self._take(path, origin, bundle):
                taken.append(path)
        made_up = self._self_signed in self._loaded.certificates
        has_one = any(self._files.copy_of(name) in self._known for name in given)
        if made_up and has_one and await self._remove(self._self_signed):
            gone.append(self._self_signed)
        return Renewal(taken=tuple(taken), gone=tuple(gone))

    async def _current(self, path: str, bundle: Bundle) -> bool:
        """Tell whether the worker has this already."""
        if self._known.get(path) == bundle.digest:
            return True
        has = self._loaded.certificates.get(path)
        if path in self._known or has is None:
            return False
        if (has.fingerprint, has.chain) != (bundle.fingerprint, bundle.chain):
            return False
        if not await asyncio.to_thread(self._files.same, path, bundle):
            return False
        self._known[path] = bundle.digest
        return True

    async def _take(self, path: str, origin: str, bundle: Bundle) -> bool:
        """Have HAProxy serve it, and keep a copy for its next start; tell whether it does."""
        before = self._loaded.certificates.get(path)
        folder = str(PurePath(path).parent)

        def judge(new: Certificate) -> str:
            return tls.refusal(new, self._clock())

        try:
            if before is not None:
                made = await self._served.replace(path, bundle, judge, self._loaded.worker)
            elif folder in self._loaded.folders:
                made = await self._served.add(folder, path, bundle, judge, self._loaded.worker)
            else:  # HAProxy's configuration does not name the folder of copies
                await asyncio.to_thread(self._files.put, path, bundle)
                self._known[path] = bundle.digest
                return False
        except CertificateRefused as error:
            self._refuse(origin, str(error))
            return False
        except NeedsReload as error:
            await asyncio.to_thread(self._files.put, path, bundle)
            self._wants(path, bundle.digest, str(error))
            return False
        await asyncio.to_thread(self._files.put, path, bundle)
        self._known[path] = bundle.digest
        self._loaded.certificates[path] = made
        self._refused.pop(origin, None)
        self._telemetry.event(
            "info",
            "certificate taken over",
            path=origin,
            names=", ".join(made.names),
            days=tls.expiring([made], self._clock())[0].days,
        )
        if before is not None and (lost := tls.lost(before, made)):
            self._telemetry.event(
                "warning",
                "a renewed certificate has lost names",
                path=origin,
                names=", ".join(lost),
            )
        return True

    async def _vanished(self, path: str, origin: str, given: tuple[str, ...]) -> bool:
        """Serve a certificate no longer whose file is gone for good; tell whether it is done."""
        if str(PurePath(path).parent) not in self._loaded.folders:
            self._refuse(origin, "it is gone, and HAProxy's configuration names it: put it back")
            return False
        if path.startswith(f"{self.directory}/") and not given:
            self._refuse(self._source, "no certificate is left in it: those that were, serve on")
            return False
        since = self._missing.setdefault(path, self._clock())
        if 0 <= self._clock() - since < GONE:
            return False
        return await self._remove(path)

    async def _remove(self, path: str) -> bool:
        if path in self._reload:
            return False
        try:
            await self._served.remove(str(PurePath(path).parent), path, self._loaded.worker)
        except NeedsReload as error:
            await asyncio.to_thread(self._files.drop, path)
            self._wants(path, "", str(error))
            return False
        await asyncio.to_thread(self._files.drop, path)
        self._missing.pop(path, None)
        self._known.pop(path, None)
        self._loaded.certificates.pop(path, None)
        self._telemetry.event("info", "certificate taken away", path=path)
        return True

    def _wants(self, path: str, digest: str, why: str) -> None:
        self._known[path] = digest
        if self._reload.get(path) != why:
            self._reload[path] = why
            self._telemetry.event("info", "certificates need a reload", why=why)
            self._ask_reload(why)

    def _refuse(self, origin: str, why: str) -> None:
        if self._refused.get(origin) != why:
            self._refused[origin] = why
            self._telemetry.event("error", "certificate refused", path=origin, why=why)

    def _report(self, renewal: Renewal, *, waits: str = "") -> Renewal:
        wanted = tuple(self._reload.values())
        return replace(renewal, refused=self._lines(), reload=wanted, waits=waits)

    def _lines(self) -> tuple[str, ...]:
        return tuple(f"{origin}: {why}" for origin, why in sorted(self._refused.items()))


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, tls.Unfit) else "it is gone"
