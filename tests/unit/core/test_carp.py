"""The bytes of an advert are those that ucarp itself sends."""

from ipaddress import IPv4Address

import pytest

from confsync.core import carp

# Caught on a wire: ucarp 1.5.2, --vhid=7 --addr=10.9.0.100 --advbase=2 --advskew=5, "open sesame".
CAUGHT = (
    "21070507000205106c0c665a8423aa59e531ac9dab60aa086de5ff1fe9704dce7d3bcb42",
    "210705070002212bd48bd6b0a0db9977aff5e8f2599d35fd16d198b43b64d1f2349ab93a",
    "21070507000245d066f54c9adc1a6bd125d2458084bcd205f15ee3a32e8735b981621be9",
)
ADDRESS = IPv4Address("10.9.0.100")


@pytest.mark.parametrize("caught", CAUGHT)
def test_an_advert_is_ucarps_own(caught: str) -> None:
    sent = bytes.fromhex(caught)
    made = carp.advert(
        vhid=7, address=ADDRESS, password=b"open sesame", counter=sent[8:16], base=2, skew=5
    )
    assert made == sent


def test_a_goodbye_announces_the_longest_interval() -> None:
    made = carp.goodbye(vhid=7, address=ADDRESS, password=b"open sesame", counter=bytes(8))
    assert (made[1], made[2], made[5]) == (7, 255, 255)
    assert carp.checksum(made) == 0
    # Signed all the same, for anybody who has the password.
    same = carp.advert(
        vhid=7, address=ADDRESS, password=b"open sesame", counter=bytes(8), base=1, skew=0
    )
    assert made[16:] == same[16:]


@pytest.mark.parametrize(
    ("vhid", "address", "password", "counter"),
    [
        (8, "10.9.0.100", b"open sesame", bytes(8)),
        (7, "10.9.0.101", b"open sesame", bytes(8)),
        (7, "10.9.0.100", b"open sesamf", bytes(8)),
        (7, "10.9.0.100", b"open sesame", bytes(7) + b"\1"),
    ],
)
def test_whatever_is_signed_changes_the_signature(
    vhid: int, address: str, password: bytes, counter: bytes
) -> None:
    usual = carp.goodbye(vhid=7, address=ADDRESS, password=b"open sesame", counter=bytes(8))
    other = carp.goodbye(
        vhid=vhid, address=IPv4Address(address), password=password, counter=counter
    )
    assert other[16:] != usual[16:]


def test_an_odd_byte_counts_too() -> None:
    assert carp.checksum(b"\x01") == 0xFEFF  # RFC 1071: filled up with a zero
    assert carp.checksum(b"\xff\xff\xff\xff") == 0
