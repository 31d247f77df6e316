"""Many sets and many pools: conflicts, trust, bursts, drift, outages of Prefect."""

import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flowdeps.api.names import choice_of, mounted_name
from tests.cluster import prefect_env
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import StartOperator
from tests.support.night import NIGHT
from tests.support.sets import (
    apply,
    condition,
    get,
    names,
    set_body,
    wait,
    wait_ready,
    wait_reason,
)

_RIGHT, _WRONG = "admin:right", "admin:wrong"


@pytest.fixture(scope="module")
def guarded() -> Iterator[PrefectServer]:
    """A server of this module's own, which may go down, and which wants credentials."""
    with PrefectServer(auth=_RIGHT) as server:
        yield server


@pytest.fixture
def namespaces(cluster: ControlPlane) -> None:
    there = names(cluster, "ns")
    for name in ("team-a", "team-b", "jobs-1", "jobs-2"):
        if name not in there:
            cluster.kubectl("create", "namespace", name)


@pytest.mark.usefixtures("namespaces")
def test_sets_and_pools_mix_freely(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Several sets offer themselves to several pools whose jobs run in several namespaces; each
    pool offers exactly its sets, and each job namespace has their locks."""
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    prefect_api.create_pool("mix-1", image="example.com/flows:1", namespace="jobs-1")
    prefect_api.create_pool("mix-2", image="example.com/flows:1", namespace="jobs-2")
    before = {pool: prefect_api.template(pool) for pool in ("mix-1", "mix-2")}
    start_operator()
    both: list[dict[str, Any]] = [
        {"name": "mix-1"},
        {"name": "mix-2", "key": "a-here", "default": True},
    ]
    apply(
        cluster,
        set_body("a", ["alpha"], namespace="team-a", pools=both),
        set_body("b", ["beta"], namespace="team-b", pools=["mix-1"]),
    )
    wait_ready(cluster, "a", namespace="team-a")
    wait_ready(cluster, "b", namespace="team-b")
    assert _schema(prefect_api, "mix-1")["else"]["enum"] == ["none", "a", "b"]
    assert _schema(prefect_api, "mix-2")["else"]["enum"] == ["none", "a-here"]
    assert _schema(prefect_api, "mix-2")["default"] == "a-here"
    copies = {mounted_name(key, pool="mix-1") for key in ("a", "b")}
    assert copies <= names(cluster, "cm", namespace="jobs-1")
    there = names(cluster, "cm", namespace="jobs-2")
    assert mounted_name("a-here", pool="mix-2") in there
    assert not [name for name in there if choice_of(name) == "b"]

    cluster.kubectl("delete", "fds", "a", "-n", "team-a", "--timeout=180s")
    assert _schema(prefect_api, "mix-1")["else"]["enum"] == ["none", "b"]
    assert prefect_api.template("mix-2") == before["mix-2"]
    left = {choice_of(name)[:1] for name in names(cluster, "cm", namespace="jobs-1")}
    assert "b" in left
    assert "a" not in left
    cluster.kubectl("delete", "fds", "b", "-n", "team-b", "--timeout=180s")
    assert prefect_api.template("mix-1") == before["mix-1"]


@pytest.mark.usefixtures("namespaces")
def test_of_two_sets_with_one_key_the_first_serves(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Of two sets that claim a key, the one that serves it stays, and the other says Conflict and
    names it, though it is older; when the first goes, the other takes over."""
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    prefect_api.create_pool("claimed", image="example.com/flows:1", namespace="jobs-1")
    start_operator()
    apply(cluster, set_body("same", ["beta"], namespace="team-b"))
    time.sleep(1.1)  # creation times have whole seconds
    apply(cluster, set_body("same", ["alpha"], namespace="team-a", pools=["claimed"]))
    wait_ready(cluster, "same", namespace="team-a")
    apply(cluster, set_body("same", ["beta"], namespace="team-b", pools=["claimed"]))
    body = wait_reason(cluster, "same", "Conflict", namespace="team-b")
    assert "team-a/same" in condition(body, "Ready")["message"]
    copy = mounted_name("same", pool="claimed")
    assert "alpha" in _lock(cluster, copy, "jobs-1")

    cluster.kubectl("delete", "fds", "same", "-n", "team-a", "--timeout=180s")
    wait_ready(cluster, "same", namespace="team-b")
    assert "beta" in _lock(cluster, copy, "jobs-1")
    cluster.kubectl("delete", "fds", "same", "-n", "team-b", "--timeout=180s")


@pytest.mark.usefixtures("namespaces")
def test_a_pool_that_does_not_trust_a_namespace_is_untouched(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """A set whose namespace the pool does not take is told so; template and job namespace stay."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("trusting", image="example.com/flows:1", namespace="jobs-2")
    before = prefect_api.template("trusting")
    start_operator(workPools=[{"name": "trusting", "namespaces": ["team-a"]}])
    apply(cluster, set_body("evil", ["alpha"], namespace="team-b", pools=["trusting"]))
    body = wait_reason(cluster, "evil", "NotAdmitted", namespace="team-b")
    assert "team-b" in condition(body, "Ready")["message"]
    assert condition(body, "Stalled")["status"] == "True"
    assert prefect_api.template("trusting") == before
    there = names(cluster, "cm", namespace="jobs-2")
    assert not [name for name in there if choice_of(name).startswith("evil")]


def test_many_sets_at_once_are_few_patches(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Sets applied at once to one pool all become Ready with at most 5 PATCHes to it."""
    index.add("alpha", "1.0")
    count = 80 if NIGHT else 40
    for number in range(count):
        index.add(f"gamma-{number}", "1.0", requires=["alpha"])
    prefect_api.create_pool("crowd", image="example.com/flows:1")
    operator = start_operator()
    apply(
        cluster,
        *(set_body(f"many-{n}", [f"gamma-{n}"], pools=["crowd"]) for n in range(count)),
    )
    cluster.kubectl(
        *("wait", "fds", "-n", "default", "--all", "--for=condition=Ready", "--timeout=540s")
    )
    assert len(_schema(prefect_api, "crowd")["else"]["enum"]) == count + 1
    assert operator.metric("flowdeps_template_writes_total", pool="crowd") <= 5


def test_drift_is_mended_and_what_others_wrote_stays(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """A fragment that somebody took out is put back; their own changes of the template stay."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("drifting", image="example.com/flows:1")
    before = prefect_api.template("drifting")
    operator = start_operator()
    apply(cluster, set_body("tide", ["alpha"], pools=["drifting"]))
    wait_ready(cluster, "tide")
    merged = prefect_api.template("drifting")

    theirs = copy.deepcopy(before)
    theirs["variables"]["properties"]["cpu_request"]["default"] = "500m"
    prefect_api.set_template("drifting", theirs)
    wait(lambda: "dependency_set" in _properties(prefect_api, "drifting"), what="the fragment")
    healed = prefect_api.template("drifting")
    expected = copy.deepcopy(merged)
    expected["variables"]["properties"]["cpu_request"]["default"] = "500m"
    assert healed == expected
    assert operator.metric("flowdeps_template_drifts_total", pool="drifting") == 1

    cluster.kubectl("delete", "fds", "tide", "--timeout=180s")
    assert prefect_api.template("drifting") == theirs


def test_a_deleted_or_changed_config_map_comes_back(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """A lock that somebody deletes or edits is put back as it was, without a resolution."""
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    prefect_api.create_pool("healing", image="example.com/flows:1")
    operator = start_operator()
    apply(cluster, set_body("scar", ["alpha==1.0"], pools=["healing"]))
    wait_ready(cluster, "scar")
    good = get(cluster, "cm", "flowdeps-scar")["data"]
    resolutions = operator.metric("flowdeps_resolve_seconds_count")

    cluster.kubectl("delete", "cm", "flowdeps-scar")
    wait(lambda: "flowdeps-scar" in names(cluster, "cm"), what="the ConfigMap")
    assert get(cluster, "cm", "flowdeps-scar")["data"] == good
    patch = '{"data": {"requirements.txt": "alpha==9"}}'
    cluster.kubectl("patch", "cm", "flowdeps-scar", "--type=merge", "-p", patch)
    wait(lambda: get(cluster, "cm", "flowdeps-scar")["data"] == good, what="the lock")
    assert operator.metric("flowdeps_resolve_seconds_count") == resolutions


def test_a_pool_without_an_image_gets_what_its_worker_takes(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Prefect's image of the server's version, as no worker has told its own; the set says so, and
    the template is as it was once the set is gone."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("bare", image="")
    template = prefect_api.template("bare")
    template["variables"]["properties"]["image"].pop("default", None)
    prefect_api.set_template("bare", template)
    start_operator(workPools=[{"name": "*", "workerPython": "3.12"}])
    apply(cluster, set_body("naked", ["alpha"], pools=["bare"]))
    body = wait_ready(cluster, "naked")
    image = f"prefecthq/prefect:{prefect_env.versions()['prefect']}-python3.12"
    merged = prefect_api.template("bare")
    assert merged["variables"]["properties"]["image"]["default"] == image
    assert f"runs that name no image get {image}" in condition(body, "Ready")["message"]
    cluster.kubectl("delete", "fds", "naked", "--timeout=180s")
    assert prefect_api.template("bare") == template


def test_a_pool_that_is_made_later_is_found(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """A set may come before its pool: it says PoolNotFound, and is served when the pool is made."""
    index.add("alpha", "1.0")
    start_operator()
    apply(cluster, set_body("early", ["alpha"], pools=["later"]))
    body = wait_reason(cluster, "early", "PoolNotFound")
    assert condition(body, "Reconciling")["status"] == "True"
    prefect_api.create_pool("later", image="example.com/flows:1")
    wait_ready(cluster, "early")


def test_an_outage_of_prefect_is_told_and_nothing_is_lost(
    cluster: ControlPlane, guarded: PrefectServer, index: Index, start_operator: StartOperator
) -> None:
    """While Prefect is away, locks go on being kept and sets name the cause; when it returns, the
    pools are brought in line."""
    index.add("alpha", "1.0")
    index.add("beta", "1.0")
    with guarded.api() as api:
        api.create_pool("outage", image="example.com/flows:1")
        start_operator(prefect_url=guarded.url, env={"PREFECT_API_AUTH_STRING": _RIGHT})
        apply(cluster, set_body("through", ["alpha"], pools=["outage"]))
        wait_ready(cluster, "through")
        guarded.down()
        apply(
            cluster,
            set_body("through", ["beta"], pools=["outage"]),
            set_body("during", ["alpha"], pools=["outage"]),
        )
        body = wait_reason(cluster, "during", "PrefectUnavailable")
        assert condition(body, "Reconciling")["status"] == "True"
        assert condition(body, "Resolved")["status"] == "True"
        assert "alpha" in _lock(cluster, "flowdeps-during", "default")
        wait(lambda: "beta" in _lock(cluster, "flowdeps-through", "default"), what="the new lock")
        guarded.up()
        wait_ready(cluster, "during")
        wait_ready(cluster, "through")
        assert _schema(api, "outage")["else"]["enum"] == ["none", "during", "through"]
        cluster.kubectl("delete", "fds", "--all", "--timeout=180s")


def test_a_prefect_that_does_not_answer_in_time_is_told(
    cluster: ControlPlane, guarded: PrefectServer, index: Index, start_operator: StartOperator
) -> None:
    """A server that takes connections and never answers holds up nothing but its own pools."""
    index.add("alpha", "1.0")
    with guarded.api() as api:
        api.create_pool("slow", image="example.com/flows:1")
        start_operator(prefect_url=guarded.url, env={"PREFECT_API_AUTH_STRING": _RIGHT})
        guarded.process.pause()
        apply(cluster, set_body("waits", ["alpha"], pools=["slow"]))
        body = wait_reason(cluster, "waits", "PrefectUnavailable")
        assert condition(body, "Resolved")["status"] == "True"
        assert "alpha" in _lock(cluster, "flowdeps-waits", "default")
        guarded.process.resume()
        wait_ready(cluster, "waits")
        cluster.kubectl("delete", "fds", "--all", "--timeout=180s")


def test_a_template_that_others_keep_overwriting_is_left_to_rest(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Whoever undoes our fragment again and again is named a contender, and is not fought."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("fought", image="example.com/flows:1")
    theirs = prefect_api.template("fought")
    operator = start_operator()
    apply(cluster, set_body("torn", ["alpha"], pools=["fought"]))
    wait_ready(cluster, "torn")
    for _ in range(3):
        prefect_api.set_template("fought", theirs)
        wait(lambda: "dependency_set" in _properties(prefect_api, "fought"), what="the mending")
    body = wait_reason(cluster, "torn", "Contended")
    assert "keeps overwriting" in condition(body, "Ready")["message"]
    prefect_api.set_template("fought", theirs)
    wait(lambda: operator.metric("flowdeps_pass_seconds_count", kind="pool") > 5, what="passes")
    assert "dependency_set" not in _properties(prefect_api, "fought")


def test_wrong_credentials_for_prefect_are_named(
    cluster: ControlPlane, guarded: PrefectServer, index: Index, start_operator: StartOperator
) -> None:
    """A 401 of Prefect's is a condition that names the credentials; the lock is published."""
    index.add("alpha", "1.0")
    with guarded.api() as api:
        api.create_pool("locked", image="example.com/flows:1")
        operator = start_operator(
            prefect_url=guarded.url, env={"PREFECT_API_AUTH_STRING": _WRONG}, until="alive"
        )
        apply(cluster, set_body("outsider", ["alpha"], pools=["locked"]))
        body = wait_reason(cluster, "outsider", "PrefectUnauthorized")
        assert "PREFECT_API_AUTH_STRING" in condition(body, "Ready")["message"]
        assert "alpha" in _lock(cluster, "flowdeps-outsider", "default")
        assert operator.get("/readyz")[0] == 503
        assert operator.get("/healthz")[0] == 200
        cluster.kubectl("patch", "fds", "outsider", "--type=merge", "-p", _NO_FINALIZERS)
        cluster.kubectl("delete", "fds", "outsider", "--timeout=180s")


def _schema(prefect: PrefectApi, pool: str) -> dict[str, Any]:
    schema: dict[str, Any] = _properties(prefect, pool)["dependency_set"]
    return schema


def _properties(prefect: PrefectApi, pool: str) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = prefect.template(pool)["variables"]["properties"]
    return properties


def _lock(cluster: ControlPlane, name: str, namespace: str) -> str:
    text: str = get(cluster, "cm", name, namespace=namespace)["data"]["requirements.txt"]
    return text


_NO_FINALIZERS = '{"metadata": {"finalizers": []}}'
