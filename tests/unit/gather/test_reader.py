"""What the operator reads of sources, and how often it parses them."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.prefect.client import Pools, PoolsError, Variable
from flowdeps.gather import sources
from flowdeps.gather.reader import SourceReader
from flowdeps.gather.sources import ConfigMapKey, Content, PrefectVariable, Present, SourceRef
from tests.unit.locks.builders import lock
from tests.unit.scheduling import virtual

LINES = ConfigMapKey("flows", "files", "in")
LOCK = ConfigMapKey("flows", "files", "in", lock=True)
EXTRA = PrefectVariable("extra")


@dataclass
class Outside:
    """A ConfigMap and a variable with the same content."""

    content: Any = "alpha"
    parsed: list[object] = field(default_factory=list)

    async def get_config_map(self, namespace: str, name: str) -> dict[str, Any]:
        assert (namespace, name) == ("flows", "files")
        return {"data": {"in": self.content}}

    async def variables(self, names: Collection[str]) -> dict[str, Variable]:
        assert names == ["extra"]
        return {"extra": Variable(self.content)}

    def read(self, ref: SourceRef, known: Content | None = None) -> Content:
        reader = SourceReader(cast("Cluster", self), cast("Pools", self))
        return asyncio.run(reader.read(ref, known))[0]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    """Counts what is parsed."""
    found = Outside()
    for name in ("parse_requirements_file", "parse_variable", "_lock_or_problem"):
        real = getattr(sources, name)

        def parse(value: object, real: Any = real) -> object:
            found.parsed.append(value)
            return real(value)

        monkeypatch.setattr(sources, name, parse)
    return found


@pytest.mark.parametrize("ref", [LINES, LOCK, EXTRA], ids=str)
def test_a_source_is_parsed_once_for_each_text(ref: SourceRef, outside: Outside) -> None:
    """It is read every half minute, and parsed when it has changed."""
    known = outside.read(ref)
    assert outside.read(ref, known) is known
    assert outside.parsed == ["alpha"]
    outside.content = "beta"
    assert outside.read(ref, known) is not known
    assert outside.parsed == ["alpha", "beta"]


@pytest.mark.parametrize(
    ("one", "other"), [(["a", "b"], ["a\nb"]), (["a", "b"], ["ab"]), (["5"], [5]), ("a", ["a"])]
)
def test_another_value_of_a_variable_is_parsed(one: Any, other: Any, outside: Outside) -> None:
    """Also one that looks the same."""
    outside.content = one
    known = outside.read(EXTRA)
    outside.content = other
    outside.read(EXTRA, known)
    assert outside.parsed == [one, other]


def test_a_lock_is_read_as_one(outside: Outside) -> None:
    """Or as why it is none, which is no error: the set says it."""
    outside.content = lock().render()
    assert outside.read(LOCK) == Present(lock())
    outside.content = "six==1.0"
    found = outside.read(LOCK)
    assert isinstance(found, Present)
    assert "not a flowdeps lock" in found.content


def test_a_variable_that_is_nested_without_end_is_read(outside: Outside) -> None:
    """Its problem is one for people."""
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    for content in (deep, json.dumps(deep), "[" * 200_000):
        outside.content = content
        found = outside.read(EXTRA)
        assert isinstance(found, Present)
        assert found.content.problems


class Prefect:
    """Variables, of which those that begin with `no` do not exist; keeps what was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.away = False

    async def variables(self, names: Collection[str]) -> dict[str, Variable]:
        assert len(set(names)) == len(names) <= 200
        self.asked.append(len(names))
        await asyncio.sleep(1)
        if self.away:
            raise PoolsError(Reason.PREFECT_UNAVAILABLE, "away")
        return {name: Variable(name) for name in names if not name.startswith("no")}


def test_variables_are_read_many_at_a_time() -> None:
    """Each once; no request has more than fit, and there is one a second at most."""

    async def main() -> None:
        prefect = Prefect()
        reader = SourceReader(cast("Cluster", None), cast("Pools", prefect))
        names = [*(f"v{number}" for number in range(300)), *["v1"] * 9, "no"]
        reads = [reader.read(PrefectVariable(name), None) for name in names]
        found = [content for content, _ in await asyncio.gather(*reads)]
        assert [isinstance(one, Present) for one in found] == [*[True] * 309, False]
        assert prefect.asked == [199, 102]
        assert virtual.now() == 2

    virtual.run(main())


def test_whoever_asks_for_all_may_give_up() -> None:
    """The others get what they asked for."""

    async def main() -> None:
        prefect = Prefect()
        reader = SourceReader(cast("Cluster", None), cast("Pools", prefect))
        reads = [
            asyncio.create_task(reader.read(PrefectVariable(name), None)) for name in ("a", "b")
        ]
        await asyncio.sleep(0.5)
        reads[0].cancel()
        content, _ = await reads[1]
        assert isinstance(content, Present)
        assert prefect.asked == [2, 2]
        assert reads[0].cancelled()

    virtual.run(main())


def test_an_outage_is_told_to_all_who_asked() -> None:
    """And over when it is over."""

    async def main() -> None:
        prefect = Prefect()
        prefect.away = True
        reader = SourceReader(cast("Cluster", None), cast("Pools", prefect))
        reads = [reader.read(PrefectVariable(name), None) for name in ("a", "b", "c")]
        errors = await asyncio.gather(*reads, return_exceptions=True)
        assert [str(one) for one in errors] == ["away"] * 3
        prefect.away = False
        content, _ = await reader.read(PrefectVariable("a"), None)
        assert isinstance(content, Present)

    virtual.run(main())
