"""What HAProxy loads inside a container, and how seldom somebody must look."""

import dataclasses
import os
import time
from pathlib import Path
from typing import cast

import pytest

from confsync import errors
from confsync.adapters.docker import surroundings
from confsync.adapters.docker.container import Container
from confsync.adapters.docker.current import Current
from confsync.adapters.docker.inside import Inside
from confsync.adapters.docker.master import Master, Masters
from confsync.adapters.docker.surroundings import Surveyor
from confsync.adapters.docker.ways import Ways
from confsync.core import placement
from confsync.core.haproxy.command import MasterCommand
from confsync.core.planning import Surroundings
from confsync.domain.rendered import RenderedConfig, RenderedFile, digest
from confsync.domain.running import Observed
from tests.unit.adapters.docker.box import FakeEngine

MAIN = "/etc/haproxy/haproxy.cfg"
BASE, DENY, CERT = "/etc/base.cfg", "/etc/deny.lst", "/etc/haproxy/site.pem"
OWN = f"frontend f\n    bind :80 ssl crt {CERT}\n    acl bad src -f {DENY}\n"
ACL = "    acl worse src -f /etc/worse.lst\n"


class Site:
    """One container; `place`: as confsync and HAProxy name the files."""

    def __init__(self, place: placement.Placement, *files: str, **fields: object) -> None:
        self.engine = FakeEngine(**fields)
        self.engine.have(BASE, "defaults\n")
        self.engine.have(DENY, "10.0.0.1\n")
        self.place = place
        self.way: object = "far"
        self.finds = 0
        self.now = 100.0
        self.command: MasterCommand | None = MasterCommand(pid=1, files=files or (BASE, MAIN))
        self.surveyor = Surveyor(
            cast(Current, self),
            cast(Ways, self),
            Inside(self.engine),
            cast(Masters, self),
            place,
            clock=lambda: self.now,
        )
        box = self.engine.container
        self.seen = Observed(
            running=True, master=True, master_pid=1, worker_pid=8, place=box.place, version="3.0"
        )

    # As Current, Ways and Masters

    async def container(self) -> Container:
        return self.engine.container

    def chosen(self, container: Container) -> object:
        return self.way

    async def find(self, container: Container, pid: int = 0) -> Master | None:
        self.finds += 1
        return Master(command=self.command, user="99:99") if self.command else None

    # What is asked

    @property
    def main(self) -> str:
        return (
            self.place.local(MAIN) if self.place.mirrored else f"{self.place.outside}/haproxy.cfg"
        )

    async def around(self, text: str = OWN) -> Surroundings | None:
        file = RenderedFile(destination=self.main, seen_as=MAIN, text=text, template="t")
        return await self.surveyor.around(self.main, RenderedConfig(files=(file,)), self.seen)

    async def named(self, text: str = OWN) -> dict[str, str]:
        found = await self.around(text)
        assert found is not None
        return dict(found.named)

    def commands(self) -> list[str]:
        """Name what was run inside since the last time."""
        ran = [argv[0] for _, argv in self.engine.ran]
        self.engine.ran.clear()
        return ran


@pytest.fixture
def mirror() -> Site:
    return Site(placement.mirrored("/state"))


@pytest.fixture
def shared(tmp_path: Path) -> Site:
    return Site(placement.shared(str(tmp_path / "haproxy.cfg"), "/etc/haproxy"))


async def test_all_is_seen_as_haproxy_names_it_but_what_is_ours(mirror: Site) -> None:
    assert await mirror.around() == Surroundings(
        configs=(BASE, mirror.main),
        texts={BASE: "defaults\n"},
        named={DENY: digest("10.0.0.1\n")},  # the certificate is not there
    )


async def test_while_nothing_changed_nothing_is_run(mirror: Site) -> None:
    await mirror.around()
    assert mirror.commands() == ["sh", "sh", "sha256sum"]
    for weight in range(5):
        await mirror.around(f"{OWN}backend b\n    server a 10.0.0.1:80 weight {weight}\n")
    assert mirror.commands() == []
    assert mirror.finds == 1


async def test_a_newly_named_file_is_looked_at_alone(mirror: Site) -> None:
    await mirror.around()
    mirror.commands()
    mirror.engine.have("/etc/worse.lst", "10.0.0.2\n")
    assert (await mirror.named(OWN + ACL))["/etc/worse.lst"] == digest("10.0.0.2\n")
    assert mirror.commands() == ["sh", "sha256sum"]


