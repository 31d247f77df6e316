"""`flowdeps status`: the sets of a cluster in a table, or all that there is to say of one."""

import argparse
import asyncio
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from flowdeps.api.conditions import Condition, ConditionType, find_condition
from flowdeps.api.status import SetStatus, parse_status
from flowdeps.api.wording import listed
from flowdeps.cli.diagnosis import AWAY, NOT_SEEN, diagnose, name_of, proposal
from flowdeps.cli.failure import CommandError
from flowdeps.cli.report import to_json, to_text
from flowdeps.cli.settings import add_config, read_config
from flowdeps.cli.terminal import say, say_aside, say_json

SUMMARY = "show the sets of a cluster, or why one is as it is, and what to do"
DESCRIPTION = """\
Show the dependency sets of the cluster that kubectl uses in a table: ready or why not, the
lock in service, whether it was tried in its image, how many known vulnerabilities it has (-: not
known), and the work pools that offer it. Below the table: what is wrong with sets that are not
ready, proposals that wait for approval, and the vulnerabilities by name.

With the name of a set, say of that one whether it is in service and with which lock, why it is in
the state that it is in, what to do about that, what runs of its work pools get now, which operator
is active, and what happened last. It works without an operator too, and says so where the answer
may be old. The pools' templates are read where Prefect can be found (prefect.apiUrl of --config,
else PREFECT_API_URL); otherwise the operator's last word on them is shown.
"""
EPILOG = """\
examples:
  flowdeps status -n flows
  flowdeps status flows/ml-extras
  flowdeps status ml-extras -n flows -o json

Exit status: 0 every set that is shown is ready, 1 some are not, or there is no such set.
"""
_COLUMNS: tuple[str, ...] = (
    *("NAMESPACE", "NAME", "READY", "REASON", "REVISION", "PACKAGES"),
    *("VERIFIED", "VULNERABLE", "POOLS"),
)
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "set", metavar="[NAMESPACE/]NAME", nargs="?", help="one set (default: all of them)"
    )
    parser.add_argument(
        "-n", "--namespace", metavar="NAMESPACE", help="only there (default: all namespaces)"
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default="text",
        help="how the answer about one set looks (default: text)",
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Show the table, or one set."""
    if args.set:
        return _show_one(args)
    if args.output == "json":
        raise CommandError("-o json is about one set: name it, or use kubectl get fds -A -o json")
    return _show_table(args.namespace)


def _show_one(args: argparse.Namespace) -> int:
    from flowdeps.cli.observe import observe

    namespace, _, name = args.set.rpartition("/")
    if namespace and args.namespace and namespace != args.namespace:
        raise CommandError(f"{args.set} and -n {args.namespace} are two namespaces; name one")
    config = read_config(args.config)
    election = config.election if args.config else None
    observed = asyncio.run(
        observe(namespace or args.namespace, name, config=config, election=election)
    )
    now = datetime.now(UTC)
    found = diagnose(observed, now=now)
    if args.output == "json":
        say_json(to_json(found))
    else:
        say(to_text(found, now=now, width=shutil.get_terminal_size().columns))
    return 0 if found.ready else 1


def _show_table(namespace: str | None) -> int:
    from flowdeps.cli.observe import list_sets

    sets = asyncio.run(list_sets(namespace))
    if not sets:
        where = f"in namespace {namespace}" if namespace else "in any namespace"
        say_aside(f"no dependency sets {where}")
        return 0
    rows, problems, notes = [_COLUMNS], list[str](), list[str]()
    for body in sorted(sets, key=lambda b: (b["metadata"]["namespace"], b["metadata"]["name"])):
        status = parse_status(body)
        ready = find_condition(status.conditions, ConditionType.READY)
        # The status lists only the first of them.
        flaws = None if status.vulnerabilities is None else body["status"]["vulnerabilityCount"]
        rows.append(_row(body["metadata"], status, ready, flaws))
        if ready is None:
            problems.append(f"{name_of(body)}: {NOT_SEEN}; {AWAY}")
        elif ready.status != "True" and ready.message:
            problems.append(f"{name_of(body)}: {ready.message}")
        notes += (f"{name_of(body)}: {note}" for note in _notes(status, flaws))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(map(str.ljust, row, widths)).rstrip())
    for lines in (problems, notes):
        if lines:
            say("\n".join(["", *lines]))
    return 1 if problems else 0


def _row(
    meta: Mapping[str, Any], status: SetStatus, ready: Condition | None, flaws: int | None
) -> tuple[str, ...]:
    verified = find_condition(status.conditions, ConditionType.VERIFIED)
    pools = (f"{one.name}{'' if one.synced else ' (not synced)'}" for one in status.work_pools)
    return (
        meta["namespace"],
        meta["name"],
        ready.status if ready else "Unknown",
        ready.reason if ready else "NotSeen",
        status.lock.revision if status.lock else "-",
        str(status.lock.packages) if status.lock else "-",
        ("True" if verified.status == "True" else verified.reason) if verified else "-",
        "-" if flaws is None else str(flaws),
        ", ".join(pools) or "-",
    )


def _notes(status: SetStatus, flaws: int | None) -> Iterator[str]:
    if status.proposed:
        yield proposal(status.proposed)
    if found := status.vulnerabilities:
        texts = [
            f"{one.id} in {one.package} {one.version}"
            + (f" (fixed in {one.fixed})" if one.fixed else "")
            for one in found
        ]
        yield f"known vulnerabilities: {listed(texts, most=_SHOWN, total=flaws)}"
