"""What a gathering asks for, and what it answers as long as something is not known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from flowdeps.api.config import Config
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import parse_spec
from flowdeps.api.spec import SetSpec
from flowdeps.gather.inputs import Inputs, gather, gather_access
from flowdeps.gather.sources import (
    Absent,
    ConfigMapKey,
    Content,
    PrefectVariable,
    Present,
    SecretName,
    SourceRef,
    Unreadable,
)
from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.locks.prefect_variable import parse_variable
from flowdeps.locks.requirements_file import parse_requirements_file
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.store import PoolView, SetKey
from flowdeps.trials.image import Image, ImageRef
from tests.unit.state.bodies import set_body

KEY = SetKey("flows", "ml")
IMAGE = ImageRef("flows", "registry.example.com/flows:1")
LINES = ConfigMapKey("flows", "lines", "in")
EXTRA = PrefectVariable("extra")
SECRET = SecretName("flows", "index")
AWAY = Failure(Reason.PREFECT_UNAVAILABLE, "the API did not answer")


@dataclass
class MemoryLookup:
    """Knows what it is given, and notes what is needed."""

    key: SetKey = KEY
    config: Config = field(default_factory=Config)
    contents: dict[SourceRef, Content | Failure[Reason]] = field(default_factory=dict)
    sets: dict[str, SetSpec] = field(default_factory=dict)
    found: Image | Failure[Reason] | None = None
    needed: list[object] = field(default_factory=list)

    def need_sources(self, refs: frozenset[SourceRef]) -> None:
        self.needed.append(set(refs))

    def need_image(self, ref: ImageRef | None) -> None:
        self.needed.append(ref)

    def source(self, ref: SourceRef) -> Content | Failure[Reason] | None:
        return self.contents.get(ref)

    def included(self, name: str) -> SetSpec | Absent | Unreadable:
        return self.sets.get(name) or Absent("there is none")

    def image_ref(self, spec: SetSpec) -> ImageRef | Outcome | None:
        return IMAGE if spec.python.image else Outcome.waits(Reason.PENDING, "waits for the pool")

    def image(self, ref: ImageRef) -> Image | Failure[Reason] | None:
        assert ref is IMAGE
        return self.found

    def pools(self) -> Mapping[str, PoolView]:
        return {}


def spec_of(**fields: Any) -> SetSpec:
    """The spec of a set."""
    return parse_spec(set_body(**fields))


SPEC = spec_of(
    requirementsFrom=[{"configMapKeyRef": {"name": "lines", "key": "in"}}],
    includes=[{"name": "base"}],
    index={"url": "https://example.com/simple", "credentialsSecretRef": {"name": "index"}},
)
BASE = spec_of(constraintsFrom=[{"prefectVariable": {"name": "extra"}}])
KNOWN: dict[SourceRef, Content | Failure[Reason]] = {
    LINES: Present(parse_requirements_file("alpha")),
    EXTRA: Present(parse_variable("beta<2")),
    SECRET: Present({"netrc": "machine a login b password c"}),
}


def test_all_sources_are_needed_at_once() -> None:
    """Those of included sets too, so that they are read side by side and not one by one."""
    lookup = MemoryLookup(sets={"base": BASE})
    assert isinstance(gather(lookup, SPEC), Outcome)
    assert lookup.needed == [{LINES, EXTRA, SECRET}]


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (SECRET, "spec.index.credentialsSecretRef"),
        (LINES, "spec.requirementsFrom[0]"),
        (EXTRA, "included set base: spec.constraintsFrom[0]"),
    ],
)
@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (None, Reason.GATHERING, "{ref} is being read"),
        (AWAY, Reason.PREFECT_UNAVAILABLE, "{ref}: the API did not answer"),
        (Unreadable("it is no text"), Reason.SOURCE_INVALID, "it is no text"),
        (Absent("there is none"), None, "there is none"),
    ],
)
def test_a_source_that_is_not_known_is_an_outcome(
    ref: SourceRef,
    path: str,
    content: Content | Failure[Reason] | None,
    reason: Reason | None,
    says: str,
) -> None:
    """With its field and, while it can't be read, why; nothing is raised."""
    contents = dict(KNOWN)
    del contents[ref]
    if content is not None:
        contents[ref] = content
    found = gather(MemoryLookup(sets={"base": BASE}, contents=contents), SPEC)
    missing = Reason.CREDENTIALS_INVALID if ref is SECRET else Reason.SOURCE_NOT_FOUND
    assert found == Outcome.failed(reason or missing, f"{path}: {says.format(ref=ref)}")


