"""What is there before: leftovers, a wrong address, missing rights, a wrong password."""

import pytest

from tests.integration.vip.conftest import MORE, VIP, Pair
from tests.support.process import wait_until

CAPABILITIES = {"net_admin": "NET_ADMIN", "net_raw": "NET_RAW"}


@pytest.mark.usefixtures("engine")
def test_leftovers_are_removed_before_anything_is_elected(pair: Pair) -> None:
    pair.a.ip("address", "add", f"{VIP}/32", "dev", "eth0")
    pair.a.ip("address", "add", f"{MORE}/32", "dev", "lo")
    runner = pair.start(pair.a, ready=False)
    runner.wait("ready")
    assert not pair.a.has(VIP)
    assert not pair.a.has(MORE)
    assert runner.count("shared address of an earlier run removed") == 2
    runner.tell("ok")
    pair.only(pair.a)


def test_the_hosts_own_address_is_not_taken_for_a_shared_one(pair: Pair) -> None:
    pair.a.ip("address", "add", f"{VIP}/24", "dev", "eth0")
    runner = pair.start(pair.a, ready=False)
    assert runner.ended() == 78
    assert f"{VIP}/24 is this host's own on eth0" in runner.text
    assert pair.a.has(VIP)


def test_the_only_address_of_a_device_is_the_hosts_own(pair: Pair) -> None:
    """Clouds give each host an address of its own without a network, and for a lease of theirs."""
    words = ("address", "replace", f"{pair.a.own}/32", "dev", "eth0", "valid_lft", "900")
    pair.a.ip("address", "flush", "dev", "eth0", "scope", "global")
    pair.a.ip(*words, "preferred_lft", "900")
    runner = pair.start(pair.a, ready=False, address=pair.a.own, device="eth0")
    assert runner.ended() == 78
    assert f"{pair.a.own}/32 is this host's own on eth0" in runner.text
    assert pair.a.has(pair.a.own)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("right", list(CAPABILITIES))
def test_a_missing_right_is_one_clear_error(pair: Pair, right: str, engine: str) -> None:
    runner = pair.start(
        pair.a, "setpriv", f"--bounding-set=-{right}", "--inh-caps=-all", ready=False
    )
    assert runner.ended() == 77
    (event,) = runner.events
    assert f"the capability {CAPABILITIES[right]} is missing" in event["error"]
    assert "--cap-add" in event["error"]
    assert engine in {"ucarp", "keepalived"}
    assert not pair.a.has(VIP)


def test_a_device_that_is_not_there_is_an_error(pair: Pair) -> None:
    runner = pair.start(pair.a, ready=False, device="eth7")
    assert runner.ended() == 69
    assert "no network interface eth7" in runner.text


def test_without_a_route_the_device_must_be_named(pair: Pair) -> None:
    runner = pair.start(pair.a, ready=False, address="10.77.0.100")
    assert runner.ended() == 69
    assert "no route leads to 10.77.0.100" in runner.text
    assert "set vip.device" in runner.text
    named = pair.start(pair.a, address="10.77.0.100", device="eth0")
    wait_until(lambda: pair.a.has("10.77.0.100"), "the address on the named device")
    named.close()
    assert not pair.a.has("10.77.0.100")


def test_another_password_is_told(pair: Pair) -> None:
    first = pair.start(pair.a)
    pair.only(pair.a)
    pair.password.write_text("another\n")
    second = pair.start(pair.b)
    wait_until(lambda: "Bad digest - Check vhid, password" in second.text, "the reason")
    assert "open-sesame" not in first.text + second.text


def test_a_password_that_is_too_long_is_refused(pair: Pair) -> None:
    pair.password.write_text("x" * 20)
    runner = pair.start(pair.a, ready=False)
    assert runner.ended() == 78
    assert "ucarp takes 19" in runner.text
    assert "xxxx" not in runner.text
