"""The words and short variables of `confsync lb`, and where the password comes from."""

from pathlib import Path

import pytest

from confsync import errors
from confsync.cli import arguments, balancer, main
from confsync.settings.load import Loaded


def read(*words: str, secret: str = "", **environ: str) -> tuple[Loaded, str]:
    options = arguments.parser().parse_args(["lb", *words])
    return balancer.read(options, environ, secret)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestWords:
    def test_none_is_no_shared_address(self) -> None:
        loaded, password = read()
        assert loaded.settings.vip.addresses == ()
        assert password == ""

    def test_of_the_post(self) -> None:
        loaded, password = read("192.0.2.7", "s3cret", "192.0.2.8", "192.0.2.9")
        assert loaded.settings.vip.addresses == ("192.0.2.7", "192.0.2.8", "192.0.2.9")
        assert password == "s3cret"
        (warning,) = loaded.warnings
        assert "command line" in warning
        assert "s3cret" not in warning

    def test_with_the_password_elsewhere_all_are_addresses(self) -> None:
        loaded, password = read("192.0.2.7", "192.0.2.8", secret="s3cret")
        assert loaded.settings.vip.addresses == ("192.0.2.7", "192.0.2.8")
        assert password == "s3cret"

    def test_a_second_password_is_refused_and_not_shown(self) -> None:
        with pytest.raises(balancer.Misused) as refused:
            read("192.0.2.7", "other-word", secret="s3cret")
        assert refused.value.exit_code == 2
        assert "other-word" not in str(refused.value)

    def test_no_password_is_refused(self) -> None:
        with pytest.raises(balancer.Misused, match="needs the pair's password"):
            read("192.0.2.7")

    def test_keepalived_needs_none(self) -> None:
        loaded, password = read("192.0.2.7", HA="keepalived")
        assert loaded.settings.vip.engine == "keepalived"
        assert password == ""

    def test_no_address_is_a_fault_that_names_the_command_line(self) -> None:
        with pytest.raises(errors.SettingsError) as wrong:
            read("example.org", "s3cret")
        (line,) = wrong.value.faults
        assert line.startswith('the command line: [vip] address = "example.org": is no IP address')
        with pytest.raises(errors.SettingsError) as wrong:
            read("192.0.2.7", "s3cret", "nonsense")
        assert wrong.value.faults[0].startswith("the command line: [vip] more")

    def test_ipv6_needs_keepalived(self) -> None:
        with pytest.raises(errors.SettingsError, match="1 fault"):
            read("2001:db8::7", "s3cret")
        assert read("2001:db8::7", HA="keepalived")[0].settings.vip.address == "2001:db8::7"


class TestVariables:
    def test_all_of_the_post_are_settings(self) -> None:
        loaded, password = read(
            secret="s3cret",
            VIP="192.0.2.7",
            DEV="eth1",
            SRCIP="192.0.2.1",
            VHID="9",
            ADVBASE="2",
            ADVSKEW="100",
            HA="ucarp",
        )
        vip = loaded.settings.vip
        assert (vip.address, vip.device, vip.source) == ("192.0.2.7", "eth1", "192.0.2.1")
        assert (vip.vhid, vip.advbase, vip.advskew) == (9, 2, 100)
        assert password == "s3cret"

    def test_an_empty_one_is_none(self) -> None:
        assert read(VIP="", DEV="", PASSWORD_FILE="")[0].settings.vip.addresses == ()

    def test_word_beats_variable_beats_file(self, home: Path) -> None:
        (home / "confsync.toml").write_text('[vip]\naddress = "192.0.2.1"\ndevice = "eth9"\n')
        assert read(secret="x")[0].settings.vip.address == "192.0.2.1"
        assert read(secret="x", VIP="192.0.2.2")[0].settings.vip.address == "192.0.2.2"
        loaded, _ = read("192.0.2.3", secret="x", VIP="192.0.2.2")
        assert (loaded.settings.vip.address, loaded.settings.vip.device) == ("192.0.2.3", "eth9")

    def test_the_long_name_beats_the_short_one(self) -> None:
        loaded, _ = read(VHID="1", CONFSYNC_VIP__VHID="2")
        assert loaded.settings.vip.vhid == 2

    def test_a_wrong_one_is_named(self) -> None:
        with pytest.raises(errors.SettingsError) as wrong:
            read(VHID="none")
        (line,) = wrong.value.faults
        assert line.startswith('VHID: [vip] vhid = "none": must be a whole number')
        with pytest.raises(errors.SettingsError) as wrong:
            read(HA="heartbeat")
        assert wrong.value.faults[0].startswith('HA: [vip] engine = "heartbeat"')

    def test_ha_none_needs_nothing(self) -> None:
        loaded, password = read("192.0.2.7", HA="none")
        assert loaded.settings.vip.addresses == ()
        assert password == ""


