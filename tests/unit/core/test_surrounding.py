"""What a master loads, where its files have other names than here."""

import posixpath
from collections.abc import Mapping

import pytest

from confsync.core import surrounding
from confsync.core.haproxy.candidate import Disk
from confsync.core.haproxy.command import MasterCommand
from confsync.core.surrounding import Loads
from confsync.domain.rendered import RenderedConfig, RenderedFile

MAIN, SEEN = "/srv/lb/haproxy.cfg", "/etc/haproxy/haproxy.cfg"
OWN = "frontend f\n    acl bad src -f /etc/haproxy/deny.lst\n    errorfile 503 pages/503.http\n"


def files(main: str = OWN) -> RenderedConfig:
    return RenderedConfig(
        files=(
            RenderedFile(destination=MAIN, seen_as=SEEN, text=main, template="t"),
            RenderedFile(
                destination="/srv/lb/deny.lst",
                seen_as="/etc/haproxy/deny.lst",
                text="10.0.0.1\n",
                template="t",
            ),
        )
    )


def disk(texts: Mapping[str, str]) -> Disk:
    def listing(path: str) -> list[str] | None:
        names = [posixpath.basename(p) for p in texts if posixpath.dirname(p) == path]
        return names or None

    return Disk(read=texts.__getitem__, listing=listing)


def found(
    command: MasterCommand, texts: Mapping[str, str], config: RenderedConfig | None = None
) -> Loads | None:
    return surrounding.loads(
        MAIN, SEEN, files() if config is None else config, command, disk(texts)
    )


def test_rendered_files_have_our_names_and_others_haproxys() -> None:
    command = MasterCommand(pid=1, files=("/etc/base.cfg", SEEN), directory="/var/lib")
    assert found(command, {"/etc/base.cfg": "defaults\n"}) == Loads(
        configs=("/etc/base.cfg", MAIN),
        texts={"/etc/base.cfg": "defaults\n"},
        named=("/var/lib/pages/503.http",),
    )


def test_a_folder_is_listed_as_haproxy_names_it() -> None:
    command = MasterCommand(pid=1, files=("/etc/haproxy",))
    texts = {"/etc/haproxy/a.cfg": "defaults\n", SEEN: "old", "/etc/haproxy/b.txt": "no"}
    loads = found(command, texts)
    assert loads is not None
    assert loads.configs == ("/etc/haproxy/a.cfg", MAIN)


def test_a_main_file_that_is_not_rendered_is_read() -> None:
    command = MasterCommand(pid=1, files=(SEEN,))
    assert found(command, {SEEN: "global\n"}, RenderedConfig()) == Loads(
        configs=(MAIN,), texts={MAIN: "global\n"}
    )


def test_one_that_is_not_loaded_tells_nothing() -> None:
    assert found(MasterCommand(pid=1, files=("/etc/other.cfg",)), {}) is None


@pytest.mark.parametrize(
    ("text", "alone"),
    [("global\ndefaults\nbackend b\n", True), ("global\nbackend b\n", False), ("global\n", True)],
)
def test_what_may_inherit(text: str, *, alone: bool) -> None:
    assert surrounding.inherits_nothing(text) is alone
