"""`flowdeps lock`: the lock that the operator would make, on standard output."""

import argparse
import asyncio
import sys
from pathlib import Path

from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import parse_spec
from flowdeps.cli.failure import CommandError
from flowdeps.cli.manifests import STDIN, read_manifests
from flowdeps.cli.settings import add_config, make_resolver, read_config
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock, LockError, parse_lock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver import ResolveError

_DESCRIPTION = """\
Resolve a FlowDependencySet to a lock: every package at one version, with the hashes of
its wheels that fit the set's Python and platforms. No cluster is needed.
"""
_EPILOG = """\
examples:
  flowdeps lock ml-extras.yaml > ml-extras.lock
  flowdeps lock ml-extras.yaml --previous ml-extras.lock --output ml-extras.lock

With --previous, pins that are still allowed keep their versions.
Exit status: 0 a lock was made, 1 there is none (the reason is on standard error).
"""


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "lock",
        help="make a set's lock",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="YAML or JSON with one set; - for stdin")
    parser.add_argument("--previous", metavar="LOCK", help="a lock whose pins to keep")
    parser.add_argument("--output", metavar="FILE", help="write there, not to standard output")
    add_config(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Make the lock and write it."""
    config = read_config(args.config)
    request = _request(args.file, default_index=config.index)
    previous = read_lock(args.previous) if args.previous else None
    count = len(request.requirements)
    print(f"resolving {count} requirement{'s' if count != 1 else ''} …", file=sys.stderr)
    try:
        lock = asyncio.run(make_resolver(config).resolve(request, previous=previous)).lock
    except ResolveError as error:
        raise CommandError(f"{error.reason}: {error.message}") from None
    text = lock.render()
    if args.output:
        try:
            Path(args.output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{args.output}: {error.strerror}") from None
    else:
        sys.stdout.write(text)
    print(f"{len(lock.pins)} pins, {lock.digest}", file=sys.stderr)
    return 0


def _request(file: str, *, default_index: Index) -> LockRequest:
    reading = read_manifests([file])
    if reading.problems:
        raise CommandError(*reading.problems)
    if len(reading.manifests) != 1:
        raise CommandError(
            f"{file}: {len(reading.manifests)} FlowDependencySets; give a file with exactly one"
        )
    try:
        spec = parse_spec(reading.manifests[0].body)
    except InvalidError as error:
        raise CommandError.invalid(file, error) from None
    if spec.target is None:
        raise CommandError(f"{file}: spec.python.version: missing; add it")
    return LockRequest(
        requirements=spec.requirements,
        constraints=spec.constraints,
        target=spec.target,
        index=spec.index.index if spec.index.index.url else default_index,
    )


def read_lock(file: str) -> Lock:
    """The lock in a file (`-`: standard input). Raises CommandError."""
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
        return parse_lock(text)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except (LockError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: {error}") from None
