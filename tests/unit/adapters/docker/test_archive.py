import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from confsync.adapters.docker.archive import File, by_folder, pack, unpack


@given(st.binary(max_size=3000))
def test_what_is_packed_comes_out_again(data: bytes) -> None:
    assert unpack(pack([File(path="/etc/x/a", data=data)])) == data


def test_entries_have_owner_mode_and_the_bare_name() -> None:
    packed = pack([File(path="/etc/x/a", data=b"1", mode=0o640, uid=99, gid=98)], now=5)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        (entry,) = tar.getmembers()
    assert (entry.name, entry.mode, entry.uid, entry.gid, entry.mtime) == ("a", 0o640, 99, 98, 5)


def test_files_are_grouped_by_folder() -> None:
    a, b, c = (File(path=p, data=b"") for p in ("/x/a", "/y/b", "/x/c"))
    assert by_folder([a, b, c]) == {"/x": (a, c), "/y": (b,)}


def test_what_is_no_file_or_no_archive_is_none() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folder = tarfile.TarInfo("x")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    assert unpack(packed.getvalue()) is None
    assert unpack(b"") is None
    assert unpack(b"nonsense" * 200) is None
    assert unpack(pack([File(path="/a", data=b"x" * 5000)])[:2000]) is None
