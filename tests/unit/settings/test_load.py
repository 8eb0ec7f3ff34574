"""Settings from all sources: who wins, what is refused, and that all faults come at once."""

import os
from pathlib import Path

import pytest

from confsync import errors
from confsync.domain.catalog import Status
from confsync.domain.rendered import Language
from confsync.settings import sources
from confsync.settings.load import Loaded, load
from confsync.settings.model import (
    WITH_OWN_PATHS,
    ConsulSource,
    DockerTarget,
    FileSource,
    Settings,
    SystemdTarget,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def faults(text: str, folder: Path, environ: dict[str, str] | None = None) -> list[str]:
    """Load a text that is wrong; the lines without the file's folder."""
    file = folder / "confsync.toml"
    file.write_text(text)
    with pytest.raises(errors.SettingsError) as caught:
        load(str(file), environ=environ or {})
    assert caught.value.exit_code == 78
    assert caught.value.detail.splitlines() == caught.value.faults
    return [line.replace(f"{folder}/", "") for line in caught.value.faults]


def good(text: str, folder: Path, environ: dict[str, str] | None = None) -> Loaded:
    file = folder / "confsync.toml"
    file.write_text(text)
    return load(str(file), environ=environ or {})


class TestWhereFrom:
    def test_without_a_file_the_defaults_hold(self, folder: Path) -> None:
        loaded = load(None, environ={})
        assert loaded.settings == Settings.model_validate(
            {key: {} for key in WITH_OWN_PATHS}, context={"base": str(folder)}
        )
        assert (loaded.file, loaded.directory, loaded.warnings) == (None, str(folder), ())

    def test_flag_beats_variable_beats_working_directory(self, folder: Path) -> None:
        for name in ("flag", "variable", "confsync"):
            (folder / f"{name}.toml").write_text(f'[source]\ndatacenter = "{name}"\n')
        environ = {"CONFSYNC_CONFIG": "variable.toml"}

        def datacenter(loaded: Loaded) -> str:
            assert isinstance(loaded.settings.source, ConsulSource)
            return loaded.settings.source.datacenter

        assert datacenter(load("flag.toml", environ=environ)) == "flag"
        assert datacenter(load(None, environ=environ)) == "variable"
        assert datacenter(load(None, environ={"CONFSYNC_CONFIG": ""})) == "confsync"

    def test_flag_beats_environment_beats_file(self, folder: Path) -> None:
        text = '[log]\nlevel = "error"\nformat = "text"\n'
        (folder / "confsync.toml").write_text(text)
        environ = {"CONFSYNC_LOG__LEVEL": "warning"}
        assert load(None, environ={}).settings.log.level == "error"
        assert load(None, environ=environ).settings.log.level == "warning"
        loaded = load(None, environ=environ, flags={"log.level": "debug"})
        assert (loaded.settings.log.level, loaded.settings.log.format) == ("debug", "text")

    def test_a_named_file_must_exist(self, folder: Path) -> None:
        with pytest.raises(errors.SettingsError) as caught:
            load("no.toml", environ={})
        assert caught.value.faults == ["no.toml: no such file; write it, or name another"]
        with pytest.raises(errors.SettingsError) as caught:
            load(None, environ={"CONFSYNC_CONFIG": "no.toml"})
        assert caught.value.faults[0].startswith("CONFSYNC_CONFIG: no.toml: no such file; ")

    def test_a_folder_is_no_file(self, folder: Path) -> None:
        with pytest.raises(errors.SettingsError, match="1 fault") as caught:
            load(str(folder), environ={})
        assert "Is a directory" in caught.value.detail

    def test_a_syntax_error_has_its_line(self, folder: Path) -> None:
        (line,) = faults('[source]\nservices = ["web"\n\n[target\n', folder)
        assert line.startswith("confsync.toml:4: is not TOML: ")
        (line,) = faults('[source]\nservices = [\n"web",', folder)
        assert line.startswith("confsync.toml:3: is not TOML: ")

    def test_bytes_that_are_no_utf8_have_their_line(self, folder: Path) -> None:
        (folder / "confsync.toml").write_bytes(b"# fine\n\n# \xff\n")
        with pytest.raises(errors.SettingsError) as caught:
            load("confsync.toml", environ={})
        assert caught.value.faults == ["confsync.toml:3: is not UTF-8; save it as UTF-8"]

    def test_windows_line_ends_are_fine(self, folder: Path) -> None:
        (folder / "confsync.toml").write_bytes(b'[source]\r\n\r\nwait = "no"\r\n')
        with pytest.raises(errors.SettingsError) as caught:
            load("confsync.toml", environ={})
        assert caught.value.faults[0].startswith("confsync.toml:3: [source] wait")


class TestEnvironment:
    @pytest.mark.parametrize(
        ("text", "tags"),
        [
            ("a", ("a",)),
            ("a, b,", ("a", "b")),
            ('["a", "b,c"]', ("a", "b,c")),
            ("", ()),
        ],
    )
    def test_lists(self, folder: Path, text: str, tags: tuple[str, ...]) -> None:
        loaded = load(None, environ={"CONFSYNC_SOURCE__TAGS": text})
        assert loaded.settings.source.tags == tags

    def test_a_glob_in_brackets_is_no_json(self, folder: Path) -> None:
        loaded = load(None, environ={"CONFSYNC_SOURCE__SERVICES": "[ab]*,web"})
        assert loaded.settings.source.services == ("[ab]*", "web")

    def test_numbers_truths_and_pairs(self, folder: Path) -> None:
        environ = {
            "CONFSYNC_SOURCE__WAIT": "5.5",
            "CONFSYNC_RUNTIME__ENABLED": "false",
            "CONFSYNC_RELOAD__RETRY": "1,2",
            "CONFSYNC_SOURCE__CONNECTIONS": "7",
        }
        settings = load(None, environ=environ).settings
        assert isinstance(settings.source, ConsulSource)
        assert (settings.source.wait, settings.source.connections) == (5.5, 7)
        assert settings.runtime.enabled is False
        assert settings.reload.retry == (1, 2)

    def test_a_type_alone_and_a_key_without_it(self, folder: Path) -> None:
        environ = {"CONFSYNC_SOURCE__TYPE": "file", "CONFSYNC_SOURCE__PATH": "services.json"}
        source = load(None, environ=environ).settings.source
        assert source == FileSource(type="file", path=f"{folder}/services.json")

    def test_variables_of_a_template(self, folder: Path) -> None:
        text = '[[template]]\nsource = "builtin:haproxy.cfg"\ndestination = "/h.cfg"\n'
        environ = {"CONFSYNC_TEMPLATE__0__VARS__BIND": ":8080"}
        loaded = good(text, folder, environ)
        assert loaded.settings.template[0].vars == {"bind": ":8080"}

    def test_a_variable_adds_a_template(self, folder: Path) -> None:
        environ = {
            "CONFSYNC_TEMPLATE__0__SOURCE": "builtin:haproxy.cfg",
            "CONFSYNC_TEMPLATE__0__DESTINATION": "/h.cfg",
        }
        assert load(None, environ=environ).settings.template[0].destination == "/h.cfg"

    def test_strangers_are_told_and_ignored(self, folder: Path) -> None:
        environ = {
            "CONFSYNC_PORT_80_TCP_ADDR": "10.0.0.1",
            "CONFSYNC_FAULT": "",
            "CONFSYNC_CONFIG": "",
            "CONFSYNC": "",
            "PATH": "/bin",
        }
        assert load(None, environ=environ).warnings == (
            (
                "the environment variable CONFSYNC_PORT_80_TCP_ADDR is no setting of confsync and is"
                " ignored"
            ),
        )

    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("CONFSYNC_TARGET__CONFG", "CONFSYNC_TARGET__CONFIG"),
            ("CONFSYNC_TARGT__CONFIG", "CONFSYNC_TARGET__CONFIG"),
            ("CONFSYNC_SOURCE__TOKEN", "CONFSYNC_SOURCE__TOKEN_FILE"),
            ("CONFSYNC_TEMPLATE__0__MOD", "CONFSYNC_TEMPLATE__0__MODE"),
            ("CONFSYNC_LOG__LEVEL__X", "CONFSYNC_LOG__LEVEL"),
        ],
    )
    def test_what_looks_like_a_setting_must_be_one(
        self, folder: Path, name: str, near: str
    ) -> None:
        (line,) = faults("", folder, {name: "hunter2"})
        assert line == f"{name}: is no setting; did you mean {near}? Else unset it"

    def test_a_fault_names_the_variable(self, folder: Path) -> None:
        environ = {"CONFSYNC_SOURCE__WAIT": "soon", "CONFSYNC_SOURCE__SERVICES": "web,a/b"}
        assert faults("[source]\nwait = 3\n", folder, environ) == [
            (
                'CONFSYNC_SOURCE__SERVICES: [source] services[1] = "a/b":'
                " holds a slash, which no watched service may; remove it"
            ),
            (
                'CONFSYNC_SOURCE__WAIT: [source] wait = "soon":'
                " must be a number; write a number without quotes; times are in seconds"
            ),
        ]


