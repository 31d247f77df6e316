"""`flowdeps cleanup`: remove everything that flowdeps has made."""

import argparse
import asyncio
import signal
import socket
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from flowdeps.api.config import Config
from flowdeps.cli.failure import CommandError
from flowdeps.cli.settings import add_config, read_config
from flowdeps.cli.terminal import say
from flowdeps.clients.fence import Fence

if TYPE_CHECKING:
    from flowdeps.leadership.election import Election

SUMMARY = "remove everything that flowdeps has made"
DESCRIPTION = """\
Remove everything that the operator with this configuration has made: its part of the base job
templates, ConfigMaps, Secrets and pods with its label, and the finalizers and status of sets.
The sets themselves stay. Prints one line for each thing that it removes.

With leaderElection, it waits for the operator to end and holds the Lease in the meantime. The
Lease is removed last. Without leaderElection, stop the operator yourself first: it would make
everything again.
"""
EPILOG = """\
Exit status: 0 nothing is left, 1 something is left (the lines name it and the cause). Run it
again to continue.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config(parser)
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    parser.add_argument("--yes", action="store_true", help="required to remove anything")
    parser.add_argument(
        "--skip-pools",
        action="store_true",
        help="leave work pools and artifacts as they are, if Prefect is gone for good",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=int,
        default=60,
        help="how long to wait for the operator to end (default: 60)",
    )


def run(args: argparse.Namespace) -> int:
    """Remove everything; 0 if nothing is left."""
    if not args.yes and not args.dry_run:
        raise CommandError(
            "this removes flowdeps from all its work pools, and runs that choose a set fail or get"
            " none; check with --dry-run, then add --yes"
        )
    config = read_config(args.config)
    return asyncio.run(_clean_up(config, args))


async def _clean_up(config: Config, args: argparse.Namespace) -> int:
    from flowdeps.app.cleanup import Cleanup
    from flowdeps.clients.kubernetes.client import Cluster
    from flowdeps.clients.kubernetes.errors import ClusterError
    from flowdeps.clients.prefect.client import Pools
    from flowdeps.clients.prefect.errors import PoolsError
    from flowdeps.leadership.election import Election, LostError
    from flowdeps.leadership.lead import hold

    identity = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    held = config.election.enabled and not args.dry_run
    # Closed, it also keeps a dry run from writing.
    fence = Fence() if held or args.dry_run else Fence.open()
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    try:
        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(
                Cluster.connect(fence=fence, identity=identity)
            )
            pools = None
            if not args.skip_pools:
                pools = await stack.enter_async_context(
                    Pools.connect(config.prefect.api_url, fence=fence)
                )
            cleanup = Cleanup(config, cluster, pools, say=say, dry=args.dry_run)
            election = None
            if held:
                apart = await stack.enter_async_context(Cluster.connect(identity=identity))
                election = Election(apart, config.election, identity=identity, fence=fence)
                await _wait_for(election, config, seconds=args.wait)

            async def leave() -> None:
                if election:
                    await (election.release() if cleanup.left else election.remove())

            await hold(cleanup.run, election=election, fence=fence, stop=stop, leave=leave)
    except (ClusterError, PoolsError, LostError) as error:
        raise CommandError(f"{error}; fix this and run it again") from None
    if stop.is_set():
        raise CommandError("interrupted; run it again to continue")
    if not cleanup.left:
        return 0
    what_to_do = "the rest is done; fix the problems above and run it again"
    if not args.skip_pools:
        what_to_do = (
            "fix the problems above and run it again: nothing is removed from the cluster while a"
            " template needs it. If Prefect is gone for good, add --skip-pools"
        )
    raise CommandError(*cleanup.left, what_to_do)


async def _wait_for(election: "Election", config: Config, *, seconds: int) -> None:
    try:
        async with asyncio.timeout(seconds):
            await election.acquire()
    except TimeoutError:
        name = config.election.lease
        if election.problem:
            raise CommandError(
                f"the Lease {name} can't be taken: {election.problem}; if the operator has ended,"
                " remove leaderElection from the configuration"
            ) from None
        raise CommandError(
            f"{election.holder} is active and holds the Lease {name}: stop the operator first"
            " (helm uninstall, or kubectl scale --replicas=0), then run this again"
        ) from None
