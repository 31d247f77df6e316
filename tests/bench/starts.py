"""How long a run takes from its creation to its first line, and to its packages imported.

The times are those of the log lines in Prefect, which the flow's own process wrote: pods and this
process share one clock. One run at a time, so that nothing waits for anything else.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.bench.stage import BARE, FLOWDEPS, RECIPE, SET, Stage
from tests.cluster import images
from tests.cluster.prefect_api import FlowRun
from tests.cluster.progress import say

_MODULES = ("pandas", "pyarrow")
_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to start a run; ``installs`` where it then has the packages."""

    title: str
    pool: str
    image: str
    choice: str | None = None
    installs: bool = True


@dataclass(frozen=True, kw_only=True)
class Start:
    """Seconds from the creation of a run; ``imported`` is None where nothing was."""

    first_line: float
    imported: float | None


VARIANTS: Mapping[str, Variant] = {
    "bare": Variant(title="pool without flowdeps", pool=BARE, image=images.FLOW_UV, installs=False),
    "none": Variant(title="no set chosen", pool=FLOWDEPS, image=images.FLOW_UV, installs=False),
    "uv": Variant(title="a set, by uv", pool=FLOWDEPS, image=images.FLOW_UV, choice=SET),
    "pip": Variant(title="a set, by pip", pool=FLOWDEPS, image=images.FLOW_PIP, choice=SET),
    "recipe": Variant(title="the usual recipe", pool=RECIPE, image=images.FLOW_PIP),
}


def pools(names: Sequence[str]) -> list[str]:
    """The pools that these variants run in."""
    return sorted({VARIANTS[name].pool for name in names})


def measure(stage: Stage, names: Sequence[str], *, rounds: int) -> Iterator[dict[str, Start]]:
    """A start of each variant, round by round; a first one of each pool is not counted."""
    deployments = {pool: stage.api.deploy(pool, pool=pool) for pool in pools(names)}
    for pool in pools(names):
        first = next(name for name in names if VARIANTS[name].pool == pool)
        _start(stage, VARIANTS[first], deployments[pool])
    for number in range(1, rounds + 1):
        found = {}
        for name in names:
            found[name] = _start(stage, VARIANTS[name], deployments[VARIANTS[name].pool])
            say(f"round {number}: {VARIANTS[name].title}, {found[name].first_line:.1f} s")
        yield found


def _start(stage: Stage, variant: Variant, deployment: str) -> Start:
    variables = {"image": variant.image}
    if variant.choice is not None:
        variables["dependency_set"] = variant.choice
    created = time.time()
    run = stage.api.start_run(deployment, packages=_MODULES, job_variables=variables)
    ended = stage.api.wait(run, seconds=_SECONDS)
    if ended.state != "COMPLETED":
        raise RuntimeError("\n".join([f"{variant.title}: {ended.state}", *stage.api.logs(run)]))
    seen = stage.api.probe_result(run, seconds=60)
    there = [seen["packages"][name]["version"] is not None for name in _MODULES]
    if set(there) != {variant.installs}:
        raise RuntimeError(f"{variant.title}: the run saw {seen}")
    lines = _lines(stage, run)
    first = next(at for message, at in lines if message.startswith("Beginning flow run"))
    probe = next(at for message, at in lines if message.startswith("flowdeps-probe"))
    return Start(first_line=first - created, imported=probe - created if variant.installs else None)


def _lines(stage: Stage, run: FlowRun) -> list[tuple[str, float]]:
    """A run's log lines with the time of each, in seconds since the epoch."""
    wanted: Any = {"logs": {"flow_run_id": {"any_": [run.id]}}, "sort": "TIMESTAMP_ASC"}
    return [
        (str(line["message"]), datetime.fromisoformat(line["timestamp"]).timestamp())
        for line in stage.api.call("POST", "/logs/filter", wanted)
    ]
