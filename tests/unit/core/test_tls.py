"""What a PEM file holds, what may be served in place of what, and how an end is told."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confsync.core import tls
from confsync.domain.tls import Certificate, Expiry

NOW = 1_800_000_000.0


def block(kind: str, content: bytes = b"x" * 60) -> str:
    rows = base64.encodebytes(content).decode()
    return f"-----BEGIN {kind}-----\n{rows}-----END {kind}-----\n"


LEAF, CHAIN = block("CERTIFICATE", b"leaf" * 30), block("CERTIFICATE", b"chain" * 30)
KEY = block("PRIVATE KEY", b"key" * 30)
PARAMETERS = block("DH PARAMETERS", b"dh" * 30)


def certificate(**more: object) -> Certificate:
    values: dict[str, object] = {
        "path": "/c/a.pem",
        "names": ("a.test", "b.test"),
        "begins": NOW - tls.DAY,
        "ends": NOW + tls.DAY,
        "fingerprint": "F",
    }
    return Certificate(**(values | more))  # type: ignore[arg-type]


class TestBundle:
    @pytest.mark.parametrize(
        "text",
        [
            LEAF + CHAIN + KEY,
            KEY + LEAF + CHAIN,
            f"Bag Attributes\n\n{LEAF}\n\nsubject=a\n{CHAIN}\n\n\n{KEY}",
            (LEAF + CHAIN + KEY).replace("\n", "\r\n"),
            (LEAF + CHAIN + KEY).replace("\n-----END", "\n\n-----END"),
        ],
    )
    def test_blocks_come_in_haproxys_order_without_anything_between(self, text: str) -> None:
        bundle = tls.bundle(text.encode())
        assert bundle.pem == LEAF + CHAIN + KEY
        assert bundle.chain == 1
        assert bundle.fingerprint == hashlib.sha1(b"leaf" * 30).hexdigest().upper()

    def test_a_key_may_be_in_another_file(self) -> None:
        assert tls.bundle(LEAF.encode(), KEY.encode()).pem == LEAF + KEY

    def test_parameters_are_kept(self) -> None:
        assert tls.bundle((PARAMETERS + LEAF + KEY).encode()).pem == LEAF + KEY + PARAMETERS

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("hello", "it holds no PEM text"),
            (KEY, "it holds no certificate"),
            (LEAF, "it holds no private key, and there is none beside it"),
            (LEAF + KEY + KEY, "it holds more than one private key"),
            (LEAF + block("ENCRYPTED PRIVATE KEY"), "its private key has a passphrase"),
            (
                LEAF + KEY.replace("\n", "\nProc-Type: 4,ENCRYPTED\n", 1),
                "its private key has a passphrase",
            ),
            (LEAF.replace("b", "?") + KEY, "a certificate in it is garbled"),
            (LEAF + KEY[:40], "a part of it is cut off or garbled"),
            (LEAF[:70] + KEY, "a part of it is cut off or garbled"),
        ],
    )
    def test_what_is_unfit_is_told_without_showing_it(self, text: str, words: str) -> None:
        with pytest.raises(tls.Unfit, match=words) as caught:
            tls.bundle(text.encode())
        assert "\n" not in str(caught.value)
        assert not any(row in str(caught.value) for row in KEY.splitlines()[1:-1])

    @given(st.integers(0, len(LEAF + KEY) - 2))
    def test_no_part_of_a_file_is_taken_for_the_whole(self, length: int) -> None:
        with pytest.raises(tls.Unfit):
            tls.bundle((LEAF + KEY)[:length].encode())

    @given(st.binary(max_size=300))
    def test_whatever_is_read_no_payload_has_a_blank_row(self, noise: bytes) -> None:
        """HAProxy's socket would take what follows for commands."""
        try:
            pem = tls.bundle(noise + b"\n" + (LEAF + KEY).encode() + noise).pem
        except tls.Unfit:
            return
        assert "\n\n" not in pem
        assert all(row.isascii() and row.strip() == row for row in pem.splitlines())

    def test_a_repr_shows_no_key(self) -> None:
        assert "BEGIN" not in repr(tls.bundle((LEAF + KEY).encode()))


class TestNames:
    @pytest.mark.parametrize("name", ["a.pem", "a.crt", "a", "_.a.test.pem", "a.pem.rsa"])
    def test_what_haproxy_loads(self, name: str) -> None:
        assert tls.serves(name)
        assert tls.sayable(name)

    @pytest.mark.parametrize(
        "name", [".a.pem", "a.key", "a.pem.ocsp", "a.issuer", "a.sctl", ".a.pem.confsync"]
    )
    def test_what_it_does_not(self, name: str) -> None:
        assert not tls.serves(name)

    @pytest.mark.parametrize("name", ["a b.pem", "a;b.pem", "a\n.pem", "ä.pem", "-a", "a'b"])
    def test_what_the_socket_cannot_take(self, name: str) -> None:
        assert not tls.sayable(name)

    def test_where_a_key_may_be(self) -> None:
        assert tls.key_names("a.pem") == ("a.pem.key", "a.key")
        assert tls.key_names("a.crt") == ("a.crt.key", "a.key")
        assert tls.key_names("a.test") == ("a.test.key",)


class TestJudging:
    @pytest.mark.parametrize(
        ("begins", "ends", "words"),
        [
            (NOW - 9, NOW + 9, ""),
            (NOW, NOW + 1, ""),
            (NOW - 9, NOW, "it ended less than a day ago"),
            (NOW - 9, NOW - 2.5 * tls.DAY, "it ended 2 days ago"),
            (NOW + 1, NOW + 9, "it begins in less than a day only: look at this machine's clock"),
        ],
    )
    def test_dates(self, begins: float, ends: float, words: str) -> None:
        assert tls.refusal(certificate(begins=begins, ends=ends), NOW) == words

    def test_lost_names(self) -> None:
        assert tls.lost(certificate(), certificate(names=("b.test", "c.test"))) == ("a.test",)
        assert tls.lost(certificate(), certificate()) == ()

    def test_the_next_end_is_first(self) -> None:
        rows = tls.expiring(
            [certificate(path=p, ends=NOW + d * tls.DAY) for p, d in (("a", 9), ("b", -0.5))], NOW
        )
        assert [(row.path, row.days) for row in rows] == [("b", -1), ("a", 9)]

    @pytest.mark.parametrize(
        ("days", "words"),
        [
            (30, "/c/a.pem (a.test) ends in 30 days; renew it"),
            (1, "/c/a.pem (a.test) ends in 1 day; renew it"),
            (0, "/c/a.pem (a.test) ends today; renew it"),
            (-1, "/c/a.pem (a.test) ended today: clients refuse it; renew it"),
            (-3, "/c/a.pem (a.test) ended 2 days ago: clients refuse it; renew it"),
        ],
    )
    def test_words_for_it_change_each_day(self, days: int, words: str) -> None:
        row = Expiry(path="/c/a.pem", names=("a.test",), ends=NOW, days=days)
        assert tls.warning(row) == words
