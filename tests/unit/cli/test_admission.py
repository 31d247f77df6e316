"""What `flowdeps check --pool` asks the API server about; what that answers needs a cluster."""

from typing import Any

import pytest

from flowdeps.api.config import parse_config
from flowdeps.cli.admission import questions_of
from flowdeps.clients.prefect.pool import Pool, Workers
from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.state.store import Body, Store
from tests.unit.delivery.samples import pool as template
from tests.unit.state.bodies import set_body

PROBE = "the pod that inspects an image"
VERIFY = "the pod that verifies a lock"
BUILD = "the pod that makes an environment"
MOUNT = "the pod that mounts an environment"
POPULATE = "the pod that puts an environment on a claim"
JOB, RUN = 'the Job of a run of work pool "k"', 'the pod of a run of work pool "k"'
ENVIRONMENTS = {"repository": "registry.example.com/ready", "image": "example.com/pack:1"}


def asked(
    *sets: Body, kind: str = "kubernetes", namespaces: tuple[str, ...] = (), **config: Any
) -> dict[tuple[str, str], Any]:
    """The bodies, by namespace and what they are."""
    base = template(image=None)
    base["variables"]["properties"]["namespace"]["default"] = "jobs"
    store = Store()
    for body in sets:
        store.put_set(body)
    found = questions_of(
        parse_config(config),
        Pool("k", kind, base),
        Workers(server="3.9.1"),
        [store.sets[key] for key in sorted(store.sets)],
        namespaces=namespaces,
    )
    return {(one.body["metadata"]["namespace"], one.what): one.body for one in found}


def entry(**fields: Any) -> dict[str, Any]:
    return {"workPools": [{"name": "k", **fields}]}


def test_without_a_set_all_is_asked_beside_the_runs() -> None:
    """As before a first set; with what the worker takes where nobody names an image."""
    found = asked()
    assert list(found) == [("jobs", PROBE), ("jobs", VERIFY), ("jobs", JOB), ("jobs", RUN)]
    images = {
        container["image"]
        for (_, what), body in found.items()
        if what != JOB
        for kind in ("containers", "initContainers")
        for container in body["spec"].get(kind, [])
    }
    assert images == {"prefecthq/prefect:3.9.1-python3.11"}


def test_pods_of_sets_are_asked_for_where_the_sets_are() -> None:
    """Of those that the pool admits, and where some will be; a run chooses one of them."""
    sets = [set_body("a", namespace=one, pools=["k"]) for one in ("flows", "other")]
    found = asked(*sets, namespaces=("more",), **entry(namespaces=["flows"]))
    assert [one for one in found if one[1] == PROBE] == [("flows", PROBE), ("more", PROBE)]
    assert [one for one in found if one[1] == RUN] == [("jobs", RUN)]
    labels = found["jobs", RUN]["metadata"]["labels"]
    assert labels["flowdeps.dev/set"] == "a"


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, {BUILD, MOUNT}),
        ({"volume": {"claimName": "c"}}, {BUILD, MOUNT, POPULATE}),
        (
            {"delivery": "Volume", "volume": {"claimName": "c"}, "extraPackages": "Forbidden"},
            {BUILD, POPULATE},
        ),
        ({"delivery": "Install"}, {BUILD}),
        ({"delivery": "Cache", "cache": {"claimName": "c"}}, {BUILD}),
    ],
)
def test_what_environments_need_is_asked(fields: dict[str, Any], wanted: set[str]) -> None:
    """The pods that make them, and those by which runs get them, as the pool's runs do."""
    found = asked(environments=ENVIRONMENTS, **entry(**fields))
    assert {what for _, what in found} == {PROBE, VERIFY, JOB, RUN, *wanted}
    pod = found["jobs", RUN]["spec"]
    claims = [
        one["persistentVolumeClaim"]
        for one in pod["volumes"]
        if len(one.keys()) == 2 and "persistentVolumeClaim" in one
    ]
    assert bool(claims) == (fields.get("delivery") in {"Volume", "Cache"})
    for body in found.values():
        if body["kind"] == "Pod":
            assert body["metadata"]["ownerReferences"]


def test_the_container_of_a_run_is_as_configured() -> None:
    """What the configuration says of it is part of what is asked."""
    install = {"securityContext": {"runAsUser": 1337}, "sizeLimit": "1Gi"}
    spec = asked(**entry(install=install))["jobs", RUN]["spec"]
    assert spec["initContainers"][0]["securityContext"]["runAsUser"] == 1337
    assert {"name": "flowdeps-site", "emptyDir": {"sizeLimit": str(2**30)}} in spec["volumes"]
    assert "{{" not in str({**spec, "initContainers": []})


def test_a_pool_that_takes_no_sets_is_said() -> None:
    """With the reason that its sets would have."""
    with pytest.raises(MergeRefusedError) as caught:
        asked(kind="process")
    assert caught.value.reason == "NotKubernetes"
