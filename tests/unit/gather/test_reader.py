"""What the operator reads of sources, and how often it parses them."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.prefect.client import Pools, Variable
from flowdeps.gather import sources
from flowdeps.gather.reader import SourceReader
from flowdeps.gather.sources import ConfigMapKey, Content, PrefectVariable, Present, SourceRef
from tests.unit.locks.builders import lock

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

    async def variable(self, name: str) -> Variable:
        assert name == "extra"
        return Variable(self.content)

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
