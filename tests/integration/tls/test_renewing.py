"""Renewed certificates are served without a reload, bad ones are not, and nobody is disturbed."""

import http.client
import time

import pytest

from confsync.adapters.tls.folder import SELF_SIGNED
from confsync.errors import CheckRejected
from tests.conftest import Soak
from tests.integration.tls.conftest import Site, fingerprint
from tests.support.backend import Backends
from tests.support.load import Load
from tests.support.tls import Certificate

ASK = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"


def bad_files(site: Site, good: Certificate, other: Certificate) -> dict[str, tuple[bytes, str]]:
    """What must never be served, with a part of the words for it."""
    cert, key = good.cert.read_bytes(), good.key.read_bytes()
    ended = site.sign("ended", host="a.test", days=0)
    return {
        "another key": (cert + other.key.read_bytes(), "belongs to another certificate"),
        "garbage": (b"\x00\xff" * 500, "no PEM text"),
        "empty": (b"", "it is empty"),
        "half written": ((cert + key)[: len(cert) + 100], "half written"),
        "cut in the certificate": (cert[:200], "half written"),
        "no key": (cert, "no private key"),
        "no certificate": (key, "no certificate"),
        "garbled": (cert.replace(b"M", b"N", 20) + key, ""),
        "ended": (ended.pem.read_bytes(), "it ended"),
    }


async def test_renewals_cost_nothing_and_bad_ones_are_refused(
    site: Site, backends: Backends, soak: Soak
) -> None:
    now = site.sign("a.test", host="web")
    site.put("a.pem", now)
    site.put("b.pem", site.sign("b.test"))
    keeper = site.keeper()
    await keeper.prepare()
    site.write(backends.start_many(2))
    with (
        site.serving(),
        site.shake("web") as held,
        Load(
            site.port,
            host_header="web",
            streams=1,
            think=0.01,
            tls=site.authority.cert,
            server_name="web",
        ) as load,
    ):

        def again() -> None:
            held.sendall(ASK)
            with http.client.HTTPResponse(held) as answer:
                answer.begin()
                assert (answer.status, answer.read()[:1]) == (200, b"s")

        pid = site.haproxy.worker_pid()
        load.wait_ok(50)
        assert (await keeper.renew()).taken == ()  # nothing has changed since the start
        for number in range(soak.n(5, 50)):
            now = site.sign(f"a{number}", host="web")
            site.put("a.pem", now)
            renewal = await keeper.renew()
            assert (renewal.taken, renewal.refused) == ((f"{site.copies}/a.pem",), ())
            assert site.served("web") == fingerprint(now)
            assert (await keeper.renew()).taken == ()
            again()  # the connection of before the first renewal
            load.wait_ok(10)
        other = site.sign("other", host="web")
        bad = bad_files(site, now, other)
        again()  # HAProxy ends what says nothing for five seconds
        time.sleep(1)  # a certificate of no days ends after its first second
        for what, (data, words) in bad.items():
            path = site.put("a.pem", data)
            if what == "ended":
                time.sleep(1.1)
            renewal = await keeper.renew()
            assert renewal.taken == (), what
            assert len(renewal.refused) == 1, what
            assert renewal.refused[0].startswith(f"{path}: "), what
            assert words in renewal.refused[0], what
            assert site.served("web") == fingerprint(now), what
            again()
        site.put("a.pem", other)
        renewal = await keeper.renew()
        assert (renewal.taken, renewal.refused) == ((f"{site.copies}/a.pem",), ())
        assert site.served("web") == fingerprint(other)
        # One of two was changed, nobody else was told anything, no worker is another one.
        assert site.haproxy.worker_pid() == pid
        assert site.haproxy.reloads() == 0
        load.wait_ok(50)
        report = load.stop()
        assert report.failed_as == {}
        assert (report.cut_streams, report.streams_alive) == (0, 1)
    assert site.reloads == []
    logged = repr(site.told.events) + site.haproxy.logs()
    assert "PRIVATE" not in logged
    assert other.key.read_text().split("\n")[1] not in logged


