import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.docker.archive import File, by_folder, pack


@given(st.binary(max_size=3000))
def test_what_is_packed_comes_out_again(data: bytes) -> None:
    packed = pack([File(path="/etc/x/a", data=data)])
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        file = tar.extractfile("a")
        assert file is not None
        assert file.read() == data


def test_entries_have_owner_mode_and_the_bare_name() -> None:
    packed = pack([File(path="/etc/x/a", data=b"1", mode=0o640, uid=99, gid=98)], now=5)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        (entry,) = tar.getmembers()
    assert (entry.name, entry.mode, entry.uid, entry.gid, entry.mtime) == ("a", 0o640, 99, 98, 5)


def test_files_are_grouped_by_folder() -> None:
    a, b, c = (File(path=p, data=b"") for p in ("/x/a", "/y/b", "/x/c"))
    assert by_folder([a, b, c]) == {"/x": (a, c), "/y": (b,)}
