from dataclasses import replace
from datetime import timedelta

import pytest

from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.index import Index
from flowdeps.locks.request import LockRequest, Prereleases
from flowdeps.locks.requirements import RequirementError
from flowdeps.locks.target import Target
from tests.unit.locks.builders import AMD64, BOTH

REQUEST = LockRequest(
    requirements=("pandas>=2", "httpx"),
    constraints=("numpy<3", "six"),
    target=BOTH,
    index=Index("https://example.com/a", ("https://example.com/b", "https://example.com/c")),
)


IMAGE = ImageFacts(python="3.11", platform=AMD64, distributions=(Distribution("six", "1.0"),))


def test_spelling_order_and_repetition_do_not_change_a_request() -> None:
    """Requests that ask for the same are equal and have one digest."""
    other = replace(
        REQUEST,
        requirements=("HTTPX", "pandas >= 2.0", "httpx"),
        constraints=("six", "numpy <3.0"),
    )
    assert other == REQUEST
    assert other.digest == REQUEST.digest


def test_whatever_may_change_a_resolution_changes_the_digest() -> None:
    """Each input counts: also the order of indices, which decides who answers for a name."""
    first, second = REQUEST.index.extra_urls
    others = [
        REQUEST,
        replace(REQUEST, requirements=("httpx",)),
        replace(REQUEST, constraints=()),
        replace(REQUEST, requirements=REQUEST.constraints, constraints=REQUEST.requirements),
        replace(REQUEST, target=Target("3.12", BOTH.platforms)),
        replace(REQUEST, target=Target("3.11", (AMD64,))),
        replace(REQUEST, index=Index()),
        replace(REQUEST, index=replace(REQUEST.index, extra_urls=(second, first))),
        replace(REQUEST, image=IMAGE),
        replace(REQUEST, image=replace(IMAGE, distributions=())),
        replace(REQUEST, image=IMAGE, shadow=("six",)),
        replace(REQUEST, image=IMAGE, shadow=("*",)),
        replace(REQUEST, cooldown=timedelta(days=7)),
        replace(REQUEST, cooldown=timedelta(days=6)),
        replace(REQUEST, cooldown=timedelta(days=7), cooldown_exempt=("six",)),
        replace(REQUEST, prereleases=Prereleases.ALLOW),
        replace(REQUEST, prereleases=Prereleases.DISALLOW),
        replace(REQUEST, exclude=("urllib3!=2.0",)),
    ]
    assert len({one.digest for one in others}) == len(others)


def test_a_request_that_asks_for_nothing_new_keeps_its_digest() -> None:
    """Digests stand in clusters: neither a new field nor one without effect may change them."""
    digest = "sha256:16366c89a5faf570540f4b5555755d54ba57f167ade88f796461d17ecc0f5602"
    assert REQUEST.digest == digest
    idle = replace(REQUEST, shadow=("six",), cooldown=timedelta(0), cooldown_exempt=("six",))
    assert idle.digest == digest


def test_names_are_the_same_in_any_order_and_spelling() -> None:
    """As lines are."""
    one = replace(REQUEST, image=IMAGE, shadow=("Six", "a_b"), exclude=("B!=1", "a!=1.0"))
    other = replace(REQUEST, image=IMAGE, shadow=("a-b", "six", "six"), exclude=("a!=1", "b!=1"))
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("field", ["requirements", "constraints", "exclude"])
def test_a_request_can_not_hold_anything_but_names(field: str) -> None:
    """No line that could become a flag, a file or a URL gets as far as a resolver."""
    with pytest.raises(RequirementError):
        replace(REQUEST, **{field: ("-r /etc/passwd",)})  # type: ignore[arg-type]
