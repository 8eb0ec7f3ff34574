"""The table of mounts; that a new mount is seen at once stands in the integration tests."""

import os

from confsync.adapters.files.mounts import Mounts


def test_the_root_is_mounted_and_a_new_name_is_not() -> None:
    mounts = Mounts()
    for _ in range(3):
        assert b"/" in mounts
        assert b"/no/such/place" not in mounts
        assert mounts.named(b"proc")
        assert not mounts.named(b"no such place")


def test_one_descriptor_serves_for_ever() -> None:
    mounts = Mounts()
    assert b"/" in mounts
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(20):
        assert b"/" in mounts
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
