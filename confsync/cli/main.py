"""Read the command line, run one command, and map whatever comes of it to an exit code.

The one place for both: no other module ends the process, prints an error or catches everything.
"""

import os
import sys

from confsync import __version__

TYPE_CHECKING = False  # without the cost of importing typing
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from confsync.cli.printed import Printed

BUG = 1
USAGE = 2
CANNOT_WRITE = 73
INTERRUPTED = 130
"""As a shell shows a process that SIGINT ended."""
READER_GONE = 141
"""As a shell shows a process that SIGPIPE ended: `confsync once | head`."""


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run confsync; returns its exit code. `argv`: without the program's name."""
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    try:
        if words == ["--version"]:
            # Building a parser costs more than the interpreter's own start (benchmarks/results).
            return _print(f"confsync {__version__}\n", 0)
        options, out, err, code = _parsed(words)
        if options is None:
            return _show(out, err, code)
        printed = _perform(options)
        return _show(printed.out, printed.err, printed.exit_code)
    except BaseException as error:  # noqa: BLE001 - the place where everything ends
        return _explain(error, debug=debug)


def _parsed(words: list[str]) -> "tuple[argparse.Namespace | None, str, str, int]":
    """Read the command line: the options, or None and what to print instead, with the exit code."""
    import io  # noqa: PLC0415

    from confsync.cli import arguments  # noqa: PLC0415

    parser = arguments.parser()
    options, code = None, USAGE
    # argparse prints by itself, and is helpless where that fails (a closed pipe, a full disk).
    ours, sys.stdout, sys.stderr = (sys.stdout, sys.stderr), io.StringIO(), io.StringIO()
    try:
        options = parser.parse_args(words)
    except SystemExit as end:  # argparse has printed help, version or what is wrong
        code = end.code if isinstance(end.code, int) else USAGE
    finally:
        out, err = sys.stdout.getvalue(), sys.stderr.getvalue()
        sys.stdout, sys.stderr = ours
    if options is not None and options.command is None:
        return None, "", parser.format_help(), USAGE
    if options is not None and (wrong := _misused(options)):
        return None, "", f"confsync {options.command}: error: {wrong}\n", USAGE
    return options, out, err, code


def _misused(options: "argparse.Namespace") -> str:
    """Say what argparse cannot: which words do not go together. Empty: all do."""
    match options.command:
        case "once" if options.adopt and not options.apply:
            return "--adopt needs --apply"
        case "completion" if options.line and options.shell != "words":
            return "nothing follows the shell"
        case _:
            return ""


def _perform(options: "argparse.Namespace") -> "Printed":
    """Run a command, importing no more than it needs."""
    match options.command:
        case "status" | "release" | "pause" | "resume":
            from confsync.cli import asking  # noqa: PLC0415

            return asking.perform(options, os.environ, color=_color(options))
        case "demo":
            from confsync.cli.printed import Printed  # noqa: PLC0415
            from confsync.demo.main import run as demo  # noqa: PLC0415

            code = demo(
                seconds=options.seconds,
                plain=options.plain,
                haproxy=options.haproxy,
                consul=options.consul,
                file_source=options.no_consul,
                color=_color(options),
            )
            return Printed(exit_code=code)
        case "lb":
            from confsync.cli import balancer  # noqa: PLC0415

            return balancer.perform(options, os.environ)
        case "completion":
            from confsync.cli import completion  # noqa: PLC0415

            return completion.perform(options, os.environ)
        case _:
            from confsync.cli import working  # noqa: PLC0415

            return working.perform(options, os.environ, color=_color(options))


def _color(options: "argparse.Namespace") -> bool:
    """Tell whether to colour (no-color.org)."""
    return (
        not options.no_color
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
        and sys.stdout is not None
        and sys.stdout.isatty()
    )


def _show(out: str, err: str, exit_code: int) -> int:
    """Print what a command gave, an error last so that it stays in sight; returns the exit code."""
    code = _print(out, exit_code)
    if err:
        _complain(err)
    return code


def _print(text: str, exit_code: int) -> int:
    """Write to standard output; returns `exit_code`, or another one when that cannot be done."""
    if not text:
        return exit_code
    if sys.stdout is None:  # closed before we began
        _complain("confsync: error: cannot write the output: standard output is closed\n")
        return CANNOT_WRITE
    try:
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure:  # whatever the locale can't say is escaped
            reconfigure(errors="backslashreplace")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return READER_GONE
        _complain(f"confsync: error: cannot write the output: {error.strerror}\n")
        return CANNOT_WRITE
    return exit_code


def _explain(error: BaseException, *, debug: bool) -> int:
    """Print an error; returns its exit code."""
    from confsync import errors  # noqa: PLC0415
    from confsync.cli import output  # noqa: PLC0415

    found = _worst(error)
    if isinstance(found, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(found, SystemExit):
        return found.code if isinstance(found.code, int) else BUG
    if isinstance(found, errors.ConfsyncError):
        _complain(output.error(found.what, found.remedy, found.detail))
        return found.exit_code
    _complain(output.bug(found))
    if debug:
        import traceback  # noqa: PLC0415

        _complain("".join(traceback.format_exception(error)))
    return BUG


def _worst(error: BaseException) -> BaseException:
    """Choose from a group of a TaskGroup: a bug before an error of ours, the highest code of those."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [_worst(each) for each in error.exceptions]
    return max(found, key=lambda each: getattr(each, "exit_code", 1_000))


def _complain(text: str) -> None:
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass  # nobody left to tell
