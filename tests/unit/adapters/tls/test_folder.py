"""Files and their copies; what OpenSSL says of real ones is in tests/integration/tls."""

from pathlib import Path

import pytest

from confsync.adapters.tls.folder import SELF_SIGNED, Folders
from confsync.core.tls import LARGEST, Unfit
from confsync.domain.tls import Bundle
from confsync.errors import WriteError
from tests.unit.core.test_tls import KEY, LEAF

BUNDLE = Bundle(pem=LEAF + KEY, fingerprint="F", digest="D")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "given").mkdir()
    return Folders(str(tmp_path / "given"), str(tmp_path / "run" / "copies"))


def test_names_are_those_that_haproxy_would_load(folders: Folders) -> None:
    for name in ("b.pem", "a.crt", "a.key", ".c.pem", "b.pem.ocsp", SELF_SIGNED, "d.pem", "d"):
        (folders.source / name).write_text("x")
    (folders.source / "folder.pem").mkdir()
    assert folders.names() == ("a.crt", "b.pem", "d.pem")  # `d` would have the copy of `d.pem`
    assert folders.names(str(folders.source / "nowhere")) == ()
    assert folders.copied() == ()


def test_copies_are_private_and_lead_back(folders: Folders) -> None:
    for name in ("a.crt", "b.pem"):
        (folders.source / name).write_text("x")
        path = folders.copy_of(name)
        folders.put(path, BUNDLE)
        assert folders.origin(path) == str(folders.source / name)
        assert Path(path).read_text() == LEAF + KEY
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert folders.same(path, BUNDLE)
    assert folders.copies.stat().st_mode & 0o777 == 0o700
    assert folders.copied() == ("a.crt.pem", "b.pem")
    folders.drop(folders.copy_of("a.crt"))
    assert folders.copied() == ("b.pem",)
    assert folders.origin(str(folders.copies / SELF_SIGNED)) == ""
    assert folders.origin("/etc/ssl/own.pem") == "/etc/ssl/own.pem"


def test_what_haproxy_reads_beside_goes_along(folders: Folders) -> None:
    (folders.source / "a.pem").write_text("x")
    (folders.source / "a.pem.ocsp").write_bytes(b"ocsp")
    path = folders.copy_of("a.pem")
    folders.put(path, BUNDLE)
    assert Path(path + ".ocsp").read_bytes() == b"ocsp"
    (folders.source / "a.pem.ocsp").unlink()
    folders.put(path, BUNDLE)
    assert not Path(path + ".ocsp").exists()


def test_others_files_are_never_written_or_removed(folders: Folders, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text("mine")
    folders.put(str(own), BUNDLE)
    folders.drop(str(own))
    assert own.read_text() == "mine"


def test_stamps_see_the_key_beside(folders: Folders) -> None:
    path = folders.source / "a.crt"
    path.write_text("x")
    before = folders.stamps((str(path),))
    assert folders.stamps((str(path),)) == before
    (folders.source / "a.key").write_text("x")
    assert folders.stamps((str(path),)) != before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a b.pem", LEAF + KEY, "rename it"),
        ("a.pem", "x" * (LARGEST + 1), "more than 256 kB"),
        ("a.pem", LEAF, "no private key"),
        ("a.pem", LEAF + KEY, "OpenSSL says"),  # well-formed, and no certificate
    ],
)
def test_what_cannot_serve(folders: Folders, name: str, content: str, words: str) -> None:
    (folders.source / name).write_text(content)
    with pytest.raises(Unfit, match=words):
        folders.read(str(folders.source / name))


def test_an_absent_file_is_no_unfit_one(folders: Folders) -> None:
    with pytest.raises(FileNotFoundError):
        folders.read(str(folders.source / "a.pem"))


def test_a_folder_that_cannot_be_made_is_told(folders: Folders) -> None:
    folders.copies.parent.write_text("a file")
    with pytest.raises(WriteError, match="cannot write"):
        folders.put(folders.copy_of("a.pem"), BUNDLE)


def test_a_copy_that_cannot_be_removed_is_one_clear_error(folders: Folders) -> None:
    (folders.copies / "a.pem").mkdir(parents=True)
    with pytest.raises(WriteError, match="cannot remove"):
        folders.drop(str(folders.copies / "a.pem"))
