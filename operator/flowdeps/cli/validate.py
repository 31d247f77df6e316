"""`flowdeps validate`: the checks that the API server makes, without one, and some across files."""

import argparse
import sys
from collections.abc import Iterator

from flowdeps.api.problems import InvalidError, Problem
from flowdeps.api.resource import SetSpec, parse_spec
from flowdeps.cli.manifests import Manifest, read_manifests

_DESCRIPTION = """\
Check FlowDependencySets in files, without a cluster: what the API server would refuse, and sets
that claim one name in one work pool. Objects of other kinds are skipped with a note.
"""
_EPILOG = """\
examples:
  flowdeps validate sets.yaml
  kustomize build . | flowdeps validate -

Exit status: 0 all is well, 1 something is wrong (one line for each problem, on standard output),
2 wrong usage.
"""


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "validate",
        help="check FlowDependencySets in files",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON; - for stdin")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check `args.files`: 0, or 1 with a line for each problem on standard output."""
    reading = read_manifests(args.files)
    problems = list(reading.problems)
    valid: list[tuple[Manifest, SetSpec]] = []
    for manifest in reading.manifests:
        try:
            valid.append((manifest, parse_spec(manifest.body)))
        except InvalidError as error:
            problems += [manifest.place.line(problem) for problem in error.problems]
    problems += _clashes(valid)
    for note in reading.notes:
        print(f"note: {note}", file=sys.stderr)
    for problem in problems:
        print(problem)
    if problems:
        return 1
    count = len(valid)
    print(f"{count} {'set is' if count == 1 else 'sets are'} valid", file=sys.stderr)
    return 0


def _clashes(sets: list[tuple[Manifest, SetSpec]]) -> Iterator[str]:
    """What the sets claim twice: a name, a key of a pool, or to be a pool's default."""
    names: dict[str, str] = {}
    keys: dict[tuple[str, str], str] = {}
    defaults: dict[str, str] = {}
    for manifest, spec in sets:
        name = _identity(manifest)
        where = f"{name} ({manifest.place.file}, document {manifest.place.number})"
        if name in names:
            message = f"{names[name]} is the same set; keep one"
            yield manifest.place.line(Problem("metadata.name", message))
            continue
        names[name] = where
        for index, pool in enumerate(spec.work_pools):
            path = f"spec.workPools[{index}]"
            other = keys.setdefault((pool.name, pool.key), where)
            if other != where:
                message = f"{pool.key!r} is what {pool.name!r} offers {other} as; choose another"
                yield manifest.place.line(Problem(f"{path}.key", message))
            other = defaults.setdefault(pool.name, where) if pool.default else where
            if other != where:
                message = f"{other} is the default of {pool.name!r} already; keep one default"
                yield manifest.place.line(Problem(f"{path}.default", message))


def _identity(manifest: Manifest) -> str:
    metadata = manifest.body["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])
