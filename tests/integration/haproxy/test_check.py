"""The check with real HAProxies, above all after a reload: there a naive one passes or fails all."""

import contextlib
import dataclasses
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.haproxy import check
from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from confsync.core.haproxy.command import MasterCommand, clean, parse
from confsync.domain.rendered import RenderedConfig, RenderedFile
from tests.support import machine
from tests.support.haproxy import HOST_VERSIONS, Haproxy, simple_config


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Files staged as the files adapter does it."""

    config: RenderedConfig
    paths: Mapping[str, str]


def stage(texts: Mapping[Path, str]) -> Candidate:
    files, paths = [], {}
    for destination, text in texts.items():
        path = destination.with_name(f".{destination.name}.confsync")
        path.write_text(text)
        paths[str(destination)] = str(path)
        files.append(
            RenderedFile(destination=str(destination), text=text, template=f"{destination.name}.j2")
        )
    return Candidate(config=RenderedConfig(files=tuple(files)), paths=paths)


def target(haproxy: Haproxy) -> SocketTarget:
    return SocketTarget(
        SocketOptions(
            config=str(haproxy.cfg),
            master_socket=str(haproxy.master_socket),
            stats_socket=str(haproxy.admin_socket),
            binary=haproxy.binary,
        )
    )


def text_of(haproxy: Haproxy) -> str:
    return simple_config(haproxy, port=machine.free_port(), servers=[1])


async def refused(one: SocketTarget, main: Path, staged: Candidate | None) -> errors.CheckRejected:
    with pytest.raises(errors.CheckRejected) as caught:
        await one.check(str(main), staged)
    left = [p.name for p in main.parent.iterdir() if ".check.confsync" in p.name]
    assert left == []
    return caught.value


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Start what follows with these variables."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


async def test_good_and_bad_candidates_are_told_apart_before_and_after_reloads(
    haproxy: Haproxy,
) -> None:
    good = text_of(haproxy)
    haproxy.cfg.write_text(good)
    haproxy.start()
    one = target(haproxy)
    seen = await one.observe()
    for _ in range(3):
        assert await one.check(str(haproxy.cfg), None) == ()
        assert await one.check(str(haproxy.cfg), stage({haproxy.cfg: good + "# more\n"})) == ()
        error = await refused(one, haproxy.cfg, stage({haproxy.cfg: good + "  bogus word\n"}))
        number = (good + "  bogus word\n").count("\n")
        assert error.what == (
            f"HAProxy refuses the configuration: {haproxy.cfg}:{number}: "
            "unknown keyword 'bogus' in 'backend' section"
        )
        assert f"{number:7d} |   bogus word" in error.detail
        assert "(rendered from haproxy.cfg.j2)" in error.detail
        seen = await one.reload(seen)
    assert haproxy.cfg.read_text() == good


@pytest.mark.parametrize("haproxy_version", HOST_VERSIONS, indirect=True)
async def test_the_masters_environment_as_it_is_would_judge_wrongly(haproxy: Haproxy) -> None:
    """The control of the test above: it is the cleaning that makes the check judge."""
    haproxy.cfg.write_text(text_of(haproxy))
    haproxy.start()
    one = target(haproxy)
    await one.reload(await one.observe())
    raw = Path(f"/proc/{haproxy.pid}/environ").read_bytes().decode()
    dirty = dict(each.split("=", 1) for each in raw.split("\0") if "=" in each)
    assert dirty != clean(dirty)
    haproxy.cfg.write_text("nonsense\n")
    codes = {}
    for name, env in (("dirty", dirty), ("clean", clean(dirty))):
        argv = [haproxy.binary, "-W", "-c", "-f", str(haproxy.cfg)]
        done = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=20)
        codes[name] = done.returncode
    assert codes["clean"] == 1
    assert codes["dirty"] != 1  # it exits 2, whatever the file says


async def test_staged_maps_are_checked_in_place_of_the_live_ones(haproxy: Haproxy) -> None:
    hosts = haproxy.etc / "hosts.map"
    hosts.write_text("a web\n")
    with_map = text_of(haproxy).replace(
        "  default_backend web", f"  use_backend %[req.hdr(host),map({hosts},web)]"
    )
    haproxy.cfg.write_text(with_map)
    haproxy.start()
    one = target(haproxy)
    await one.reload(await one.observe())
    assert await one.check(str(haproxy.cfg), stage({haproxy.cfg: with_map, hosts: "b web\n"})) == ()

    # A map of which no old content is there: the candidate's own is what counts.
    new = haproxy.etc / "new.map"
    with_new = with_map.replace(str(hosts), str(new))
    assert await one.check(str(haproxy.cfg), stage({haproxy.cfg: with_new, new: "b web\n"})) == ()
    error = await refused(one, haproxy.cfg, stage({haproxy.cfg: with_new}))
    assert str(new) in error.detail
    # The live list is a good one.
    blocked = haproxy.etc / "blocked.lst"
    blocked.write_text("10.0.0.1\n")
    with_list = with_map.replace(
        "  use_backend", f"  http-request deny if {{ src -f {blocked} }}\n  use_backend"
    )
    staged = stage({haproxy.cfg: with_list, blocked: "10.0.0.2\n"})
    assert await one.check(str(haproxy.cfg), staged) == ()
    staged = stage({haproxy.cfg: with_list, blocked: "no address\n"})
    error = await refused(one, haproxy.cfg, staged)
    assert str(blocked) in error.detail
    assert ".confsync" not in str(error) + error.detail


async def test_two_files_are_checked_together_in_their_order(
    tmp_short: Path, haproxy_version: str
) -> None:
    haproxy = Haproxy(haproxy_version, tmp_short / "hap", args=["-f", f"{tmp_short}/hap/etc/b.cfg"])
    second = haproxy.etc / "b.cfg"
    haproxy.cfg.write_text(text_of(haproxy))
    # `defaults` carry over from file to file: alone this one has no timeouts and no mode http.
    second.write_text(f"listen more\n  bind 127.0.0.1:{machine.free_port()}\n  http-request deny\n")
    with haproxy:
        one = target(haproxy)
        await one.reload(await one.observe())
        good = haproxy.cfg.read_text()
        assert await one.check(str(haproxy.cfg), stage({haproxy.cfg: good})) == ()
        clash = good + "\nlisten more\n  bind 127.0.0.1:1\n"
        await refused(one, haproxy.cfg, stage({haproxy.cfg: clash}))
        tcp = good.replace("mode http", "mode tcp")
        warnings = await one.check(str(haproxy.cfg), stage({haproxy.cfg: tcp}))
        assert any("'more'" in w for w in warnings)
        await refused(one, haproxy.cfg, stage({haproxy.cfg: good, second: "  bogus\n"}))


async def test_a_folder_is_checked_with_what_will_be_in_it(
    tmp_short: Path, haproxy_version: str
) -> None:
    haproxy = Haproxy(haproxy_version, tmp_short / "hap", args=["-f", f"{tmp_short}/hap/conf.d"])
    folder = haproxy.directory / "conf.d"
    folder.mkdir()
    haproxy.cfg.write_text("# all is in conf.d\n")
    main = folder / "5.cfg"
    good = text_of(haproxy)
    main.write_text(good)
    (folder / ".hidden.cfg").write_text("nonsense\n")
    with haproxy:
        one = target(haproxy)
        await one.reload(await one.observe())
        assert await one.check(str(main), None) == ()
        assert await one.check(str(main), stage({main: good + "# x\n"})) == ()
        await refused(one, main, stage({main: good + "  bogus\n"}))
        extra = folder / "9.cfg"
        error = await refused(one, main, stage({main: good, extra: "listen web\n  bogus\n"}))
        assert f"{extra}:2: unknown keyword 'bogus'" in error.detail
        (folder / "8.cfg").write_text("bogus\n")
        error = await refused(one, main, None)
        assert str(folder / "8.cfg") in str(error)


@pytest.mark.parametrize("haproxy_version", HOST_VERSIONS, indirect=True)
async def test_variables_are_the_masters_own(tmp_short: Path, haproxy_version: str) -> None:
    haproxy = Haproxy(haproxy_version, tmp_short / "hap")
    port = machine.free_port()
    text = text_of(haproxy) + '  timeout server "${CS_WAIT}"\n'
    haproxy.cfg.write_text(text)
    with environment(CS_WAIT="7s", CS_BROKEN="sometime"):
        haproxy.start()
    with contextlib.closing(haproxy):
        one = target(haproxy)
        await one.reload(await one.observe())
        assert "CS_WAIT" not in os.environ
        assert await one.check(str(haproxy.cfg), stage({haproxy.cfg: text + f"# {port}\n"})) == ()
        error = await refused(
            one, haproxy.cfg, stage({haproxy.cfg: text.replace("CS_WAIT", "CS_BROKEN")})
        )
        assert "unexpected character 's'" in error.what


@pytest.mark.parametrize("haproxy_version", ["2.6", "2.8", "3.0"], indirect=True)  # 3.2: refused
async def test_a_program_section_needs_the_masters_mode(haproxy: Haproxy) -> None:
    haproxy.cfg.write_text(text_of(haproxy) + "\nprogram side\n  command /bin/sleep 100\n")
    line = parse(["-Ws", "-f", str(haproxy.cfg)])
    assert line is not None
    command = MasterCommand(pid=1, files=line.files, options=line.options)
    one = check.Checker(SocketOptions(binary=haproxy.binary))
    assert await one.check(str(haproxy.cfg), None, command=command, version="") == ()
    with pytest.raises(errors.CheckRejected, match="without master worker mode"):
        await one.check(str(haproxy.cfg), None, command=None, version="")


async def test_without_a_running_haproxy_the_file_alone_is_checked(haproxy: Haproxy) -> None:
    good = text_of(haproxy)
    haproxy.cfg.write_text(good)
    one = target(haproxy)
    assert await one.check(str(haproxy.cfg), None) == ()
    await refused(one, haproxy.cfg, stage({haproxy.cfg: good + "  bogus\n"}))
    haproxy.cfg.unlink()
    await refused(one, haproxy.cfg, None)


async def test_warnings_come_back_and_do_not_refuse(haproxy: Haproxy) -> None:
    text = text_of(haproxy).replace("  timeout client 60s\n", "")
    haproxy.cfg.write_text(text)
    warnings = await target(haproxy).check(str(haproxy.cfg), None)
    assert any("missing timeouts for frontend 'in'" in w for w in warnings)


@pytest.mark.parametrize("haproxy_version", ["2.8"], indirect=True)
async def test_another_version_is_told_with_its_remedy(haproxy: Haproxy) -> None:
    haproxy.cfg.write_text(text_of(haproxy))
    haproxy.start()
    options = SocketOptions(
        master_socket=str(haproxy.master_socket),
        stats_socket=str(haproxy.admin_socket),
        binary=machine.haproxy_binary("3.0"),
    )
    # The extra is of this version; it stands in for a name on PATH, and for no path.
    named = dataclasses.replace(options, binary="haproxy")
    assert await SocketTarget(named).check(str(haproxy.cfg), None) == ()
    os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"] = "/nowhere"
    try:
        with pytest.raises(errors.CheckUnavailable) as caught:
            await SocketTarget(options).check(str(haproxy.cfg), None)
        assert "2.8." in caught.value.what
        assert "3.0." in caught.value.what
        assert 'target.check = "weak"' in caught.value.remedy
        weak = dataclasses.replace(options, weak=True)
        (remark,) = await SocketTarget(weak).check(str(haproxy.cfg), None)
        assert remark.startswith("checked by HAProxy 3.0.")
    finally:
        del os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"]
