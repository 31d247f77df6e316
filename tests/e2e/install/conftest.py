"""One site for the folder, apart from the other e2e tests': two operators would serve its sets."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.install.site import Site


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A node, Prefect, a pool with a worker and an index; the charts are the tests' own."""
    if os.geteuid() != 0:
        pytest.skip("a node needs root")
    with Site.open(tmp_path_factory.mktemp("helm")) as one:
        one.index.add("alpha", "1.0")
        one.index.add("beta", "1.0")
        yield one
