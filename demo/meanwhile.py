"""A cold start: the story begins while the programs of a node are still being built.

A process of its own builds everything, in the order in which the demo needs it. As soon as etcd,
kube-apiserver and kubectl are there, the first part of the story plays on them, with runs as
processes of this machine. What is left, and about how long it takes, is said all the while.

`python -m demo.meanwhile` is that process.
"""

import math
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from demo import screen, story
from demo.here import HereStage
from demo.node import NodeStage
from demo.stage import SET, Stage, reaches_default_index
from tests.cluster import binaries, cache, images, operator_image, prefect_env, signals
from tests.cluster.lifecycle import Service
from tests.cluster.node import Node

# Without the controller manager: nothing in the first part needs it.
_FIRST = ("etcd", "kube-apiserver", "kubectl")
_IMAGES = "the images of runs"
_IMAGES_SECONDS = 120.0
_FOR_PODS = (*binaries.NODE, _IMAGES)
_FOR_ENVIRONMENTS = ("helm", "oras")
_GRACE_SECONDS = 30.0
_NEWS_SECONDS, _LOOK_SECONDS = 20.0, 1.0


@dataclass
class Estimate:
    """How long a build takes on, by what each part was expected to take and those took that are
    done."""

    plan: Mapping[str, float]
    """Seconds by part, in the order in which they are built."""
    _built: int = 0
    _at: float = 0.0

    def seconds(self, done: Collection[str], *, elapsed: float, last: str) -> float:
        """Return how long it takes until the part `last` is there, `elapsed` seconds after the
        beginning."""
        built = [name for name in self.plan if name in done]
        if len(built) != self._built:
            self._built, self._at = len(built), elapsed
        names = list(self.plan)
        rest = [name for name in names[: names.index(last) + 1] if name not in done]
        if not rest:
            return 0.0
        now, *others = (self.plan[name] for name in rest)
        waited = elapsed - self._at
        if expected := sum(self.plan[name] for name in built):
            pace = self._at / expected
        else:
            pace = max(1.0, waited / now)
        return max(0.0, now * pace - waited) + sum(others) * pace


class Building(Service):
    """The process that builds."""

    def prepare(self) -> None:
        """Nothing: it is what prepares the others."""
        plan = {
            name: _IMAGES_SECONDS if name == _IMAGES else float(binaries.PROGRAMS[name].seconds)
            for name in _missing((*_FOR_PODS, *_FOR_ENVIRONMENTS))
        }
        self._plan = list(plan)
        self._estimate = Estimate(plan)
        self._started = time.monotonic()

    def _start(self) -> None:
        self._process = self._launch("build", [sys.executable, "-m", "demo.meanwhile"])

    def _end_processes(self) -> None:
        for process in self._processes:
            process.stop(grace=_GRACE_SECONDS)  # it has to end the compiler

    def news(self) -> str:
        """One line: what is built, and how long until pods can run."""
        missing = _missing(self._plan)
        pods = [name for name in self._plan if name in _FOR_PODS]
        if not set(pods) & set(missing):
            return "(meanwhile: all that pods need is there)"
        done = set(self._plan) - set(missing)
        elapsed = time.monotonic() - self._started
        text = f"(meanwhile: building {missing[0]}, {len(done) + 1} of {len(self._plan)}; "
        if first := [name for name in missing if name in _FIRST]:
            seconds = self._estimate.seconds(done, elapsed=elapsed, last=first[-1])
            text += f"{about(seconds)} until the first run, "
        seconds = self._estimate.seconds(done, elapsed=elapsed, last=pods[-1])
        return f"{text}{about(seconds)} until pods can run)"

    def wait_for(self, parts: Sequence[str]) -> None:
        """Wait until these are there, and say now and then what is left."""
        said = -math.inf
        while _missing(parts):
            self._process.check()
            if time.monotonic() - said > _NEWS_SECONDS:
                said = time.monotonic()
                screen.say(self.news())
            time.sleep(_LOOK_SECONDS)


def about(seconds: float) -> str:
    """A duration as one says it."""
    return f"about {math.ceil(seconds / 60)} min" if seconds > 60 else "less than a minute"


def play(whole: Stage, directory: Path, stack: ExitStack) -> None:
    """What can be shown before the programs are there that the `whole` story needs.

    Afterwards only what environments need may still be building, until the stack ends.
    """
    if isinstance(whole, HereStage) and binaries.missing(_FIRST):
        _show_lock(whole)
    if not isinstance(whole, NodeStage) or not binaries.missing(binaries.NODE):
        return
    building = Building()
    stack.enter_context(building)
    stage = HereStage(directory, keep=False)
    stage.news = building.news
    _show_lock(stage)
    prefect_env.bin_directory()
    building.wait_for(_FIRST)
    with ExitStack() as first:
        screen.heading("A first result: the API server is there, and runs are processes for now")
        story.play_first(stage, first)
    screen.heading("Now with real pods, as soon as the rest is built")
    building.wait_for(_FOR_PODS)


def _missing(parts: Sequence[str]) -> list[str]:
    """Those that are still to be built, in their order."""
    programs = binaries.missing([name for name in parts if name != _IMAGES])
    there = any(cache.root().glob("images/flow-*/.complete"))
    return [name for name in parts if name in programs or (name == _IMAGES and not there)]


def _show_lock(stage: Stage) -> None:
    """A lock needs no cluster, so it comes before everything else."""
    if not reaches_default_index(["sh", "-c"]):
        return
    stage.heading("Before the cluster's programs are built: a lock, which needs no cluster")
    screen.command(f"flowdeps lock {SET.name}")
    screen.output(stage.lock())


def build() -> None:
    """Make all that the demo needs of a node, in the order in which it needs it."""
    binaries.ensure(_FIRST)
    Node().prepare()
    images.flow()
    binaries.ensure(_FOR_ENVIRONMENTS)
    operator_image.archive()


if __name__ == "__main__":
    with signals.terminable():
        build()