async def test_a_bad_file_costs_no_reload_and_no_start(site: Site, backends: Backends) -> None:
    a, b = site.sign("a.test"), site.sign("b.test")
    site.put("a.pem", a)
    site.put("b.pem", b)
    keeper = site.keeper()
    await keeper.prepare()
    site.write([backends.start("one")])
    with site.serving():
        site.put("b.pem", a.cert.read_bytes() + b.key.read_bytes())
        assert len((await keeper.renew()).refused) == 1
        assert site.haproxy.check()[0] == 0
        site.reload()
        assert (site.served("a.test"), site.served("b.test")) == (fingerprint(a), fingerprint(b))
        # A start, as after a crash: the last good copy is still there.
        await keeper.prepare()
        site.haproxy.restart()
        site.wait_port()
        assert site.served("b.test") == fingerprint(b)
        # The control: HAProxy itself refuses everything for one bad file.
        (site.copies / "c.pem").write_bytes((site.given / "b.pem").read_bytes())
        assert site.haproxy.check()[0] != 0
    modes = {path.stat().st_mode & 0o777 for path in site.copies.iterdir() if path.name != "c.pem"}
    assert modes == {0o600}
    assert site.copies.stat().st_mode & 0o777 == 0o700


async def test_certificates_come_and_go(site: Site, backends: Backends) -> None:
    later = [0.0]
    a, b, c = (site.sign(f"{name}.test") for name in "abc")
    site.put("a.pem", a)
    site.put("b.pem", b)
    keeper = site.keeper(clock=lambda: time.time() + later[0])
    await keeper.prepare()
    site.write([backends.start("one")])
    with site.serving():
        pid = site.haproxy.worker_pid()
        assert site.served("c.test") == fingerprint(a)
        # The key may lie beside.
        site.put("c.crt", c.cert.read_bytes())
        site.put("c.key", c.key.read_bytes())
        renewal = await keeper.renew()
        assert (renewal.taken, renewal.refused, renewal.waits) == (
            (f"{site.copies}/c.crt.pem",),
            (),
            "",
        )
        assert site.served("c.test") == fingerprint(c)
        c = site.sign("c2", host="c.test")
        site.put("c.key", c.key.read_bytes())
        assert len((await keeper.renew()).refused) == 1  # in between: half of it
        site.put("c.crt", c.cert.read_bytes())
        renewal = await keeper.renew()
        assert (renewal.taken, renewal.refused) == ((f"{site.copies}/c.crt.pem",), ())
        assert site.served("c.test") == fingerprint(c)
        # Gone for a moment is not gone.
        (site.given / "b.pem").unlink()
        assert (await keeper.renew()).gone == ()
        assert site.served("b.test") == fingerprint(b)
        later[0] += 61
        assert (await keeper.renew()).gone == (f"{site.copies}/b.pem",)
        assert site.served("b.test") == fingerprint(a)
        assert site.haproxy.worker_pid() == pid
        assert site.reloads == []
        # The first one is the folder's default: only a reload takes it away.
        (site.given / "a.pem").unlink()
        await keeper.renew()
        later[0] += 61
        renewal = await keeper.renew()
        assert (renewal.gone, len(renewal.reload), len(site.reloads)) == ((), 1, 1)
        assert "a.pem is HAProxy's default certificate" in site.reloads[0]
        assert site.served("a.test") == fingerprint(a)
        site.reload()
        assert site.served("a.test") == fingerprint(c)
        renewal = await keeper.renew()
        assert (renewal.reload, len(site.reloads)) == ((), 1)
        # The last one stays, whatever happens to the folder.
        for path in site.given.iterdir():
            path.unlink()
        later[0] += 61
        for _ in range(2):
            renewal = await keeper.renew()
            assert (renewal.gone, renewal.reload) == ((), ())
            later[0] += 61
        assert site.served("c.test") == fingerprint(c)


