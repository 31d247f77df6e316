import re
from contextlib import suppress
from typing import Any

import pytest
import yaml

from flowdeps.api.conditions import Condition, ConditionType, merge_conditions
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import parse_spec
from flowdeps.api.status import LockStatus, PoolStatus, RevisionStatus, SetStatus, parse_status
from tests.cluster.controlplane import ControlPlane, KubectlError
from tests.integration.crd.api import CRD, Sets
from tests.integration.crd.conftest import NAMESPACE
from tests.support.sets import wait
from tests.unit.api.sets import GOOD, changed
from tests.unit.api.test_status import FULL, NOW
from tests.unit.gitops.test_kstatus import compute

pytestmark = pytest.mark.cluster

NEW = {"observedGeneration": -1}


def test_kubectl_apply_shows_the_message(cluster: ControlPlane, sets: Sets) -> None:  # noqa: ARG001
    """Who applies a bad set with kubectl reads the field, the value and the way out."""
    bad = yaml.safe_dump(changed("spec.requirements", ["numpy", "-r requirements.txt"]))
    with pytest.raises(KubectlError) as caught:
        cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", input=bad)
    assert (
        'spec.requirements[1]: Invalid value: "-r requirements.txt": a flag is not allowed;'
        " list the packages themselves, one per item"
    ) in str(caught.value)


def test_kubectl_explain_describes_every_field(cluster: ControlPlane) -> None:
    """`kubectl explain fds --recursive` knows the fields, and each has a description."""
    assert "pandas>=2.2,<3" in _explained(cluster, "fds.spec")
    assert "-required-" in _explained(cluster, "fds.spec.workPools")
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert _undescribed(schema, "") == [".apiVersion", ".kind", ".metadata"]


def _explained(cluster: ControlPlane, what: str) -> str:
    """What kubectl says of it, once the API server describes a resource that it only just got."""
    said: list[str] = []

    def told() -> bool:
        with suppress(KubectlError):
            said.append(cluster.kubectl("explain", what))
        return bool(said)

    wait(told, what=f"kubectl explain {what}")
    return said[0]


def test_kubectl_get_has_the_columns_that_matter(cluster: ControlPlane, sets: Sets) -> None:
    """A set with a status shows Ready, Reason, Lock, Packages, Pools, Updated and Age."""
    sets.create(GOOD)
    sets.apply(_with_status(FULL), manager="flowdeps", status=True)
    head, row = cluster.kubectl("get", "fds", "-n", NAMESPACE).splitlines()
    columns = ["NAME", "READY", "REASON", "LOCK", "PACKAGES", "POOLS", "UPDATED", "AGE"]
    assert head.split() == columns
    assert row.split()[:6] == ["ml-extras", "True", "Ready", "ml-3f9a1c20de", "12", "1/2"]
    wide = cluster.kubectl("get", "prefect", "-n", NAMESPACE, "-o", "wide").splitlines()
    assert re.split(r"\s{2,}", wide[0].strip())[8:] == [
        "PYTHON",
        "IMAGE",
        "VULNERABLE",
        "SUSPENDED",
        "NEXT REFRESH",
        "MESSAGE",
    ]
    assert re.split(r"\s{2,}", wide[1].strip())[8:13] == [
        "3.12",
        "registry.example.com/flows:1",
        "2",
        "false",
        "2026-01-31T08:00:00Z",
    ]


def test_kubectl_wait_knows_when_a_set_is_ready(cluster: ControlPlane, sets: Sets) -> None:
    """`kubectl wait --for=condition=Ready` ends when the status says so."""
    sets.create(GOOD)
    sets.apply(_with_status(FULL), manager="flowdeps", status=True)
    out = cluster.kubectl(
        "wait", "--for=condition=Ready", "fds/ml-extras", "-n", NAMESPACE, "--timeout=60s"
    )
    assert "condition met" in out


def test_the_whole_status_is_stored_as_written(sets: Sets) -> None:
    """Nothing of a full status is pruned, and the spec stays as it was."""
    sets.create(GOOD)
    stored = sets.apply(_with_status(FULL), manager="flowdeps", status=True)
    assert stored["status"] == FULL.to_dict()
    assert parse_status(stored) == FULL
    assert parse_spec(stored) == parse_spec(GOOD)


