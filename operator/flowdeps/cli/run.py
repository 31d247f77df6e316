"""`flowdeps run`: the operator."""

import argparse
import asyncio
import logging

from flowdeps.api.config import Config
from flowdeps.cli.failure import CommandError
from flowdeps.cli.settings import add_config, make_resolver, read_config
from flowdeps.logs import set_up_logs
from flowdeps.observe import Metrics, Server

log = logging.getLogger(__name__)

_DESCRIPTION = """\
Run the operator until it gets SIGTERM or SIGINT.

The cluster is found by KUBECONFIG or ~/.kube/config, in a pod by its service account.
Prefect's credentials are Prefect's own variables: PREFECT_API_KEY or
PREFECT_API_AUTH_STRING, and PREFECT_API_URL where the configuration names no address.
It serves /metrics, /healthz (liveness) and /readyz on httpPort.
"""


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "run",
        help="run the operator",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(parser)
    parser.add_argument("--log-format", choices=("json", "text"), default="json")
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the operator; 0 after a signal."""
    config = read_config(args.config)
    set_up_logs(form=args.log_format, level=args.log_level)
    asyncio.run(_serve(config))
    return 0


async def _serve(config: Config) -> None:
    # Here, not above: kopf and Prefect's client take two seconds to import.
    from flowdeps.cluster import ClusterError
    from flowdeps.handlers import watch
    from flowdeps.pools import PoolsError
    from flowdeps.service import Service

    metrics = Metrics()
    try:
        async with Service.assemble(
            config, resolver=make_resolver(config), metrics=metrics
        ) as service:
            server = Server(
                metrics,
                port=config.http_port,
                alive=[service.health.alive],
                ready=[service.health.ready],
                before_scrape=service.health.before_scrape,
            )
            async with server:
                await service.run(watch)
                log.info("stopped")
    except (ClusterError, PoolsError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"can't serve port {config.http_port}: {error.strerror}") from None
