from dataclasses import replace

import pytest

from flowdeps.locks.index import Index
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import RequirementError
from flowdeps.locks.target import Target
from tests.unit.locks.builders import AMD64, BOTH

REQUEST = LockRequest(
    requirements=("pandas>=2", "httpx"),
    constraints=("numpy<3", "six"),
    target=BOTH,
    index=Index("https://example.com/a", ("https://example.com/b", "https://example.com/c")),
)


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
    ]
    assert len({one.digest for one in others}) == len(others)


@pytest.mark.parametrize("field", ["requirements", "constraints"])
def test_a_request_can_not_hold_anything_but_names(field: str) -> None:
    """No line that could become a flag, a file or a URL gets as far as a resolver."""
    with pytest.raises(RequirementError):
        replace(REQUEST, **{field: ("-r /etc/passwd",)})  # type: ignore[arg-type]
