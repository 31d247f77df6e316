"""What a run gets without us and with us, by the worker's own code, differs by our fragment only.

Pools and deployments give env, volumes, mounts, init containers and labels in every way.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.delivery.kinds.kubernetes.merge import merge
from tests.cluster import prefect_env
from tests.property.delivery.pools import Case, cases
from tests.support.worker import Worker, running
from tests.unit.delivery.samples import accepted_by_the_server, fragment

HOME = "/opt/flowdeps"
OURS = ("flowdeps-", "FLOWDEPS_")


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the worker's environment."""
    return prefect_env.bin_directory() / "python"


@pytest.fixture(scope="module")
def worker(python: Path) -> Iterator[Worker]:
    with running(python) as worker:
        yield worker


@settings(max_examples=60)
@given(case=cases())
def test_a_run_differs_by_the_fragment_only(worker: Worker, case: Case) -> None:
    """Whatever its deployment gives, nothing of it is lost or changed; the server takes it all."""
    try:
        merged = merge(case.template, fragment())
    except MergeRefusedError as error:
        assert error.reason == "PythonPathIsReference"  # noqa: PT017
        return
    assert accepted_by_the_server(merged) == []
    given = case.job_variables
    before = worker.rendered(*((case.template, variables) for variables in given))
    after = worker.rendered(*((merged, variables) for variables in given))
    for without, with_us in zip(before, after, strict=True):
        if not isinstance(without, str):  # the worker fails without us as well
            assert not isinstance(with_us, str), with_us
            assert without_fragment(with_us) == normal(without)


def without_fragment(manifest: Any) -> Any:
    """The manifest without what a fragment may add to it, and with the rest as it is."""
    left = copy.deepcopy(manifest)
    pod = left["spec"]["template"]["spec"]
    flow = pod["containers"][0]
    for parent, key in ((pod, "volumes"), (pod, "initContainers"), (flow, "volumeMounts")):
        parent[key] = [one for one in parent[key] if not one["name"].startswith(OURS)]
    for metadata in (left["metadata"], left["spec"]["template"]["metadata"]):
        metadata["labels"].pop("flowdeps.dev/set", None)
    return normal(left)


def _without_ours(entry: Any) -> Any:
    if entry["name"].startswith(OURS):
        return None
    value = entry.get("value")
    if entry["name"] != "PYTHONPATH" or not isinstance(value, str):
        return entry
    directories = value.split(":")
    left = [one for one in directories if not one.startswith(HOME)]
    if left in ([], [""]):  # to Python, an empty one is none
        return None
    if left == ["$(PYTHONPATH)"] != directories:
        return None
    return {**entry, "value": ":".join(left)}


def normal(manifest: Any) -> Any:
    """The manifest with lists that are there."""
    found = copy.deepcopy(manifest)
    pod = found["spec"]["template"]["spec"]
    for parent, key in (
        (pod, "volumes"),
        (pod, "initContainers"),
        (pod["containers"][0], "volumeMounts"),
    ):
        parent[key] = parent.get(key) or []
    flow = pod["containers"][0]
    flow["env"] = [one for one in map(_without_ours, flow["env"]) if one is not None]
    return found
