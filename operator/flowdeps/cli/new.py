"""`flowdeps new`: write a set from what a project lists already."""

import argparse
from collections.abc import Iterable

from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import parse_spec
from flowdeps.cli.draft import Draft, key_of, this_python, yaml_of
from flowdeps.cli.failure import CommandError
from flowdeps.cli.projects import read_project
from flowdeps.cli.terminal import say, say_aside
from flowdeps.locks.legible import printable

SUMMARY = "write a set from requirements.txt, pyproject.toml, a lock or a script"
DESCRIPTION = """\
Write a FlowDependencySet from a file of a project, as YAML on standard output. FILE is a
requirements file, pyproject.toml, uv.lock, pylock.toml, or a script with a header (PEP 723).

The name, the version of Python and the indexes are taken from the project. What a set cannot
express (a Git repository, a path, an editable package, an option of pip) is left out, with a
warning on standard error that names it.

With uv.lock, the versions of the lock become constraints. A pylock.toml becomes the set's lock
(lockFrom) if all of it is hashed wheels.
"""
EPILOG = """\
examples:
  flowdeps new requirements.txt --pool kubernetes > reporting.yaml
  flowdeps new pyproject.toml --group flows --extra s3 --image registry.example.com/flows:1
  flowdeps new uv.lock | flowdeps validate -

Exit status: 0 a set was written, 1 there is nothing to write (the reason is on standard error).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a file that lists packages")
    parser.add_argument(
        "--group", action="append", default=[], metavar="NAME", help="with this dependency group"
    )
    parser.add_argument(
        "--extra", action="append", default=[], metavar="NAME", help="with this extra"
    )
    parser.add_argument("--name", metavar="NAME", help="the set's name (default: the project's)")
    parser.add_argument(
        "-n", "--namespace", default="", metavar="NAMESPACE", help="the set's namespace"
    )
    parser.add_argument("--pool", default="", metavar="NAME", help="the work pool that offers it")
    parser.add_argument(
        "--image", default="", metavar="IMAGE", help="the image of the flows (default: the pool's)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the set; 0, also with warnings."""
    has_image = bool(args.image or args.pool)
    draft = read_project(args.file, groups=args.group, extras=args.extra, has_image=has_image)
    draft.name = args.name or key_of(draft.name)
    documents = draft.manifests(namespace=args.namespace, pool=args.pool, image=args.image)
    warn(draft.warnings)
    check(draft, documents)
    if has_image and draft.constraints and args.file.endswith("uv.lock"):
        say_aside(
            "note: constraints pin all packages of the lock; if the image has others, remove"
            " those lines (the set's status names them)"
        )
    if not has_image:
        source = "" if draft.python else f", that of flowdeps itself ({this_python()})"
        say_aside(
            f"note: the set is for a version of Python{source}; give --pool or --image to fit"
            " it to an image, which is smaller and is verified"
        )
    say(yaml_of(documents), end="")
    return 0


def warn(warnings: Iterable[str]) -> None:
    """Print what was left out."""
    for one in warnings:
        say_aside(f"warning: {printable(one)}")


def check(draft: Draft, documents: list[dict[str, object]]) -> None:
    """Raise CommandError if there is nothing to write, or it would be refused."""
    if draft.is_empty:
        raise CommandError(f"{draft.name}: nothing is left that a set can require")
    try:
        parse_spec(documents[0])
    except InvalidError as error:
        raise CommandError(*(f"{draft.name}: {one}" for one in error.problems)) from None
