"""The client against a real API server."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.names import FINALIZER
from flowdeps.clients.kubernetes import transport as module
from flowdeps.clients.kubernetes.client import Cluster, FailedInstall
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.state.config_maps import config_maps
from flowdeps.state.store import SELECTOR, view_config_map
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.access import may
from tests.support.sets import Body, apply, get, set_body, wait
from tests.unit.state.builders import HOME, LOCK, entry, record

MISSING = "no-such-namespace"


@pytest.fixture
async def client(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    async with Cluster.connect() as one:
        yield one


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    """A namespace with nothing of ours in it; its sets go with the test."""
    name = f"client-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "fds", "-n", name, "--all", "--timeout=180s")


@pytest.fixture
def make_set(cluster: ControlPlane, namespace: str) -> Callable[..., Body]:
    """Applies a set in the namespace; returns it as the server has it."""

    def make(name: str = "ml", **changes: Any) -> Body:
        apply(cluster, set_body(name, ["alpha"], namespace=namespace, **changes))
        return get(cluster, "fds", name, namespace=namespace)

    return make


def _config_map(namespace: str, name: str = "flowdeps-ml", **data: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "flowdeps", "flowdeps.dev/set": "ml"},
        },
        "data": data or {"a": "1"},
    }


_STATUS: Body = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "reason": "Resolving",
            "message": "uv is looking",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


def _identity(body: Mapping[str, Any]) -> dict[str, str]:
    meta = body["metadata"]
    return {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


# Sets


async def test_sets_are_listed_with_their_kind(
    client: Cluster, make_set: Callable[..., Body], namespace: str
) -> None:
    """A listed set is the same object as one that was got alone."""
    made = [make_set("a"), make_set("b")]
    listed = await client.list_sets([namespace])
    assert sorted(listed, key=lambda one: str(one["metadata"]["name"])) == made
    everywhere = {one["metadata"]["uid"] for one in await client.list_sets()}
    assert {one["metadata"]["uid"] for one in made} <= everywhere


async def test_only_the_named_namespaces_are_listed(
    client: Cluster, make_set: Callable[..., Body], namespace: str
) -> None:
    """Several namespaces are listed one after the other; one that is missing has no sets."""
    make_set("a")
    assert len(await client.list_sets([namespace, MISSING])) == 1
    assert await client.list_sets([MISSING]) == []


async def test_a_list_of_many_pages_has_everything(
    client: Cluster,
    make_set: Callable[..., Body],
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Page after page until there is no more, also where the last one is full."""
    names = [f"s{number}" for number in range(6)]
    for name in names:
        make_set(name)
    for page in (1, 2, 4, 6):
        monkeypatch.setattr(module, "PAGE", page)
        listed = await client.list_sets([namespace])
        assert sorted(one["metadata"]["name"] for one in listed) == names


