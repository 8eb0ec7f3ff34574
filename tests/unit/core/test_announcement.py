"""What neighbours learn an address from."""

from confsync.core import announcement

HARDWARE = bytes.fromhex("02000000000c")


def test_a_request_and_a_reply_announce_an_ipv4_address() -> None:
    request, reply = announcement.frames(HARDWARE, "10.9.0.100")
    # To everybody, from us, ARP; Ethernet and IPv4; kind; sender twice.
    start = "ffffffffffff02000000000c0806" + "0001080006040001" + "02000000000c0a090064"
    assert request.hex() == start + "0000000000000a090064"
    assert reply.hex() == start.replace("06040001", "06040002") + "ffffffffffff0a090064"


def test_an_advertisement_announces_an_ipv6_address() -> None:
    # Caught on a wire: Linux 6.18's own, with ndisc_notify, at a change of the hardware address.
    caught = (
        "33330000000102000000000c86dd6000000000203aff20010db8000000000000000000000100ff02000000000000"
        "00000000000000018800f7212000000020010db8000000000000000000000100020102000000000c"
    )
    assert announcement.frames(HARDWARE, "2001:db8::100") == (bytes.fromhex(caught),)