ALL_WRONG = """\
# all at once
tokne = "hunter2"
[source]
address = "http://u:hunter2@x:1"
services = ["web",
  ""]
sttus = ["passing"]
path = "x"

[target]
type = "systemd"
unit = "haproxy"
config = "/etc/x\\nz"
container = "lb"
[reload]
retry = [60, 5]
ceiling = 0.1
[runtime]
enabled = "perhaps"
[[template]]
source = "builtin:foo"
destination = "x.cfg"
[template.vars]
stats_password = 2020-01-01
[[template]]
mode = 644
destination = "./x.cfg"
language = "german"
[guards]
x = 1
[guard]
share = 1.5
least = 2.5
address = "x"
zzzz = 1
"""


class TestFaults:
    def test_a_variable_that_no_builtin_template_reads(self, folder: Path) -> None:
        """Else a misspelt `bind` would listen on the default port, without a word."""
        head = '[[template]]\nsource = "%s"\ndestination = "x.cfg"\n[template.vars]\n'
        variables = 'bin = ":81"\nstats_password_file = "p"\nxyz = 1\n'
        assert faults(head % "builtin:haproxy.cfg" + variables, folder) == [
            (
                "confsync.toml:5: [template.vars] bin: is no variable of the built-in templates;"
                " did you mean bind?"
            ),
            (
                "confsync.toml:7: [template.vars] xyz: is no variable of the built-in templates;"
                " known are bind, domain, stats_bind, stats_user, stats_password, hard_stop_after,"
                " user, group, chroot, log, tls_bind, tls_certificates, tls_minimum, tls_redirect,"
                " tls_port, hsts, stats_password_file"
            ),
        ]
        assert good(head % "own.cfg.j2" + variables, folder).settings.template[0].vars["xyz"] == 1

    def test_all_at_once_each_with_line_key_value_and_remedy(self, folder: Path) -> None:
        assert faults(ALL_WRONG, folder, {"CONFSYNC_LOG__LEVEL": "loud"}) == [
            (
                'CONFSYNC_LOG__LEVEL: [log] level = "loud": is not one of its values;'
                ' use "debug", "info", "warning" or "error"'
            ),
            "confsync.toml:2: [tokne]: stands outside every table; did you mean [state]?",
            (
                "confsync.toml:4: [source] address: carries credentials, which would show in logs;"
                " remove them; put a token into token_file"
            ),
            (
                'confsync.toml:5: [source] services[1] = "": is empty;'
                " write a name, or leave the item out"
            ),
            "confsync.toml:7: [source] sttus: unknown key; did you mean status?",
            (
                'confsync.toml:8: [source] path: has no meaning for type = "consul";'
                ' remove it, or set type = "file"'
            ),
            (
                'confsync.toml:12: [target] unit = "haproxy": is no name of a service unit;'
                ' write it as "haproxy.service"'
            ),
            (
                r'confsync.toml:13: [target] config = "/etc/x\nz":'
                " holds a character that cannot be printed; remove it"
            ),
            (
                'confsync.toml:14: [target] container: has no meaning for type = "systemd";'
                ' remove it, or set type = "docker"'
            ),
            (
                "confsync.toml:16: [reload] retry = [60, 5]: must be two pauses above 0,"
                " the first not longer than the second; write it as [5, 60]"
            ),
            "confsync.toml:17: [reload] ceiling = 0.1: is below quiet; set it to at least 0.25",
            (
                'confsync.toml:19: [runtime] enabled = "perhaps": must be true or false;'
                " write it without quotes"
            ),
            (
                'confsync.toml:21: [[template]] source = "builtin:foo": is no built-in template;'
                ' use one of "builtin:haproxy.cfg", "builtin:hosts.map", "builtin:503.http",'
                " or a file's path"
            ),
            (
                "confsync.toml:24: [template.vars] stats_password: is a date,"
                " which templates do not take; put it in quotes"
            ),
            "confsync.toml:25: [[template]] source: is missing; add it",
            (
                "confsync.toml:26: [[template]] mode = 644: must be three octal digits in quotes;"
                ' write it as "0644"'
            ),
            (
                'confsync.toml:27: [[template]] destination = "./x.cfg": is the destination of'
                " [[template]] number 1 too; give each template a file of its own"
            ),
            (
                'confsync.toml:28: [[template]] language = "german": is not one of its values;'
                ' use "haproxy", "map", "nginx" or "plain"'
            ),
            "confsync.toml:29: [guards]: is no table of confsync; did you mean [guard]?",
            "confsync.toml:32: [guard] share = 1.5: is too large; it may be at most 1",
            "confsync.toml:33: [guard] least = 2.5: must be a whole number; leave the fraction out",
            (
                "confsync.toml:34: [guard] address: unknown key;"
                " did you mean to write it under [source]?"
            ),
            (
                "confsync.toml:35: [guard] zzzz: unknown key; the nearest name is window;"
                " known are share, least, window, confirm"
            ),
        ]

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            (
                (
                    'directory = "/etc/hap"\nconfig = "lb/haproxy.cfg"\n[[template]]\nsource = "a.j2"\n'
                    'destination = "maps/a.map"'
                ),
                (
                    'confsync.toml:7: [[template]] destination = "maps/a.map": is not in '
                    "lb, the one folder that the container sees as /etc/hap (target.directory)"
                    "; put it there, beside target.config, or leave target.directory empty to put all "
                    "files over Docker's API"
                ),
            ),
            (
                '[[template]]\nsource = "a.j2"\ndestination = "a.map"',
                (
                    'confsync.toml:5: [[template]] destination = "a.map": is put into the '
                    "container, where relative paths lead nowhere; write the whole path as the "
                    "container sees it, or set target.directory"
                ),
            ),
            (
                'config = "haproxy.cfg"',
                (
                    'confsync.toml:3: [target] config = "haproxy.cfg": is put into the container, '
                    "where relative paths lead nowhere; write the whole path as the container sees "
                    "it, or set target.directory"
                ),
            ),
            (
                'directory = "etc"',
                (
                    'confsync.toml:3: [target] directory = "etc": is no plain whole path; write the '
                    'folder as the container sees it, from "/" on'
                ),
            ),
            *(
                (
                    f'directory = "/etc/hap"\nconfig = "/x/haproxy.cfg"\ncontainer = "{name}"',
                    (
                        f'confsync.toml:5: [target] container = "{name}": names no container; write '
                        'a name, an id, "label=KEY" or "label=KEY=VALUE"'
                    ),
                )
                for name in ("two words", "label=", "label==x", "-rf", "a/b")
            ),
        ],
    )
    def test_a_container_must_find_the_files(self, text: str, wanted: str, folder: Path) -> None:
        found = faults(f'[target]\ntype = "docker"\n{text}\n', folder)
        assert wanted in found

    def test_files_that_a_container_finds_are_no_fault(self, folder: Path) -> None:
        lines = (
            '[target]\ntype = "docker"\ndirectory = "/etc/hap"\nconfig = "lb/haproxy.cfg"\n'
            '[[template]]\nsource = "a.j2"\ndestination = "lb/a.map"\n'
        )
        assert good(lines, folder).settings.target.config == str(folder / "lb/haproxy.cfg")
        lines = '[target]\ntype = "docker"\nconfig = "/usr/local/etc/haproxy/haproxy.cfg"\n'
        assert isinstance(good(lines, folder).settings.target, DockerTarget)
        for name in ("lb", "/lb", "0123abcd", "label=a", "label=a=", "label=a.b=c d"):
            assert good(f'{lines}container = "{name}"\n', folder).settings.target.type == "docker"

    @pytest.mark.parametrize(
        ("text", "start"),
        [
            ('target = "x"', "confsync.toml:1: [target]"),
            ("[target]\ntype = 5", "confsync.toml:2: [target] type = 5: is no known type"),
            ("[source]\ntype = 'etcd'", 'confsync.toml:2: [source] type = "etcd": is no known'),
            ("[source]\ntype = 'file'", "confsync.toml:1: [source] path: is missing"),
            ("[source]\nservices = 'web'", 'confsync.toml:2: [source] services = "web": must be a'),
            ("[source]\nservices = []", "confsync.toml:2: [source] services = []: has too few"),
            ("[source]\nservices = ['[ab']", "confsync.toml:2: [source] services[0]"),
            ("[source]\nwait = true", "confsync.toml:2: [source] wait = true: must be a number"),
            ("[source]\nwait = inf", "confsync.toml:2: [source] wait = Infinity: must be a finite"),
            ("[source]\nwait = 0", "confsync.toml:2: [source] wait = 0: is too small; it must"),
            ("[source]\nconnections = 1.5", "confsync.toml:2: [source] connections = 1.5: must"),
            ("[source]\nstatus = ['maintenance']", "confsync.toml:2: [source] status[0]"),
            (
                "[source]\nca_file = 'ca.pem'",
                'confsync.toml:2: [source] ca_file = "ca.pem": has no',
            ),
            ("template = 5", "confsync.toml:1: [template] = 5: must be a list"),
            (
                "[template]\nsource = 'x'",
                "confsync.toml:1: [template]: must be a list; write its head",
            ),
            ("[target]\nconfig = ''", 'confsync.toml:2: [target] config = "": is empty; write'),
            ("[target]\nconfig = '~/x'", "confsync.toml:2: [target] config"),
            ("[state]\n\ndirectory = 5", "confsync.toml:3: [state] directory = 5: must be a text"),
            ('[log]\nlevel = ["\\u001b[2J"]', 'confsync.toml:2: [log] level = ["\\u001b[2J"]: '),
            ('"\\u001b" = 1', 'confsync.toml:1: ["\\u001b"]: stands outside'),
            ('[log]\nlevel = "\u202e"', 'confsync.toml:2: [log] level = "\\u202e": is not one'),
            ("[reload]\nretry = [1]", "confsync.toml:2: [reload] retry[1]: is missing"),
            ("[reload]\nretry = [1, 2, 3]", "confsync.toml:2: [reload] retry = [1, 2, 3]: has too"),
        ],
    )
    def test_one(self, folder: Path, text: str, start: str) -> None:
        lines = faults(text, folder)
        assert len(lines) == 1
        assert lines[0].startswith(start)
        assert lines[0].isprintable()
        assert "; " in lines[0]

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "127.0.0.1:8500",
            "localhost:8500",
            "ftp://x",
            "http://",
            "http://:80",
            "http://x:99999",
            "http://x:port",
            "http://x:0",
            "http://[::1",
            "http://user@x",
            "http://x/?token=hunter2",
            "http://x/#hunter2",
            "http://x y",
            "http://x\n",
            "unix://run/consul.sock",
            "unix://",
        ],
    )
    def test_addresses_that_are_refused(self, folder: Path, address: str) -> None:
        with pytest.raises(errors.SettingsError) as caught:
            load(None, environ={"CONFSYNC_SOURCE__ADDRESS": address})
        (line,) = caught.value.faults
        assert line.startswith("CONFSYNC_SOURCE__ADDRESS: [source] address")
        assert "hunter2" not in line

    @pytest.mark.parametrize(
        "address",
        [
            "http://127.0.0.1:8500",
            "https://consul.example/prefix",
            "http://[::1]:8500",
            "unix:///run/consul.sock",
        ],
    )
    def test_addresses_that_are_taken(self, folder: Path, address: str) -> None:
        source = load(None, environ={"CONFSYNC_SOURCE__ADDRESS": address}).settings.source
        assert isinstance(source, ConsulSource)
        assert source.address == address

    @pytest.mark.parametrize(
        "text",
        [
            'token = "hunter2"',
            '[source]\ntoken = "hunter2"',
            '[source]\ntoken_file = ["hunter2"]',
            '[source]\ntokn = "hunter2"',
            '[source]\naddress = "http://:hunter2@x"',
            '[source]\naddress = "http://:hunter2@[x"',
            '[source]\naddress = "x:hunter2@y"',
            '[target]\ntype = "hunter"\n[source]\nkey_file = {x = "hunter2"}',
            (
                '[[template]]\nsource = "a"\ndestination = "b"\nvars = "hunter2"\n'
                'stats_password = "hunter2"'
            ),
            '[[template]]\nsource = "a"\nvars = {stats_password = "hunter2"}',
        ],
    )
    def test_no_secret_is_shown(self, folder: Path, text: str) -> None:
        assert "hunter2" not in "\n".join(faults(text, folder)).replace('vars = "hunter2"', "")

    @pytest.mark.parametrize(
        "destination",
        ["", "x/", "/", "..", "a b", 'a"b', "a'b", "a#b", "a$b", "a\\b", ".x.confsync", "a\u202eb"],
    )
    def test_destinations_that_are_refused(self, folder: Path, destination: str) -> None:
        environ = {
            "CONFSYNC_TEMPLATE__0__SOURCE": "a.j2",
            "CONFSYNC_TEMPLATE__0__DESTINATION": destination,
        }
        (line,) = faults("", folder, environ)
        assert line.startswith("CONFSYNC_TEMPLATE__0__DESTINATION: [[template]] destination")


