"""`python -m demo [end]`; see `make demo`.

KEEP=1            leave everything running, and print how to explore it
CLUSTER=current   use the current kubectl context and Prefect profile. You can also set
                  IMAGE (one with Prefect that the cluster can pull), INDEX_URL,
                  PREFECT_API_URL_FOR_PODS
"""

import os
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx

from demo import meanwhile, screen, story
from demo.current import CurrentStage
from demo.here import HereStage
from demo.node import NodeStage
from demo.stage import NAMESPACE, DemoError, Stage
from tests.cluster import runs, signals
from tests.cluster.processes import ProcessError
from tests.cluster.progress import StepFailedError
from tests.cluster.tools import MissingToolError

_ERRORS = (DemoError, StepFailedError, MissingToolError, ProcessError, RuntimeError, OSError)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["end"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with signals.terminable():
            return _end() if arguments else _demo()
    except KeyboardInterrupt:
        screen.say("\ninterrupted; everything that the demo started has been stopped")
        return 130
    except (*_ERRORS, httpx.HTTPError) as error:
        screen.say(f"\nThe demo failed: {error}")
        return 1


def _stage() -> Stage:
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    cluster = os.environ.get("CLUSTER", "")
    if cluster not in {"", "current"}:
        raise DemoError(f"CLUSTER={cluster} is not known; leave it out, or set CLUSTER=current")
    kind = CurrentStage if cluster else NodeStage if os.geteuid() == 0 else HereStage
    return kind(_directory(), keep=keep)


def _demo() -> int:
    if any(_kept()):
        raise DemoError("a demo is already running; stop it with: make demo-end")
    stage = _stage()
    with ExitStack() as building, ExitStack() as stack:
        stack.callback(_remove_if_empty, _directory())
        meanwhile.play(stage, _directory(), building)
        story.play(stage, stack)
        if stage.keep:
            stack.pop_all()
            for service in stage.services:
                service.release()
            _say_how_to_look(stage)
        else:
            screen.heading("The end: everything that was started is removed")
    if not stage.keep:
        screen.say("Done. To keep everything running and explore it: KEEP=1 make demo")
    return 0


def _say_how_to_look(stage: Stage) -> None:
    screen.heading("Everything is still running. To explore it:")
    current = isinstance(stage, CurrentStage)
    if not current:
        screen.say(f"export KUBECONFIG={stage.kubeconfig}")
        screen.say(f"export PREFECT_API_URL={stage.prefect.url}")
        screen.say(f"export PATH={stage.kubectl_program.parent}:$PATH")
        screen.say(f"Prefect's pages: {stage.prefect.url.removesuffix('/api')}")
    screen.say(f"kubectl get fds,configmaps -n {NAMESPACE}")
    cluster = "CLUSTER=current " if current else ""
    screen.say(f"To stop it: {cluster}make demo-end")


def _end() -> int:
    stage = _stage()
    if isinstance(stage, CurrentStage):
        with ExitStack() as stack:
            stage.find(stack)
            story.clean_up(stage)
    kept = _kept()
    for run in sorted(kept, key=lambda one: one.started_at, reverse=True):
        run.clean_up()
    _remove_if_empty(_directory())
    screen.say("stopped" if kept or isinstance(stage, CurrentStage) else "no demo is running")
    return 0


def _remove_if_empty(directory: Path) -> None:
    with suppress(OSError):
        directory.rmdir()


def _kept() -> list[runs.Run]:
    return [run for run in runs.all_runs() if run.directory.is_relative_to(_directory())]


def _directory() -> Path:
    # A worker hands its own directories on to pods, whose users may not look into ours.
    return Path(tempfile.gettempdir()) / f"flowdeps-demo-{os.getuid()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
