import pytest

from confsync.core.haproxy import command


@pytest.mark.parametrize(
    ("line", "files", "options", "directory"),
    [
        ("-W -db -S /m.sock -f /a.cfg", ("/a.cfg",), ("-W",), ""),
        ("-Ws -f /a.cfg -p /run/h.pid -S /m.sock", ("/a.cfg",), ("-W",), ""),
        ("-sf 11 12 -W -f /a.cfg", ("/a.cfg",), ("-W",), ""),
        ("-W -f /a.cfg -x sockpair@4 -sf 12", ("/a.cfg",), ("-W",), ""),
        ("-f /a.cfg -f /conf.d -- b.cfg c.cfg", ("/a.cfg", "/conf.d", "b.cfg", "c.cfg"), (), ""),
        (
            "-C /srv -L lb1 -n 100 -m 512 -N 9 -f a.cfg",
            ("a.cfg",),
            "-L lb1 -n 100 -m 512 -N 9",
            "/srv",
        ),
        ("-dr -dW -dMfail -d -V -q -f /a.cfg", ("/a.cfg",), ("-dr", "-dW"), ""),
        ("-W -sf -f /a.cfg", ("/a.cfg",), ("-W",), ""),
    ],
)
def test_command_lines(
    line: str, files: tuple[str, ...], options: str | tuple[str, ...], directory: str
) -> None:
    wanted = tuple(options.split()) if isinstance(options, str) else options
    assert command.parse(line.split()) == command.CommandLine(
        files=files, options=wanted, directory=directory
    )


@pytest.mark.parametrize("line", ["-f", "-W /a.cfg", "-L"])
def test_a_command_line_that_makes_no_sense(line: str) -> None:
    assert command.parse(line.split()) is None


def test_secrets_of_confsync_are_not_handed_to_the_check() -> None:
    assert command.clean({"CONSUL_HTTP_TOKEN": "t", "CONFSYNC_X": "y", "PATH": "/bin"}) == {
        "PATH": "/bin"
    }


def test_the_environment_is_not_in_the_commands_text() -> None:
    one = command.MasterCommand(pid=1, files=("/a",), environment={"KEY": "hush"})
    assert "hush" not in repr(one)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("haproxy -W -db -f /a.cfg", ("/a.cfg",)),
        ("docker-entrypoint.sh haproxy -f etc/a.cfg", ("/srv/etc/a.cfg",)),
        ("/usr/bin/docker-entrypoint.sh -f /a.cfg", ("/a.cfg",)),
        ("/sbin/tini -- /usr/local/sbin/haproxy-3.2 -W -f /conf.d", ("/conf.d",)),
    ],
)
def test_how_a_container_would_start_it(words: str, files: tuple[str, ...]) -> None:
    environment = {"WEB": "x", "HAPROXY_MWORKER": "1"}
    found = command.declared(words.split(), environment, "/srv")
    assert found is not None
    assert found.files == files
    assert found.environment == {"WEB": "x"}
    assert (found.program, found.notes) == ("", ())


@pytest.mark.parametrize(
    "words",
    [
        ("/sbin/init",),
        ("sh", "-c", "haproxy -f /etc/haproxy"),
        ("haproxy-start.sh", "-f", "/a"),
        ("start", "/etc/haproxy/haproxy.cfg"),
        (),
    ],
)
def test_a_start_that_cannot_be_told(words: tuple[str, ...]) -> None:
    assert command.declared(words, {}, "/") is None


def test_what_proc_says_of_a_master() -> None:
    found = command.told(
        7,
        cmdline=b"haproxy\0-C\0etc\0-f\0a.cfg\0-f\0/b.cfg\0",
        environ=b"A=1\0HAPROXY_CLI=x\0odd\0",
        directory="/srv/etc",
        program="/usr/sbin/haproxy (deleted)",
    )
    assert found == command.MasterCommand(
        pid=7,
        files=("/srv/etc/a.cfg", "/b.cfg"),
        directory="/srv/etc",
        environment={"A": "1"},
        program="/usr/sbin/haproxy",
        replaced=True,
    )


def test_what_proc_does_not_tell_is_noted() -> None:
    found = command.told(7, cmdline=b"haproxy\0-f\0a.cfg\0", environ=None, directory="", program="")
    assert found is not None
    assert found.environment is None
    assert [note.partition(" may")[0] for note in found.notes] == [
        "HAProxy's working directory",
        "HAProxy's environment",
    ]


@pytest.mark.parametrize("cmdline", [b"", b"haproxy\0-v\0", b"/sbin/init\0splash\0"])
def test_what_is_no_haproxy_with_files(cmdline: bytes) -> None:
    assert command.told(7, cmdline=cmdline, environ=b"", directory="/", program="") is None