class TestPasswordFile:
    def test_its_first_line_is_the_password(self, home: Path) -> None:
        (home / "word").write_text("s3cret\r\nsecond line\n")
        assert read("192.0.2.7", PASSWORD_FILE="word")[1] == "s3cret"
        (home / "confsync.toml").write_text('[vip]\npassword_file = "word"\n')
        assert read("192.0.2.7", "192.0.2.8")[1] == "s3cret"

    def test_a_variable_beats_the_file_of_the_settings(self, home: Path) -> None:
        (home / "word").write_text("s3cret\n")
        (home / "confsync.toml").write_text('[vip]\npassword_file = "word"\n')
        assert read("192.0.2.7", secret="other")[1] == "other"

    def test_two_variables_are_refused(self) -> None:
        with pytest.raises(balancer.Misused, match="PASSWORD and PASSWORD_FILE"):
            read("192.0.2.7", secret="x", PASSWORD_FILE="y")

    def test_another_one_while_it_runs_is_told_and_not_shown(self, home: Path) -> None:
        (home / "word").write_text("s3cret\n")
        (home / "confsync.toml").write_text('[vip]\npassword_file = "word"\n')
        options = arguments.parser().parse_args(["lb", "192.0.2.7"])
        before = balancer.read(options, {}, "")[1]
        assert balancer.read_again(options, {}, "", before).warnings == ()
        (home / "word").write_text("0ther\n")
        (told,) = balancer.read_again(options, {}, "", before).warnings
        assert "takes effect with the next start" in told
        assert "s3cret" not in told
        assert "0ther" not in told

    @pytest.mark.parametrize("text", ["", "\n", None])
    def test_one_without_a_password_is_a_fault(self, home: Path, text: str | None) -> None:
        if text is not None:
            (home / "word").write_text(text)
        with pytest.raises(errors.SettingsError, match="1 fault") as wrong:
            read("192.0.2.7", PASSWORD_FILE="word")
        assert str(home / "word") in wrong.value.detail


class TestCheck:
    """`confsync check` finds what a start would refuse."""

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"ADVBASE": "0"}, "vip.advskew: with advbase = 0 it alone is the interval"),
            ({"ADVBASE": "100"}, "vip.advbase: 100 s times ratio = 3"),
            ({"PASSWORD_FILE": "long"}, "the password has 20 bytes, ucarp takes 19"),
            ({"VIP": "2001:db8::1"}, "is IPv6, which ucarp does not know"),
        ],
    )
    def test_what_ucarp_would_refuse(
        self,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        variables: dict[str, str],
        words: str,
    ) -> None:
        (home / "confsync.toml").write_text("")
        (home / "long").write_text("x" * 20 + "\n")
        monkeypatch.setenv("CONFSYNC_HOME", str(home))
        for name, value in {"VIP": "192.0.2.7", **variables}.items():
            monkeypatch.setenv(name, value)
        assert main.main(["check", "--no-haproxy"]) == 78
        assert words in capsys.readouterr().err

    def test_what_is_of_another_machine_is_a_remark(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (home / "confsync.toml").write_text(
            '[vip]\naddress = "192.0.2.7"\npassword_file = "secret"\nadvbase = 0\nadvskew = 26\n'
            "immediate = false\n"
        )
        monkeypatch.setenv("CONFSYNC_HOME", str(home))
        assert main.main(["check", "--no-haproxy"]) == 0
        said = capsys.readouterr().out
        assert "secret is not there: not checked" in said
        assert "immediate.so, which is not there or not wanted" in said
