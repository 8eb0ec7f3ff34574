"""What HAProxy tells of its certificates and its workers, as values; and what is never said."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.haproxy import certificates, figures
from confsync.adapters.haproxy.certificates import RuntimeCertificates
from confsync.domain.tls import Bundle, Certificate, Loaded
from tests.unit.adapters.haproxy.runtime_fake import FakeWorker

SHOWN = """\
Filename: /c/a.pem
Status: Used
Serial: 6C1C568751222F0D4EDE3B67D8B2FEDDC5615F75
notBefore: Nov 22 21:55:40 2026 GMT
notAfter: Dec 22 21:55:40 2026 GMT
Subject Alternative Name: DNS:a.test, DNS:*.b.test
Algorithm: EC256
SHA1 FingerPrint: FFCD43B7AA12271F5ED3F2D333C4D0740BFB3C0D
Subject: /CN=a
Issuer: /CN=in between
OCSP Response Key:
Chain Subject: /CN=in between
Chain Issuer: /CN=root
Chain Subject: /CN=other
Chain Issuer: /CN=root
"""


def test_one_is_read_from_haproxys_words() -> None:
    assert certificates.shown("/c/a.pem", SHOWN) == Certificate(
        path="/c/a.pem",
        names=("a.test", "*.b.test"),
        begins=1_795_384_540.0,
        ends=1_797_976_540.0,
        fingerprint="FFCD43B7AA12271F5ED3F2D333C4D0740BFB3C0D",
        chain=2,
    )


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Can't display the certificate: Not found or the certificate is a bundle!\n",
        "Filename: /c/a.pem\nStatus: Empty\n",
        SHOWN.replace("notAfter", "notEver"),
        SHOWN.replace("Dec 22", "Foo 99"),
    ],
)
def test_what_is_no_certificate_is_none(answer: str) -> None:
    assert certificates.shown("/c/a.pem", answer) is None


STAT = """\
# pxname,svname,qcur,scur,stot,bin,bout,type,req_tot,
web,FRONTEND,,2,10,100,1000,0,25,
tcp,FRONTEND,,1,4,50,60,0,,
web,BACKEND,0,2,9,100,1000,1,24,
"""


def test_frontends_are_summed_by_the_names_of_columns() -> None:
    seen = figures.frontends(STAT, 7, old=True)
    assert (seen.sessions, seen.requests, seen.bytes_in, seen.bytes_out) == (3, 29, 150, 1060)
    assert (seen.pid, seen.old, seen.answered) == (7, True, True)


@pytest.mark.parametrize("answer", ["", "Can't find the target PID matching the prefix '@!7'\n"])
def test_a_worker_that_ended_while_it_was_asked_is_told(answer: str) -> None:
    assert not figures.frontends(answer, 7, old=True).answered


@contextlib.asynccontextmanager
async def answering(folder: Path, answers: dict[str, str]) -> AsyncIterator[FakeWorker]:
    """Worker 7, which answers so to what begins so, and else does not know certificates."""
    worker = FakeWorker(folder / "admin.sock", pid=7, odd=answers)
    async with worker.serving():
        yield worker


BUNDLE = Bundle(
    pem="-----BEGIN X-----\nSECRET\n-----END X-----\n",
    fingerprint="FFCD43B7AA12271F5ED3F2D333C4D0740BFB3C0D",
    digest="D",
)


def fine(_: Certificate) -> str:
    return ""


async def test_one_is_exchanged_and_seen_to_serve(tmp_short: Path) -> None:
    answers = {
        "set ssl cert": "Transaction created for certificate /c/a.pem!\n",
        "show ssl cert": SHOWN,
        "commit ssl cert": "Committing /c/a.pem..\nSuccess!\n",
    }
    async with answering(tmp_short, answers) as haproxy:
        made = await RuntimeCertificates(str(haproxy.path)).replace("/c/a.pem", BUNDLE, fine, 7)
    assert made.fingerprint == BUNDLE.fingerprint
    assert haproxy.asked[2:] == [
        "show ssl cert",
        "set ssl cert /c/a.pem <<",
        "show ssl cert */c/a.pem",
        "commit ssl cert /c/a.pem",
        "show ssl cert /c/a.pem",
    ]


@pytest.mark.parametrize(
    ("answers", "kind", "words"),
    [
        ({"set ssl cert": "Can't load the payload\n"}, errors.CertificateRefused, "Can't load"),
        (
            {"set ssl cert": "Unknown command: 'SECRET'\n"},
            errors.CertificateRefused,
            "it does not know the command",
        ),
        (
            {
                "set ssl cert": "Can't replace a certificate which is "
                "not referenced by the configuration!"
            },
            errors.NeedsReload,
            "does not replace /c/a.pem",
        ),
        ({"set ssl cert": "Permission denied\n"}, errors.TargetDenied, "cannot be changed"),
        (
            {"set ssl cert": "Transaction created", "commit ssl cert": "inconsistencies\n"},
            errors.CertificateRefused,
            "inconsistencies",
        ),
    ],
)
async def test_refusals_have_haproxys_words_and_no_payload(
    tmp_short: Path, answers: dict[str, str], kind: type[Exception], words: str
) -> None:
    rest = {"show ssl cert": SHOWN, "abort": "Transaction aborted"}
    async with answering(tmp_short, {**rest, **answers}) as haproxy:
        with pytest.raises(kind, match=words) as caught:
            await RuntimeCertificates(str(haproxy.path)).replace("/c/a.pem", BUNDLE, fine, 7)
    assert "SECRET" not in str(caught.value)
    if "commit ssl cert" in answers:
        assert haproxy.asked[-1] == "abort ssl cert /c/a.pem"


async def test_what_must_not_serve_is_never_committed(tmp_short: Path) -> None:
    answers = {"set ssl cert": "Transaction created", "show ssl cert": SHOWN, "abort": ""}
    async with answering(tmp_short, answers) as haproxy:
        with pytest.raises(errors.CertificateRefused, match="too old"):
            await RuntimeCertificates(str(haproxy.path)).replace(
                "/c/a.pem", BUNDLE, lambda _: "too old", 7
            )
    assert not any(command.startswith("commit") for command in haproxy.asked)
    assert haproxy.asked[-1] == "abort ssl cert /c/a.pem"


async def test_another_worker_is_told_nothing(tmp_short: Path) -> None:
    async with answering(tmp_short, {}) as haproxy:
        with pytest.raises(errors.TargetUnavailable):
            await RuntimeCertificates(str(haproxy.path)).replace("/c/a.pem", BUNDLE, fine, 8)
    assert haproxy.asked == ["prompt", "show info"]


async def test_a_transaction_that_was_left_is_ended_first(tmp_short: Path) -> None:
    answers = {
        "show ssl cert": f"# transaction\n*/c/x.pem\n# filename\n/c/a.pem\n{SHOWN}",
        "set ssl cert": "Transaction created",
        "commit": "Success!",
        "abort": "Transaction aborted",
    }
    async with answering(tmp_short, answers) as haproxy:
        await RuntimeCertificates(str(haproxy.path)).replace("/c/a.pem", BUNDLE, fine, 7)
    assert haproxy.asked[3] == "abort ssl cert /c/x.pem"


@pytest.mark.parametrize("path", ["/c/a b.pem", "/c/a;show.pem", "/c/a\n.pem"])
async def test_odd_names_are_not_said(tmp_short: Path, path: str) -> None:
    async with answering(tmp_short, {}) as haproxy:
        with pytest.raises(errors.CertificateRefused, match="cannot be said"):
            await RuntimeCertificates(str(haproxy.path)).replace(path, BUNDLE, fine, 7)
    assert len(haproxy.asked) == 2


async def test_a_build_without_tls_has_none(tmp_short: Path) -> None:
    unknown = "Unknown command: 'show ssl cert'\n"
    async with answering(tmp_short, {"show ssl": unknown}) as haproxy:
        assert await RuntimeCertificates(str(haproxy.path)).loaded() == Loaded(worker=7)
