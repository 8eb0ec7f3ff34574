"""Certificates over the stats socket: what a worker serves, and another one in its place.

HAProxy is the judge of what a certificate holds: a transaction (`set ssl cert`) shows its dates and
names before `commit` makes it serve. `crt` folders are edited like crt-lists, on 2.6 as on 3.2; the
first certificate of a folder is its default and cannot be removed (each measured).
The private key goes over the local socket only; no payload is part of a message or an error.
Sources: management.txt 9.3; answers captured from 2.6, 2.8, 3.0 and 3.2.
"""

import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable

from confsync import errors
from confsync.adapters.haproxy import cli, session
from confsync.domain.tls import Bundle, Certificate, Loaded

LONGEST = 15_000
"""Bytes of a command with its payload, in `tune.bufsize` (16 kB) less its reserve."""

_FIELD = re.compile(
    r"^(notBefore|notAfter|Subject Alternative Name|SHA1 FingerPrint|Chain Subject): ?([^\r\n]*)",
    re.MULTILINE,
)
_SAYABLE = re.compile(r"[A-Za-z0-9_./@:+=,~-]+\Z", re.ASCII)
_COMMITTED = "Success!"
_DENIED = "Permission denied"
_ABSENT = "Unknown command"
_DEFAULT = "used as default certificate"
_UNKNOWN = "not referenced by the configuration"

Judge = Callable[[Certificate], str]


class RuntimeCertificates:
    """The certificates of one HAProxy's current worker."""

    def __init__(self, stats_socket: str) -> None:
        self._path = stats_socket

    async def worker(self) -> int:
        """Tell whose certificates those are now: the worker's pid. Raises TargetError."""
        async with session.begin(self._path, None) as talk:
            return talk.info.pid

    async def loaded(self) -> Loaded:
        """Read what is served. Raises TargetError."""
        async with session.begin(self._path, None) as talk:
            listing, folders = await talk.ask("show ssl cert", "show ssl crt-list")
            if _ABSENT in listing:
                return Loaded(worker=talk.info.pid)
            self._allowed(listing)
            paths = [path for path in _rows(listing) if _SAYABLE.match(path) and path[0] != "*"]
            answers = await talk.ask(*(f"show ssl cert {path}" for path in paths)) if paths else ()
            found = {}
            for path, answer in zip(paths, answers, strict=True):
                if (certificate := shown(path, answer)) is not None:
                    found[path] = certificate
            return Loaded(worker=talk.info.pid, certificates=found, folders=tuple(_rows(folders)))

    async def replace(self, path: str, bundle: Bundle, judge: Judge, worker: int) -> Certificate:
        """Serve another certificate under a name that is loaded; connections live on.

        `judge`: says why what HAProxy has read must not serve ("": it may). Raises CertificateRefused,
        NeedsReload, TargetError.
        """
        async with self._with(worker) as talk:
            return await self._exchange(talk, path, bundle, judge)

    async def add(
        self, folder: str, path: str, bundle: Bundle, judge: Judge, worker: int
    ) -> Certificate:
        """Serve one more from a folder that HAProxy has loaded. Raises as `replace` does."""
        async with self._with(worker) as talk:
            (answer,) = await talk.ask(f"new ssl cert {_said(path)}")
            self._allowed(answer)
            try:
                made = await self._exchange(talk, path, bundle, judge)
                (answer,) = await talk.ask(f"add ssl crt-list {_said(folder)} {path}")
                if _COMMITTED not in answer:
                    raise errors.NeedsReload(
                        f"HAProxy adds none to {folder} while it runs: {_line(answer)}"
                    )
            except errors.ConfsyncError:
                await talk.ask(f"del ssl cert {path}")
                raise
            return made

    async def remove(self, folder: str, path: str, worker: int) -> None:
        """Serve a certificate no longer. Raises NeedsReload (a folder's first one), TargetError."""
        async with self._with(worker) as talk:
            (answer,) = await talk.ask(f"del ssl crt-list {_said(folder)} {_said(path)}")
            self._allowed(answer)
            if _DEFAULT in answer:
                what = f"{path} is HAProxy's default certificate, which only a reload takes away"
                raise errors.NeedsReload(what)
            if " deleted in crtlist " not in answer:
                raise errors.NeedsReload(f"HAProxy keeps {path} while it runs: {_line(answer)}")
            await talk.ask(f"del ssl cert {path}")

    @contextlib.asynccontextmanager
    async def _with(self, worker: int) -> AsyncIterator[session.Session]:
        """Talk to this worker and to no other. Raises OtherWorker."""
        async with session.begin(self._path, None) as talk:
            if talk.info.pid != worker:
                raise session.OtherWorker(f"worker {talk.info.pid} answers, and not {worker}")
            yield talk

    async def _exchange(
        self, talk: session.Session, path: str, bundle: Bundle, judge: Judge
    ) -> Certificate:
        command = f"set ssl cert {_said(path)} <<\n{bundle.pem}"
        if len(command) > LONGEST:
            raise errors.NeedsReload(
                f"{path} has {len(bundle.pem)} bytes, more than HAProxy's socket takes"
            )
        # A transaction that somebody left, or a crash of ours, would be in the way of this one.
        (listing,) = await talk.ask("show ssl cert")
        for row in _rows(listing):
            if row[0] == "*" and _SAYABLE.match(row[1:]):
                await talk.ask(f"abort ssl cert {row[1:]}")
        (answer,) = await talk.ask(command)
        self._allowed(answer)
        if _UNKNOWN in answer:  # 2.6, of any name that ends in .crt
            raise errors.NeedsReload(
                f"HAProxy does not replace {path} while it runs: {_line(answer)}"
            )
        if "Transaction created" not in answer and "Transaction updated" not in answer:
            raise errors.CertificateRefused(f"HAProxy cannot read it: {_line(answer)}")
        (answer,) = await talk.ask(f"show ssl cert *{path}")
        made = shown(path, answer)
        why = judge(made) if made is not None else "HAProxy does not show what it has read"
        if not why:
            (answer,) = await talk.ask(f"commit ssl cert {path}")
            why = "" if _COMMITTED in answer else f"HAProxy does not take it: {_line(answer)}"
        if made is None or why:
            await talk.ask(f"abort ssl cert {path}")
            raise errors.CertificateRefused(why)
        (answer,) = await talk.ask(f"show ssl cert {path}")
        now = shown(path, answer)
        if now is None or now.fingerprint != bundle.fingerprint:
            raise errors.TargetUnavailable(f"HAProxy took {path} and does not serve it")
        return now

    def _allowed(self, answer: str) -> None:
        if _DENIED in answer:
            line = cli.STATS_LINE.format(path=self._path)
            raise errors.TargetDenied(
                f"certificates cannot be changed over {self._path}", remedy=f"use `{line}`"
            )


