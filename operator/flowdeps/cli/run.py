"""`flowdeps run`: the operator."""

import argparse
import asyncio
import logging
import signal
import socket
import uuid
from contextlib import AsyncExitStack
from functools import partial

from flowdeps.api.config import Config
from flowdeps.cli.failure import CommandError
from flowdeps.cli.settings import add_config, make_resolver, read_config
from flowdeps.clients.fence import Fence
from flowdeps.telemetry.logs import set_up_logs
from flowdeps.telemetry.metrics import Metrics
from flowdeps.telemetry.server import Server

log = logging.getLogger(__name__)

SUMMARY = "run the operator"
DESCRIPTION = """\
Run the operator until it gets SIGTERM or SIGINT.

It finds the cluster by KUBECONFIG or ~/.kube/config, and in a pod by its service account.
Prefect's credentials are Prefect's own variables: PREFECT_API_KEY or
PREFECT_API_AUTH_STRING, and PREFECT_API_URL if the configuration names no address.
It serves /metrics, /healthz (liveness) and /readyz on httpPort. With leaderElection it
waits until it holds the Lease. If it loses the Lease, it ends with exit status 1, to be
started again.
"""
EPILOG = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config(parser)
    parser.add_argument(
        "--log-format",
        choices=("json", "text"),
        default="json",
        help="the format of log lines (default: json)",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning"),
        default="info",
        help="the least severe level that is logged (default: info)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the operator; 0 after a signal, 1 where it may not go on."""
    config = read_config(args.config)
    set_up_logs(form=args.log_format, level=args.log_level)
    return asyncio.run(_serve(config))


async def _serve(config: Config) -> int:
    # Here, not above: kopf and Prefect's client take two seconds to import.
    from flowdeps.app.handlers import watch
    from flowdeps.app.health import Candidate
    from flowdeps.app.service import Service
    from flowdeps.clients.kubernetes.client import Cluster
    from flowdeps.clients.kubernetes.errors import ClusterError
    from flowdeps.clients.prefect.errors import PoolsError
    from flowdeps.leadership.election import Election, LostError
    from flowdeps.leadership.lead import lead

    metrics, identity = Metrics(), f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    fence = Fence() if config.election.enabled else Fence.open()
    stop = asyncio.Event()

    def take_signals() -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(one, stop.set)

    take_signals()
    try:
        async with AsyncExitStack() as stack:
            made = Service.assemble(
                config,
                resolver=make_resolver(config, guarded=True),
                metrics=metrics,
                fence=fence,
                identity=identity,
            )
            service = await stack.enter_async_context(made)
            election = None
            if config.election.enabled:
                cluster = await stack.enter_async_context(Cluster.connect(identity=identity))
                election = Election(cluster, config.election, identity=identity, fence=fence)
            candidate = Candidate(service.health, election)
            server = Server(
                metrics,
                port=config.http_port,
                alive=[candidate.alive],
                ready=[candidate.ready],
                well=candidate.well,
                before_scrape=service.health.before_scrape,
            )
            try:
                await stack.enter_async_context(server)
            except OSError as error:
                text = f"can't serve port {config.http_port}: {error.strerror}"
                raise CommandError(text) from None

            async def work() -> None:
                metrics.leader.set(1)
                await service.run(partial(watch, started=take_signals))

            await lead(work, election=election, fence=fence, stop=stop)
            log.info("stopped")
    except (ClusterError, PoolsError) as error:
        raise CommandError(str(error)) from None
    except LostError as error:
        log.error("not active any more: %s", error)  # noqa: TRY400 - it is no mistake
        return 1
    return 0