async def test_a_page_is_asked_for_when_the_one_before_is_done_with(
    cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand locks are never held at once: who looks at one has no more than its page."""
    apply(cluster, *(_config_map(namespace, f"flowdeps-{number}") for number in range(5)))
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setattr(module, "PAGE", 2)
    requests: list[str] = []
    async with Cluster.connect(observe=lambda method, *_: requests.append(method)) as client:
        listed = client.each_config_map(namespaces=[namespace], selector=SELECTOR)
        seen = [(body["metadata"]["name"], len(requests)) async for body in listed]
    pages = [1, 1, 2, 2, 3]
    assert seen == [(f"flowdeps-{number}", page) for number, page in enumerate(pages)]


async def test_what_an_older_resource_does_not_declare_is_left_out(
    client: Cluster, make_set: Callable[..., Body], caplog: pytest.LogCaptureFixture
) -> None:
    """As after an upgrade that kept the resource: the rest of the status arrives, what is missing
    is said once, and any other refusal is an error still."""
    made = make_set()
    [condition] = _STATUS["conditions"]
    more = {"conditions": [{**condition, "newer": 1}], "newest": "x", "alsoNew": {"a": 1}}
    for _ in range(2):
        found = await client.apply_status(**_identity(made), status={**_STATUS, **more})
    assert found["status"] == _STATUS
    said = [one for one in caplog.messages if "is older than the operator" in one]
    assert len(said) == 3
    assert any("its status has no conditions.newer, " in one for one in said)
    with pytest.raises(ClusterError):
        await client.apply_status(**_identity(made), status={"observedGeneration": "x"})


async def test_a_status_is_applied_whole(
    client: Cluster, cluster: ControlPlane, make_set: Callable[..., Body], namespace: str
) -> None:
    """The status becomes what was given, what is no longer in it goes, and the spec is untouched;
    the same again changes nothing."""
    made = make_set()
    lock = {
        "digest": f"sha256:{'a' * 64}",
        "revision": "ml-aaaaaaaaaa",
        "packages": 1,
        "python": "3.11",
        "platforms": ["linux/amd64"],
        "resolvedAt": "2026-01-01T00:00:00Z",
        "inputsDigest": f"sha256:{'b' * 64}",
    }
    first = await client.apply_status(**_identity(made), status={**_STATUS, "lock": lock})
    assert first["status"] == {**_STATUS, "lock": lock}
    second = await client.apply_status(**_identity(made), status=_STATUS)
    assert second["status"] == _STATUS
    again = await client.apply_status(**_identity(made), status=_STATUS)
    assert again["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert again["spec"] == made["spec"]
    assert again["metadata"]["generation"] == 1
    assert get(cluster, "fds", "ml", namespace=namespace) == again


async def test_our_finalizer_comes_and_goes_and_others_stay(
    client: Cluster, cluster: ControlPlane, make_set: Callable[..., Body], namespace: str
) -> None:
    """We own our finalizer alone; status, spec and what other tools finalize are left as they
    are."""
    made = make_set()
    theirs = {"metadata": {"finalizers": ["example.com/theirs"]}}
    cluster.kubectl(
        *("patch", "fds", "ml", "-n", namespace, "--type=merge", "-p", json.dumps(theirs))
    )
    await client.apply_status(**_identity(made), status=_STATUS)
    with_ours = await client.apply_finalizers(**_identity(made), finalizers=[FINALIZER])
    assert set(with_ours["metadata"]["finalizers"]) == {"example.com/theirs", FINALIZER}
    without = await client.apply_finalizers(**_identity(made), finalizers=[])
    assert without["metadata"]["finalizers"] == ["example.com/theirs"]
    assert without["status"] == _STATUS
    assert without["spec"] == made["spec"]
    patch = '{"metadata": {"finalizers": null}}'
    cluster.kubectl("patch", "fds", "ml", "-n", namespace, "--type=merge", "-p", patch)


async def test_a_set_that_was_made_anew_gets_no_finalizer_by_mistake(
    client: Cluster, cluster: ControlPlane, make_set: Callable[..., Body], namespace: str
) -> None:
    """A write for a set that is gone fails as NotFound, and its successor of the same name is as
    it was."""
    old = make_set()
    cluster.kubectl("delete", "fds", "ml", "-n", namespace)
    new = make_set()
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    with pytest.raises(ClusterError) as caught:
        await client.apply_finalizers(**_identity(old), finalizers=[FINALIZER])
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")
    assert get(cluster, "fds", "ml", namespace=namespace) == new


async def test_a_status_lands_only_on_the_version_that_it_was_made_for(
    client: Cluster, cluster: ControlPlane, make_set: Callable[..., Body], namespace: str
) -> None:
    """With a resource version, a set that was changed or made anew since keeps its status, 409;
    one that is gone is NotFound; the current version is accepted, again and again."""
    old = make_set()
    was = {**_identity(old), "resource_version": old["metadata"]["resourceVersion"]}
    cluster.kubectl("annotate", "fds", "ml", "-n", namespace, "a=b")
    await _refused(client, was, status=409)
    now: Mapping[str, Any] = get(cluster, "fds", "ml", namespace=namespace)
    for _ in range(2):
        version = now["metadata"]["resourceVersion"]
        now = await client.apply_status(**_identity(now), resource_version=version, status=_STATUS)
        assert now["status"] == _STATUS
    cluster.kubectl("delete", "fds", "ml", "-n", namespace)
    await _refused(client, was, status=404)
    new = make_set()
    await _refused(client, was, status=409)
    assert get(cluster, "fds", "ml", namespace=namespace) == new


async def _refused(client: Cluster, identity: dict[str, str], *, status: int) -> None:
    with pytest.raises(ClusterError) as caught:
        await client.apply_status(**identity, status=_STATUS)
    assert caught.value.status == status


async def test_a_set_that_is_gone_is_never_made_again(
    client: Cluster, cluster: ControlPlane, make_set: Callable[..., Body], namespace: str
) -> None:
    """Applying to what does not exist would create it: with a uid it is NotFound instead."""
    old = make_set()
    cluster.kubectl("delete", "fds", "ml", "-n", namespace)
    for write in (
        client.apply_status(**_identity(old), status=_STATUS),
        client.apply_finalizers(**_identity(old), finalizers=[]),
    ):
        with pytest.raises(ClusterError) as caught:
            await write
        assert caught.value.status == 404
    assert await client.list_sets([namespace]) == []


async def test_a_status_that_the_schema_refuses_is_an_error_in_the_servers_words(
    client: Cluster, make_set: Callable[..., Body]
) -> None:
    """422 with the field that is wrong, not a silent drop."""
    made = make_set()
    with pytest.raises(ClusterError, match=r"status\.observedGeneration") as caught:
        await client.apply_status(**_identity(made), status={"observedGeneration": "x"})
    assert caught.value.status in (400, 422, 500)


# ConfigMaps


async def test_an_applied_config_map_is_what_was_given(client: Cluster, namespace: str) -> None:
    """It comes back as the server has it, reads back the same, and applying it again is no
    write."""
    first = await client.apply_config_map(_config_map(namespace, a="1", b="ü\n"))
    assert first["data"] == {"a": "1", "b": "ü\n"}
    assert await client.get_config_map(namespace, "flowdeps-ml") == first
    again = await client.apply_config_map(_config_map(namespace, a="1", b="ü\n"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    changed = await client.apply_config_map(_config_map(namespace, a="2"))
    assert changed["data"] == {"a": "2"}, "what we no longer say is taken out"


async def test_what_others_say_of_a_config_map_stays(
    client: Cluster, cluster: ControlPlane, namespace: str
) -> None:
    """We own our fields: a label, an annotation and a file of others outlive our writes, and what
    others changed of ours is ours again."""
    await client.apply_config_map(_config_map(namespace, a="1"))
    patch = {"metadata": {"labels": {"team": "a"}}, "data": {"note": "theirs", "a": "tampered"}}
    cluster.kubectl(
        *("patch", "cm", "flowdeps-ml", "-n", namespace, "--type=merge", "-p", json.dumps(patch))
    )
    body = await client.apply_config_map(_config_map(namespace, a="1"))
    assert body["data"] == {"a": "1", "note": "theirs"}
    assert body["metadata"]["labels"]["team"] == "a"


async def test_planned_config_maps_are_met_by_what_the_server_makes_of_them(
    client: Cluster, namespace: str
) -> None:
    """A real server's answer to a planned write needs no second one; a change of an immutable
    revision is refused by it, as planned."""
    made = entry("ml", namespace=namespace)
    home = type(HOME)(namespace, "ml")
    for desired in config_maps(made, home, record("abc"), summary="+alpha 1.0"):
        body = desired.body(LOCK)
        del body["metadata"]["ownerReferences"]  # of a set that does not exist here
        view = view_config_map(await client.apply_config_map(body))
        assert view.intact
        assert desired.must_be_replaced(view) is False
        if desired.immutable:
            with pytest.raises(ClusterError) as caught:
                await client.apply_config_map({**body, "data": {"requirements.txt": "other"}})
            assert caught.value.status == 422


async def test_config_maps_are_listed_by_label(
    client: Cluster, cluster: ControlPlane, namespace: str
) -> None:
    """Ours are found, in one namespace or in all; others are not."""
    await client.apply_config_map(_config_map(namespace))
    cluster.kubectl("create", "configmap", "theirs", "-n", namespace)
    listed = [
        one async for one in client.each_config_map(namespaces=[namespace], selector=SELECTOR)
    ]
    assert [one["metadata"]["name"] for one in listed] == ["flowdeps-ml"]
    everywhere = [one async for one in client.each_config_map(selector=SELECTOR)]
    assert listed[0]["metadata"]["uid"] in {one["metadata"]["uid"] for one in everywhere}
    assert not [
        one async for one in client.each_config_map(namespaces=[MISSING], selector=SELECTOR)
    ]


async def test_a_config_map_that_is_not_there_reads_as_none(
    client: Cluster, namespace: str
) -> None:
    """No ConfigMap and no namespace are the same answer."""
    assert await client.get_config_map(namespace, "missing") is None
    assert await client.get_config_map(MISSING, "missing") is None


async def test_a_deletion_is_of_one_object(
    client: Cluster, cluster: ControlPlane, namespace: str
) -> None:
    """With the uid of what was there before, a new ConfigMap of the same name stays; what is gone
    already is no error."""
    old = await client.apply_config_map(_config_map(namespace))
    cluster.kubectl("delete", "cm", "flowdeps-ml", "-n", namespace)
    target = {"namespace": namespace, "name": "flowdeps-ml"}
    assert await client.delete_config_map(**target, uid=old["metadata"]["uid"])
    new = await client.apply_config_map(_config_map(namespace))
    assert not await client.delete_config_map(**target, uid=old["metadata"]["uid"])
    assert await client.get_config_map(namespace, "flowdeps-ml") == new
    assert await client.delete_config_map(**target, uid=new["metadata"]["uid"])
    assert await client.get_config_map(namespace, "flowdeps-ml") is None


async def test_a_deletion_may_be_of_one_version(client: Cluster, namespace: str) -> None:
    """A ConfigMap that was changed since it was looked at stays, and that is said."""
    first = await client.apply_config_map(_config_map(namespace, a="1"))
    second = await client.apply_config_map(_config_map(namespace, a="2"))
    target = {"namespace": namespace, "name": "flowdeps-ml", "uid": first["metadata"]["uid"]}
    versions = [one["metadata"]["resourceVersion"] for one in (first, second)]
    assert not await client.delete_config_map(**target, resource_version=versions[0])
    assert await client.get_config_map(namespace, "flowdeps-ml") == second
    assert await client.delete_config_map(**target, resource_version=versions[1])
    assert await client.get_config_map(namespace, "flowdeps-ml") is None


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_a_write_may_be_in_place_of_one_version(
    client: Cluster, namespace: str, kind: str
) -> None:
    """What was changed since it was looked at, or made anew, or is gone, is refused, and stays as
    it is; in place of what is there it is written, and again it is no write."""
    is_secret = kind == "Secret"
    apply = client.apply_secret if is_secret else client.apply_config_map
    get = client.get_secret if is_secret else client.get_config_map
    delete: Any = client.delete_secret if is_secret else client.delete_config_map

    def body(text: str, seen: Mapping[str, Any] | None = None) -> dict[str, Any]:
        made = {**_config_map(namespace, a=text), "kind": kind}
        same = ("uid", "resourceVersion") if seen else ()
        meta = made["metadata"] | {name: seen["metadata"][name] for name in same if seen}
        return {**made, "metadata": meta}

    async def refused(seen: Mapping[str, Any]) -> None:
        with pytest.raises(ClusterError) as caught:
            await apply(body("eg==", seen))
        assert caught.value.status in {404, 409, 422}

    first = await apply(body("eA=="))
    second = await apply(body("eQ==", first))
    assert second["data"] == {"a": "eQ=="}
    assert await apply(body("eQ==", second)) == second, "it is no write"
    target = {"namespace": namespace, "name": "flowdeps-ml", "uid": first["metadata"]["uid"]}
    version = first["metadata"]["resourceVersion"]
    await delete(**target, resource_version=version)
    await refused(first)
    assert await get(namespace, "flowdeps-ml") == second
    await delete(**target)
    await refused(second)
    assert await get(namespace, "flowdeps-ml") is None
    third = await apply(body("eA=="))
    await refused(second)
    assert await get(namespace, "flowdeps-ml") == third


async def test_a_write_to_a_missing_namespace_says_so(client: Cluster) -> None:
    """The job namespace of a pool may not exist: 404 with its name."""
    with pytest.raises(ClusterError, match=MISSING) as caught:
        await client.apply_config_map(_config_map(MISSING))
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


# Events


async def test_an_event_is_shown_with_its_set(
    client: Cluster, cluster: ControlPlane, make_set: Callable[..., Body], namespace: str
) -> None:
    """`kubectl describe` shows kind, reason and note, cut to what an event may hold: so many bytes,
    not characters."""
    made = make_set()
    await client.create_event(
        regarding=made,
        kind="Warning",
        reason="Unsatisfiable",
        action="Reconcile",
        note="╰─▶ " * 500,
    )
    await client.create_event(
        regarding=made, kind="Normal", reason="Ready", action="Reconcile", note="12 packages"
    )
    events = json.loads(
        cluster.kubectl(
            "get", "events", "-n", namespace, "-o", "json",
            "--field-selector=involvedObject.name=ml",
        )
    )["items"]  # fmt: skip
    told = {(one["type"], one["reason"], len(one["message"].encode())) for one in events}
    assert told == {("Warning", "Unsatisfiable", 1023), ("Normal", "Ready", 11)}
    assert {one["involvedObject"]["uid"] for one in events} == {made["metadata"]["uid"]}
    assert "12 packages" in cluster.kubectl("describe", "fds", "ml", "-n", namespace)


# Refusals and outages


async def test_runs_that_fail_to_install_are_found_as_they_fail(
    client: Cluster, cluster: ControlPlane, namespace: str
) -> None:
    """Each once, also when its Job takes note of it; not those that failed before, nor others."""
    account = ("get", "serviceaccount", "default", "-n", namespace, "--ignore-not-found")
    wait(lambda: bool(cluster.kubectl(*account)), what="the namespace's account")
    pods = [_run_pod(namespace, name) for name in ("before", "install", "flow", "again")]
    apply(cluster, *pods)
    _fail(cluster, namespace, "before", container="flowdeps-install")
    watch = client.failed_installs(namespace)
    assert await anext(watch) is None
    _fail(cluster, namespace, "install", container="flowdeps-install")
    cluster.kubectl("annotate", "pod", "install", "-n", namespace, "example.com/noted=yes")
    _fail(cluster, namespace, "flow", container="other")
    assert await anext(watch) == FailedInstall(namespace, pod="install")
    _fail(cluster, namespace, "again", container="flowdeps-install")
    async with asyncio.timeout(30):
        assert await anext(watch) == FailedInstall(namespace, pod="again")
    found = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.2)
    assert not found.done()
    found.cancel()


def _run_pod(namespace: str, name: str) -> Body:
    container = {"name": "flow", "image": "example.com/flows:1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"flowdeps.dev/set": "ml"}},
        "spec": {
            "initContainers": [{**container, "name": "flowdeps-install"}],
            "containers": [container],
        },
    }


def _fail(cluster: ControlPlane, namespace: str, name: str, *, container: str) -> None:
    terminated = {"name": container, "state": {"terminated": {"exitCode": 1}}, "image": "x"}
    status = {
        "phase": "Failed",
        "initContainerStatuses": [{**terminated, "imageID": "", "ready": False, "restartCount": 0}],
    }
    cluster.kubectl(
        *("patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge"),
        *("-p", json.dumps({"status": status})),
    )


async def test_what_a_role_does_not_allow_is_forbidden_in_the_servers_words(
    cluster: ControlPlane,
    make_set: Callable[..., Body],
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service account that may read sets and nothing else reads them; each write is a 403 that
    says who may not do what."""
    made = make_set()
    cluster.kubectl("create", "serviceaccount", "limited", "-n", namespace)
    cluster.kubectl(
        *("create", "role", "reader", "-n", namespace),
        *("--verb=get,list", "--resource=flowdependencysets.flowdeps.dev"),
    )
    cluster.kubectl(
        *("create", "rolebinding", "reader", "-n", namespace, "--role=reader"),
        f"--serviceaccount={namespace}:limited",
    )
    account = f"system:serviceaccount:{namespace}:limited"
    wait(
        lambda: may(cluster, account, "list", "flowdependencysets", namespace=namespace),
        what="the role to be known",
    )
    kubeconfig = cluster.kubeconfig_for(service_account="limited", namespace=namespace)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with Cluster.connect() as limited:
        assert len(await limited.list_sets([namespace])) == 1
        for forbidden in (
            limited.list_sets(),
            anext(limited.each_config_map(namespaces=[namespace], selector=SELECTOR)),
            limited.get_config_map(namespace, "x"),
            limited.apply_config_map(_config_map(namespace)),
            limited.delete_config_map(namespace=namespace, name="x", uid="y"),
            limited.apply_status(**_identity(made), status=_STATUS),
            limited.apply_finalizers(**_identity(made), finalizers=[FINALIZER]),
            limited.create_event(regarding=made, kind="Normal", reason="R", action="A", note=""),
        ):
            with pytest.raises(ClusterError, match=r"limited.* cannot ") as caught:
                await forbidden
            assert (caught.value.status, caught.value.reason) == (403, "Forbidden")


async def test_a_cluster_has_an_identity_for_those_who_may_look(
    client: Cluster, cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The uid of kube-system, which no two clusters share; nothing for an account that may not read
    it, which is no error."""
    uid = cluster.kubectl("get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert await client.identity() == uid
    cluster.kubectl("create", "serviceaccount", "blind", "-n", namespace)
    kubeconfig = cluster.kubeconfig_for(service_account="blind", namespace=namespace)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with Cluster.connect() as blind:
        assert await blind.identity() == ""


async def test_a_wrong_token_is_unauthorized(
    cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """401, once the configuration was read anew and did not help; the token is not shown."""
    config = json.loads(cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "hunter2-wrong"}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    async with Cluster.connect() as client:
        with pytest.raises(ClusterError) as caught:
            await client.list_sets()
    assert caught.value.status == 401
    assert "hunter2" not in repr(caught.value)


async def test_a_token_that_was_replaced_is_read_anew(
    cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens expire: where the file has another by now, the next request uses it."""
    good = cluster.kubeconfig.read_text()
    config = json.loads(good)
    config["users"][0]["user"] = {"token": "expired"}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    async with Cluster.connect() as client:
        file.write_text(good)
        await client.list_sets()


async def test_a_server_that_does_not_answer_is_an_outage(
    cluster: ControlPlane, tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens: status 0, reason Unreachable, and what the connection said."""
    file = tmp_path / "kubeconfig"
    config = json.loads(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{unused_tcp_port}"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    seen: list[tuple[str, str]] = []
    async with Cluster.connect(observe=lambda *what: seen.append(what[:2])) as client:
        with pytest.raises(ClusterError, match="did not answer: ") as caught:
            await client.list_sets()
    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")
    assert seen == [("GET", "error")]


async def test_a_server_that_hangs_is_given_up_on(
    client: Cluster, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server is an outage after the time that a request may take; when it goes on, so do
    we, with the same client."""
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 1)
    cluster.api_server.pause()
    try:
        with pytest.raises(ClusterError) as caught:
            await asyncio.wait_for(client.list_sets(), 30)
        assert (caught.value.status, caught.value.reason) == (0, "Unreachable")
    finally:
        cluster.api_server.resume()
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 30)
    await client.list_sets()


async def test_each_request_is_counted_with_its_outcome(
    cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`observe` is told method and status of each request."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    seen: list[tuple[str, str]] = []
    async with Cluster.connect(observe=lambda *what: seen.append(what[:2])) as client:
        assert await client.get_config_map(namespace, "x") is None
        made = await client.apply_config_map(_config_map(namespace))
        await client.delete_config_map(
            namespace=namespace, name="flowdeps-ml", uid=made["metadata"]["uid"]
        )
    assert seen == [("GET", "404"), ("PATCH", "201"), ("DELETE", "200")]


async def test_names_are_never_read_as_paths(client: Cluster, namespace: str) -> None:
    """A name with a slash or a dot is quoted: it asks for no other object."""
    await client.apply_config_map(_config_map(namespace))
    for name in ("../configmaps/flowdeps-ml", "a/b", "x?y=z", "%2e%2e"):
        try:
            assert await client.get_config_map(namespace, name) is None
        except ClusterError as error:
            assert 400 <= error.status < 500  # noqa: PT017 - either answer is right