@pytest.mark.parametrize(
    ("python", "found", "expected"),
    [
        ({"image": IMAGE.image}, None, Reason.PROBING),
        ({"image": IMAGE.image}, Failure(Reason.IMAGE_UNUSABLE, "no image"), Reason.IMAGE_UNUSABLE),
        ({}, None, Reason.PENDING),
    ],
)
def test_an_image_that_is_not_known_is_an_outcome(
    python: dict[str, str], found: Failure[Reason] | None, expected: Reason
) -> None:
    """While a pod looks into it, when none can, and while its pool is not known."""
    outcome = gather(MemoryLookup(found=found), spec_of(python=python))
    assert isinstance(outcome, Outcome)
    assert (outcome.is_done, outcome.reason) == (False, expected)


def test_a_set_without_an_image_needs_none() -> None:
    """The image that it needed before is released."""
    lookup = MemoryLookup()
    assert not isinstance(gather(lookup, spec_of()), Outcome)
    assert lookup.needed == [set(), None]


def test_only_the_access_can_be_gathered() -> None:
    """For a lock that is served already: its sources and its image are released."""
    lookup = MemoryLookup(contents=KNOWN)
    index, access = SPEC.index.index, Access(netrc="machine a login b password c\n")
    assert gather_access(lookup, SPEC) == (index, access)
    assert lookup.needed == [None, {SECRET}]
    assert gather_access(lookup, spec_of()) == (Index(), None)
    waits = Outcome.waits(
        Reason.GATHERING,
        "spec.index.credentialsSecretRef: Secret flows/index is being read",
    )
    assert gather_access(MemoryLookup(), SPEC) == waits


def lines(count: int, *, first: int = 0, length: int = 0) -> Present:
    """What a source with so many requirements holds."""
    names = (f"a{number}".ljust(length, "x") for number in range(first, first + count))
    return Present(parse_requirements_file("\n".join(names)))


def source(name: str) -> dict[str, Any]:
    return {"configMapKeyRef": {"name": name, "key": "in"}}


@pytest.mark.parametrize(
    ("sets", "each", "says"),
    [
        (2, {"requirementsFrom": 16, "lines": 126}, "4,033 lines in all; at most 4,000 fit"),
        (1, {"requirementsFrom": 4, "lines": 500, "length": 200}, "characters in all"),
        (3, {"requirementsFrom": 15, "lines": 1}, "45 ConfigMaps and variables in all"),
        (33, {"requirementsFrom": 0}, "more sets in all; at most 32 fit"),
    ],
)
def test_a_set_and_those_that_it_includes_have_one_budget(
    sets: int, each: dict[str, int], says: str
) -> None:
    """Sets, sources, lines and characters: the message names the fields, the limit, what to do."""
    contents: dict[SourceRef, Content | Failure[Reason]] = {}
    family = {}
    for number in range(sets):
        named = [f"s{number}-{one}" for one in range(each["requirementsFrom"])]
        for one in named:
            first = len(contents) * 10_000
            contents[ConfigMapKey("flows", one, "in")] = lines(
                each.get("lines", 0), first=first, length=each.get("length", 0)
            )
        family[f"s{number}"] = spec_of(
            requirements=["a"],
            requirementsFrom=[source(one) for one in named],
            includes=[{"name": f"s{number + 1}"}] if number + 1 < sets else [],
            python={"version": "3.12"},
        )
    found = gather(MemoryLookup(contents=contents, sets=family), family["s0"])
    assert isinstance(found, Outcome)
    assert found.reason is Reason.INVALID_SPEC
    assert says in found.message
    assert found.message.startswith(
        "spec.requirements, spec.constraints, their sources and spec.in"
    )
    assert found.message.endswith("divide the set")


def test_what_is_named_again_counts_once() -> None:
    """The same lines in 16 sources, each of which is named twice."""
    contents: dict[SourceRef, Content | Failure[Reason]] = {
        ConfigMapKey("flows", f"s{number}", "in"): lines(1900) for number in range(16)
    }
    named = [source(f"s{number}") for number in range(16)]
    spec = spec_of(requirementsFrom=named, constraintsFrom=named, python={"version": "3.12"})
    found = gather(MemoryLookup(contents=contents), spec)
    assert isinstance(found, Inputs)
    assert len(found.names) == 1901
