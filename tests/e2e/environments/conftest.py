"""A site with a registry beside it: sets get environments, and pods are given them.

All pods meet the restricted Pod Security Standard, and those of runs, trials and builds have a user
that no image knows, in the group of root, as OpenShift gives to each namespace.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster.registry import Registry
from tests.e2e.environments.place import Place, confined
from tests.e2e.install.site import JOBS, POOL, TEAM, Site


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A release with environments, and no sets."""
    if os.geteuid() != 0:
        pytest.skip("a node needs root")
    with ExitStack() as stack:
        site = stack.enter_context(Site.open(tmp_path_factory.mktemp("helm")))
        registry = stack.enter_context(Registry(host=site.node.gateway))
        site.node.trust_registry(registry.address)
        for name in ("alpha", "beta", "gamma"):
            site.index.add(name, "1.0")
        for namespace in (TEAM, JOBS):
            label = "pod-security.kubernetes.io/enforce=restricted"
            site.node.kubectl("label", "namespace", namespace, label)
        site.api.set_template(POOL, confined(site.api.template(POOL)))
        place = Place(site=site, registry=registry)
        place.install()
        yield place
