"""Command lines, configurations and logs of the programs that elect; the kernel's answers."""

import socket
from ipaddress import ip_address

import pytest

from confsync.adapters.vip import keepalived, rtnetlink, ucarp
from confsync.core.failover import Word

CONTESTED = (
    "Non-preferred master advertising: reasserting control of VIP with another gratuitous arp"
)
PAIR = ucarp.Options(address="10.9.0.100", password="s3cr3t", immediate="/lib/immediate.so")


def with_(**changes: object) -> ucarp.Options:
    values = {name: getattr(PAIR, name) for name in PAIR.__slots__} | changes
    return ucarp.Options(**values)


def test_ucarp_gets_its_password_by_a_descriptor() -> None:
    argv = ucarp.arguments("/usr/sbin/ucarp", PAIR, "eth0", "10.9.0.11", 7, 8)
    assert argv == [
        "/usr/sbin/ucarp",
        "--interface=eth0",
        "--srcip=10.9.0.11",
        "--vhid=42",
        "--addr=10.9.0.100",
        "--passfile=/proc/self/fd/7",
        "--upscript=/proc/self/fd/8",
        "--advbase=1",
        "--advskew=0",
        "--deadratio=3",
        "--facility=none",
        "--neutral",
    ]
    for changed in (with_(preempt=True), with_(base=0, skew=26)):
        assert "--preempt" in ucarp.arguments("u", changed, "eth0", "10.9.0.11", 7, 8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": ""}, "needs a password"),
        ({"password": "x" * 20}, "has 20 bytes, ucarp takes 19"),
        ({"password": "ü" * 10}, "has 20 bytes"),
        ({"password": "a\nb"}, "line break"),
        ({"base": 85}, "no goodbye"),
        ({"base": 0}, "vip.advskew"),
        ({"base": 0, "skew": 26, "immediate": ""}, "immediate.so"),
    ],
)
def test_what_ucarp_would_take_wrongly_is_told(changes: dict[str, object], words: str) -> None:
    (fault,) = ucarp.faults_of(with_(**changes))
    assert words in fault
    assert fault.endswith(")")  # with a remedy
    password = str(changes.get("password") or "-")
    assert password not in fault


def test_the_password_is_in_no_text_of_the_options() -> None:
    assert PAIR.password not in repr(PAIR)


def test_what_ucarp_takes_is_no_fault() -> None:
    for changes in ({}, {"password": "x" * 19}, {"immediate": ""}, {"base": 0, "skew": 10}):
        assert not list(ucarp.faults_of(with_(**changes)))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("2026-11-22T22:12:51.000001: [WARNING] Switching to state: MASTER", Word.MASTER),
        ("2026-11-22T22:12:51.000001: [WARNING] Switching to state: BACKUP", Word.BACKUP),
        (f"x: [WARNING] {CONTESTED}", Word.CONTESTED),
        ("2026-11-22T22:12:51.000001: [WARNING] Spawning [/proc/self/fd/8 eth0 10.9.0.100]", None),
    ],
)
def test_ucarps_state_is_read_from_its_log(line: str, word: Word | None) -> None:
    assert ucarp.heard(line) is word


def test_a_line_of_ucarp_loses_its_time_and_its_digests() -> None:
    start = "2026-11-22T22:12:51.000001: [WARNING] "
    digest = "Bad digest - md2=[01020304...] md=[05060708...] - Check vhid, password and virtual IP"
    assert ucarp.worded(start + digest) == (
        "warning",
        "Bad digest - Check vhid, password and virtual IP",
    )
    assert ucarp.worded("ucarp: what is this") == ("info", "ucarp: what is this")
    assert ucarp.worded(start + "Switching to state: MASTER")[1] == ""


def test_keepalived_elects_without_the_shared_address() -> None:
    options = keepalived.Options(vhid=7, interval=0.1, priority=150)
    text = keepalived.configuration(options, "eth0", "10.9.0.11", "/run/x/state")
    assert (
        text
        == """\
global_defs {
    router_id confsync
    vrrp_notify_fifo /run/x/state
}
vrrp_instance confsync {
    version 3
    state BACKUP
    interface eth0
    virtual_router_id 7
    priority 150
    advert_int 0.1
    nopreempt
    virtual_ipaddress {
        127.0.112.7/32 dev lo scope host
    }
    mcast_src_ip 10.9.0.11
}
"""
    )


def test_keepalived_speaks_to_its_peers_alone() -> None:
    options = keepalived.Options(peers=("fd00::2", "fd00::3"), preempt=True)
    text = keepalived.configuration(options, "eth0", "fd00::1", "/run/x/state")
    assert text.endswith("""\
    native_ipv6
    virtual_ipaddress {
        fe80::70:2a/128 dev lo scope host
    }
    unicast_src_ip fd00::1
    unicast_peer {
        fd00::2
        fd00::3
    }
}
""")
    assert "nopreempt" not in text
    assert "mcast" not in text


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('INSTANCE "confsync" MASTER 100', Word.MASTER),
        ('INSTANCE "confsync" BACKUP 100', Word.BACKUP),
        ('INSTANCE "confsync" FAULT 100', Word.BACKUP),
        ('INSTANCE "confsync" STOP 100', Word.BACKUP),
        ('INSTANCE "confsync" MASTER_RX_LOWER_PRI 100', Word.CONTESTED),
        ('INSTANCE "confsync" DELETED 100', None),
        ('INSTANCE "other" MASTER 100', None),
        ('GROUP "confsync" MASTER 0', None),
    ],
)
def test_keepaliveds_state_is_read_from_its_fifo(line: str, word: Word | None) -> None:
    assert keepalived.heard(line) is word


def test_a_request_for_a_lease_is_worded_as_the_kernel_reads_it() -> None:
    # What `ip address replace 10.9.0.100/32 dev (index 3) valid_lft 2 preferred_lft 2` sends.
    body = rtnetlink.change(ip_address("10.9.0.100"), 32, 3, 2)
    assert body.hex() == (
        "0220000003000000"
        "080002000a090064"
        "080001000a090064"
        "14000600020000000200000000000000" + "00000000"
    )


def test_an_ipv6_address_is_usable_at_once_and_never_a_source() -> None:
    body = rtnetlink.change(ip_address("fd00::1"), 128, 3, 2)
    assert body.endswith(bytes.fromhex("14000600000000000200000000000000000000000800080002000000"))


@pytest.mark.parametrize("address", ["10.9.0.100", "fd00::100"])
def test_the_kernels_answer_is_what_was_asked_for(address: str) -> None:
    parsed = ip_address(address)
    found = rtnetlink.found(rtnetlink.change(parsed, parsed.max_prefixlen, 3, 2))
    assert (found.address, found.index, found.lease, found.whole) == (parsed, 3, 2, True)
    for_ever = rtnetlink.found(rtnetlink.change(parsed, 24, 3, 0xFFFFFFFF))
    assert (for_ever.lease, for_ever.whole) == (None, False)


def test_a_route_names_device_and_source() -> None:
    # RTM_NEWROUTE for 10.9.0.100: table, destination, interface 3, preferred source 10.9.0.1.
    body = bytes([socket.AF_INET, 32, 0, 0, 254, 0, 0, 1]) + bytes(4)
    body += bytes.fromhex("08000f00fe000000080001000a0900640800040003000000080007000a090001")
    assert rtnetlink.way(body) == rtnetlink.Way(index=3, source=ip_address("10.9.0.1"))
    assert rtnetlink.way(body[:12]) == rtnetlink.Way(index=0, source=None)
