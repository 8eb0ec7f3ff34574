import ssl
from pathlib import Path

import pytest

from confsync.adapters.consul import encryption
from confsync.adapters.consul.options import ConsulOptions
from confsync.errors import SettingsError
from tests.support.tls import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def faults(**files: str) -> str:
    with pytest.raises(SettingsError) as caught:
        encryption.context(ConsulOptions(**files))  # type: ignore[arg-type]
    return "\n".join(caught.value.faults)


def test_good_files(authority: Authority) -> None:
    own = authority.sign("client")
    made = encryption.context(
        ConsulOptions(ca_file=str(authority.cert), cert_file=str(own.cert), key_file=str(own.key))
    )
    assert made.verify_mode is ssl.CERT_REQUIRED
    assert made.check_hostname
    assert len(made.get_ca_certs()) == 1
    encryption.context(ConsulOptions(cert_file=str(own.pem)))


@pytest.mark.parametrize("setting", ["ca_file", "cert_file"])
def test_absent_file_is_named(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "absent.pem"
    assert f"source.{setting}: {path} cannot be read: No such file" in faults(
        **{setting: str(path)}
    )


def test_absent_key_is_named(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "absent.key"
    said = faults(cert_file=str(authority.cert), key_file=str(path))
    assert f"source.key_file: {path}" in said


def test_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("hello")
    assert f"source.ca_file: {path} holds no certificate" in faults(ca_file=str(path))
    assert f"source.cert_file, source.key_file: {path}" in faults(cert_file=str(path))


def test_key_of_another_certificate(authority: Authority) -> None:
    one, other = authority.sign("one"), authority.sign("other")
    said = faults(cert_file=str(one.cert), key_file=str(other.key))
    assert str(other.key) in said
    assert "mismatch" in said


def test_key_alone(authority: Authority) -> None:
    assert "needs source.cert_file" in faults(key_file=str(authority.cert))
