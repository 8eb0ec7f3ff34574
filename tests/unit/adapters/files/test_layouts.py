"""State directories as released versions wrote them: layouts/N is one of format N, from a real run.

A change of what is written needs a new format, a migration and a sample of it, unless versions
before and after it read each other's; then the sample is made anew.
"""

import json
import shutil
from pathlib import Path

import pytest

from confsync.adapters.files import kept, records, state
from confsync.adapters.files.state import StateDirectory
from confsync.engine import holds
from confsync.errors import StateError

LAYOUTS = Path(__file__).with_name("layouts")
NEWEST = 1 + len(state._MIGRATIONS)
FILES = {"/etc/haproxy/haproxy.cfg", "/etc/haproxy/hosts.map", "/etc/haproxy/503.http"}


def copied(number: int, into: Path) -> StateDirectory:
    shutil.copytree(LAYOUTS / str(number), into / "state")
    return StateDirectory(into / "state")


def form(value: object) -> object:
    """Replace what stands in a JSON value by its type."""
    match value:
        case dict():
            return {key: form(each) for key, each in value.items()}
        case list():
            return [form(each) for each in value]
        case _:
            return type(value).__name__


def test_there_is_a_sample_of_every_format() -> None:
    assert {path.name for path in LAYOUTS.iterdir()} == {str(n) for n in range(1, NEWEST + 1)}


@pytest.mark.parametrize("number", range(1, NEWEST + 1))
def test_all_of_it_is_read(number: int, tmp_path: Path) -> None:
    with copied(number, tmp_path) as found:
        assert (found.path / "version").read_text() == f"{NEWEST}\n"
        catalog = found.load_catalog()
        assert catalog is not None
        (web,) = catalog.services
        assert [each.port for each in web.instances] == [8001, 8002, 8003, 8004, 8005]
        assert web.instances[0].tags == ("public",)
        assert web.instances[0].meta == (("zone", "a"),)
        record = found.load_record()
        assert record is not None
        assert set(record.text) == set(record.files) == set(record.promoted) == FILES
        assert "server 10.0.0.1:8005 10.0.0.1:8005" in record.text["/etc/haproxy/haproxy.cfg"]
        assert record.worker_pid > 0
        assert record.version.startswith("2.6.")
        memory = holds.from_plain(found.load("holds"))
        assert memory.held["web"].base.instances == web.instances
        assert found.load("paused") is True
        assert found.load("ids") == {"web/10.0.0.1:8001": 70000}
        previous = kept.Previous(found.path).load()
        assert previous is not None
        assert set(previous) == FILES
        assert None not in previous.values()
        assert found.notes == []


def test_the_newest_is_what_is_written_today(tmp_path: Path) -> None:
    found = copied(NEWEST, tmp_path)

    def sample(name: str) -> object:
        return json.loads((LAYOUTS / str(NEWEST) / f"{name}.json").read_text())

    def plain(value: object) -> object:
        return json.loads(json.dumps(value))

    catalog, record = found.load_catalog(), found.load_record()
    assert catalog is not None
    assert record is not None
    assert plain(records.from_catalog(catalog)) == sample("catalog")
    assert plain(records.from_record(record)) == sample("record")
    held = plain(holds.to_plain(holds.from_plain(found.load("holds"))))
    assert form(held) == form(sample("holds"))  # since when it was seen is not taken up


def test_an_older_version_refuses_it_and_changes_nothing(tmp_path: Path) -> None:
    """A downgrade, as the newest version before the next one would see it."""
    found = copied(NEWEST, tmp_path)
    with StateDirectory(found.path, (*state._MIGRATIONS, lambda _: None)):
        pass  # the next version has been here
    before = {path: path.read_bytes() for path in found.path.rglob("*") if path.is_file()}
    for use in (found.inspect, found.claim):
        with pytest.raises(StateError, match=f"newer confsync .format {NEWEST + 1}") as caught:
            use()
        assert "install that version again" in caught.value.remedy
        assert caught.value.exit_code == 73
    assert {p: p.read_bytes() for p in found.path.rglob("*") if p.is_file()} == before
