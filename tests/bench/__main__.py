"""``python -m tests.bench``: what flowdeps adds to the start of a run, and how fast a set arrives.

All ways to start a run take turns, round by round, on the same node with the same index, so that
what slows the machine slows all of them. It needs root, as every node does.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from statistics import median

from tests.bench import applies, starts
from tests.bench.applies import Applied
from tests.bench.mirror import PACKAGES
from tests.bench.stage import stage
from tests.bench.starts import VARIANTS, Start
from tests.cluster import signals
from tests.cluster.progress import say

_APPLY = "apply"


def main() -> int:
    arguments = _parser().parse_args()
    if os.geteuid() != 0:
        say("the bench starts a node, which needs root")
        return 1
    names = [name for name in VARIANTS if name in arguments.only]
    with signals.terminable(), stage(starts.pools(names)) as standing:
        found = list(starts.measure(standing, names, rounds=arguments.rounds))
        applied: list[Applied] = []
        if _APPLY in arguments.only:
            applied = list(applies.measure(standing, rounds=arguments.rounds))
    if names:
        print(of_starts(found))
    if applied:
        print(of_applies(applied))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=3, help="default: 3")
    parser.add_argument(
        "--only",
        type=_names,
        default=[*VARIANTS, _APPLY],
        help=f"some of {','.join([*VARIANTS, _APPLY])}; default: all",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - {*VARIANTS, _APPLY}
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def of_starts(rounds: Sequence[dict[str, Start]]) -> str:
    """The table of starts: medians, what each adds to a bare pool's, and that to the recipe's."""
    names = list(rounds[0])

    def first(one: Start) -> float:
        return one.first_line

    def imported(one: Start) -> float:
        return one.first_line if one.imported is None else one.imported

    rows = [["", "first line", "added", "of recipe", "imported", "added", "of recipe"]]
    for name in names:
        row = [VARIANTS[name].title]
        for of in (first, imported):
            there = of is first or VARIANTS[name].installs
            row.append(f"{median(of(one[name]) for one in rounds):.1f} s" if there else "")
            added = _added(rounds, name, of) if there else None
            recipe = _added(rounds, "recipe", of)
            row.append("" if added is None else f"{added:+.1f} s")
            row.append("" if not added or not recipe else f"{added / recipe:.0%}")
        rows.append(row)
    title = (
        "From creating a run to its flow's first line, and to pandas and pyarrow imported\n"
        f"({' '.join(PACKAGES)}; medians of {len(rounds)} rounds; added: to a pool without "
        "flowdeps, in pairs)"
    )
    return f"\n{title}\n\n{_table(rows)}"


def _added(
    rounds: Sequence[dict[str, Start]], name: str, of: Callable[[Start], float]
) -> float | None:
    if name not in rounds[0] or "bare" not in rounds[0] or name == "bare":
        return None
    return median(of(one[name]) - one["bare"].first_line for one in rounds)


def of_applies(rounds: Sequence[Applied]) -> str:
    """The table of applies."""
    ratio = median(one.in_place / one.requests for one in rounds)
    rows = [
        ["", "median"],
        ["from applying a set to the pool's template in place", _seconds(rounds, "in_place")],
        ["the operator's requests meanwhile, one after another", _seconds(rounds, "requests")],
        ["ratio", f"{ratio:.2f}"],
    ]
    made = rounds[-1].made.items()
    requests = ", ".join(f"{count} {method} {target}" for (target, method), count in made)
    title = f"From applying a set to its template in place, the lock being known ({requests})"
    return f"\n{title}\n\n{_table(rows)}"


def _seconds(rounds: Sequence[Applied], name: str) -> str:
    return f"{median(getattr(one, name) for one in rounds):.2f} s"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
