"""Commands and flags. Imports nothing but argparse: `confsync --version` and --help end here."""

import argparse

from confsync import __version__

PROGRAM = "confsync"


def parser() -> argparse.ArgumentParser:
    """Build the parser. `command` is None when none was given."""
    whole = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Keeps HAProxy in step with Consul without dropping a connection.",
        epilog="Exit codes: 0 in step or applied, 1 a bug, 2 usage, 3 would change, "
        "4 held by the guard, 65 configuration refused, 69 not reachable, 73 cannot write, "
        "75 reload failed or locked, "
        "77 denied, 78 settings wrong. `confsync COMMAND --help` shows a command's flags.",
        allow_abbrev=False,
    )
    whole.add_argument(
        "--version",
        action="version",
        version=f"{PROGRAM} {__version__}",
        help="print the version and end",
    )
    _add_shared(whole, top=True)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        _add_shared(made, top=False)
        return made

    command("run", "Run the agent: keep HAProxy in step until it is told to stop.")

    once = command("once", "Take one turn: show what would change and why; with --apply do it.")
    once.add_argument("--apply", action="store_true", help="write, and reload if need be")
    once.add_argument(
        "--adopt",
        action="store_true",
        help="with --apply: replace files that confsync did not write; the old ones are kept in "
        "the state directory",
    )
    once.add_argument(
        "--release",
        action="append",
        default=[],
        metavar="NAME",
        help="let a service go that the guard holds; may be repeated",
    )
    _add_output(once)
    once.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long the registry may take to answer (10)",
    )

    check = command("check", "Check settings, templates and configuration without any network.")
    check.add_argument(
        "--services",
        metavar="FILE",
        help="render with the services of FILE (as of the file source)",
    )
    check.add_argument("--no-haproxy", action="store_true", help="leave out HAProxy's own check")

    status = command("status", "Ask the agent how it is; 0 while it lives, 69 without one.")
    status.add_argument(
        "--check", action="store_true", help="exit by the table of codes instead (held, failed)"
    )
    _add_output(status)

    release = command("release", "Let go what the guard holds; without a name, list the holds.")
    what = release.add_mutually_exclusive_group()
    what.add_argument("service", nargs="?", metavar="SERVICE", help="the held service's name")
    what.add_argument("--registry", action="store_true", help="believe the empty registry")
    what.add_argument("--all", action="store_true", help="let go everything that is held")

    command("pause", "Have the agent watch, plan and report, but change nothing.")
    command("resume", "End a pause.")

    lb = command(
        "lb", "Run the whole load balancer: HAProxy, nginx, the shared address, the agent."
    )
    lb.add_argument(
        "vip", nargs="?", metavar="VIP", help="the shared address; else VIP, vip.address"
    )
    lb.add_argument(
        "password",
        nargs="?",
        metavar="PASSWORD",
        help="of the pair; better in a file: PASSWORD_FILE or vip.password_file",
    )
    lb.add_argument("more", nargs="*", metavar="IP", help="more addresses that go with it")

    demo = command("demo", "Show the main job on toy backends, for under a minute.")
    demo.add_argument(
        "--seconds",
        type=_seconds,
        default=40.0,
        metavar="SECONDS",
        help="of the scenario, 8 at least (40)",
    )
    demo.add_argument("--plain", action="store_true", help="lines, even on a terminal")
    demo.add_argument("--haproxy", default="", metavar="PROGRAM", help="the HAProxy to use")
    demo.add_argument("--consul", default="", metavar="PROGRAM", help="the Consul to use")
    demo.add_argument("--no-consul", action="store_true", help="use the file source")

    completion = command("completion", "Print the script that completes confsync in a shell.")
    completion.add_argument(
        "shell",
        choices=("bash", "zsh", "fish", "words"),
        metavar="SHELL",
        help="bash, zsh or fish",
    )
    # What those scripts ask with.
    completion.add_argument("line", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return whole


def _add_shared(to: argparse.ArgumentParser, *, top: bool) -> None:
    """Add the flags that may stand before or behind the command; the one behind wins."""
    absent = None if top else argparse.SUPPRESS
    off = False if top else argparse.SUPPRESS
    to.add_argument(
        "-c",
        "--config",
        default=absent,
        metavar="FILE",
        help="the settings file; else that of CONFSYNC_CONFIG, ./confsync.toml, "
        "/etc/confsync/confsync.toml",
    )
    to.add_argument(
        "--debug", action="store_true", default=off, help="log everything, show tracebacks of bugs"
    )
    to.add_argument("--no-color", action="store_true", default=off, help="no colours")


def _add_output(to: argparse.ArgumentParser) -> None:
    to.add_argument(
        "--output", choices=("text", "json"), default="text", help="what to print (text)"
    )


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    # Written so that NaN is refused as well.
    if not 0 < number <= 86_400:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds; write one above 0, at most 86400"
        )
    return number
