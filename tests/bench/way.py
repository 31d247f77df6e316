"""What one new set costs the operator's code, from `kubectl apply` to Ready.

    .venv/bin/python -m tests.bench.way

One set, made for the image of its one pool, whose jobs run in a namespace of their own; all of it
in the simulation. Prints how often
the two are reconciled, how many different functions and modules of flowdeps run for it, how often
the set's status and spec are parsed for one version of it, and how often a reconcile works out
where the lock goes, who serves there and what the ConfigMaps should be.
"""

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import flowdeps
from flowdeps.telemetry import logs
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.scheduling import virtual

_ROOT = flowdeps.__path__[0]
_PARSERS = {"parse_status": "status", "parse_spec": "spec"}
_COMPUTED = {
    "places": "locations",
    "locations_of": "locations",
    "holder_of": "holder",
    "competitors": "holder",
    "config_maps": "ConfigMaps",
}
"""Functions that work something out of a set, under their present and former names."""


@dataclass
class Way:
    """What ran while a set became Ready."""

    reconciles: Counter[str] = field(default_factory=Counter)
    functions: set[tuple[str, str]] = field(default_factory=set)
    parses: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often a part was parsed, by the part and the version of the object."""
    computed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How often a reconcile worked something out, by what, the reconcile and the arguments."""

    @property
    def modules(self) -> set[str]:
        """The modules in which a function ran."""
        return {module for module, _ in self.functions}

    def total(self, part: str) -> int:
        """How often a part was parsed, or something worked out, in all."""
        counts = [*self.parses.items(), *self.computed.items()]
        return sum(count for of, count in counts if of[0] == part)

    def most(self, part: str) -> int:
        """The same for the version of the object, or the reconcile, that has the most of it."""
        found: Counter[str] = Counter()
        for (of, where, *_), count in [*self.parses.items(), *self.computed.items()]:
            if of == part:
                found[where] += count
        return max(found.values(), default=0)

    def record(self, frame: FrameType, event: str, _arg: object) -> None:
        """Take note of a call; for `sys.setprofile`."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_ROOT):
            return
        if code.co_flags & 0x2A0 and frame.f_lasti > 4:
            return  # a coroutine or generator that goes on
        name = code.co_name
        if "<" not in name:
            self.functions.add((code.co_filename.removeprefix(_ROOT), code.co_qualname))
        if part := _PARSERS.get(name):
            meta = frame.f_locals["body"]["metadata"]
            self.parses[part, str(meta.get("resourceVersion"))] += 1
        if what := _COMPUTED.get(name):
            reconcile = logs._about.get().get("pass", "")
            self.computed[what, reconcile, _subject(frame.f_locals)] += 1


def _subject(arguments: dict[str, Any]) -> str:
    entry, place = (
        arguments.get("entry"),
        arguments.get("place") or arguments.get("location") or arguments.get("key"),
    )
    return f"{entry.key if entry else ''} {place or ''}"


def walk() -> Way:
    """Run the simulation of one set."""
    way = Way()

    async def main() -> None:
        sim = Simulation()
        sim.cluster.namespaces.add("jobs")
        sim.prefect.make("k", namespace="jobs")
        sim.cluster.pods.images["registry.example.com/flows:1"] = MemoryImage()
        async with sim.operator():
            await asyncio.sleep(60)
            sim.passes.clear()
            sys.setprofile(way.record)
            try:
                sim.cluster.apply("ml", pools=["k"], python={})
                await asyncio.sleep(29)  # the next poll of Prefect comes after it
            finally:
                sys.setprofile(None)
            assert sim.ready("ml") == ("True", "Ready")
            assert sim.pins("ml", namespace="jobs", pool="k") == "pandas==1.0"
        way.reconciles = sim.passes

    virtual.run(main())
    return way


def main() -> None:
    """Print the table."""
    way = walk()
    rows = {
        "reconciles of the set / of its pool": f"{way.reconciles['flows/ml']} / "
        f"{way.reconciles['work pool k']}",
        "different functions, in modules": f"{len(way.functions)} in {len(way.modules)}",
        "status parsed: most for a version, in all": f"{way.most('status')}, {way.total('status')}",
        "spec parsed: most for a version, in all": f"{way.most('spec')}, {way.total('spec')}",
    }
    for what in ("locations", "holder", "ConfigMaps"):
        again = max((n for (of, *_), n in way.computed.items() if of == what), default=0)
        rows[f"{what}: most for one thing in a reconcile, in all"] = f"{again}, {way.total(what)}"
    for name, text in rows.items():
        print(f"{name:54} {text}")


if __name__ == "__main__":
    main()
