"""`flowdeps run`: the operator."""

import argparse
import asyncio
import logging
import signal
import socket
import uuid
from contextlib import AsyncExitStack, suppress
from functools import partial

from flowdeps.api.config import Config
from flowdeps.cli.failure import CommandError
from flowdeps.cli.settings import add_config, make_resolver, read_config
from flowdeps.clients.fence import Fence
from flowdeps.scheduling.heartbeat import Heartbeat
from flowdeps.scheduling.own_thread import Apart
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

_REFRESH_SECONDS = 5.0
"""How long a scrape waits for the gauges; Prometheus waits for ten seconds."""


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
    if config.environments.missing:
        raise CommandError(f"{args.config}: {config.environments.missing}")
    set_up_logs(form=args.log_format, level=args.log_level)
    return asyncio.run(_serve(config))


async def _serve(config: Config) -> int:
    # Here, not above: kopf and Prefect's client take two seconds to import.
    from flowdeps.app.handlers import watch
    from flowdeps.app.health import Candidate
    from flowdeps.app.service import Service
    from flowdeps.clients.fence import elapsed
    from flowdeps.clients.kubernetes.client import Cluster
    from flowdeps.clients.kubernetes.errors import ClusterError
    from flowdeps.clients.prefect.errors import PoolsError
    from flowdeps.leadership.apart import ElectionApart
    from flowdeps.leadership.election import Election, LostError
    from flowdeps.leadership.lead import lead

    metrics, identity = Metrics(), f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
    fence = Fence() if config.election.enabled else Fence.open()
    stop, main = asyncio.Event(), asyncio.get_running_loop()

    def on_stall(seconds: float) -> None:
        metrics.stalls.inc()
        log.warning("the event loop stood still while it computed for %.1f s", seconds)

    heartbeat = Heartbeat(clock=elapsed, on_stall=on_stall)

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
            # What may not wait for the work: probes, and the Lease.
            apart = await stack.enter_async_context(Apart("lease and health"))
            election = elected = None
            if config.election.enabled:
                connection = apart.entered(Cluster.connect(identity=identity))
                cluster = await stack.enter_async_context(connection)
                election = Election(
                    cluster,
                    config.election,
                    identity=identity,
                    fence=fence,
                    still=heartbeat.still,
                )
                elected = ElectionApart(election, apart, fence)
            candidate = Candidate(service.health, election, still=heartbeat.still)
            for watch_over in (heartbeat.beat(), candidate.observe()):
                stack.callback(asyncio.create_task(watch_over).cancel)

            async def refresh() -> None:
                service.health.before_scrape()

            async def before_scrape() -> None:
                # Of a loop that stands still there is nothing new to show.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REFRESH_SECONDS):
                        asked = asyncio.run_coroutine_threadsafe(refresh(), main)
                        await asyncio.wrap_future(asked)

            server = Server(
                metrics,
                port=config.http_port,
                alive=[candidate.alive],
                ready=[candidate.ready],
                well=candidate.well,
                before_scrape=before_scrape,
            )
            try:
                await stack.enter_async_context(apart.entered(server))
            except OSError as error:
                text = f"can't serve port {config.http_port}: {error.strerror}"
                raise CommandError(text) from None

            async def work() -> None:
                metrics.leader.set(1)
                await service.run(partial(watch, started=take_signals))

            await lead(work, election=elected, fence=fence, stop=stop)
            log.info("stopped")
    except (ClusterError, PoolsError) as error:
        raise CommandError(str(error)) from None
    except LostError:  # which is logged where it was found out
        return 1
    return 0
