"""What HAProxy loads beside what is rendered."""

import os
from pathlib import Path

import pytest

from confsync.adapters.haproxy.surroundings import Surveyor
from confsync.core.haproxy.command import MasterCommand
from confsync.core.planning import Surroundings
from confsync.domain.rendered import RenderedConfig, RenderedFile, digest
from confsync.domain.running import Observed

SEEN = Observed(running=True, version="3.0", master_pid=7, worker_pid=8)
OWN = "global\n    maxconn 9\ndefaults\n    mode http\nfrontend f\n    bind :80\n"


class Started:
    """A master with a command line that a test sets."""

    def __init__(self, command: MasterCommand | None) -> None:
        self.command = command
        self.asked = 0

    async def __call__(self) -> MasterCommand | None:
        self.asked += 1
        return self.command


def config(main: Path, text: str = OWN) -> RenderedConfig:
    return RenderedConfig(files=(RenderedFile(destination=str(main), text=text, template="t"),))


async def look(
    command: MasterCommand | None, main: Path, text: str = OWN
) -> tuple[Surroundings | None, Surveyor]:
    surveyor = Surveyor(Started(command))
    return await surveyor.around(str(main), config(main, text), SEEN), surveyor


async def test_files_come_in_the_order_of_loading(tmp_path: Path) -> None:
    main, first = tmp_path / "b.cfg", tmp_path / "a.cfg"
    first.write_text("defaults\n    mode tcp\n")
    main.write_text("old\n")
    found, _ = await look(MasterCommand(pid=7, files=(str(tmp_path),)), main)
    assert found == Surroundings(
        configs=(str(first), str(main)), texts={str(first): "defaults\n    mode tcp\n"}
    )


async def test_named_files_are_digested_and_read_again_only_when_they_change(
    tmp_path: Path,
) -> None:
    main, acl = tmp_path / "haproxy.cfg", tmp_path / "deny.lst"
    main.write_text(OWN)
    acl.write_text("10.0.0.1\n")
    text = f"{OWN}    acl deny src -f {acl}\n    acl other src -f {tmp_path}/absent\n"
    command = MasterCommand(pid=7, files=(str(main),))
    found, surveyor = await look(command, main, text)
    assert found is not None
    assert found.named == {str(acl): digest("10.0.0.1\n")}
    acl.write_text("10.0.0.2\n")
    os.utime(acl, ns=(1, 1))
    found = await surveyor.around(str(main), config(main, text), SEEN)
    assert found is not None
    assert found.named == {str(acl): digest("10.0.0.2\n")}


async def test_the_latest_change_beside_is_told(tmp_path: Path) -> None:
    """Of configurations, named files, links, and the folders that HAProxy loads from."""
    folder, real = tmp_path / "conf.d", tmp_path / "real.lst"
    folder.mkdir()
    main, beside, acl = folder / "b.cfg", folder / "a.cfg", tmp_path / "deny.lst"
    for file in (main, beside, real):
        file.write_text("global\n")
    acl.symlink_to(real)
    text = f"{OWN}    acl deny src -f {acl}\n"
    surveyor = Surveyor(Started(MasterCommand(pid=7, files=(str(folder),))))

    async def changed() -> float:
        found = await surveyor.around(str(main), config(main, text), SEEN)
        assert found is not None
        return found.changed

    latest = max(os.lstat(p).st_ctime for p in (folder, beside, real, acl))
    assert await changed() == pytest.approx(latest, abs=1e-5)
    for number, path in enumerate((beside, real, folder), 1):
        os.utime(path, (1, 4e9 + number))
        assert await changed() == pytest.approx(4e9 + number)
    os.utime(acl, (1, 5e9), follow_symlinks=False)
    assert await changed() == pytest.approx(5e9)
    os.utime(main, (1, 6e9))  # rendered: the store looks at it
    assert await changed() == pytest.approx(5e9)
    alone = Surveyor(Started(MasterCommand(pid=7, files=(str(main),))))
    found = await alone.around(str(main), config(main), SEEN)
    assert found is not None
    assert found.changed == 0.0


async def test_a_large_file_is_known_by_its_size_and_times(tmp_path: Path) -> None:
    main, countries = tmp_path / "haproxy.cfg", tmp_path / "countries.map"
    main.write_text(OWN)
    countries.touch()
    os.truncate(countries, 1 << 40)  # nobody reads that
    text = f"{OWN}    acl a src,map_ip({countries}) -m str x\n"
    found, surveyor = await look(MasterCommand(pid=7, files=(str(main),)), main, text)
    assert found is not None
    assert await surveyor.around(str(main), config(main, text), SEEN) == found
    os.utime(countries, ns=(1, 1))
    later = await surveyor.around(str(main), config(main, text), SEEN)
    assert later is not None
    assert set(later.named) == {str(countries)}
    assert later.named != found.named


async def test_a_relative_name_is_one_of_haproxys_folder(tmp_path: Path) -> None:
    main, page = tmp_path / "haproxy.cfg", tmp_path / "503.http"
    main.write_text(OWN)
    page.write_text("gone\n")
    command = MasterCommand(pid=7, files=(str(main),), directory=str(tmp_path))
    found, _ = await look(command, main, f"{OWN}    errorfile 503 503.http\n")
    assert found is not None
    assert found.named == {str(page): digest("gone\n")}


async def test_what_cannot_be_read_may_say_anything(tmp_path: Path) -> None:
    main = tmp_path / "haproxy.cfg"
    main.write_text(OWN)
    command = MasterCommand(pid=7, files=(str(tmp_path / "absent.cfg"), str(main)))
    assert (await look(command, main))[0] is None


async def test_an_unseen_start_will_do_where_nothing_is_inherited(tmp_path: Path) -> None:
    main = tmp_path / "haproxy.cfg"
    assert (await look(None, main))[0] == Surroundings()
    assert (await look(None, main, "global\nbackend web\ndefaults\n"))[0] is None
    assert (await look(None, main, "global\n"))[0] == Surroundings()


async def test_a_master_is_asked_about_once(tmp_path: Path) -> None:
    main = tmp_path / "haproxy.cfg"
    main.write_text(OWN)
    started = Started(MasterCommand(pid=7, files=(str(main),)))
    surveyor = Surveyor(started)
    for pid in (7, 7, 9):
        seen = Observed(running=True, version="3.0", master_pid=pid)
        await surveyor.around(str(main), config(main), seen)
    assert started.asked == 2


async def test_a_large_set_is_looked_at_as_well(tmp_path: Path) -> None:
    main = tmp_path / "haproxy.cfg"
    main.write_text(OWN)
    found, _ = await look(MasterCommand(pid=7, files=(str(main),)), main, OWN + "# x\n" * 60_000)
    assert found == Surroundings(configs=(str(main),))
