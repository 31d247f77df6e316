"""The program's parser, and the one place where errors become exit codes.

Exit status of every command: 0 done, 1 the answer is no (the lines say why),
2 wrong usage, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

from flowdeps import __version__
from flowdeps.api.problems import InvalidError
from flowdeps.cli import (
    check,
    cleanup,
    diff,
    lock,
    pack,
    populate,
    run,
    status,
    template,
    validate,
)
from flowdeps.cli.failure import CommandError
from flowdeps.cli.terminal import say_aside

_DESCRIPTION = """\
Pinned, hashed Python dependencies for Prefect flows on Kubernetes.

The operator is `flowdeps run`. The other commands do one of its steps by hand, on
files or on a live cluster, and change nothing; `flowdeps cleanup` takes out what it made.
"""
_EPILOG = """\
examples:
  flowdeps validate sets.yaml
  flowdeps lock ml-extras.yaml > ml-extras.lock
  flowdeps template sets.yaml --pool kubernetes --check
  flowdeps status -n flows
  flowdeps status flows/ml-extras
"""


def build_parser() -> argparse.ArgumentParser:
    """The program's parser. A command is a module with the names that are used here."""
    parser = argparse.ArgumentParser(
        prog="flowdeps",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"flowdeps {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (run, check, validate, lock, diff, template, status, cleanup, pack, populate):
        # What has no summary is not listed: the operator runs it, not people.
        listed = {"help": summary} if (summary := getattr(command, "SUMMARY", None)) else {}
        one = commands.add_parser(
            command.__name__.rpartition(".")[2],
            **listed,
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(one)
        one.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status and never raises for bad input."""
    # What is closed is None, and print takes a stderr of None for stdout.
    sys.stdin = sys.stdin or os.fdopen(os.open(os.devnull, os.O_RDONLY))
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    args = build_parser().parse_args(_renamed(sys.argv[1:] if argv is None else argv))
    if sys.stdout is None:
        return _refused(["standard output is closed; write `>/dev/null` where nobody wants it"])
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except CommandError as error:
        return _refused(error.lines)
    except InvalidError as error:  # of a file it would be a CommandError: this is the environment
        return _refused(map(str, error.problems))
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # What could not be written goes, so that the interpreter's end does not try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # With a broken pipe, the reader of our output has gone (`| head`).
        return 1 if isinstance(error, BrokenPipeError) else _refused([str(error)])
    return code


def _renamed(argv: Sequence[str]) -> list[str]:
    """Return the arguments with the present name of a command in place of an older one."""
    if argv[:1] != ["explain"]:
        return list(argv)
    say_aside("flowdeps: `explain` is deprecated; use `flowdeps status NAME`")
    return ["status", *argv[1:]]


def _refused(lines: Iterable[str]) -> int:
    for line in lines:
        say_aside(f"flowdeps: {line}")
    return 1