class TestValues:
    def test_paths_start_from_the_file(self, folder: Path) -> None:
        (folder / "etc").mkdir()
        text = """
            [source]
            type = "file"
            path = "services.json"
            [target]
            type = "systemd"
            config = "./h.cfg"
            binary = "bin/haproxy"
            [state]
            directory = "../state"
            [[template]]
            source = "h.j2"
            destination = "h.cfg"
            language = "map"
            mode = "640"
            vars = {bind = [":80", 1, true, 1.5], deep = {x = 1}}
            """
        loaded = good(text, folder / "etc", {})
        etc = f"{folder}/etc"
        settings = loaded.settings
        assert (loaded.file, loaded.directory) == (f"{etc}/confsync.toml", etc)
        assert settings.source == FileSource(type="file", path=f"{etc}/services.json")
        assert isinstance(settings.target, SystemdTarget)
        assert settings.target.config == f"{etc}/h.cfg"
        assert settings.target.binary == f"{etc}/bin/haproxy"
        assert settings.target.master_socket == "/run/haproxy-master.sock"
        # Shortening it would follow another path where etc is a symbolic link.
        assert settings.state.directory == f"{etc}/../state"
        (template,) = settings.template
        assert (template.source, template.destination) == (f"{etc}/h.j2", f"{etc}/h.cfg")
        assert (template.language, template.permissions) == (Language.MAP, 0o640)
        assert template.vars == {"bind": (":80", 1, True, 1.5), "deep": {"x": 1}}

    def test_a_program_without_slash_is_searched_on_path(self, folder: Path) -> None:
        settings = good('[target]\nbinary = "haproxy-3.0"\n', folder).settings
        assert settings.target.binary == "haproxy-3.0"

    def test_without_templates_the_built_in_one_makes_the_main_file(self, folder: Path) -> None:
        settings = good('[target]\nconfig = "/x/h.cfg"\n', folder).settings
        (template,) = settings.templates
        assert (template.source, template.destination) == ("builtin:haproxy.cfg", "/x/h.cfg")

    def test_statuses_are_those_of_the_catalog(self, folder: Path) -> None:
        settings = good('[source]\nstatus = ["warning", "passing"]\n', folder).settings
        assert settings.source.status == (Status.WARNING, Status.PASSING)


