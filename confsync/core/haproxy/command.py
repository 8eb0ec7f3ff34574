"""How a HAProxy master was started, so that a check sees what its next reload will see. Pure.

Where the bytes come from (/proc of this host, or inside a container) is an adapter's.
A check that takes the master's environment as it is fails for a good and a bad file alike once there
was a reload: the master leaves notes to its next self in it, and `haproxy -c` obeys them (exits 2,
with `-W -S` it crashes; measured on 2.6.12). So those are left out here.
"""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

# mworker.c and haproxy.c: what a master tells its next self, and what it tells its children.
_LEFT_BY_HAPROXY = frozenset(
    {
        "HAPROXY_PROCESSES",
        "HAPROXY_CLI",
        "HAPROXY_MASTER_CLI",
        "HAPROXY_CFGFILES",
        "HAPROXY_STARTUP_VERSION",
        "HAPROXY_STARTUP_VERSIONS",
        "HAPROXY_STARTUPLOGS_FD",
        "HAPROXY_LOAD_SUCCESS",
    }
)
# A check must neither tell systemd that HAProxy is ready nor take its sockets.
_LEFT_BY_SYSTEMD = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)
_NAME = re.compile(r"(?:\S*/)?haproxy(?:[-_][\w.-]*)?(?<!\.sh)")
_OURS = ("CONFSYNC_", "CONSUL_")

# management.txt 3: options of the command line by how many words follow. Those that change what a
# configuration means are handed on to the check; a debugging aid or a place to listen is not.
_WITH_VALUE = frozenset("CnmNLpSx")
_HANDED_ON = frozenset("nmNL")
_HANDED_ON_FLAGS = frozenset({"-dr", "-dW", "-dG", "-dV", "-dI", "-W", "-Ws"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A master's arguments: its files in order, and the options that a check must repeat.

    `directory`: of -C, which is no option to repeat: the check starts there instead.
    """

    files: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    directory: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterCommand:
    """How the master was started, as far as /proc shows it.

    `files`: the arguments of -f and -- in order, made absolute. `options`: to repeat in a check.
    `directory`: where relative paths start, "" when unknown. `environment`: None when it may not be
    read. `program`: the path of its executable, "" when unknown; `replaced`: another file lies
    there by now (an upgrade), which the next reload executes. `notes`: what could not be known.
    """

    pid: int
    files: tuple[str, ...]
    options: tuple[str, ...] = ()
    directory: str = ""
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    program: str = ""
    replaced: bool = False
    notes: tuple[str, ...] = ()


def told(
    pid: int, *, cmdline: bytes, environ: bytes | None, directory: str, program: str
) -> MasterCommand | None:
    """Read what /proc/PID says of a master; None when it is no HAProxy with files.

    `cmdline`, `environ`: as the kernel has them, ended by NULs; `environ` None, `directory` and
    `program` "": may not be read.
    """
    words = cmdline.split(b"\0")[:-1]
    line = parse([_decoded(word) for word in words[1:]])
    if line is None or not line.files:
        return None
    notes = []
    # The master changed to a relative -C when it started, so its working directory is that.
    directory = line.directory if line.directory.startswith("/") else directory
    files = tuple(posixpath.normpath(posixpath.join(directory, name)) for name in line.files)
    if not directory and any(not name.startswith("/") for name in line.files):
        notes.append(
            f"HAProxy's working directory may not be read (/proc/{pid}/cwd), so its relative paths "
            "are unknown: run confsync as root"
        )
    environment = None if environ is None else clean(_pairs(environ))
    if environment is None:
        notes.append(
            f"HAProxy's environment may not be read (/proc/{pid}/environ): ${{VARIABLES}} in the "
            "configuration are checked with confsync's own; run confsync as root (in a container: "
            "with CAP_SYS_PTRACE)"
        )
    return MasterCommand(
        pid=pid,
        files=files,
        options=line.options,
        directory=directory,
        environment=environment,
        program=program.removesuffix(" (deleted)"),
        replaced=program.endswith(" (deleted)"),
        notes=tuple(notes),
    )


def declared(
    words: Sequence[str], environment: Mapping[str, str], directory: str
) -> MasterCommand | None:
    """Read how a HAProxy that does not run would be started: by a container's first process.

    What stands before its name is an init, or the image's entrypoint, which may leave the name out
    (docker-library's does). None when it cannot be told, as with a command for a shell.
    """
    at = next((n for n, word in enumerate(words) if _NAME.fullmatch(word)), None)
    if at is None:
        at = next((n for n, word in enumerate(words) if word.endswith("entrypoint.sh")), None)
    if at is None:
        return None
    line = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words[at:])
    found = told(0, cmdline=line, environ=b"", directory=directory, program="")
    return replace(found, environment=clean(environment)) if found else None


def parse(words: list[str]) -> CommandLine | None:
    """Read HAProxy's own arguments (without the program's name); None when they make no sense."""
    files: list[str] = []
    options: list[str] = []
    directory = ""
    rest = iter(words)
    word = next(rest, None)
    while word is not None:
        after: str | None = None
        if word == "--":
            files += rest
        elif word in {"-sf", "-st"}:
            after = next(rest, None)
            while after is not None and not after.startswith("-"):
                after = next(rest, None)
            word = after
            continue
        elif word in _HANDED_ON_FLAGS:
            options.append("-W" if word == "-Ws" else word)
        elif word == "-f" or (len(word) == 2 and word[1:] in _WITH_VALUE):
            after = next(rest, None)
            if after is None:
                return None
            if word == "-f":
                files.append(after)
            elif word == "-C":
                directory = after
            elif word[1:] in _HANDED_ON:
                options += [word, after]
        elif not word.startswith("-"):
            return None
        word = next(rest, None)
    return CommandLine(files=tuple(files), options=tuple(options), directory=directory)


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what a HAProxy or systemd left in an environment, and what is confsync's."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _LEFT_BY_HAPROXY
        and name not in _LEFT_BY_SYSTEMD
        and not name.startswith("HAPROXY_MWORKER")
        and not name.startswith(_OURS)
    }


def _pairs(environ: bytes) -> dict[str, str]:
    pairs = (_decoded(each).partition("=") for each in environ.split(b"\0") if b"=" in each)
    return {name: value for name, _, value in pairs}


def _decoded(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")