async def test_what_the_socket_cannot_take_is_reloaded(site: Site, backends: Backends) -> None:
    a = site.sign("a.test")
    site.put("a.pem", a)
    keeper = site.keeper()
    await keeper.prepare()
    site.write([backends.start("one")])
    with site.serving():
        long = site.sign("long", host="a.test")
        chain = site.authority.cert.read_bytes() * 30
        site.put("a.pem", long.cert.read_bytes() + chain + long.key.read_bytes())
        renewal = await keeper.renew()
        assert (renewal.taken, renewal.refused, len(site.reloads)) == ((), (), 1)
        assert site.served() == fingerprint(a)
        await keeper.renew()
        assert len(site.reloads) == 1  # asked for once
        site.reload()
        assert site.served() == fingerprint(long)
        assert (await keeper.renew()).reload == ()


async def test_without_any_one_is_made_once_and_kept(site: Site, backends: Backends) -> None:
    keeper = site.keeper()
    await keeper.prepare()
    made = (site.copies / SELF_SIGNED).read_bytes()
    await site.keeper().prepare()
    assert (site.copies / SELF_SIGNED).read_bytes() == made
    assert site.kept.stat().st_mode & 0o777 == 0o600
    assert [e[0] for e in site.told.events] == ["warning", "warning"]  # loud, each time
    site.write([backends.start("one")])
    with site.serving():
        site.served("localhost")
        (only,) = (await keeper.renew(), keeper.expiries())[1]
        assert only.names == ("localhost",)  # HAProxy shows no addresses
        assert only.days > 3000
        # The first real one takes its place; HAProxy's default changes with a reload only.
        real = site.sign("a.test")
        site.put("a.pem", real)
        renewal = await keeper.renew()
        assert renewal.taken == (f"{site.copies}/a.pem",)
        assert site.served("a.test") == fingerprint(real)
        assert len(site.reloads) == 1
        site.reload()
        assert site.served("localhost") == fingerprint(real)
        assert [path.name for path in site.copies.iterdir()] == ["a.pem"]


@pytest.mark.parametrize("haproxy_version", ["2.6"], indirect=True)
async def test_given_but_none_good_is_an_error_and_no_made_up_one(site: Site) -> None:
    site.put("a.pem", b"garbage")
    with pytest.raises(CheckRejected, match="none of the certificates") as caught:
        await site.keeper().prepare()
    assert "a.pem: it holds no PEM text" in caught.value.detail
    assert not site.copies.exists()


async def test_an_operators_own_configuration_is_followed(site: Site) -> None:
    """`crt` of files and folders of theirs: no copies, the names are those that HAProxy knows."""
    a, b = site.sign("a.test"), site.sign("b.test")
    own = site.haproxy.etc / "own"
    own.mkdir()
    (own / "a.pem").write_bytes(a.pem.read_bytes())
    single = site.haproxy.etc / "b.pem"
    single.write_bytes(b.pem.read_bytes())
    site.haproxy.cfg.write_text(
        f"global\n  stats socket {site.haproxy.admin_socket} mode 600 level admin\n"
        "defaults\n  mode http\n  timeout client 9s\n  timeout connect 9s\n  timeout server 9s\n"
        f"frontend f\n  bind 127.0.0.1:{site.port} ssl crt {single} crt {own}/\n"
        "  http-request return status 200\n"
    )
    keeper = site.keeper()
    with site.serving():
        pid = site.haproxy.worker_pid()
        assert (await keeper.renew()).taken == ()
        assert {e.names for e in keeper.expiries()} == {("a.test",), ("b.test",)}
        a, b, c = (
            site.sign("a2", host="a.test"),
            site.sign("b2", host="b.test"),
            site.sign("c.test"),
        )
        for path, one in ((own / "a.pem", a), (single, b), (own / "c.pem", c)):
            path.write_bytes(one.pem.read_bytes())
        assert len((await keeper.renew()).taken) == 3
        for name, one in (("a.test", a), ("b.test", b), ("c.test", c)):
            assert site.served(name) == fingerprint(one)
        single.unlink()
        assert len((await keeper.renew()).refused) == 1
        assert site.served("b.test") == fingerprint(b)
        assert site.haproxy.worker_pid() == pid
    assert site.reloads == []
