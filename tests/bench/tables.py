"""What was measured, as tables for people."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from flowdeps.gather.refusals import LARGEST_LOCK
from tests.bench.applies import Applied
from tests.bench.locks import KEPT, STATES, Locks
from tests.bench.mirror import PACKAGES
from tests.bench.pods import WAYS, Pod
from tests.bench.restarts import Restart
from tests.bench.starts import VARIANTS, Start

_CONFIG_MAP = 1024**2


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


def of_pods(rounds: Sequence[dict[str, Pod]]) -> str:
    """The table of pods: medians, ranges, and what is added to the packages in the image."""
    rows = [["", "first line", "range", "imported", "range", "added to baked", "POST"]]
    for name in rounds[0]:
        pods = [one[name] for one in rounds]
        imports = WAYS[name].imports
        row = [WAYS[name].title]
        for taken in (
            [one.first_line for one in pods],
            [one.imported for one in pods] if imports else [],
        ):
            row.append(f"{median(taken):.2f} s" if taken else "")
            row.append(f"{min(taken):.2f}-{max(taken):.2f}" if taken else "")
        baked = [one.get("pod-baked") for one in rounds]
        added = [
            pod.imported - base.imported for pod, base in zip(pods, baked, strict=True) if base
        ]
        row.append(f"{median(added):+.2f} s" if added and imports else "")
        row.append(f"{median(one.created for one in pods) * 1000:.0f} ms")
        rows.append(row)
    title = (
        "From creating a run's pod to its first line, and to pandas and pyarrow imported\n"
        f"({' '.join(PACKAGES)}; medians of {len(rounds)} rounds; added: in pairs)"
    )
    return f"\n{title}\n\n{_table(rows)}"


def of_applies(rounds: Sequence[Applied]) -> str:
    """The table of applies."""
    ratio = median(one.in_place / one.requests for one in rounds)
    rows = [
        ["", "median"],
        [
            "from applying a set to the pool's template in place",
            _seconds(one.in_place for one in rounds),
        ],
        [
            "the operator's requests meanwhile, one after another",
            _seconds(one.requests for one in rounds),
        ],
        ["ratio", f"{ratio:.2f}"],
    ]
    made = rounds[-1].made.items()
    requests = ", ".join(f"{count} {method} {target}" for (target, method), count in made)
    title = f"From applying a set to its template in place, the lock being known ({requests})"
    return f"\n{title}\n\n{_table(rows)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def of_locks(found: Sequence[Locks]) -> str:
    """The tables of locks: seconds in both ways, and sizes."""
    times = [["", "flowdeps", "uv by hand", "ratio", "target"]]
    sizes = [["", "pins", "hashes", "lock", "ConfigMap", "of 1 MiB", "fit about"]]
    for one in found:
        pins = one.sizes[0].pins
        for state in STATES:
            ours = [taken.flowdeps[state] for taken in one.rounds]
            ratio = median(taken.flowdeps[state] / taken.by_hand[state] for taken in one.rounds)
            target = "≤ 1.15" + (" and ≤ 2 s" if state == KEPT else "")
            times.append(
                [
                    f"{pins} pins: {state}",
                    f"{median(ours):.1f} s",
                    f"{median(taken.by_hand[state] for taken in one.rounds):.1f} s",
                    f"{ratio:.2f}",
                    target,
                ]
            )
        sizes += [
            [
                f"{one.inputs} requirements, {_counted(size.platforms, 'platform')}",
                f"{size.pins}",
                f"{sum(hashes * pins for hashes, pins in size.hashes.items())}",
                f"{size.text:,} bytes",
                f"{size.config_map:,} bytes",
                f"{size.config_map / _CONFIG_MAP:.1%}",
                f"{LARGEST_LOCK * size.pins // size.text:,} pins",
            ]
            for size in one.sizes
        ]
    title = (
        f"A lock for one platform against uv with the same files and flags\n(medians of "
        f"{len(found[0].rounds)} rounds in turns; the index is asked for each page in all of them)"
    )
    return f"\n{title}\n\n{_table(times)}\n\nSizes of these locks\n\n{_table(sizes)}"


def of_restarts(rounds: Sequence[Restart]) -> str:
    """The table of restarts."""
    rows = [
        ["", "median", "target for 10,000"],
        ["sets known, Prefect answers", _seconds(one.ready for one in rounds), ""],
        ["every set looked at", _seconds(one.passed for one in rounds), "≤ 30 s"],
        [
            "memory at most",
            f"{median(one.memory for one in rounds) / 1024**2:.0f} MiB",
            "≤ 350 MiB",
        ],
        ["writes", f"{max(one.writes for one in rounds)}", "0"],
    ]
    title = f"From the start of an operator, with {rounds[0].sets:,} settled sets"
    return f"\n{title}\n\n{_table(rows)}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _seconds(values: Iterable[float]) -> str:
    return f"{median(values):.2f} s"
