"""Many teams' sets, and a namespace that does all at once that keeps an operator busy.

In the simulation as well as against a real API server: sets are the arguments of their bodies.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowdeps.api.names import MANAGED_BY, MANAGED_BY_LABEL, NAMESPACE_LABEL, SET_LABEL
from flowdeps.api.parts import SOURCES_LIMIT

HOSTILE = "hostile"
"""The namespace that does its worst."""
TEXTS = "texts"
"""Its ConfigMap with texts at their limits."""
FORGED = {
    MANAGED_BY_LABEL: MANAGED_BY,
    SET_LABEL: "ml-0",
    NAMESPACE_LABEL: "team-0",
}
"""The labels of its forged ConfigMaps: another team's."""
_POOLS = 32
"""How many pools a set may name."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of everything there is, and how many seconds the sets of teams are apart."""

    sets: int
    namespaces: int
    pools: int
    hanging: int
    edits: int
    forged: int
    apart: float

    @property
    def teams(self) -> list[str]:
        return [f"team-{number}" for number in range(self.namespaces)]

    def pool_names(self) -> list[str]:
        return [f"pool-{number}" for number in range(self.pools)]


SMALL = Size(sets=60, namespaces=6, pools=3, hanging=20, edits=40, forged=20, apart=7.0)
FULL = Size(sets=1000, namespaces=50, pools=20, hanging=60, edits=200, forged=200, apart=7.0)


def sets_of_teams(size: Size, *, prefix: str = "ml") -> Iterator[dict[str, Any]]:
    """Each in turn of another team, with requirements of its own: a package of its name."""
    pools = size.pool_names()
    for number in range(size.sets):
        yield {
            "name": f"{prefix}-{number}",
            "namespace": size.teams[number % size.namespaces],
            "pools": [pools[number % size.pools]],
            "requirements": [f"{prefix}-{number}"],
            "interval": "0s",
        }


def hostile_sets(size: Size, **hanging: Any) -> Iterator[dict[str, Any]]:
    """Sets on an index that never ends an answer, which `hanging` may name, with images whose pods
    hang, of pools that are missing, and with texts at their limits."""
    for number in range(size.hanging):
        yield _hostile(f"index-{number}", requirements=[f"hangs-{number}"], **hanging)
        image = {"image": f"registry.example.com/hangs:{number}"}
        yield _hostile(f"image-{number}", requirements=["alpha"], python=image)
    for number in range(size.hanging // 2):
        missing = [f"missing-{number}-{one}" for one in range(_POOLS)]
        yield _hostile(f"pools-{number}", requirements=["alpha"], pools=missing)
        refs = ({"name": TEXTS, "key": f"{one}.txt"} for one in range(SOURCES_LIMIT))
        sources = [{"configMapKeyRef": one} for one in refs]
        yield _hostile(f"texts-{number}", requirementsFrom=sources, requirements=["alpha"])


def hostile_edits(size: Size, **hanging: Any) -> Iterator[dict[str, Any]]:
    """One set, edited again and again while it is being resolved."""
    for number in range(size.edits):
        yield _hostile("edited", requirements=[f"hangs-edit-{number}"], **hanging)


def long_texts() -> dict[str, str]:
    """Requirements of as many bytes as an object may have."""
    line = "package-{} >= 1.0 ; python_version >= '3.9' and sys_platform == 'linux'\n"
    text = "".join(line.format(number) for number in range(700))
    return {f"{number}.txt": text for number in range(SOURCES_LIMIT)}


def report(before: Sequence[float], beside: Sequence[float]) -> str:
    """A table of how long sets took to be Ready, and how much longer beside the hostile ones."""
    rows: list[tuple[str, ...]] = [("", "median", "p95", "max")]
    for name, times in (("before", before), ("beside", beside)):
        rows.append((name, *(f"{one:.1f} s" for one in quantiles(times))))
    pairs = zip(quantiles(before), quantiles(beside), strict=True)
    rows.append(("ratio", *(f"{two / one:.2f}" for one, two in pairs)))
    lines = ("".join(f"{cell:>10}" for cell in row) for row in rows)
    return "\n".join([f"time to Ready of {len(beside)} sets", *lines])


def quantiles(times: Sequence[float]) -> tuple[float, float, float]:
    """The median, the 95th percentile and the longest of some times."""
    [*_, most] = statistics.quantiles(times, n=20, method="inclusive")
    return statistics.median(times), most, max(times)


def _hostile(name: str, **spec: Any) -> dict[str, Any]:
    return {"name": name, "namespace": HOSTILE, "interval": "0s", **spec}
