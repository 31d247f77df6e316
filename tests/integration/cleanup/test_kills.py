"""A cleanup that is killed at any write, or that something keeps from a part of its work."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from flowdeps.api.config import Config, parse_config
from flowdeps.api.names import FINALIZER
from flowdeps.app.cleanup import Cleanup
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.client import Pools
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.kinds.kubernetes.merge import merge
from tests.cluster.controlplane import ControlPlane
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.support.faults import Fault, Gate, at_write
from tests.support.sets import Body, apply, config_map, get_set, names, secret, set_body

pytestmark = pytest.mark.cluster

_NAMESPACE, _POOL = "cleanup-kills", "cleanup-kills"
_LABELS = {
    "app.kubernetes.io/managed-by": "flowdeps",
    "flowdeps.dev/set": "extras",
    "flowdeps.dev/namespace": _NAMESPACE,
}
_UNSEEN = {"observedGeneration": -1}


@dataclass
class Stage:
    """What an operator would have made, made by hand: quickly, and again and again."""

    cluster: ControlPlane
    prefect: PrefectApi
    config: Config
    client: Cluster
    pools: Pools
    before: dict[str, Any]

    async def fill(self) -> None:
        """A set in service."""
        await asyncio.to_thread(apply, self.cluster, *_objects())
        body = await asyncio.to_thread(get_set, self.cluster, "extras", namespace=_NAMESPACE)
        who = {"namespace": _NAMESPACE, "name": "extras", "uid": body["metadata"]["uid"]}
        await self.client.apply_finalizers(**who, finalizers=[FINALIZER])
        await self.client.apply_status(**who, status={"observedGeneration": 1})
        fragment = Fragment(owner=self.config.owner, version="1", pool="k", keys=("extras",))
        self.prefect.set_template(_POOL, merge(self.before, fragment))

    def assert_clean(self) -> None:
        """Nothing is left of it but the set."""
        assert self.prefect.template(_POOL) == self.before
        for kind in ("cm", "secret"):
            assert not {n for n in names(self.cluster, kind, namespace=_NAMESPACE) if "flow" in n}
        assert not self.cluster.kubectl("get", "pod", "-n", _NAMESPACE, "-o", "name")
        body = get_set(self.cluster, "extras", namespace=_NAMESPACE)
        assert "finalizers" not in body["metadata"]
        assert body["status"] == _UNSEEN

    def cleanup(self, cluster: Cluster, pools: Pools, said: list[str]) -> Cleanup:
        """One run, with these clients."""
        return Cleanup(self.config, cluster, pools, say=said.append)


def _objects() -> list[Body]:
    found = [
        config_map("flowdeps-extras", namespace=_NAMESPACE),
        config_map("flowdeps-extras-0123456789", namespace=_NAMESPACE),
        secret("flowdeps-extras", namespace=_NAMESPACE, netrc="x"),
    ]
    for one in found:
        one["metadata"]["labels"] = dict(_LABELS)
    found[1]["metadata"]["labels"]["flowdeps.dev/revision"] = "0123456789"
    pod = config_map("flowdeps-probe.0123456789", namespace=_NAMESPACE)
    del pod["data"]
    pod["metadata"]["labels"] = {
        "app.kubernetes.io/managed-by": "flowdeps",
        "flowdeps.dev/purpose": "probe",
    }
    pod |= {"kind": "Pod", "spec": {"containers": [{"name": "probe", "image": "example.com/a:1"}]}}
    return [set_body("extras", ["alpha"], namespace=_NAMESPACE), *found, pod]


@pytest.fixture
async def stage(
    cluster: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Stage]:
    """A namespace and a pool of its own; nothing else is looked at."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    if _NAMESPACE not in names(cluster, "ns"):
        cluster.kubectl("create", "namespace", _NAMESPACE)
        prefect_api.create_pool(_POOL, image="example.com/flows:1", namespace=_NAMESPACE)
    config = parse_config({"owner": "cleanup/kills", "watchNamespaces": [_NAMESPACE]})
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Cluster.connect())
        pools = await stack.enter_async_context(Pools.connect(prefect_server.url))
        stage = Stage(cluster, prefect_api, config, client, pools, prefect_api.template(_POOL))
        yield stage
        await stage.cleanup(client, pools, []).run()
    cluster.kubectl("delete", "fds", "extras", "-n", _NAMESPACE, "--wait=false")


async def test_a_kill_at_any_write_is_mended_by_another_run(stage: Stage) -> None:
    """Whichever write a kill comes before or after; and templates are put right before anything in
    the cluster goes, finalizers after all else."""
    order: list[str] = []
    for step in itertools.count(2):
        fault = Fault.KILLED_AFTER if step % 2 else Fault.KILLED_BEFORE
        await stage.fill()
        gate = Gate(at_write(step // 2, fault))
        run = asyncio.create_task(stage.cleanup(*gate.around(stage.client, stage.pools), []).run())
        killed = asyncio.create_task(gate.killed.wait())
        await asyncio.wait({run, killed}, return_when=asyncio.FIRST_COMPLETED)
        for one in (run, killed):
            one.cancel()
        await asyncio.wait({run, killed})
        if not gate.killed.is_set():
            order = gate.writes
            break
        again = stage.cleanup(stage.client, stage.pools, [])
        await again.run()
        assert not again.left
        stage.assert_clean()
    assert order[0] == "write"
    assert order[-2:] == ["apply_status", "apply_finalizers"]
    assert sorted(order) == [
        *("apply_finalizers", "apply_status", "delete_config_map", "delete_config_map"),
        *("delete_pod", "delete_secret", "write"),
    ]


class _Refusing:
    """A client that is refused one kind of write."""

    def __init__(self, client: Cluster, name: str) -> None:
        self._client, self._name = client, name

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._client, name)

        async def refuse(**_: Any) -> None:
            raise ClusterError(403, "Forbidden", f"{name} is forbidden")

        return refuse


@pytest.mark.parametrize("name", ["delete_secret", "delete_config_map"])
async def test_what_cannot_go_keeps_the_finalizer(name: str, stage: Stage) -> None:
    """A set that is deleted meanwhile would else be forgotten with what was made for it; each thing
    that is left is named, and another run goes on."""
    await stage.fill()
    refusing: Any = _Refusing(stage.client, name)
    failed = stage.cleanup(refusing, stage.pools, [])
    await failed.run()
    assert set(failed.left) == {f"{name} is forbidden"}
    body = get_set(stage.cluster, "extras", namespace=_NAMESPACE)
    assert body["metadata"]["finalizers"] == [FINALIZER]
    again = stage.cleanup(stage.client, stage.pools, [])
    await again.run()
    assert not again.left
    stage.assert_clean()


async def test_a_template_that_is_written_back_is_told(stage: Stage) -> None:
    """Whoever applies an old template at that moment would leave our part in it for ever: nothing
    in the cluster goes, and the message names the pool."""
    await stage.fill()
    filled = stage.prefect.template(_POOL)

    class Contended:
        def __getattr__(self, name: str) -> Any:
            return getattr(stage.pools, name)

        async def write(self, name: str, _template: Any) -> None:
            await stage.pools.write(name, filled)

    contended: Any = Contended()
    failed = stage.cleanup(stage.client, contended, [])
    await failed.run()
    (left,) = failed.left
    assert left.startswith(f"work pool {_POOL}: something else wrote its template back")
    assert "flowdeps-extras" in names(stage.cluster, "cm", namespace=_NAMESPACE)
    again = stage.cleanup(stage.client, stage.pools, [])
    await again.run()
    stage.assert_clean()
