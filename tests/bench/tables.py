"""What was measured, as tables for people."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from flowdeps.gather.refusals import LARGEST_LOCK
from tests.bench.applies import Applied
from tests.bench.figures import Figure
from tests.bench.locks import KEPT, STATES, Locks
from tests.bench.mirror import SETS
from tests.bench.pods import WAYS, Pod
from tests.bench.stage import SET
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
        "From creating a run to its flow's first line, and to its packages imported\n"
        f"({SETS[SET].title}; medians of {len(rounds)} rounds; added: to a pool without "
        "flowdeps, in pairs)"
    )
    return f"\n{title}\n\n{_table(rows)}"


def _added(
    rounds: Sequence[dict[str, Start]], name: str, of: Callable[[Start], float]
) -> float | None:
    if name not in rounds[0] or "bare" not in rounds[0] or name == "bare":
        return None
    return median(of(one[name]) - one["bare"].first_line for one in rounds)


def of_pods(packages: str, rounds: Sequence[Mapping[str, Sequence[Pod]]]) -> str:
    """The table of pods: medians, ranges, and what is added to the packages in the image. Of pods
    that begin together the last one counts."""
    head = ["", "first line", "range", "imported", "range", "added to baked", "POST"]
    rows = [[*head, "files", "MB", "requests"]]
    for name in rounds[0]:
        imports = WAYS[name].imports
        first = [max(pod.first_line for pod in one[name]) for one in rounds]
        imported = [max(pod.imported for pod in one[name]) for one in rounds]
        row = [WAYS[name].title]
        for taken in (first, imported if imports else []):
            row.append(f"{median(taken):.2f} s" if taken else "")
            row.append(f"{min(taken):.2f}-{max(taken):.2f}" if taken else "")
        added = [
            last - max(pod.imported for pod in one["pod-baked"])
            for last, one in zip(imported, rounds, strict=True)
            if "pod-baked" in one
        ]
        row.append(f"{median(added):+.2f} s" if added and imports else "")
        pods = [pod for one in rounds for pod in one[name]]
        row.append(f"{median(pod.created for pod in pods) * 1000:.0f} ms")
        row.append(f"{median(pod.files for pod in pods):.0f}")
        row.append(f"{median(pod.bytes for pod in pods) / 1e6:.1f}")
        row.append(f"{median(pod.asked for pod in pods):.0f}")
        rows.append(row)
    together = len(rounds[0][next(iter(rounds[0]))])
    what = "a run's pod" if together == 1 else f"{together} pods, to the last one's"
    title = (
        f"From creating {what} to its first line, and to its packages imported\n"
        f"({SETS[packages].title}; medians of {len(rounds)} rounds; added: in pairs)"
    )
    return f"\n{title}\n\n{_table(rows)}"


def of_figures(figures: Mapping[str, Figure]) -> str:
    """A table of figures."""
    rounds = max(len(one.values) for one in figures.values())
    rows = [[f"medians of {rounds} rounds", "", "range", "aim"]]
    rows += [one.row for one in figures.values()]
    return f"\n{_table(rows)}"


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


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _seconds(values: Iterable[float]) -> str:
    return f"{median(values):.2f} s"