class TestStateDirectory:
    """The way to the agent must stay open when something else in the settings is wrong."""

    @pytest.mark.parametrize(
        ("text", "environ", "directory"),
        [
            ("", {}, "/var/lib/confsync"),
            ('[state]\ndirectory = "s"', {}, "{folder}/s"),
            ('[state]\ndirectory = "../s"', {}, "{folder}/../s"),
            ('[state]\ndirectory = "/s/"', {"CONFSYNC_STATE__DIRECTORY": "/e"}, "/e"),
            ('[source]\nsttus = 1\n[state]\ndirectory = "/s"', {}, "/s"),
            ("state = 5", {}, "/var/lib/confsync"),
        ],
    )
    def test_found(self, folder: Path, text: str, environ: dict[str, str], directory: str) -> None:
        (folder / "confsync.toml").write_text(text)
        expected = directory.replace("{folder}", str(folder))
        assert sources.state_directory(None, environ) == expected

    def test_equal_to_the_whole_way(self, folder: Path) -> None:
        text = '[state]\ndirectory = "a/../b/./c//d"\n'
        loaded = good(text, folder)
        assert sources.state_directory(loaded.file, {}) == loaded.settings.state.directory


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(folder: Path) -> None:
    (folder / "confsync.toml").write_text("")
    (folder / "confsync.toml").chmod(0)
    with pytest.raises(errors.SettingsError) as caught:
        load(None, environ={})
    assert "this user may not read it" in caught.value.detail
