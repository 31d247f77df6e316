from collections.abc import Iterator
from pathlib import Path

import pytest

from flowdeps.resolver.child import Limits
from flowdeps.resolver.resolve import Resolver
from tests.cluster.index import Index
from tests.integration.resolver.support import LOOPBACK, MakeResolver, limits


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as one:
        yield one


@pytest.fixture
def other_index() -> Iterator[Index]:
    with Index() as one:
        yield one


@pytest.fixture
def make_resolver(tmp_path: Path) -> MakeResolver:
    """Resolvers that share a cache of this test's own."""

    def make(*, uv: Path | None = None, within: Limits | None = None) -> Resolver:
        return Resolver(
            limits=within or limits(), cache=tmp_path / "cache", network=LOOPBACK, uv=uv
        )

    return make


@pytest.fixture
def resolver(make_resolver: MakeResolver) -> Resolver:
    return make_resolver()
