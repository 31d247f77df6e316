"""``python -m tests.bench``: what flowdeps adds to the start of a run and of its pod, how fast a
set arrives, what a lock takes, and how an operator starts where many sets are. ``--only load``,
which takes long, is how long sets take beside a namespace that does its worst.

All ways to start a run take turns, round by round, on the same node with the same index, so that
what slows the machine slows all of them; as do a lock of ours and one that uv makes by hand. Runs
need root, as every node does.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bench import applies, locks, neighbours, pods, restarts, starts
from tests.bench.pods import WAYS
from tests.bench.stage import stage
from tests.bench.starts import VARIANTS
from tests.bench.tables import of_applies, of_locks, of_pods, of_restarts, of_starts
from tests.cluster import signals
from tests.cluster.progress import say

_APPLY, _LOCKS, _RESTART, _LOAD, _PODS = "apply", "locks", "restart", "load", "pods"
_ALL = [*VARIANTS, *WAYS, _APPLY, _LOCKS, _RESTART]


def main() -> int:
    arguments = _parser().parse_args()
    only, rounds = arguments.only, arguments.rounds
    on_node = [name for name in only if name in {*VARIANTS, *WAYS, _APPLY}]
    if on_node and os.geteuid() != 0:
        say("the bench of runs starts a node, which needs root; --only locks,restart does not")
        return 1
    tables = []
    with signals.terminable():
        if on_node:
            tables += _on_node(on_node, rounds=rounds, save=arguments.save)
        if _LOCKS in only:
            tables.append(of_locks(list(locks.measure(rounds=rounds))))
        if _RESTART in only:
            tables.append(of_restarts(list(restarts.measure(arguments.sets, rounds=rounds))))
        if _LOAD in only:
            tables.append(neighbours.measure())
    print("\n".join(tables))
    return 0


def _on_node(only: Sequence[str], *, rounds: int, save: Path | None) -> list[str]:
    names = [name for name in VARIANTS if name in only]
    ways = [name for name in WAYS if name in only]
    tables = []
    needed = {*starts.pools(names), *(WAYS[name].pool for name in ways)}
    with stage(sorted(needed)) as standing:
        if ways:
            found = list(pods.measure(standing, ways, rounds=rounds))
            tables.append(of_pods(found))
            if save:
                save.write_text(json.dumps(pods.saved(found), indent=1) + "\n")
        if names:
            tables.append(of_starts(list(starts.measure(standing, names, rounds=rounds))))
        if _APPLY in only:
            tables.append(of_applies(list(applies.measure(standing, rounds=rounds))))
    return tables


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
    parser.add_argument("--save", type=Path, help="a file for what pods took, in JSON")
    parser.add_argument(
        "--sets", type=_positive, default=10_000, help="settled sets of a restart; default: 10000"
    )
    return parser


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
