"""`flowdeps check`: whether an operator with this configuration and account can do its work."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowdeps.api.config import Config
from flowdeps.cli.settings import add_config, read_config

if TYPE_CHECKING:
    from flowdeps.clients.kubernetes.client import Cluster

_DESCRIPTION = """\
Check whether an operator with this configuration and the current account can do its work: the
configuration is valid, the resource is installed, the account has every right in
docs/rbac.yaml, and Prefect answers. It changes nothing.

It finds the cluster and Prefect as `flowdeps run` does.
"""
_EPILOG = """\
Exit status: 0 it can, 1 it can't (the lines say what is missing and what to do).
"""
_AT_ONCE = 10


@dataclass(frozen=True)
class Finding:
    """A check, and why it failed (None: it passed)."""

    what: str
    problem: str | None = None


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "check",
        help="check whether the operator can do its work here",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print a line for each check; 0 if all passed, else 1."""
    config = read_config(args.config)
    problems = asyncio.run(_told(config))
    if problems:
        print(f"{problems} of these would keep the operator from its work", file=sys.stderr)
    return 1 if problems else 0


async def _told(config: Config) -> int:
    problems = 0
    async for finding in _ask(config):
        print(f"ok    {finding.what}" if finding.problem is None else f"NO    {finding.what}")
        if finding.problem is not None:
            print(f"      {finding.problem}")
            problems += 1
    return problems


async def _ask(config: Config) -> AsyncIterator[Finding]:
    from flowdeps.clients.kubernetes.client import Cluster
    from flowdeps.clients.kubernetes.errors import ClusterError
    from flowdeps.clients.prefect.client import Pools
    from flowdeps.clients.prefect.errors import PoolsError

    yield Finding("the configuration holds")
    try:
        async with Cluster.connect() as cluster:
            yield await _installed(cluster)
            for finding in await _allowed(cluster, config):
                yield finding
    except ClusterError as error:
        yield Finding("the cluster answers", str(error))
    try:
        async with Pools.connect(config.prefect.api_url) as pools:
            found = await pools.read_all()
        count = sum(one.type == "kubernetes" for one in found.values())
        yield Finding(f"Prefect answers; work pools of type kubernetes: {count}")
    except PoolsError as error:
        yield Finding("Prefect answers", str(error))


async def _installed(cluster: "Cluster") -> Finding:
    what = "the cluster serves FlowDependencySets"
    if await cluster.serves_sets():
        return Finding(what)
    return Finding(what, "install crds/flowdependencysets.yaml, or the chart with crds.enabled")


async def _allowed(cluster: "Cluster", config: Config) -> list[Finding]:
    """A line for each right that is missing, or one for all."""
    from flowdeps.clients.kubernetes.rights import Right, needed

    rights = needed(config)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def may(right: Right) -> bool:
        async with turns:
            return await cluster.may(right)

    answers = await asyncio.gather(*map(may, rights))
    missing = [right for right, allowed in zip(rights, answers, strict=True) if not allowed]
    if not missing:
        return [Finding(f"the account has the {len(rights)} rights that it needs")]
    return [
        Finding(f"the account may {one}", "grant it: docs/rbac.yaml, or rbac.create of the chart")
        for one in missing
    ]
