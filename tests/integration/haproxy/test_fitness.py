"""Whether a program here can check for what runs, over a fake HAProxy of no program's version."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from confsync.adapters.haproxy.options import SocketOptions
from confsync.adapters.haproxy.target import SocketTarget
from tests.unit.adapters.haproxy.fake import FakeHaproxy


def target(fake: FakeHaproxy, *, weak: bool = False) -> SocketTarget:
    return SocketTarget(
        SocketOptions(
            config=str(fake.stats_socket.with_name("haproxy.cfg")),
            master_socket=str(fake.master_socket),
            stats_socket=str(fake.stats_socket),
            lost=0.05,
            patience=0.05,
            weak=weak,
        )
    )


@pytest.fixture
async def fake(tmp_short: Path) -> AsyncIterator[FakeHaproxy]:
    one = FakeHaproxy(tmp_short)
    async with one.serving():
        yield one


async def test_a_program_that_checks_weakly_is_noted_before_and_after_a_reload(
    fake: FakeHaproxy,
) -> None:
    one = target(fake, weak=True)
    before = await one.observe()
    await one.reload(before)
    for observed in (before, await one.observe()):
        (weak,) = observed.notes
        assert re.fullmatch(r"checked by HAProxy \S+, while 3.0.11 runs", weak)
        assert observed.unfit == ""


async def test_a_program_that_cannot_check_is_told_before_the_first_change(
    fake: FakeHaproxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "haproxy"
    program.write_text('#!/bin/sh\necho "HAProxy version 2.6.12 2023/12/16"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    one = target(fake)
    observed = await one.observe()
    (note,) = observed.notes
    assert observed.unfit == note
    assert f"HAProxy 3.0.11 runs, but {program} is 2.6.12" in note
    assert "target.binary" in note
    program.write_text('#!/bin/sh\necho "HAProxy version 3.0.11 2025/10/03"\n')
    assert (await one.observe()).notes == ()