def test_a_status_beyond_all_bounds_is_still_accepted(sets: Sets) -> None:
    """to_dict cuts whatever it is given to what the schema takes."""
    long = Condition(ConditionType.READY, "False", Reason.UNSATISFIABLE, "é" * 10_000)
    status = SetStatus(
        conditions=tuple(merge_conditions([], [long], generation=1, now=NOW)),
        lock=LockStatus(
            digest="d",
            revision="r",
            packages=0,
            python="3.12",
            platforms=("linux/amd64",),
            resolved_at=NOW,
            inputs_digest="i",
        ),
        revisions=tuple(
            RevisionStatus(name=f"r{number}", digest="d", created_at=NOW, summary="é" * 5000)
            for number in range(300)
        ),
        work_pools=tuple(
            PoolStatus(
                name=f"p{number}",
                key="k",
                synced=False,
                namespaces=tuple(f"n{n}" for n in range(100)),
                message="é" * 5000,
            )
            for number in range(100)
        ),
        last_handled_refresh_at="é" * 500,
    )
    sets.create(GOOD)
    stored = sets.apply(_with_status(status), manager="flowdeps", status=True)
    assert len(stored["status"]["revisions"]) == 100


def test_a_write_to_the_spec_cannot_change_the_status(sets: Sets) -> None:
    """Status is a subresource: what an applied file says about it does not count."""
    body = {**GOOD, "status": {"lock": {"revision": "mine"}}}
    assert sets.create(body)["status"] == NEW


def test_a_new_set_is_in_progress_until_the_operator_has_looked(sets: Sets) -> None:
    """kstatus, and with it Flux, would take a set without a status for ready."""
    assert compute(sets.create(GOOD)) == "InProgress"


def test_applying_twice_changes_nothing(sets: Sets) -> None:
    """Server-side apply of the same set gives the same resourceVersion and generation: at once
    where it has a status, else from the second time on, since the first stores the status's
    default, which a create leaves out; nothing else changes by it."""
    first = sets.apply(GOOD, manager="git")
    second = sets.apply(GOOD, manager="git")
    assert second == sets.apply(GOOD, manager="git")
    del first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]
    assert first == second
    assert first["metadata"]["generation"] == 1
    looked = sets.apply(_with_status(FULL), manager="flowdeps", status=True)
    again = sets.apply(GOOD, manager="git")
    assert looked["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


def test_the_first_status_takes_the_defaults_place(sets: Sets) -> None:
    """It conflicts with nobody, and nothing of it stays; read, it is about no generation."""
    assert parse_status(sets.create(GOOD)) == SetStatus()
    stored = sets.apply(_with_status(FULL), manager="flowdeps", status=True)
    assert stored["status"] == FULL.to_dict()


def test_an_applied_list_of_requirements_replaces_the_old_one(sets: Sets) -> None:
    """A requirement or platform taken out of the applied file is gone, and the order is kept."""
    sets.apply(GOOD, manager="git")
    body = changed("spec.requirements", ["zstandard", "numpy"])
    body["spec"]["python"]["platforms"] = ["linux/arm64"]
    stored = sets.apply(body, manager="git")
    assert stored["spec"]["requirements"] == ["zstandard", "numpy"]
    assert stored["spec"]["python"]["platforms"] == ["linux/arm64"]


def test_two_managers_may_each_own_a_pool(sets: Sets) -> None:
    """Pools are merged by name: a second manager adds one without taking the first."""
    sets.apply(GOOD, manager="git")
    other = {
        "apiVersion": GOOD["apiVersion"],
        "kind": GOOD["kind"],
        "metadata": GOOD["metadata"],
        "spec": {**GOOD["spec"], "workPools": [{"name": "nightly", "key": "ml"}]},
    }
    stored = sets.apply(other, manager="platform")
    assert [pool["name"] for pool in stored["spec"]["workPools"]] == ["kubernetes", "nightly"]


def _with_status(status: SetStatus) -> dict[str, Any]:
    head = {name: GOOD[name] for name in ("apiVersion", "kind", "metadata")}
    return {**head, "status": status.to_dict()}


def _undescribed(schema: dict[str, Any], path: str) -> list[str]:
    """The paths of fields without a description."""
    found = []
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        if not field.get("description"):
            found.append(here)
        found += _undescribed(field, here)
    return found + (_undescribed(schema["items"], f"{path}[]") if "items" in schema else [])