def shown(path: str, answer: str) -> Certificate | None:
    """Read `show ssl cert FILE`; None when there is no certificate in it."""
    fields: dict[str, str] = {}
    chain = 0
    for key, value in _FIELD.findall(answer):
        chain += key == "Chain Subject"
        fields.setdefault(key, value.strip())
    try:
        begins, ends = (
            float(ssl.cert_time_to_seconds(fields[key])) for key in ("notBefore", "notAfter")
        )
        fingerprint = fields["SHA1 FingerPrint"].upper()
    except (KeyError, ValueError):
        return None
    names = fields.get("Subject Alternative Name", "")
    return Certificate(
        path=path,
        # Of addresses HAProxy shows only the comma before them.
        names=tuple(n.partition(":")[2].strip(" ,") for n in names.split(", ") if ":" in n),
        begins=begins,
        ends=ends,
        fingerprint=fingerprint,
        chain=chain,
    )


def _rows(answer: str) -> list[str]:
    return [row for row in answer.split("\n") if row and row[0] != "#"]


def _line(answer: str) -> str:
    """Put HAProxy's words on one line; where it quotes what it was sent, none of them."""
    if _ABSENT in answer or "-----" in answer:
        return "it does not know the command"
    return " ".join(answer.split())[:300] or "it says nothing"


def _said(text: str) -> str:
    if not _SAYABLE.match(text):
        raise errors.CertificateRefused(f"the name {text!a} cannot be said over HAProxy's socket")
    return text
