"""Finding HAProxy and Consul, on a machine that has them and on one that does not."""

from pathlib import Path

import pytest

from confsync import errors
from confsync.demo import programs


def program(folder: Path, name: str, says: str, code: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def nothing() -> None:
    return None


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    return {"PATH": f"{tmp_path}/one:{tmp_path}/two"}


def test_haproxy_on_path_comes_first(tmp_path: Path, own: dict[str, str]) -> None:
    path = program(tmp_path / "one", "haproxy", "HAProxy version 3.2.1-1+deb13u2 2025/06/01")
    extra = program(tmp_path / "extra", "haproxy", "HAProxy version 2.8.25 2025/01/01")
    found = programs.find_haproxy(own=own, extra=lambda: str(extra), system="")
    assert found == programs.Program(path=str(path), version="3.2.1")
    assert found.number == (3, 2)


def test_haproxy_too_old_on_path_gives_way_to_the_extra(
    tmp_path: Path, own: dict[str, str]
) -> None:
    program(tmp_path / "one", "haproxy", "HA-Proxy version 2.0.33-0ubuntu0.1 2023/10/31")
    extra = program(tmp_path / "extra", "haproxy", "HAProxy version 2.8.25 2025/01/01")
    found = programs.find_haproxy(own=own, extra=lambda: str(extra), system="")
    assert found.version == "2.8.25"


def test_haproxy_where_only_root_looks(tmp_path: Path, own: dict[str, str]) -> None:
    program(tmp_path / "sbin", "haproxy", "HAProxy version 2.6.12-1 2022/12/09")
    found = programs.find_haproxy(own=own, extra=nothing, system=f"{tmp_path}/sbin")
    assert found.version == "2.6.12"


def test_no_haproxy_says_where_one_is(own: dict[str, str]) -> None:
    with pytest.raises(errors.TargetUnavailable) as caught:
        programs.find_haproxy(own=own, extra=nothing, system="")
    assert caught.value.exit_code == 69
    assert "pip install 'confsync[haproxy]'" in caught.value.remedy


def test_only_an_old_haproxy_is_named(tmp_path: Path, own: dict[str, str]) -> None:
    program(tmp_path / "one", "haproxy", "HA-Proxy version 2.0.33 2023/10/31")
    with pytest.raises(errors.TargetUnavailable, match=r"found: 2\.0\.33"):
        programs.find_haproxy(own=own, extra=nothing, system="")


def test_a_broken_haproxy_is_named(tmp_path: Path, own: dict[str, str]) -> None:
    path = program(tmp_path / "one", "haproxy", "no libpcre", code=127)
    with pytest.raises(errors.TargetUnavailable, match=f"{path}, which does not run"):
        programs.find_haproxy(own=own, extra=nothing, system="")


def test_a_wanted_haproxy_is_the_only_one(tmp_path: Path, own: dict[str, str]) -> None:
    program(tmp_path / "one", "haproxy", "HAProxy version 3.2.1 2025/06/01")
    with pytest.raises(errors.TargetUnavailable, match="no program /nowhere/haproxy"):
        programs.find_haproxy("/nowhere/haproxy", own=own)


def test_consul_is_optional(own: dict[str, str]) -> None:
    assert programs.find_consul(own=own) is None


@pytest.mark.parametrize("variable", ["CONFSYNC_DEMO_CONSUL", "CONSUL"])
def test_consul_by_environment(tmp_path: Path, own: dict[str, str], variable: str) -> None:
    path = program(tmp_path / "far", "consul-x", "Consul v1.8.7+dfsg1")
    found = programs.find_consul(own={**own, variable: str(path)})
    assert found == programs.Program(path=str(path), version="1.8.7")


def test_consul_on_path(tmp_path: Path, own: dict[str, str]) -> None:
    program(tmp_path / "two", "consul", "Consul v1.22.0")
    found = programs.find_consul(own=own)
    assert found is not None
    assert found.number == (1, 22)


def test_a_named_consul_must_work(tmp_path: Path, own: dict[str, str]) -> None:
    path = program(tmp_path / "far", "consul", "what?")
    with pytest.raises(errors.TargetUnavailable, match="no Consul"):
        programs.find_consul(str(path), own=own)
