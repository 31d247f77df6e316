"""``python -m tests.bench``: what flowdeps adds to the start of a run and of its pod, how fast a
set arrives, what a lock takes, and how an operator starts where many sets are. ``--only load``,
which takes long, is how long sets take beside a namespace that does its worst.

All ways to start a run take turns, round by round, on the same node with the same index, so that
what slows the machine slows all of them; as do a lock of ours and one that uv makes by hand. Runs
need root, as every node does.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import (
    applies,
    arrivals,
    figures,
    locks,
    neighbours,
    packing,
    pods,
    policy,
    restarts,
    starts,
)
from tests.bench.figures import Figure
from tests.bench.mirror import SETS
from tests.bench.pods import AT_ONCE, TOGETHER, WAYS, Pod
from tests.bench.stage import SET, Stage, stage
from tests.bench.starts import VARIANTS
from tests.bench.tables import (
    of_applies,
    of_figures,
    of_locks,
    of_pods,
    of_starts,
)
from tests.cluster import signals
from tests.cluster.progress import say

_APPLY, _LOCKS, _RESTART, _LOAD, _PODS = "apply", "locks", "restart", "load", "pods"
_TEN, _POLICY, _PACK, _READY = "ten", "policy", "pack", "restart-ready"
_ARRIVE = "arrive"
_ON_NODE = [*VARIANTS, *WAYS, _TEN, _POLICY, _APPLY, _ARRIVE]
_ALL = [*_ON_NODE, _PACK, _LOCKS, _RESTART, _READY]


def main() -> int:
    arguments = _parser().parse_args()
    only, rounds = arguments.only, arguments.rounds
    on_node = [name for name in only if name in _ON_NODE]
    if on_node and os.geteuid() != 0:
        say("the bench of runs starts a node, which needs root; --only pack,locks,restart does not")
        return 1
    saved = _Saved(arguments.save)
    with signals.terminable():
        if on_node:
            _on_node(on_node, arguments.packages, rounds=rounds, saved=saved)
        if _PACK in only:
            saved.figures(packing.measure(rounds=rounds))
        if _LOCKS in only:
            saved.tables.append(of_locks(list(locks.measure(rounds=rounds))))
        if _RESTART in only:
            for number in arguments.sets:
                saved.figures(restarts.measure(number, rounds=rounds))
        if _READY in only:
            number = arguments.sets[-1]
            saved.figures(restarts.measure(number, rounds=rounds, environments=True))
        if _LOAD in only:
            saved.tables.append(neighbours.measure())
    print("\n".join(saved.tables))
    return 0


class _Saved:
    """What was measured: tables, and a file where there is to be one."""

    def __init__(self, path: Path | None) -> None:
        self.tables: list[str] = []
        self._path = path

    def figures(self, found: Mapping[str, Figure]) -> None:
        self.tables.append(of_figures(found))
        self._save("figures", figures.saved(found))

    def pods(self, part: str, packages: str, rounds: Sequence[Mapping[str, list[Pod]]]) -> None:
        self.tables.append(of_pods(packages, rounds))
        self._save(part, {packages: pods.saved(packages, rounds)})

    def _save(self, part: str, found: Mapping[str, Any]) -> None:
        if self._path:
            figures.save(self._path, part, found)


def _on_node(only: Sequence[str], packages: Sequence[str], *, rounds: int, saved: _Saved) -> None:
    names = [name for name in VARIANTS if name in only]
    ways = [name for name in WAYS if name in only]
    needed = {*starts.pools(names), *(WAYS[name].pool for name in ways)}
    if {_TEN, _POLICY, _ARRIVE} & {*only}:
        needed |= {WAYS[name].pool for name in TOGETHER}
    with stage(sorted(needed), packages if ways else [SET]) as standing:
        for one in packages if ways else ():
            saved.pods("pods", one, list(pods.measure(standing, ways, one, rounds=rounds)))
        if _TEN in only:
            found = pods.measure(standing, TOGETHER, SET, rounds=rounds, at_once=AT_ONCE)
            saved.pods("together", SET, list(found))
        if _POLICY in only:
            saved.figures(policy.measure(standing, rounds=rounds))
        if names:
            saved.tables.append(of_starts(list(starts.measure(standing, names, rounds=rounds))))
        if _APPLY in only:
            saved.tables.append(of_applies(list(applies.measure(standing, rounds=rounds))))
        if _ARRIVE in only:
            saved.figures(arrivals.measure(standing, rounds=rounds))
        if "pod-image" in ways:
            saved.figures(_alone(standing, packages, rounds=rounds))


def _alone(standing: Stage, packages: Sequence[str], *, rounds: int) -> dict[str, Figure]:
    """Warm runs while the operator, the index and the registry are stopped; it comes last."""
    standing.operator.down()
    standing.index.down()
    assert standing.registry is not None
    standing.registry.down()
    each = range(rounds)
    found = {
        one: [pods.start_alone(standing, one, name=f"{one}-alone-{number}") for number in each]
        for one in packages
    }
    return {
        f"alone-{one}": Figure(
            title=f"warm start with {SETS[one].title}, all imported, while index, registry and"
            " operator are stopped",
            unit="s",
            values=[pod.imported for pod in pods_of],
            aim="starts",
        )
        for one, pods_of in found.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=3, help="default: 3")
    parser.add_argument(
        "--only",
        type=_names,
        default=_ALL,
        help=f"some of {','.join([*_ALL, _LOAD])}; {_PODS}: all that begin so; default: all but"
        f" {_LOAD}",
    )
    parser.add_argument(
        "--packages",
        type=_packages,
        default=[*SETS],
        help=f"what pods install, some of {','.join(SETS)}; default: all",
    )
    parser.add_argument(
        "--save", type=Path, help="a JSON file in which figures take the place of earlier ones"
    )
    parser.add_argument(
        "--sets",
        type=lambda text: [_positive(one) for one in text.split(",")],
        default=[1_000, 10_000],
        help="how many sets come at once and are settled then; default: 1000,10000",
    )
    return parser


def _packages(text: str) -> list[str]:
    if unknown := {*text.split(",")} - {*SETS}:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return text.split(",")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _names(text: str) -> list[str]:
    names = [name for one in text.split(",") for name in (WAYS if one == _PODS else (one,))]
    unknown = set(names) - {*_ALL, _LOAD}
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    sys.exit(main())
