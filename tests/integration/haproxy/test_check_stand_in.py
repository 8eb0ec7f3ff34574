"""The check with a program that tells what it was given, in place of HAProxy."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from confsync import errors
from confsync.adapters.haproxy import check
from confsync.adapters.haproxy.options import SocketOptions
from confsync.core.haproxy.command import MasterCommand
from confsync.domain.rendered import RenderedConfig, RenderedFile
from tests.support.process import wait_until

PROGRAM = """\
#!/bin/sh
if [ "$1" = -v ]; then echo "HAProxy version {version} 2026/01/01 - https://haproxy.org/"; exit; fi
cd "$PWD"
{{ pwd; echo "$*"; env; }} > {told}/how
n=0
for word; do
  case $word in *.cfg|*.confsync)
    n=$((n+1)); cp "$word" {told}/file$n; ls -l "$word" >> {told}/modes;;
  esac
done
{then}
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FakeStaged:
    config: RenderedConfig
    paths: Mapping[str, str]


class Bench:
    """A folder of configuration files and a program that stands for HAProxy."""

    def __init__(self, folder: Path) -> None:
        self.etc = folder / "etc"
        self.told = folder / "told"
        self.program = folder / "haproxy"
        self.main = self.etc / "haproxy.cfg"
        self.etc.mkdir()
        self.told.mkdir()
        self.main.write_text("live\n")
        self.will("exit 0")

    def will(self, then: str, *, version: str = "2.6.12-1") -> None:
        self.program.write_text(PROGRAM.format(version=version, told=self.told, then=then))
        self.program.chmod(0o755)

    def checker(self, **options: object) -> check.Checker:
        base = SocketOptions(binary=str(self.program))
        return check.Checker(dataclasses.replace(base, **options))  # type: ignore[arg-type]

    def staged(self, **texts: str) -> FakeStaged:
        """Stage NAME_EXT=text as DIR/NAME.EXT."""
        files, paths = [], {}
        for name, text in texts.items():
            destination = self.etc / name.replace("_", ".")
            path = destination.with_name(f".{destination.name}.confsync")
            path.write_text(text)
            paths[str(destination)] = str(path)
            template = f"{destination.name}.j2"
            files.append(RenderedFile(destination=str(destination), text=text, template=template))
        config = RenderedConfig(files=tuple(files), secrets=("hush",))
        return FakeStaged(config=config, paths=paths)

    def command(self, *files: Path, **fields: object) -> MasterCommand:
        names = tuple(map(str, files))
        base = MasterCommand(pid=1, files=names, environment={"PATH": os.environ["PATH"]})
        return dataclasses.replace(base, **fields)  # type: ignore[arg-type]

    def arguments(self) -> list[str]:
        return (self.told / "how").read_text().splitlines()[1].split()

    def file(self, number: int) -> str:
        return (self.told / f"file{number}").read_text()

    def left(self) -> list[str]:
        return sorted(p.name for p in self.etc.iterdir() if p.name.endswith(".check.confsync"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def run(
    bench: Bench, staged: FakeStaged | None, command: MasterCommand | None = None
) -> tuple[str, ...]:
    version = "2.6.12-1" if command else ""
    return await bench.checker().check(str(bench.main), staged, command=command, version=version)


async def test_the_live_file_is_checked_as_it_is(bench: Bench) -> None:
    assert await run(bench, None) == ()
    assert bench.arguments() == ["-c", "-f", str(bench.main)]


async def test_destinations_are_replaced_as_whole_words_and_nothing_else(bench: Bench) -> None:
    map_ = bench.etc / "hosts.map"
    text = (
        f"use_backend %[req.hdr(host),map({map_},none)]\n"
        f'acl a hdr(host) -f "{map_}"\n'
        f"# {map_}.old and {map_}x and /x{map_} stay\n"
        f"errorfile 503 {bench.etc}/503.http\n"
    )
    staged = bench.staged(haproxy_cfg=text, hosts_map="a b\n")
    await run(bench, staged)
    new = bench.etc / ".hosts.map.confsync"
    assert bench.file(1) == (
        f"use_backend %[req.hdr(host),map({new},none)]\n"
        f'acl a hdr(host) -f "{new}"\n'
        f"# {map_}.old and {map_}x and /x{map_} stay\n"
        f"errorfile 503 {bench.etc}/503.http\n"
    )
    assert bench.arguments() == ["-c", "-f", str(bench.etc / ".haproxy.cfg.check.confsync")]
    assert bench.left() == []
    assert (bench.told / "modes").read_text().startswith("-rw------- ")


async def test_a_destination_is_found_as_haproxy_sees_it(bench: Bench) -> None:
    staged = bench.staged(haproxy_cfg="acl a path -f /in/container/x.lst\n", x_lst="y\n")
    config = dataclasses.replace(
        staged.config,
        files=(
            staged.config.files[0],
            dataclasses.replace(staged.config.files[1], seen_as="/in/container/x.lst"),
        ),
    )
    assert await run(bench, dataclasses.replace(staged, config=config)) == ()
    assert bench.file(1) == f"acl a path -f {bench.etc}/.x.lst.confsync\n"


async def test_what_is_not_named_literally_is_remarked(bench: Bench) -> None:
    staged = bench.staged(haproxy_cfg="crt ${DIR}/a.pem\n", a_pem="key\n")
    (remark,) = await run(bench, staged)
    assert f"{bench.etc}/a.pem changes, but is not named by its full path" in remark
    assert "the check covers its old content" in remark


async def test_a_hand_written_main_file_is_checked_with_the_staged_map(bench: Bench) -> None:
    bench.main.write_text(f"acl a path -f {bench.etc}/x.lst\n")
    assert await run(bench, bench.staged(x_lst="y\n")) == ()
    assert bench.file(1) == f"acl a path -f {bench.etc}/.x.lst.confsync\n"
    assert bench.main.read_text() == f"acl a path -f {bench.etc}/x.lst\n"


async def test_bytes_that_are_no_utf8_survive_the_copy(bench: Bench) -> None:
    bench.main.write_bytes(b"# \xff\xfe\nacl a path -f %s/x.lst\n" % bytes(bench.etc))
    await run(bench, bench.staged(x_lst="y\n"))
    assert (bench.told / "file1").read_bytes().startswith(b"# \xff\xfe\n")


async def test_the_masters_files_are_given_in_order_with_the_main_one_replaced(
    bench: Bench,
) -> None:
    before, after = bench.etc / "0.cfg", bench.etc / "9.cfg"
    for path in (before, after):
        path.write_text("x\n")
    command = bench.command(before, bench.main, after)
    assert await run(bench, bench.staged(haproxy_cfg="new\n"), command) == ()
    new = f"{bench.etc}/.haproxy.cfg.confsync"
    assert bench.arguments() == ["-c", "-f", str(before), "-f", new, "-f", str(after)]
    assert bench.file(2) == "new\n"


async def test_a_folder_is_opened_without_dot_files_and_with_new_destinations(bench: Bench) -> None:
    for name in ("a.cfg", "z.cfg", ".hidden.cfg", "notes.txt", "A.cfg"):
        (bench.etc / name).write_text(f"{name}\n")
    staged = bench.staged(haproxy_cfg="new\n", b_cfg="b\n")
    await run(bench, staged, bench.command(bench.etc))
    given = [Path(word).name for word in bench.arguments()[2::2]]
    assert given == ["A.cfg", "a.cfg", ".b.cfg.confsync", ".haproxy.cfg.confsync", "z.cfg"]


async def test_options_directory_and_environment_are_the_masters(bench: Bench) -> None:
    options = ("-W", "-L", "lb1", "-n", "100", "-dr")
    environment = {"PATH": os.environ["PATH"], "WEB": "x"}
    command = bench.command(
        bench.main, options=options, directory=str(bench.etc), environment=environment
    )
    await run(bench, None, command)
    lines = (bench.told / "how").read_text().splitlines()
    assert lines[0] == str(bench.etc)
    assert lines[1] == f"-c -W -L lb1 -n 100 -dr -f {bench.main}"
    assert "WEB=x" in lines
    assert {line.partition("=")[0] for line in lines[2:]} <= {
        "PATH",
        "WEB",
        "PWD",
        "OLDPWD",
        "_",
    } | {"SHLVL"}


async def test_another_main_file_than_the_running_one_is_remarked(bench: Bench) -> None:
    (remark,) = await run(bench, None, bench.command(Path("/etc/other.cfg")))
    assert f"does not load {bench.main} but /etc/other.cfg" in remark
    assert bench.arguments()[-1] == str(bench.main)


async def test_a_symlinked_folder_is_the_same_file(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bench.etc)
    assert await run(bench, None, bench.command(tmp_path / "link" / "haproxy.cfg")) == ()


async def test_a_refusal_has_words_lines_and_the_template(bench: Bench) -> None:
    bench.will(
        "echo \"[ALERT]    (9) : config : parsing [$3:2] : unknown keyword 'server'\" >&2; exit 1"
    )
    text = f"one\nserver a {bench.etc}/x.lst\n"
    with pytest.raises(errors.CheckRejected) as caught:
        await run(bench, bench.staged(haproxy_cfg=text, x_lst="y\n"))
    assert str(caught.value) == (
        f"HAProxy refuses the configuration: {bench.main}:2: unknown keyword 'server'"
    )
    assert caught.value.detail.splitlines() == [
        f"{bench.main}:2: unknown keyword 'server'",
        f"      2 | server a {bench.etc}/x.lst",
        "        | (rendered from haproxy.cfg.j2)",
    ]
    assert bench.left() == []


async def test_secrets_are_masked_in_words_lines_and_warnings(bench: Bench) -> None:
    bench.will(
        'echo "[ALERT]    (9) : config : [$3:1] : bad hush" >&2;'
        'echo "[ALERT]    (9) : config : [$3:2] : bad" >&2; exit 1'
    )
    text = "stats auth a:hush\nuser x insecure-password other\n"
    with pytest.raises(errors.CheckRejected) as caught:
        await run(bench, bench.staged(haproxy_cfg=text))
    assert "hush" not in str(caught.value) + caught.value.detail
    assert "other" not in caught.value.detail
    bench.will('echo "[WARNING]  (9) : config : [$3:1] : bad hush" >&2; exit 0')
    (warning,) = await run(bench, bench.staged(haproxy_cfg=text))
    assert warning == f"{bench.main}:1: bad *****"


async def test_an_old_fault_is_told_to_be_on_disk(bench: Bench) -> None:
    bench.will('echo "[ALERT]    (9) : config : parsing [$3:1] : bad" >&2; exit 1')
    with pytest.raises(errors.CheckRejected, match="refuses the files on disk"):
        await run(bench, None)


async def test_output_without_alerts_is_shown_as_it_is(bench: Bench) -> None:
    bench.will("echo something odd; exit 3")
    with pytest.raises(errors.CheckRejected, match="exit code 3") as caught:
        await run(bench, None)
    assert caught.value.detail == "something odd"


async def test_a_program_ended_by_a_signal_has_not_judged(bench: Bench) -> None:
    bench.will("kill -SEGV $$")
    with pytest.raises(errors.CheckUnavailable, match="signal 11"):
        await run(bench, bench.staged(haproxy_cfg="x\n"))


async def test_an_endless_check_is_ended_with_its_children_and_leaves_no_copy(bench: Bench) -> None:
    bench.will(f"sleep 1000 & echo $! > {bench.told}/child; wait")
    staged = bench.staged(haproxy_cfg=f"-f {bench.etc}/x.lst\n", x_lst="y\n")
    with pytest.raises(errors.CheckUnavailable, match="not done within"):
        await bench.checker(check_timeout=0.3).check(
            str(bench.main), staged, command=None, version=""
        )
    assert bench.left() == []
    child = Path("/proc") / (bench.told / "child").read_text().strip() / "stat"

    def ended() -> bool:
        """Killed, which takes a moment; perhaps nobody has waited for it yet."""
        try:
            return child.read_text().rpartition(")")[2].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(ended, "the child's end")


async def test_another_version_may_not_check(bench: Bench) -> None:
    bench.will("exit 0", version="2.6.13")
    checker = bench.checker()
    with pytest.raises(errors.CheckUnavailable, match=r"2\.6\.12-1 runs, but .* is 2\.6\.13"):
        await checker.check(str(bench.main), None, command=None, version="2.6.12-1")
    assert not (bench.told / "how").exists()
    bench.will("exit 0", version="2.6.12-1")  # the program was upgraded: its version is asked anew
    await checker.check(str(bench.main), None, command=None, version="2.6.12-1")


async def test_another_version_checks_when_told_so_and_says_so(bench: Bench) -> None:
    remarks = await bench.checker(weak=True).check(
        str(bench.main), None, command=bench.command(bench.main), version="3.0.11"
    )
    assert remarks == ("checked by HAProxy 2.6.12-1, while 3.0.11 runs",)


async def test_the_program_that_the_next_reload_executes_may_check(bench: Bench) -> None:
    command = bench.command(bench.main, program=str(bench.program), replaced=True)
    remarks = await bench.checker().check(str(bench.main), None, command=command, version="2.6.11")
    assert remarks == ("HAProxy 2.6.11 runs; its next reload loads 2.6.12-1",)


async def test_an_unknown_master_is_remarked(bench: Bench) -> None:
    (remark,) = await bench.checker().check(str(bench.main), None, command=None, version="2.6.12-1")
    assert "how the running HAProxy was started is not known" in remark


async def test_a_folder_that_may_not_be_written_is_one_clear_error(bench: Bench) -> None:
    staged = bench.staged(haproxy_cfg=f"-f {bench.etc}/x.lst\n", x_lst="y\n")
    (bench.etc / ".haproxy.cfg.check.confsync").mkdir()  # root writes everywhere
    with pytest.raises(errors.CheckUnavailable, match="cannot prepare the check"):
        await run(bench, staged)


async def test_a_copy_left_by_a_kill_is_replaced(bench: Bench) -> None:
    (bench.etc / ".haproxy.cfg.check.confsync").write_text("old")
    await run(bench, bench.staged(haproxy_cfg=f"-f {bench.etc}/x.lst\n", x_lst="y\n"))
    assert bench.file(1) == f"-f {bench.etc}/.x.lst.confsync\n"
    assert bench.left() == []


async def test_no_program_at_all_names_the_remedies(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/nowhere")  # there is no extra, then
    checker = bench.checker(binary="no-such-haproxy")
    with pytest.raises(errors.CheckUnavailable, match="no program no-such-haproxy") as caught:
        await checker.check(str(bench.main), None, command=None, version="")
    assert "confsync[haproxy]" in caught.value.remedy


async def test_a_program_that_says_no_version_is_not_used(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/nowhere")
    bench.program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(errors.CheckUnavailable, match="does not run"):
        await bench.checker().check(str(bench.main), None, command=None, version="")


async def test_the_program_of_the_running_version_is_chosen(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = tmp_path / "extra"
    extra.write_text(bench.program.read_text().replace("2.6.12-1", "2.8.25"))
    extra.chmod(0o755)
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", str(extra))
    monkeypatch.setenv("PATH", f"{bench.program.parent}:{os.environ['PATH']}")
    command = bench.command(bench.main)
    checker = bench.checker(binary=bench.program.name)
    assert await checker.check(str(bench.main), None, command=command, version="2.8.25") == ()
    # a program that the settings name by its path has no stand-in
    with pytest.raises(errors.CheckUnavailable):
        await bench.checker().check(str(bench.main), None, command=command, version="2.8.25")
