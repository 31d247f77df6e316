"""`flowdeps validate`: makes the API server's checks without one, and some across files."""

import argparse

from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import parse_spec
from flowdeps.cli.across import Sets, check_across
from flowdeps.cli.manifests import read_manifests
from flowdeps.cli.terminal import say, say_aside

SUMMARY = "check FlowDependencySets in files"
DESCRIPTION = """\
Check FlowDependencySets in files, without a cluster: what the API server would refuse, sets that
claim the same name in a work pool or include each other, and the ConfigMaps that they read, if
the files have them. Objects of other kinds are skipped with a note. With --skip-others, all that
has nothing to do with sets is skipped without a note, also files that are no YAML.
"""
EPILOG = """\
examples:
  flowdeps validate sets.yaml
  kustomize build . | flowdeps validate -

Exit status: 0 all is well, 1 something is wrong (one line for each problem, on standard output),
2 wrong usage.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON; - for stdin")
    parser.add_argument(
        "--skip-others",
        action="store_true",
        help="pass over what has nothing to do with sets, as in all files of a repository",
    )


def run(args: argparse.Namespace) -> int:
    """Check `args.files`: 0, or 1 with a line for each problem on standard output."""
    found = read_manifests(args.files, skip_others=args.skip_others)
    valid: Sets = []
    for manifest in found.sets:
        try:
            valid.append((manifest, parse_spec(manifest.body)))
        except InvalidError as error:
            found.problems += manifest.origin.lines(error)
    check_across(valid, found)
    for note in found.notes:
        say_aside(f"note: {note}")
    for problem in found.problems:
        say(problem)
    if found.problems:
        return 1
    count = len(valid)
    say_aside(f"{count} {'set is' if count == 1 else 'sets are'} valid")
    return 0
