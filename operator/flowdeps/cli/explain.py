"""`flowdeps explain`: why a set is as it is, what runs get, and what to do."""

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flowdeps.api.times import format_time
from flowdeps.api.wording import counted
from flowdeps.cli.explanation import Explanation, ago, explain
from flowdeps.cli.failure import CommandError
from flowdeps.cli.looking import look
from flowdeps.cli.settings import add_config, read_config

_DESCRIPTION = """\
Say of one dependency set whether it is in service and with which lock, why it is in the
state that it is in, what to do about that, and what runs of its work pools get now.

The cluster is the one that kubectl uses. Pools are looked at where Prefect can be found
(prefect.apiUrl of --config, else PREFECT_API_URL); else what the operator said of them last is
told. It works without an operator too, and says so where the answer may be old.
"""
_EPILOG = """\
examples:
  flowdeps explain flows/ml-extras
  flowdeps explain ml-extras -n flows -o json

Exit status: 0 the set is ready as its spec stands, 1 it is not, or there is no such set.
"""
_HEADLINES = {
    "done": "is ready",
    "suspended": "is suspended: what is published stays, nothing else happens",
    "waits": "is not ready, and waits for a person",
    "retries": "is not ready; it is tried again by itself",
    "works": "is not ready yet; it is being worked on",
    "goes": "is being deleted",
    "unseen": "has no status",
}


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "explain",
        help="say why a set is as it is, and what to do",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("set", metavar="[NAMESPACE/]NAME", help="the set")
    parser.add_argument(
        "-n",
        "--namespace",
        metavar="NAMESPACE",
        help="its namespace (default: the one that has a set of that name)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default="text",
        help="how the answer looks (default: text)",
    )
    add_config(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Explain one set."""
    namespace, _, name = args.set.rpartition("/")
    if namespace and args.namespace and namespace != args.namespace:
        raise CommandError(f"{args.set} and -n {args.namespace} are two namespaces; name one")
    config = read_config(args.config)
    seen, blind = asyncio.run(look(namespace or args.namespace, name, config))
    now = datetime.now(UTC)
    found = explain(seen, now=now)
    if args.output == "json":
        json.dump({**_plain(found), "notLookedAt": blind}, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print("\n".join([*_lines(found, now), *_block("Not looked at", blind)]))
    return 0 if found.ready else 1


def _lines(found: Explanation, now: datetime) -> Iterator[str]:
    reason = f" ({found.reason})" if found.reason and found.state not in {"done", "goes"} else ""
    since = f", since {format_time(found.since)}, {ago(found.since, now)}" if found.since else ""
    yield f"{found.set} {_HEADLINES[found.state]}{reason}{since}"
    for note in found.notes:
        yield f"! {note}"
    yield ""
    yield "In service"
    if found.revision:
        made = f", resolved {ago(found.resolved_at, now)}" if found.resolved_at else ""
        packages = counted(found.packages, "package")
        yield f"  {found.revision}: {packages} for Python {found.python}{made}"
    else:
        yield "  nothing: no lock was published yet"
    for one in found.serving:
        gets = f"get {one.revision}" if one.revision else f"get nothing: {one.problem}"
        yield f'  work pool "{one.pool}": runs that choose "{one.key}" {gets}'
    for number, trouble in enumerate(found.troubles):
        yield from ("", "Why") if number == 0 else ("",)
        yield f"  {trouble.condition}: {trouble.reason}: {trouble.meaning.partition(';')[0]}"
        if trouble.message and trouble.message != trouble.meaning:
            yield from (f"    | {line}" for line in trouble.message.splitlines())
        if trouble.remedy:
            yield f"    What to do: {trouble.remedy.replace('`', '')}."
    yield from _block("Pods", found.pods)
    yield from _block("Last events", found.events)


def _block(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        yield from (f"  {line}" for line in lines)


def _plain(found: Explanation) -> dict[str, Any]:
    """The answer as JSON."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return format_time(value)
        if isinstance(value, Mapping):
            return {_camel(name): plain(one) for name, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, tuple | list) else value

    made: dict[str, Any] = plain(dataclasses.asdict(found))
    return made


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(one.capitalize() for one in rest)