async def test_changes_inside_are_found_after_a_while_by_one_look(mirror: Site) -> None:
    await mirror.around()
    mirror.engine.have(DENY, "10.0.0.3\n")
    mirror.engine.have(BASE, "defaults\n    mode tcp\n")
    mirror.engine.changed = 6
    mirror.now += surroundings.AGAIN / 2
    assert (await mirror.named())[DENY] == digest("10.0.0.1\n")
    mirror.now += surroundings.AGAIN / 2
    mirror.commands()
    found = await mirror.around()
    assert found is not None
    assert found.texts == {BASE: "defaults\n    mode tcp\n"}
    assert found.named == {DENY: digest("10.0.0.3\n")}
    assert mirror.commands() == ["sh", "sha256sum"]


async def test_what_changed_a_moment_ago_is_read_again(mirror: Site) -> None:
    """Two changes within a second leave the same times."""
    mirror.engine.changed = int(time.time())
    await mirror.around()
    mirror.engine.have(DENY, "10.0.0.9\n")
    assert await mirror.named() == {DENY: digest("10.0.0.9\n")}


async def test_another_worker_is_looked_at_anew(mirror: Site) -> None:
    await mirror.around()
    mirror.commands()
    mirror.seen = dataclasses.replace(mirror.seen, worker_pid=9)
    await mirror.around()
    assert (mirror.finds, mirror.commands()) == (2, ["sh"])


async def test_another_container_has_other_files(mirror: Site) -> None:
    await mirror.around()
    mirror.engine.container = dataclasses.replace(mirror.engine.container, started=2.0)
    mirror.engine.have(DENY, "10.9.9.9\n")  # with the same times
    assert await mirror.around() is None  # HAProxy was seen in the one before
    mirror.seen = dataclasses.replace(mirror.seen, place=mirror.engine.container.place)
    assert await mirror.named() == {DENY: digest("10.9.9.9\n")}


async def test_a_shared_folder_is_looked_at_here(shared: Site, tmp_path: Path) -> None:
    cert = tmp_path / "site.pem"
    cert.write_text("one\n")
    assert await shared.named() == {CERT: digest("one\n"), DENY: digest("10.0.0.1\n")}
    shared.commands()
    cert.write_text("two\n")
    os.utime(cert, ns=(1, 1))
    assert (await shared.named())[CERT] == digest("two\n")
    assert shared.commands() == []


async def test_when_the_latest_changed(shared: Site, tmp_path: Path) -> None:
    """Without a record, only what is older than its worker was surely loaded by it."""

    async def changed() -> float:
        shared.now += surroundings.AGAIN
        found = await shared.around()
        assert found is not None
        return found.changed

    shared.engine.changed = 3 * 10**9
    assert await changed() == 3e9 + 1  # of what is inside, whole seconds are known
    cert = tmp_path / "site.pem"
    cert.write_text("one\n")
    os.utime(cert, (4e9, 4e9))
    assert await changed() == 4e9
    shared.engine.changed = 5 * 10**9
    assert await changed() == 5e9 + 1


async def test_folders_are_listed_on_both_sides(tmp_path: Path) -> None:
    site = Site(
        placement.shared(str(tmp_path / "haproxy.cfg"), "/etc/haproxy"), "/etc/more", "/etc/haproxy"
    )
    for name, text in (("/etc/more/b.cfg", "# b\n"), ("/etc/more/a.cfg", "# a\n")):
        site.engine.have(name, text)
    site.engine.have("/etc/more/c.txt", "no")
    (tmp_path / "haproxy.cfg").write_text("old")
    (tmp_path / "x.cfg").write_text("# x\n")
    found = await site.around()
    assert found is not None
    assert found.configs == ("/etc/more/a.cfg", "/etc/more/b.cfg", site.main, "/etc/haproxy/x.cfg")
    assert list(found.texts.values()) == ["# a\n", "# b\n", "# x\n"]


async def test_a_large_file_is_not_read(mirror: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_MUCH", 5)
    found = await mirror.named()
    assert "size=9" in found[DENY]
    assert "sha256sum" not in mirror.commands()


async def test_an_unseen_start_will_do_where_nothing_is_inherited(mirror: Site) -> None:
    mirror.command = None
    assert await mirror.around("defaults\nbackend b\n") == Surroundings()
    assert await mirror.around("backend b\n") is None


async def test_what_cannot_be_known_is_not(mirror: Site) -> None:
    del mirror.engine.files[BASE]
    assert await mirror.around() is None  # a configuration that is not there any more
    mirror.way = None
    assert await mirror.around() is None
    assert mirror.finds == 1


async def test_what_cannot_be_looked_at_is_told(mirror: Site) -> None:
    mirror.engine.answers["sh"] = (127, b"no such file")
    with pytest.raises(errors.TargetUnavailable, match="has no `sh` or no `stat`"):
        await mirror.around()
    mirror.engine.answers["sh"] = TimeoutError()
    with pytest.raises(errors.TargetUnavailable, match="does not end"):
        await mirror.around()
