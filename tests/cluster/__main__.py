"""The cluster from a shell: ``python -m tests.cluster up|down|status|build``.

``up`` leaves a cluster running, and on request a Prefect server and a worker, and prints where they
are as lines that a shell can evaluate. ``down`` ends it.
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from tests.cluster import (
    binaries,
    cache,
    images,
    operator_image,
    prefect_env,
    procfs,
    runs,
    signals,
)
from tests.cluster.controlplane import ControlPlane
from tests.cluster.lifecycle import Service
from tests.cluster.node import Node
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.cluster.progress import StepFailedError, say
from tests.cluster.tools import MissingToolError


def main() -> int:
    arguments = _parser().parse_args()
    try:
        with signals.terminable():
            return int(arguments.run(arguments))
    except (StepFailedError, MissingToolError, RuntimeError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything that was started has been ended")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True)
    level = {
        "choices": ["control-plane", "node"],
        "default": "node",
        "help": "an API server alone (no root needed), or a node with pods as well",
    }
    directory = {
        "type": Path,
        "default": None,
        "help": "where it keeps its data (default: in the cache)",
    }

    up = commands.add_parser("up", help="start a cluster and leave it running")
    up.add_argument("--level", **level)  # type: ignore[arg-type]
    up.add_argument("--dir", **directory)  # type: ignore[arg-type]
    up.add_argument("--egress", action="store_true", help="let pods reach what this machine does")
    up.add_argument("--prefect", action="store_true", help="start a Prefect server, too")
    up.add_argument("--pool", help="create this Kubernetes pool and start a worker for it")
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="end a cluster that up started")
    down.add_argument("--dir", **directory)  # type: ignore[arg-type]
    down.set_defaults(run=_down)

    status = commands.add_parser("status", help="show what is running")
    status.set_defaults(run=_status)

    build = commands.add_parser("build", help="build all that up would have to build")
    build.add_argument("--level", **level)  # type: ignore[arg-type]
    build.set_defaults(run=_build)
    return parser


def _up(arguments: argparse.Namespace) -> int:
    directory = _directory(arguments)
    if directory.exists():
        say(f"{directory} exists; end what runs there with: python -m tests.cluster down")
        return 1
    started: list[Service] = []
    try:
        cluster = _cluster(arguments, directory)
        started.append(cluster)
        cluster.start()
        if isinstance(cluster, Node):
            cluster.load_image(images.flow())
        if arguments.prefect or arguments.pool:
            server = PrefectServer(
                host=cluster.host, ui=True, directory=directory / "prefect", detached=True
            )
            started.append(server)
            server.start()
            if arguments.pool:
                worker = _worker(arguments, directory, server=server, cluster=cluster)
                started.append(worker)
                worker.start()
    except BaseException:
        for service in reversed(started):
            service.stop()
        _remove_empty(directory)
        raise
    for service in started:
        for name, value in service.run.facts.items():
            print(f"export {name}={value}")
        service.release()
    return 0


def _cluster(arguments: argparse.Namespace, directory: Path) -> ControlPlane:
    if arguments.level == "node":
        return Node(directory=directory / "cluster", detached=True, egress=arguments.egress)
    return ControlPlane(directory=directory / "cluster", detached=True, controllers=True)


def _worker(
    arguments: argparse.Namespace,
    directory: Path,
    *,
    server: PrefectServer,
    cluster: ControlPlane,
) -> KubernetesWorker:
    with server.api() as api:
        api.create_pool(arguments.pool, image=images.FLOW_UV)
    return KubernetesWorker(
        server,
        pool=arguments.pool,
        kubeconfig=cluster.kubeconfig,
        directory=directory / "worker",
        detached=True,
    )


def _down(arguments: argparse.Namespace) -> int:
    directory = _directory(arguments)
    found = [run for run in runs.all_runs() if run.directory.is_relative_to(directory)]
    for run in sorted(found, key=lambda one: one.started_at, reverse=True):
        run.clean_up()
    _remove_empty(directory)
    if not found:
        say(f"nothing runs in {directory}")
    return 0


def _remove_empty(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()


def _status(_arguments: argparse.Namespace) -> int:
    print(f"cache: {cache.root()}")
    for run in runs.all_runs():
        state = "left behind" if run.stale else "detached" if run.detached else "in use"
        print(f"{run.name}  {state}  {run.directory}")
        for one in run.processes:
            alive = procfs.start_time(one.pid) == one.started
            print(f"  {one.name}  {one.pid}  {'running' if alive else 'ended'}")
        for name, value in run.facts.items():
            print(f"  {name}={value}")
    return 0


def _build(arguments: argparse.Namespace) -> int:
    if arguments.level == "control-plane":
        binaries.ensure(binaries.CONTROL_PLANE)
        return 0
    node = Node()
    node.prepare()
    binaries.ensure(["helm", "oras", "promtool"])
    images.flow()
    operator_image.archive()
    prefect_env.bin_directory()
    return 0


def _directory(arguments: argparse.Namespace) -> Path:
    return (arguments.dir or cache.root() / "up").absolute()


if __name__ == "__main__":
    sys.exit(main())
