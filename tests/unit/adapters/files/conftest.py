from pathlib import Path

import pytest

from tests.unit.adapters.files.place import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "haproxy"
    folder.mkdir()
    state = tmp_path / "state"
    state.mkdir(0o700)
    return Site(folder=folder, state=state)
