"""`flowdeps lock`: prints the lock that the operator would make."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from flowdeps.api.config import Config
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import SetSpec
from flowdeps.api.wording import counted
from flowdeps.cli.failure import CommandError
from flowdeps.cli.lock_inputs import Given, read_inputs, refused
from flowdeps.cli.manifests import STDIN
from flowdeps.cli.settings import (
    add_config,
    cache_directory,
    make_resolver,
    read_config,
    read_text,
)
from flowdeps.cli.terminal import say, say_aside
from flowdeps.gather.inputs import Inputs
from flowdeps.gather.least_vulnerable import Ask, least_vulnerable
from flowdeps.gather.refusals import blocked, lock_too_large, unresolved
from flowdeps.locks.lock import Lock, LockError, notes_in, parse_lock
from flowdeps.locks.request import LockRequest
from flowdeps.locks.size import size_of, warn_of_size
from flowdeps.resolver.errors import ResolveError
from flowdeps.resolver.progress import how_far
from flowdeps.resolver.resolve import Resolution
from flowdeps.vulnerabilities import matches
from flowdeps.vulnerabilities.load import Advisories

T = TypeVar("T")

_REPORT_EVERY = 10.0
SUMMARY = "make a set's lock"
DESCRIPTION = """\
Resolve a FlowDependencySet to a lock: every package at one version, with the hashes of
its wheels that fit the set's Python and platforms. No cluster is needed: pass what the set
refers to (ConfigMaps, included sets) in further files.
"""
EPILOG = """\
examples:
  flowdeps lock ml-extras.yaml > ml-extras.lock
  flowdeps lock ml-extras.yaml --previous ml-extras.lock --output ml-extras.lock
  flowdeps lock ml-extras.yaml sources.yaml --image-packages image.json

With --previous, pins that are still allowed keep their versions. What you should know of the
lock (a release that was passed over, an unknown extra) is on standard error and, as comments, in
the lock. So is, every ten seconds, how much was read from the index, and the size of the lock
where the index says how large its files are.

With --config, the command chooses and refuses as the operator does: allowed indexes and
images, cooldown, known vulnerabilities. A lock that the set names (lockFrom) is checked.

With --image-packages, the lock holds only what the image lacks, and fits what it has. FILE
is the JSON of `pip inspect`, or the lines of `pip freeze`; these contain neither what the
packages require nor the image's Python: give that with --python. To make FILE from an image:
  docker run --rm --entrypoint python IMAGE -m pip inspect > image.json
  kubectl run look --rm -i -q --restart=Never --image=IMAGE --command -- \\
    python -m pip inspect > image.json

Exit status: 0 a lock was made, 1 there is none (the reason is on standard error).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="YAML or JSON with one set; - for stdin")
    parser.add_argument(
        "beside", metavar="FILE", nargs="*", help="the ConfigMaps and sets that it refers to"
    )
    parser.add_argument("--image-packages", metavar="FILE", help="the packages of the image")
    parser.add_argument("--python", metavar="3.X", help="the image's, if pip freeze made FILE")
    parser.add_argument(
        "--variable",
        metavar="NAME=FILE",
        action="append",
        default=[],
        type=_variable,
        help="a Prefect variable, and a file with its value",
    )
    parser.add_argument("--netrc", metavar="FILE", help="a netrc file with the index's credentials")
    parser.add_argument("--previous", metavar="LOCK", help="keep the pins of this lock if possible")
    parser.add_argument("--output", metavar="FILE", help="write to FILE, not to standard output")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Make the lock and write it."""
    config = read_config(args.config)
    given = Given(
        file=args.file,
        beside=args.beside,
        image_packages=args.image_packages,
        python=args.python,
        variables=dict(args.variable),
        netrc=args.netrc,
    )
    inputs, spec, notes = read_inputs(given, config)
    _print_notes(notes)
    previous = read_lock_file(args.previous)[0] if args.previous else None
    if isinstance(inputs.wanted, LockRequest):
        count = counted(len(inputs.wanted.requirements), "requirement")
        say_aside(f"resolving {count} …")
    resolver = make_resolver(config, guarded=args.config is not None)
    ask = partial(resolver.resolve, previous=previous, access=inputs.access)
    cache, began = cache_directory(config), time.time()

    def report() -> None:
        say_aside(f"resolving: read so far: {how_far(cache, since=began)}")

    made = asyncio.run(reporting(make_lock(inputs, spec, config, ask=ask), report))
    _print_notes(made.notes)
    lock = made.lock
    text = lock.render(made.notes)
    if args.output:
        try:
            Path(args.output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{args.output}: {error.strerror}") from None
    else:
        say(text, end="")
    base = f" on {counted(len(lock.base), 'package')} of the image" if lock.base else ""
    size = size_of(lock)
    told = f", {size}" if size else ""
    say_aside(f"{counted(len(lock.pins), 'pin')}{base}{told}, {lock.digest}")
    if warning := warn_of_size(size, limit=config.limits.warn_above_size):
        _print_notes([warning])
    return 0


async def reporting(work: Coroutine[Any, Any, T], report: Callable[[], None]) -> T:
    """Return what comes of some work; report while it takes long."""
    task = asyncio.create_task(work)
    while True:
        done, _ = await asyncio.wait({task}, timeout=_REPORT_EVERY)
        if done:
            return await task
        report()


async def make_lock(inputs: Inputs, spec: SetSpec, config: Config, *, ask: Ask) -> Resolution:
    """Return the lock that the operator would publish. Raises CommandError if there is none."""
    database = None
    if config.vulnerabilities.database:
        advisories = Advisories(config.vulnerabilities.database)
        await advisories.load()
        if advisories.problem:
            _print_notes([f"{Reason.DATABASE_UNAVAILABLE}: {advisories.problem}"])
        database = advisories.current

    def known(lock: Lock) -> tuple[matches.Vulnerability, ...]:
        pins = [(pin.name, pin.version) for pin in lock.pins]
        return matches.find_vulnerabilities(database, pins) if database else ()

    wanted = inputs.wanted
    try:
        made = (
            Resolution(wanted)
            if isinstance(wanted, Lock)
            else await least_vulnerable(wanted, ask=ask, known=known)
        )
    except ResolveError as error:
        raise refused(unresolved(spec, error.reason, error.message)) from None
    found = known(made.lock)
    if problem := lock_too_large(made.lock) or blocked(spec, found):
        raise refused(problem)
    if found:
        _print_notes([matches.vulnerabilities_text(found)])
    return made


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        say_aside(f"note: {note}")


def _variable(text: str) -> tuple[str, str]:
    name, separator, file = text.partition("=")
    if not (name and separator and file):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, file


def read_lock_file(file: str) -> tuple[Lock, tuple[str, ...]]:
    """Return the lock in a file (`-`: standard input), and its notes. Raises CommandError."""
    try:
        text = sys.stdin.read() if file == STDIN else read_text(file)
        return parse_lock(text), notes_in(text)
    except (LockError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: {error}") from None
