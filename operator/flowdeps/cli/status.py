"""`flowdeps status`: the sets of a cluster in a table."""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flowdeps.api.conditions import ConditionType, find_condition
from flowdeps.api.status import parse_status
from flowdeps.cli.failure import CommandError

_DESCRIPTION = """\
Show the dependency sets of the cluster that kubectl uses: ready or why not, the lock in
service, whether it was tried in its image, how many known vulnerabilities it has (-: nobody knows),
and the work pools that offer it. What is wrong follows below the table, then what else is worth
knowing: proposals that wait for approval, and which vulnerabilities there are.
"""
_EPILOG = """\
Exit status: 0 every set is ready, 1 some are not.
"""
_COLUMNS = (
    *("NAMESPACE", "NAME", "READY", "REASON", "REVISION", "PACKAGES"),
    *("VERIFIED", "VULNERABLE", "POOLS"),
)
_SHOWN = 5


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "status",
        help="show the sets of a cluster",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-n", "--namespace", metavar="NAMESPACE", help="only there (default: all namespaces)"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    sets = asyncio.run(_fetch([args.namespace] if args.namespace else []))
    if not sets:
        where = f"in namespace {args.namespace}" if args.namespace else "in any namespace"
        print(f"no dependency sets {where}", file=sys.stderr)
        return 0
    rows, troubles, notes = [], [], list[str]()
    for body in sorted(sets, key=lambda b: (b["metadata"]["namespace"], b["metadata"]["name"])):
        row, trouble = _row(body)
        rows.append(row)
        if trouble:
            troubles.append(f"{row[0]}/{row[1]}: {trouble}")
        notes += (f"{row[0]}/{row[1]}: {note}" for note in _notes(body))
    _print([_COLUMNS, *rows])
    for lines in (troubles, notes):
        if lines:
            print()
            print("\n".join(lines))
    return 1 if troubles else 0


async def _fetch(namespaces: list[str]) -> list[Mapping[str, Any]]:
    from flowdeps.clients.kubernetes import Cluster, ClusterError

    try:
        async with Cluster.connect() as cluster:
            return await cluster.list_sets(namespaces)
    except ClusterError as error:
        if error.status == 404:
            raise CommandError(
                "this cluster does not know FlowDependencySets; install flowdeps or its CRD first"
            ) from None
        raise CommandError(str(error)) from None


def _row(body: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    meta, status = body["metadata"], parse_status(body)
    ready = find_condition(status.conditions, ConditionType.READY)
    verified = find_condition(status.conditions, ConditionType.VERIFIED)
    pools = status.work_pools
    row = (
        meta["namespace"],
        meta["name"],
        ready.status if ready else "Unknown",
        ready.reason if ready else "NotSeen",
        status.lock.revision if status.lock else "-",
        str(status.lock.packages) if status.lock else "-",
        ("True" if verified.status == "True" else verified.reason) if verified else "-",
        "-" if status.vulnerabilities is None else str(_vulnerable(body)),
        ", ".join(f"{p.name}{'' if p.synced else ' (not synced)'}" for p in pools) or "-",
    )
    if ready is None:
        return row, "the operator has not seen it yet; is it running, and watching this namespace?"
    return row, "" if ready.status == "True" else ready.message


def _vulnerable(body: Mapping[str, Any]) -> int:
    """How many known vulnerabilities there are; the status lists only the first of them."""
    count: int = body["status"]["vulnerabilityCount"]
    return count


def _notes(body: Mapping[str, Any]) -> Iterator[str]:
    status = parse_status(body)
    if proposed := status.proposed:
        what = f" ({proposed.summary})" if proposed.summary else ""
        yield f"{proposed.revision} is proposed{what}; set spec.revision to it to serve it"
    if found := status.vulnerabilities:
        what = ", ".join(
            f"{one.id} in {one.package} {one.version}"
            + (f" (fixed in {one.fixed})" if one.fixed else "")
            for one in found[:_SHOWN]
        )
        rest = _vulnerable(body) - len(found[:_SHOWN])
        more = f" and {rest} more" if rest > 0 else ""
        yield f"known vulnerabilities: {what}{more}"


def _print(rows: Iterable[tuple[str, ...]]) -> None:
    table = list(rows)
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
