"""`flowdeps diff`: prints what changed between two locks."""

import argparse
from dataclasses import asdict

from flowdeps.cli.failure import CommandError
from flowdeps.cli.lock import read_lock_file
from flowdeps.cli.terminal import say, say_json
from flowdeps.locks.diff import diff
from flowdeps.locks.size import size_of

SUMMARY = "show what changed between two locks"
DESCRIPTION = """\
Show what changed from one lock to another, a line for each package: a moved version,
`+` a new package, `-` one that left. Then what NEW notes and OLD does not.
"""
EPILOG = """\
examples:
  flowdeps diff old.lock new.lock
  git show main:ml-extras.lock | flowdeps diff - ml-extras.lock --json

As JSON: {"changes": [{"name": "pandas", "old": "2.3.2", "new": "2.3.3", "image": false}, …],
"notes": […], "download": {"old": 1234, "new": 5678}} in bytes, null where a lock does not say how
large it is; where old or new is null for a package that came or left, both are equal where
only its files changed, and image is true for a package of the image that the lock builds on.
Exit status: 0, or 1 where a file is not a lock.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("old", metavar="OLD", help="a lock; - for stdin")
    parser.add_argument("new", metavar="NEW", help="the lock after it; - for stdin")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the changes."""
    if args.old == args.new == "-":
        raise CommandError("only one of OLD and NEW can be standard input")
    (old, known), (new, said) = read_lock_file(args.old), read_lock_file(args.new)
    changes, notes = diff(old, new), [one for one in said if one not in known]
    before, after = size_of(old), size_of(new)
    if args.json:
        download = {"old": before and before.download, "new": after and after.download}
        say_json({"changes": list(map(asdict, changes)), "notes": notes, "download": download})
        return 0
    for change in changes:
        say(change)
    if not changes:
        say("no change")
    if after and before != after:
        say(f"size: {before or 'not known'} → {after}")
    for note in notes:
        say(f"note: {note}")
    return 0
