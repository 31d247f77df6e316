"""The whole operator on a clock of its own, against a cluster and a Prefect in memory.

The service is the real one, with its queue, loops, passes and store; what is around it is as small
as its clients' methods. Hours pass in milliseconds, the same way each time, and every write is
counted. What a real API server does is kept where passes depend on it: resource versions that move
only with a change, watches, finalizers, owners, immutable data, fields of others.
"""

import asyncio
import json
import pickle
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

from packaging.specifiers import SpecifierSet

from flowdeps.api.config import parse_config
from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.api.names import (
    ENVIRONMENTS,
    ENVIRONMENTS_PLURAL,
    INSTALL_CONTAINER,
    LOCK_VOLUME,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    MOUNT_CONTAINER,
    PACK_CONTAINER,
    PLURAL,
    POPULATE_CONTAINER,
    PURPOSE_LABEL,
    SET_LABEL,
    VERIFY_CONTAINER,
    mounted_name,
)
from flowdeps.api.reasons import Reason
from flowdeps.app.assembly import make_context
from flowdeps.app.service import Service
from flowdeps.clients.kubernetes.client import Cluster, FailedInstall, FailedPod, Node
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.announcements import Artifact, Deployment, PrefectEvent
from flowdeps.clients.prefect.client import Pool, Pools, Variable, Workers
from flowdeps.clients.prefect.errors import PoolsError, RefusedError
from flowdeps.delivery.choice import find
from flowdeps.gather.tokens import fetch_token
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock, Pin, parse_lock
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import parse_requirement, requirement_name
from flowdeps.reconcile.runs_namespace.lines import environments
from flowdeps.resolver.errors import IndexUnavailableError, LimitExceededError, UnsatisfiableError
from flowdeps.resolver.resolve import Resolution
from flowdeps.state.store import SELECTOR
from flowdeps.telemetry.metrics import Metrics
from tests.support.faults import Gate
from tests.unit.delivery.samples import pool as pool_template
from tests.unit.locks.builders import digest
from tests.unit.scheduling import virtual
from tests.unit.state.bodies import set_body

Body = dict[str, Any]
Watcher = Callable[[str | None, str, Body], None]
T = TypeVar("T")

OPEN: Body = {
    "name": "*",
    "image": "registry.example.com/flows:1",
    "namespaces": ["*"],
    "defaultNamespaces": ["*"],
}
"""An entry of `workPools` by which every pool takes sets of every namespace."""

START = datetime(2026, 1, 1, tzinfo=UTC)


def _copied(value: T) -> T:
    """Copy a value of JSON's kinds; ten times as fast as `copy.deepcopy` does."""
    copied: T = pickle.loads(pickle.dumps(value))  # noqa: S301
    return copied


def clock() -> datetime:
    """The time of day, as the simulation's clock has it."""
    return START + timedelta(seconds=virtual.now())


class MemoryCluster:
    """An API server as far as the operator asks."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str], Body] = {}
        self.maps: dict[tuple[str, str], Body] = {}
        self.namespaces = {"flows", "team"}
        self.uid = "cluster-1"
        self.writes: Counter[str] = Counter()
        self.events: list[tuple[str, str, str]] = []
        self.watch = MemoryWatch()
        self.away = False
        self.seconds = 0.002  # that an answer takes
        self.unlistable: set[str] = set()
        self.secrets: dict[tuple[str, str], Body] = {}
        self.told: dict[tuple[str, str], Body] = {}
        """RunEnvironments."""
        self.resources = {PLURAL, ENVIRONMENTS_PLURAL}
        self.pods = MemoryNode(self)
        self.policies = {"flowdeps-environments"}
        self.policy_error: ClusterError | None = None
        self.nodes: dict[str, str] | None = {"node-1": "containerd://2.1.4"}
        self.claims: set[tuple[str, str]] = set()
        self.namespace_labels_of: dict[str, dict[str, str]] = {}
        self.storage_error: ClusterError | None = None
        self.failures: list[FailedPod] = []
        self.events_error: ClusterError | None = None
        self.failing: asyncio.Queue[FailedInstall] = asyncio.Queue()
        """The runs that fail to install, for whoever watches."""
        self._listeners: list[asyncio.Queue[FailedPod]] = []
        self.asked_for: Counter[str] = Counter()
        self._version = 0
        self._made = 0

    # What people do

    def apply(self, name: str, *, namespace: str = "flows", **changes: Any) -> None:
        """kubectl apply of a set."""
        known = self.sets.get((namespace, name))
        body = set_body(name, namespace=namespace, created=clock().isoformat(), **changes)
        meta = body["metadata"]
        if known:
            body["status"] = known.get("status", {})
            same = body["spec"] == known["spec"]
            kept = ("uid", "creationTimestamp", "finalizers", "generation", "deletionTimestamp")
            meta |= {k: known["metadata"][k] for k in kept if k in known["metadata"]}
            meta["generation"] += 0 if same else 1
        else:
            self._made += 1
            meta["uid"] = f"uid-{self._made}"
        self._store(self.sets, "set", body)

    def delete(self, name: str, *, namespace: str = "flows") -> None:
        """kubectl delete of a set."""
        if body := self.sets.get((namespace, name)):
            if body["metadata"].get("finalizers"):
                gone = {**body["metadata"], "deletionTimestamp": clock().isoformat()}
                self._store(self.sets, "set", {**body, "metadata": gone})
            else:
                self._remove_set((namespace, name))

    def delete_map(self, namespace: str, name: str) -> None:
        """kubectl delete of a ConfigMap."""
        self._remove(self.maps, "map", (namespace, name))

    def edit_map(self, namespace: str, name: str, **data: str) -> None:
        """kubectl patch of a ConfigMap's data; of one that is immutable, nothing happens."""
        body = self.maps[namespace, name]
        if not body.get("immutable"):
            meta = body["metadata"]
            ours = [one for one in meta.get("ours", ()) if one not in data]
            changed = {"metadata": {**meta, "ours": ours}, "data": {**body["data"], **data}}
            self._store(self.maps, "map", {**body, **changed})

    def put_told(
        self, namespace: str, told: Mapping[str, Mapping[str, str]], *, owner: str = ""
    ) -> None:
        """kubectl replace of RunEnvironments, as `owner` writes them or, with none, as anybody."""
        body = environments(namespace, told, owner=owner)
        meta = body["metadata"] if owner else {"namespace": namespace, "name": ENVIRONMENTS}
        known = self.told.get((namespace, ENVIRONMENTS), {"metadata": {"uid": f"uid-{namespace}"}})
        uid = known["metadata"]["uid"]
        self._store(self.told, "told", {**body, "metadata": {**meta, "uid": uid}})

    def delete_told(self, namespace: str) -> None:
        """kubectl delete of RunEnvironments."""
        self._remove(self.told, "told", (namespace, ENVIRONMENTS))

    def annotate_map(self, namespace: str, name: str, **annotations: str) -> None:
        """kubectl annotate of a ConfigMap."""
        body = self.maps[namespace, name]
        meta = body["metadata"]
        meta = {**meta, "annotations": {**meta.get("annotations", {}), **annotations}}
        self._store(self.maps, "map", {**body, "metadata": meta})

    def fail_pull(
        self,
        namespace: str,
        reference: str,
        *,
        why: str = "not found",
        after: timedelta = timedelta(0),
        pod: str = "run",
    ) -> None:
        """What a kubelet says of a pod whose image it can't pull; its clock may be ahead."""
        text = f'Failed to pull image "{reference}": {why}'
        self.failures.append(FailedPod(namespace, text, clock() + after, pod))
        for listener in self._listeners:
            listener.put_nowait(self.failures[-1])

    def put_foreign_map(
        self,
        namespace: str,
        name: str,
        data: Mapping[str, str],
        *,
        binary: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """kubectl apply of a ConfigMap that isn't ours; `binary`: `data` are in base64."""
        meta: Body = {"namespace": namespace, "name": name, "uid": f"uid-{namespace}-{name}"}
        meta |= {"labels": dict(labels)} if labels else {}
        part = "binaryData" if binary else "data"
        self._store(self.maps, "map", {"metadata": meta, part: dict(data)})

    def put_foreign_secret(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """kubectl apply of a Secret that isn't ours."""
        meta = {"namespace": namespace, "name": name, "uid": f"uid-{namespace}-{name}"}
        self._store(self.secrets, "secret", {"metadata": meta, "data": dict(data)})

    def run_pod(
        self,
        namespace: str,
        *,
        choice: str,
        pool: str,
        image: str = "registry.example.com/slow:1",
        image_id: str = "",
    ) -> None:
        """A flow's pod, which runs until it is taken away; `image_id`: of what it runs."""
        labels = {SET_LABEL: choice}
        meta = {"namespace": namespace, "name": "run", "uid": "run", "labels": labels}
        meta |= {"creationTimestamp": clock().isoformat()}
        container = {"name": "prefect-job", "image": image}
        mounted = {"name": LOCK_VOLUME, "configMap": {"name": mounted_name(choice, pool=pool)}}
        body: Body = {"metadata": meta, "spec": {"containers": [container], "volumes": [mounted]}}
        if image_id:
            status = {"name": "prefect-job", "state": {"running": {}}, "imageID": image_id}
            body["status"] = {"phase": "Running", "containerStatuses": [status]}
        self.pods.pods[namespace, "run"] = (body, float("inf"))

    def end_pod(self, namespace: str, *, failed: bool) -> None:
        """The end of that pod, which its Job keeps."""
        body, _ = self.pods.pods[namespace, "run"]
        ended = {"terminated": {"finishedAt": clock().isoformat()}}
        body["status"] = {
            "phase": "Failed" if failed else "Succeeded",
            "containerStatuses": [{"name": "prefect-job", "state": ended}],
        }

    # What the operator asks

    async def identity(self) -> str:
        await self._turn()
        return self.uid

    async def has_policy(self, name: str) -> bool:
        await self._turn()
        self.asked_for["has_policy"] += 1
        if self.policy_error:
            raise self.policy_error
        return name in self.policies

    async def namespace_labels(self, namespace: str) -> dict[str, str]:
        await self._turn()
        if self.storage_error:
            raise self.storage_error
        return self.namespace_labels_of.get(namespace, {})

    async def has_claim(self, namespace: str, name: str) -> bool:
        await self._turn()
        if self.storage_error:
            raise self.storage_error
        return (namespace, name) in self.claims

    async def serves(self, plural: str) -> bool:
        await self._turn()
        return plural in self.resources

    async def each_node(self) -> AsyncIterator[Node]:
        await self._turn()
        self.asked_for["each_node"] += 1
        if self.nodes is None:
            raise ClusterError(403, "Forbidden", "may not list nodes")
        for name, runtime in self.nodes.items():
            yield Node(name, runtime, takes_pods=True)

    async def failed_pods(self, namespace: str = "") -> AsyncIterator[FailedPod | None]:
        await self._turn()
        self.asked_for["failed_pods"] += 1
        if self.events_error:
            raise self.events_error
        queue: asyncio.Queue[FailedPod] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            yield None
            for event in list(self.failures):
                if namespace in ("", event.namespace):
                    yield event
            while True:
                event = await queue.get()
                if namespace in ("", event.namespace):
                    yield event
        finally:
            self._listeners.remove(queue)

    async def failed_installs(self, namespace: str = "") -> AsyncIterator[FailedInstall | None]:
        await self._turn()
        self.asked_for[f"failed_installs {namespace}"] += 1
        yield None
        while True:
            yield await self.failing.get()

    async def each_set(self, namespaces: Sequence[str] = ()) -> AsyncIterator[Body]:
        await self._turn()
        for body in [b for (n, _), b in self.sets.items() if not namespaces or n in namespaces]:
            yield _copied(body)

    async def list_sets(self, namespaces: Sequence[str] = ()) -> list[Body]:
        return [body async for body in self.each_set(namespaces)]

    async def each_config_map(
        self, *, namespaces: Sequence[str] = (), selector: str
    ) -> AsyncIterator[Body]:
        await self._turn()
        if self.unlistable & set(namespaces):
            raise ClusterError(403, "Forbidden", "may not list")
        found = [
            body
            for (namespace, _), body in self.maps.items()
            if not namespaces or namespace in namespaces
            if _selects(selector, body["metadata"].get("labels", {}))
        ]
        for body in found:
            yield _copied(body)

    async def get_config_map(self, namespace: str, name: str) -> Body | None:
        await self._turn()
        return _copied(self.maps.get((namespace, name)))

    async def apply_config_map(self, body: Body) -> Body:
        where = (body["metadata"]["namespace"], body["metadata"]["name"])
        there = where[0] in self.namespaces
        await self._turn("apply_config_map" if there else "")
        if not there:
            raise ClusterError(404, "NotFound", f'namespaces "{where[0]}" not found')
        made, known = _copied(body), self.maps.get(where)
        if known is None:
            if "uid" in made["metadata"]:
                raise ClusterError(404, "NotFound", f'configmaps "{where[1]}" not found')
            self._made += 1
            made["metadata"]["uid"] = f"uid-{self._made}"
        else:
            self._check_same(known, made)
            if known.get("immutable") and known["data"] != made["data"]:
                raise ClusterError(
                    422, "Invalid", "data: field is immutable when `immutable` is set"
                )
            made["metadata"]["uid"] = known["metadata"]["uid"]
            others = known.get("data", {}).keys() - known["metadata"].get("ours", ())
            made["data"] = {**{one: known["data"][one] for one in others}, **made["data"]}
        made["metadata"]["ours"] = sorted(body["data"])
        return self._store(self.maps, "map", made)

    async def delete_config_map(
        self, *, namespace: str, name: str, uid: str, resource_version: str | None = None
    ) -> bool:
        await self._turn("delete_config_map")
        known = self.maps.get((namespace, name))
        if known is None:
            return True
        meta = known["metadata"]
        same = meta["uid"] == uid and resource_version in (None, meta["resourceVersion"])
        if same:
            self._remove(self.maps, "map", (namespace, name))
        return same

    def _check_served(self) -> None:
        if ENVIRONMENTS_PLURAL not in self.resources:
            raise ClusterError(404, "Unknown", "404 page not found")

    async def each_environments(self, namespaces: Sequence[str] = ()) -> AsyncIterator[Body]:
        await self._turn()
        self._check_served()
        if self.unlistable & set(namespaces):
            raise ClusterError(403, "Forbidden", "may not list")
        for body in list(self.told.values()):
            if not namespaces or body["metadata"]["namespace"] in namespaces:
                yield _copied(body)

    async def get_environments(self, namespace: str) -> Body | None:
        await self._turn()
        return _copied(self.told.get((namespace, ENVIRONMENTS)))

    async def apply_environments(self, body: Body) -> Body:
        where = (body["metadata"]["namespace"], body["metadata"]["name"])
        there = where[0] in self.namespaces
        await self._turn("apply_environments" if there else "")
        self._check_served()
        if not there:
            raise ClusterError(404, "NotFound", f'namespaces "{where[0]}" not found')
        if known := self.told.get(where):
            self._check_same(known, body)
        elif "uid" in body["metadata"]:
            raise ClusterError(404, "NotFound", f'runenvironments "{where[1]}" not found')
        made = self._made_anew(self.told, body, body["metadata"])
        return self._store(self.told, "told", made)

    async def delete_environments(
        self, *, namespace: str, name: str, uid: str, resource_version: str | None = None
    ) -> bool:
        await self._turn("delete_environments")
        known = self.told.get((namespace, name))
        if known is None:
            return True
        meta = known["metadata"]
        same = meta["uid"] == uid and resource_version in (None, meta["resourceVersion"])
        if same:
            self._remove(self.told, "told", (namespace, name))
        return same

    async def apply_status(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        status: Body,
        resource_version: str | None = None,
    ) -> Body:
        await self._turn("apply_status")
        body = self.sets.get((namespace, name))
        if body is None:
            raise ClusterError(404, "NotFound", f"no set {uid}")  # of a status no uid is compared
        if resource_version not in (None, body["metadata"]["resourceVersion"]):
            raise ClusterError(409, "Conflict", "the object has been modified")
        return self._store(self.sets, "set", {**body, "status": _copied(status)})

    async def apply_finalizers(
        self, *, namespace: str, name: str, uid: str, finalizers: Sequence[str]
    ) -> Body:
        await self._turn("apply_finalizers")
        body = self._same(namespace, name, uid)
        meta = {**body["metadata"], "finalizers": list(finalizers)}
        answer = self._store(self.sets, "set", {**body, "metadata": meta})
        if meta.get("deletionTimestamp") and not finalizers:
            self._remove_set((namespace, name))
        return answer

    async def create_event(
        self, *, regarding: Body, kind: str, reason: str, action: str, note: str
    ) -> None:
        await self._turn()
        assert action
        self.events.append((regarding["metadata"]["name"], kind, f"{reason}: {note}"))

    async def get_secret(self, namespace: str, name: str) -> Body | None:
        await self._turn()
        return _copied(self.secrets.get((namespace, name)))

    async def apply_secret(self, body: Body) -> Body:
        await self._turn("apply_secret")
        meta = body["metadata"]
        if known := self.secrets.get((meta["namespace"], meta["name"])):
            self._check_same(known, body)
        return self._store(self.secrets, "secret", self._made_anew(self.secrets, body, meta))

    async def delete_secret(
        self, *, namespace: str, name: str, uid: str, resource_version: str | None = None
    ) -> None:
        await self._turn("delete_secret")
        meta = self.secrets.get((namespace, name), {"metadata": {}})["metadata"]
        same = meta and resource_version in (None, meta["resourceVersion"])
        if same and meta["uid"] == uid:
            del self.secrets[namespace, name]

    async def create_pod(self, body: Body) -> Body:
        await self._turn()
        return self.pods.create(body)

    async def get_pod(self, namespace: str, name: str) -> Body | None:
        await self._turn()
        assert re.fullmatch(r"[a-z0-9.-]+", name), name
        return self.pods.get(namespace, name)

    async def list_pods(self, *, namespaces: Sequence[str] = (), selector: str) -> list[Body]:
        await self._turn()
        assert selector
        label = SET_LABEL if SET_LABEL in selector else PURPOSE_LABEL
        _, among, listed = selector.rpartition(" in ")
        values = re.findall(r"[^\s,()]+", listed)
        pods = [pod for where in self.pods.pods if (pod := self.pods.get(*where))]
        return [
            pod
            for pod in pods
            if not namespaces or pod["metadata"]["namespace"] in namespaces
            if (found := pod["metadata"]["labels"].get(label)) in values or (found and not among)
        ]

    async def pod_log(
        self, namespace: str, name: str, *, container: str, limit: int, lines: int | None = None
    ) -> str:
        await self._turn()
        log = self.pods.log(namespace, name, container)
        return "\n".join(log.split("\n")[-(lines or 0) :])[:limit]

    async def delete_pod(self, *, namespace: str, name: str, uid: str) -> None:
        await self._turn()
        self.pods.delete(namespace, name, uid)

    # Within

    def _made_anew(self, objects: dict[tuple[str, str], Body], body: Body, meta: Body) -> Body:
        known = objects.get((meta["namespace"], meta["name"]))
        self._made += 1
        uid = known["metadata"]["uid"] if known else f"uid-{self._made}"
        return {**_copied(body), "metadata": {**meta, "uid": uid}}

    async def _turn(self, write: str = "") -> None:
        await asyncio.sleep(self.seconds)
        if self.away:
            raise ClusterError(0, "Unreachable", "the API server did not answer: away")
        if write:
            self.writes[write] += 1

    def _check_same(self, known: Body, applied: Body) -> None:
        """Refuse what is meant for another object, or for another version of it."""
        for name in ("uid", "resourceVersion"):
            if applied["metadata"].get(name) not in (None, known["metadata"][name]):
                raise ClusterError(409, "Conflict", "the object has been modified")

    def _same(self, namespace: str, name: str, uid: str) -> Body:
        body = self.sets.get((namespace, name))
        if body is None or body["metadata"]["uid"] != uid:
            raise ClusterError(404, "NotFound", "uid mismatch")
        return body

    def _store(self, objects: dict[tuple[str, str], Body], kind: str, body: Body) -> Body:
        where = (body["metadata"]["namespace"], body["metadata"]["name"])
        known = objects.get(where)
        if known:
            body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
            if body == known:
                return _copied(known)
        self._version += 1
        body["metadata"] = {**body["metadata"], "resourceVersion": str(self._version)}
        objects[where] = body
        self._tell("MODIFIED" if known else "ADDED", kind, body)
        return _copied(body)

    def _remove(
        self, objects: dict[tuple[str, str], Body], kind: str, where: tuple[str, str]
    ) -> None:
        if body := objects.pop(where, None):
            self._version += 1
            meta = {**body["metadata"], "resourceVersion": str(self._version)}
            self._tell("DELETED", kind, {**body, "metadata": meta})

    def _remove_set(self, where: tuple[str, str]) -> None:
        uid = self.sets[where]["metadata"]["uid"]
        self._remove(self.sets, "set", where)
        for key, body in list(self.maps.items()):
            if any(one["uid"] == uid for one in body["metadata"].get("ownerReferences", [])):
                self._remove(self.maps, "map", key)

    def _tell(self, event: str, kind: str, body: Body) -> None:
        unseen = kind == "map" and not _selects(SELECTOR, body["metadata"].get("labels", {}))
        if unseen or kind == "secret":
            return  # not what the operator watches
        self.watch.tell(event, kind, _copied(body))


def _selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Return whether a selector that is about our purposes selects an object by its labels."""
    if labels.get(MANAGED_BY_LABEL) != MANAGED_BY:
        return False
    values = re.findall(r"[^\s,()]+", selector.rpartition("in (")[2])
    if "notin" in selector:
        return labels.get(PURPOSE_LABEL) not in values
    return labels.get(PURPOSE_LABEL) in values if values else PURPOSE_LABEL in labels


class MemoryWatch:
    """Brings events to the operator: of one object in their order, of several in any.

    Each takes `lag(uid)` seconds. An event waits until there are `behind` newer ones; one for which
    `missed` is true never comes.
    """

    def __init__(self) -> None:
        self._watcher: Watcher | None = None
        self._waiting: list[tuple[str, str, Body]] = []
        self._last: dict[str, float] = {}
        self._well()

    def _well(self) -> None:
        self.behind = 0
        self.lag: Callable[[str], float] = lambda _uid: 0.001
        self.missed: Callable[[str], bool] = lambda _event: False

    def mend(self) -> None:
        """Be as a watch should be."""
        self._well()
        self._bring()

    def connect(self, watcher: Watcher | None) -> None:
        """Bring what happens from now on to `watcher`; None: to nobody."""
        self._watcher = watcher
        self._waiting.clear()

    def tell(self, event: str, kind: str, body: Body) -> None:
        """Take in an event."""
        if self._watcher and not self.missed(event):
            self._waiting.append((event, kind, body))
            self._bring()

    def _bring(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._waiting) > self.behind:
            event, kind, body = self._waiting.pop(0)
            uid = body["metadata"]["uid"]
            due = max(loop.time() + self.lag(uid), self._last.get(uid, 0.0) + 1e-6)
            self._last[uid] = due
            loop.call_at(due, self._arrive, self._watcher, event, kind, body)

    def _arrive(self, watcher: Watcher | None, event: str, kind: str, body: Body) -> None:
        if watcher and watcher is self._watcher:  # else an operator that is gone
            watcher(event, kind, body)


_UNSCHEDULED = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient cpu.",
}


class MemoryNode:
    """Runs the operator's pods as a kubelet would: `images` says what each image has.

    Each pod takes `seconds`; what is made, how often and how many at once is counted. Pods of the
    namespaces `full` wait for a node. `instead`: the status and the log that pods have in place of
    all this.
    """

    def __init__(self, cluster: MemoryCluster) -> None:
        self.images: dict[str, MemoryImage] = {}
        self.pods: dict[tuple[str, str], tuple[Body, float]] = {}
        self.forbidden = ""
        self.seconds = 8.0
        self.full: set[str] = set()
        self.instead: tuple[Body, str] | None = None
        self.unpullable: set[str] = set()
        """The environments that no pod can mount; with a namespace before it, none there."""
        self.unowned: list[str] = []
        """The pods that were made without an owner, which many clusters refuse, where there could
        be one: a set, or a lock."""
        self.closed: set[str] = set()
        """The namespaces that refuse our pods."""
        self.registry = MemoryRegistry()
        self.claims: dict[tuple[str, str], set[str]] = {}
        """The directories on claims, by their namespaces and names."""
        self.claim_problem = ""
        self.slower = 1.1
        self.made: Counter[str] = Counter()
        self.most = self.most_builds = 0
        self._cluster = cluster

    def create(self, body: Body) -> Body:
        meta = body["metadata"]
        where = (meta["namespace"], meta["name"])
        if self.forbidden or where[0] in self.closed:
            raise ClusterError(403, "Forbidden", self.forbidden)
        if where in self.pods:
            raise ClusterError(409, "AlreadyExists", "there is one")
        self.made[meta["name"].split("-")[1]] += 1
        made = _copied(body)
        there = {namespace for namespace, _ in (*self._cluster.sets, *self._cluster.maps)}
        if where[0] in there and not meta.get("ownerReferences"):
            self.unowned.append(meta["name"])
        made["metadata"]["uid"] = f"pod-{self.made.total()}"
        self.pods[where] = (made, virtual.now())
        self.most = max(self.most, len(self.pods))
        builds = sum(name.startswith("flowdeps-build") for _, name in self.pods)
        self.most_builds = max(self.most_builds, builds)
        return _copied(made)

    def get(self, namespace: str, name: str) -> Body | None:
        found = self.pods.get((namespace, name))
        if found is None:
            return None
        body, since = _copied(found[0]), found[1]
        if "status" in body:
            return body
        if self.instead:
            return {**body, "status": self.instead[0]}
        if namespace in self.full:
            return {**body, "status": {"phase": "Pending", "conditions": [_UNSCHEDULED]}}
        if name.startswith(POPULATE_CONTAINER):
            return {**body, "status": self._populating(ended=virtual.now() - since >= self.seconds)}
        container = self._in_flow_image(body)
        ours = container["name"] == MOUNT_CONTAINER
        image = self.images.get(container["image"], MemoryImage() if ours else None)
        state: Body = {"waiting": {"reason": "ContainerCreating"}}
        phase = "Pending"
        volumes = body["spec"].get("volumes", ())
        references = {one["image"]["reference"] for one in volumes if "image" in one}
        unpullable = self.unpullable | self.registry.deleted
        unpullable |= {one.removeprefix(f"{namespace} ") for one in self.unpullable}
        if lost := references & unpullable or ("*" in unpullable and references):
            why = "not found" if lost & self.registry.deleted else "authorization failed"
            text = f'Failed to pull image "{min(lost)}": {why}'
            state = {"waiting": {"reason": "ErrImagePull", "message": text}}
            self._cluster.fail_pull(namespace, min(lost), why=why, pod=name)  # kubelets say so
        elif image is None:
            state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        elif image.hangs:
            if virtual.now() - since >= body["spec"]["activeDeadlineSeconds"]:
                return {**body, "status": {"phase": "Failed", "reason": "DeadlineExceeded"}}
        elif virtual.now() - since >= self.seconds:
            code = 1 if self._broken(body, image) else 0
            state = {"terminated": {"exitCode": code}}
            phase = "Failed" if code else "Succeeded"
        status = {
            "name": container["name"],
            "image": container["image"],
            "state": state,
            "imageID": image.id if image else "",
        }
        body["status"] = {"phase": phase, "containerStatuses": [status]}
        if "terminated" in state and name.startswith("flowdeps-build"):
            refused = bool(self.registry.problem)
            body["status"] = {
                "phase": "Failed" if phase == "Failed" or refused else "Succeeded",
                "initContainerStatuses": [{**status, "name": INSTALL_CONTAINER}, status],
                "containerStatuses": [
                    {"name": PACK_CONTAINER, "state": {"terminated": {"exitCode": int(refused)}}}
                ],
            }
        return body

    @staticmethod
    def _in_flow_image(pod: Body) -> Body:
        """The last of a pod's containers that runs in the flow's image."""
        containers: list[Body] = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
        return [one for one in containers if one["name"] != PACK_CONTAINER][-1]

    def log(self, namespace: str, name: str, container: str) -> str:
        if self.instead:
            return self.instead[1]
        body = self.pods[namespace, name][0]
        if container == POPULATE_CONTAINER:
            return f"flowdeps-populate: {json.dumps(self._populate(body))}"
        if container == PACK_CONTAINER:
            return f"flowdeps-pack: {json.dumps(self.registry.push(body, self._pins(body)))}"
        if container == MOUNT_CONTAINER:
            return ""
        image = self.images[self._in_flow_image(body)["image"]]
        lines = image.lines(self._pins(body))
        if container == VERIFY_CONTAINER:
            broken = self._broken(body, image)
            result: Body = {"ok": True, "notes": list(image.notes), "importSeconds": 0.5}
            result |= {"installedSize": image.installed} if image.installed else {}
            if broken in image.clashes:
                clash = {"kind": "hides", "module": "cv3", "ours": f"{broken} 1.0", "theirs": "b 1"}
                result = {"ok": False, "clashes": [clash]}
            elif broken:
                result = {"ok": False, "module": broken, "error": "ImportError: libodd.so.1"}
            lines.append(f"flowdeps-verify: {json.dumps(result)}")
        return "\n".join(lines)

    def _populating(self, *, ended: bool) -> Body:
        """The status of a pod that puts an environment on a claim."""
        failed = bool(self.claim_problem)
        state: Body = {"terminated": {"exitCode": int(failed)}} if ended else {"running": {}}
        phase = ("Failed" if failed else "Succeeded") if ended else "Running"
        return {"phase": phase, "containerStatuses": [{"name": POPULATE_CONTAINER, "state": state}]}

    def _populate(self, body: Body) -> Body:
        """What a container does and says that puts an environment on a claim."""
        if self.claim_problem:
            return {"ok": False, "error": self.claim_problem, "retry": True}
        [container] = body["spec"]["containers"]
        env = {one["name"]: one["value"] for one in container["env"]}
        volumes = [one.get("persistentVolumeClaim") for one in body["spec"]["volumes"]]
        [claim] = [one["claimName"] for one in volumes if one]
        there = self.claims.setdefault((body["metadata"]["namespace"], claim), set())
        reference = env["FLOWDEPS_REFERENCE"]
        assert reference in self.registry.pushed
        if reference in self.registry.deleted:
            return {"ok": False, "error": "no longer there", "retry": True, "gone": True}
        directory = reference.rpartition("@")[2].replace(":", "-")
        # As where nothing else is in use, and all is old.
        keep = tuple(env["FLOWDEPS_KEEP"].split(","))
        there &= {one for one in there if one.removeprefix("sha256-").startswith(keep)}
        there.add(directory)
        size = {"files": 40, "bytes": 4000, "slower": self.slower}
        return {"ok": True, "directory": directory, **size}

    def delete(self, namespace: str, name: str, uid: str) -> None:
        found = self.pods.get((namespace, name))
        if found and found[0]["metadata"]["uid"] == uid:
            del self.pods[namespace, name]

    def _pins(self, body: Body) -> dict[str, str]:
        for volume in body["spec"].get("volumes", []):
            if name := volume.get("configMap", {}).get("name"):
                text = self._cluster.maps[body["metadata"]["namespace"], name]["data"]
                lock = parse_lock(text["requirements.txt"])
                return {pin.name: pin.version for pin in lock.pins}
        return {}

    def _broken(self, body: Body, image: "MemoryImage") -> str:
        pins = self._pins(body)
        volumes = body["spec"].get("volumes", [])
        mounted = [one.get("configMap", {}).get("name") for one in volumes]
        where = (body["metadata"]["namespace"], next(filter(None, mounted), ""))
        data = self._cluster.maps.get(where, {}).get("data", {})
        shadow = set(json.loads(data.get("lock.json", "{}")).get("shadow", ()))
        refused = set() if "*" in shadow else image.clashes - shadow
        return next((name for name in pins if name in image.broken | refused), "")


@dataclass
class MemoryImage:
    """A flow image: its content's id, its packages, and which packages can't be imported in it;
    `requires`: what packages need, the image's or a lock's; `clashes`: those that hide a module of
    it; `notes`: what a trial in it says, and `installed`: how large what it installed is; `hangs`:
    whether its pods run until they are ended."""

    id: str = "sha256:1"
    packages: dict[str, str] = field(default_factory=lambda: {"prefect": "3.0"})
    broken: frozenset[str] = frozenset()
    requires: Mapping[str, Sequence[str]] = field(default_factory=dict)
    clashes: frozenset[str] = frozenset()
    notes: Sequence[str] = ()
    installed: int = 0
    hangs: bool = False

    def lines(self, pins: Mapping[str, str]) -> list[str]:
        """What a probe in it prints, with `pins` on top."""
        head = {"python": "3.11.9", "platform": "linux/amd64", "libc": "glibc", "markers": {}}
        found = {**self.packages, **pins}
        parts = [
            {"name": name, "version": version, "requires": list(self.requires.get(name, ()))}
            for name, version in found.items()
        ]
        records = [head, *parts, {"distributions": len(parts)}]
        return [f"flowdeps-probe: {json.dumps(one)}" for one in records]


class MemoryRegistry:
    """What was pushed, under names that only the content decides; `problem`: why nothing is."""

    def __init__(self) -> None:
        self.pushed: set[str] = set()
        self.deleted: set[str] = set()
        self.keeps = True
        """Whether what is pushed is there then."""
        self.problem = ""
        self.no_image = ""
        """Why no image can be derived."""
        self.locks: dict[str, set[str]] = {}
        """By repositories the locks of which there are environments, ten hex digits each."""

    def push(self, pod: Body, pins: Mapping[str, str]) -> Body:
        """What a container says that packs the environment of these pins and pushes it."""
        if self.problem:
            return {"ok": False, "error": self.problem, "retry": True}
        env = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
        content = digest(f"{sorted(pins.items())} {env['FLOWDEPS_IMAGE_ID']}")
        self.pushed.add(f"{env['FLOWDEPS_REPOSITORY']}@{content}")
        self.deleted -= self.pushed if self.keeps else set()
        packed = {"ok": True, "digest": content, "size": 1000, "unpacked": 4000, "files": 40}
        if env["FLOWDEPS_DELETES"]:
            there = self.locks.setdefault(env["FLOWDEPS_REPOSITORY"], set())
            there.add(env["FLOWDEPS_TAG"].partition("-")[0])
            there -= set(env["FLOWDEPS_UNUSED"].split(","))
            packed["locks"] = sorted(there)
        if env["FLOWDEPS_IMAGES"]:
            image = {"digest": digest(f"image of {content}"), "size": 9000}
            packed |= {"imageError": self.no_image} if self.no_image else {"image": image}
        return packed


class MemoryPrefect:
    """Work pools; `outage` is what every request ends in while it is set. Requests are counted."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.writes: Counter[str] = Counter()
        self.outage: PoolsError | None = None
        self.requests = 0
        self.variable_values: dict[str, Any] = {}
        self.chosen_sets: set[str] = set()
        self.workers_of: dict[str, Workers] = {}
        self.artifact_versions: list[Artifact] = []
        """All versions, oldest first."""
        self.events: list[PrefectEvent] = []
        self.deployments: list[Deployment] = []
        self.refused: set[str] = set()
        """Keys of artifacts that it takes no page for."""
        self._made = 0

    def make(self, name: str, *, namespace: str = "flows", **changes: Any) -> None:
        """A pool whose jobs run in `namespace`."""
        template = {**pool_template(), **changes}
        template["variables"]["properties"]["namespace"]["default"] = namespace
        self.pools[name] = Pool(name, "kubernetes", template)

    def edit(self, name: str, **changes: Any) -> None:
        """What somebody else does to a template."""
        known = self.pools[name]
        self.pools[name] = Pool(name, known.type, {**known.template, **changes})

    def keys(self, name: str) -> list[str]:
        """The choices that a pool offers to runs."""
        live = find(self.pools[name].template)
        return list(live.keys) if live else []

    async def read(self, name: str) -> Pool | None:
        await self._turn()
        return _copied(self.pools.get(name))

    async def read_all(self) -> dict[str, Pool]:
        await self._turn()
        return _copied(self.pools)

    async def write(self, name: str, template: Mapping[str, Any]) -> None:
        await self._turn()
        if name not in self.pools:
            raise PoolsError(Reason.POOL_NOT_FOUND, f'there is no work pool "{name}"')
        self.writes[name] += 1
        self.pools[name] = Pool(name, self.pools[name].type, _copied(dict(template)))

    async def chosen(self, name: str, variable: str) -> set[str]:
        await self._turn()
        assert name
        assert variable == "dependency_set"
        return set(self.chosen_sets)

    async def workers(self, pool: Pool, known: Workers) -> Workers:  # noqa: ARG002
        await self._turn()
        return self.workers_of.get(pool.name, Workers(server="3.9.1"))

    async def variables(self, names: Collection[str]) -> dict[str, Variable]:
        await self._turn()
        assert len(names) <= 200
        known = self.variable_values
        return {name: Variable(known[name]) for name in names if name in known}

    # Artifacts and events

    def pages(self) -> dict[str, Artifact]:
        """The latest artifacts by key."""
        return {one.key: one for one in self.artifact_versions}

    async def count_artifacts(self, prefix: str) -> int:
        await self._turn()
        return len([key for key in self.pages() if key.startswith(prefix)])

    async def artifacts(self, prefix: str, *, offset: int = 0) -> list[Artifact]:
        await self._turn()
        found = sorted((k, one) for k, one in self.pages().items() if k.startswith(prefix))
        return [one for _, one in found[offset : offset + 5]]

    async def latest_artifact(self, key: str) -> Artifact | None:
        await self._turn()
        return self.pages().get(key)

    async def older_artifacts(self, key: str, *, beyond: int) -> list[str]:
        await self._turn()
        newest_first = [one.id for one in reversed(self.artifact_versions) if one.key == key]
        return newest_first[beyond : beyond + 5]

    async def write_artifact(self, key: str, data: str, *, description: str, id: str = "") -> None:  # noqa: A002
        await self._turn()
        if key in self.refused:
            raise RefusedError(Reason.PREFECT_UNAVAILABLE, "the Prefect API refused it (413)")
        self.writes["artifact"] += 1
        if id:
            ids = [one.id for one in self.artifact_versions]
            self.artifact_versions[ids.index(id)] = Artifact(id, key, data, description)
        else:
            self._made += 1
            self.artifact_versions.append(Artifact(f"a{self._made}", key, data, description))

    async def delete_artifact(self, id: str) -> None:  # noqa: A002
        await self._turn()
        self.writes["artifact"] += 1
        self.artifact_versions = [one for one in self.artifact_versions if one.id != id]

    async def has_event(self, id: UUID) -> bool:  # noqa: A002
        await self._turn()
        return any(one.id == id for one in self.events)

    async def emit(self, event: PrefectEvent) -> None:
        await self._turn()
        self.events.append(event)

    async def tagged_deployments(
        self, pools: Collection[str], tags: Collection[str]
    ) -> list[Deployment]:
        await self._turn()
        return [one for one in self.deployments if one.pool in pools and one.tags & set(tags)]

    async def changes(self) -> AsyncIterator[str]:
        await asyncio.sleep(10_000_000)
        yield ""

    async def _turn(self) -> None:
        self.requests += 1
        await asyncio.sleep(0.005)
        if self.outage:
            raise self.outage


class MemoryIndex:
    """Locks as uv would make them: the newest `release` of all that isn't excluded, pins kept where
    they may be. Each takes `seconds`.

    A requirement `impossible` can't be met, and the index of one whose name begins with `hangs`
    never ends an answer.
    """

    TIMEOUT = 300.0

    def __init__(self) -> None:
        self.release = 1
        self.away = False
        self.seconds = 3.0
        self.resolved: list[float] = []
        self.notes: tuple[str, ...] = ()
        self.sizes: dict[str, int] = {}
        self.asked: list[tuple[LockRequest, Access | None]] = []
        self.after: list[tuple[Lock | None, bool]] = []
        self.running = self.most = 0
        self.refused: dict[str, str] = {}
        """The answers to credentials that it does not take, by a part of their netrc."""
        self.try_seconds: dict[str, float] = {}
        """How long others are thought about, in the same way."""
        self.most_tries = 0
        self._tries = 0
        self.tried: list[tuple[str, str]] = []
        """The URLs and packages for which it was asked whether it takes some."""

    async def refusal(self, url: str, package: str, *, access: Access) -> str:
        self.tried.append((url, package))
        self._tries += 1
        self.most_tries = max(self.most_tries, self._tries)
        try:
            slow = (time for one, time in self.try_seconds.items() if one in access.netrc)
            await asyncio.sleep(next(slow, 0.5))
        finally:
            self._tries -= 1
        if self.away:
            raise IndexUnavailableError("the index did not answer")
        return next((text for one, text in self.refused.items() if one in access.netrc), "")

    async def resolve(
        self, request: LockRequest, *, previous: Lock | None, keep: bool, access: Access | None
    ) -> Resolution:
        self.asked.append((request, access))
        self.after.append((previous, keep))
        self.resolved.append(virtual.now())
        names = [requirement_name(line) for line in request.requirements]
        hangs = any(name.startswith("hangs") for name in names)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.TIMEOUT if hangs else self.seconds)
        finally:
            self.running -= 1
        if hangs:
            raise LimitExceededError("no resolution within 300 seconds")
        if self.away:
            raise IndexUnavailableError("the index did not answer")
        if "impossible" in names:
            raise UnsatisfiableError("impossible does not fit together")
        known = {pin.name: pin.version for pin in previous.pins} if previous and keep else {}
        there = request.image.versions if request.image else {}
        excluded = {one.name: one.specifier for one in map(parse_requirement, request.exclude)}
        pins, base = [], []
        for name in names:
            if name in there:
                base.append((name, there[name]))
                continue
            newest = [f"{number}.0" for number in range(self.release, 0, -1)]
            offered = [known[name], *newest] if name in known else newest
            allowed = excluded.get(name, SpecifierSet())
            version = next(filter(allowed.contains, offered), None)
            if version is None:
                raise UnsatisfiableError(f"there is no {name}{allowed}")
            hashes = (digest(f"{name} {version}"),)
            pins.append(Pin(name, version, hashes, request.target.platforms))
        sizes = tuple((pin.name, self.sizes[pin.name]) for pin in pins if pin.name in self.sizes)
        return Resolution(Lock(request.target, tuple(pins), tuple(base), sizes), self.notes)


class Simulation:
    """A cluster, a Prefect and an index that outlive operators."""

    def __init__(self, **config: Any) -> None:
        self.cluster, self.prefect, self.index = MemoryCluster(), MemoryPrefect(), MemoryIndex()
        self.registry = self.cluster.pods.registry
        quiet = {"artifacts": False, "events": False}  # but for tests of these
        config = {**config, "prefect": {**quiet, **config.get("prefect", {})}}
        # Images are often looked at, so that what follows from that does not take days.
        given = {"workPools": [OPEN], "images": {"recheck": "1h"}, **config}
        self.config = parse_config(given)
        self.passes: Counter[str] = Counter()
        self.chance = random.Random(0)
        self.trace: list[tuple[float, str]] = []
        self.fetch_token: Callable[[CredentialHelper], Awaitable[str]] = fetch_token

    def save(self) -> bytes:
        """All that outlives an operator, and the time."""
        cluster, prefect, index = self.cluster, self.prefect, self.index
        objects = (cluster.sets, cluster.maps, cluster.secrets, cluster.told, cluster.pods.pods)
        rest = (cluster.namespaces, cluster.pods.images, prefect.pools, index.release)
        return pickle.dumps((objects, rest, cluster._version, cluster._made, virtual.now()))

    def load(self, saved: bytes) -> None:
        """Begin where another simulation was saved; to be run with a clock that begins there."""
        cluster, prefect, index = self.cluster, self.prefect, self.index
        objects, rest, cluster._version, cluster._made, _ = pickle.loads(saved)  # noqa: S301
        cluster.sets, cluster.maps, cluster.secrets, cluster.told, cluster.pods.pods = objects
        cluster.namespaces, cluster.pods.images, prefect.pools, index.release = rest

    @asynccontextmanager
    async def operator(self, gate: Gate | None = None) -> AsyncIterator[Service]:
        """A running operator behind a gate; at the end it is dropped, as by a kill."""
        cluster, pools = self.clients(gate)
        context = make_context(
            self.config,
            cluster=cluster,
            pools=pools,
            resolve=self.index.resolve,
            refusal=self.index.refusal,
            fetch_token=self.fetch_token,
            metrics=Metrics(),
            now=clock,
            jitter=self.chance.random,
        )
        service = Service(context)
        queue = context.queue
        handle = queue.handle

        async def counted(key: Any) -> float | None:
            self.passes[str(key)] += 1
            self.trace.append((virtual.now(), str(key)))
            return await handle(key)

        queue.handle = counted
        task = asyncio.create_task(service.run(self._watch))
        try:
            yield service
            assert not task.done(), "the operator ended by itself"
            assert not self.cluster.pods.unowned
        finally:
            self.cluster.watch.connect(None)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await context.close()

    def clients(self, gate: Gate | None = None) -> tuple[Cluster, Pools]:
        """The cluster and Prefect as the operator's clients, behind a gate."""
        clients = cast("Cluster", self.cluster), cast("Pools", self.prefect)
        return gate.around(*clients) if gate else clients

    async def _watch(self, service: Service) -> None:
        def watcher(event: str | None, kind: str, body: Body) -> None:
            namespaces = self.config.watch_namespaces
            if namespaces and body["metadata"]["namespace"] not in namespaces:
                return
            tell = {
                "set": service.set_event,
                "map": service.config_map_event,
                "told": service.environments_event,
            }
            tell[kind](event, body)

        for body in list(self.cluster.sets.values()):
            watcher(None, "set", _copied(body))
        for body in list(self.cluster.maps.values()):
            watcher(None, "map", _copied(body))
        for body in list(self.cluster.told.values()):
            watcher(None, "told", _copied(body))
        self.cluster.watch.connect(watcher)
        await asyncio.sleep(10_000_000)

    # What a person sees

    def ready(self, name: str, *, namespace: str = "flows") -> tuple[str, str]:
        """Status and reason of a set's Ready condition, of its present generation."""
        body = self.cluster.sets[namespace, name]
        for one in body.get("status", {}).get("conditions", []):
            if (
                one["type"] == "Ready"
                and one["observedGeneration"] == body["metadata"]["generation"]
            ):
                return one["status"], one["reason"]
        return "Unknown", ""

    def condition(self, name: str, type_: str, *, namespace: str = "flows") -> Body:
        """A condition of a set; empty where there is none."""
        body = self.cluster.sets[namespace, name]
        conditions = body.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    def pins(self, name: str, *, namespace: str = "flows", pool: str = "") -> str:
        """The pins that runs of a pool mount by a key, or a set's own by its name, in one line."""
        body = self.cluster.maps.get((namespace, mounted_name(name, pool=pool)))
        lines = body["data"]["requirements.txt"].splitlines() if body else []
        return " ".join(line.partition(" ")[0] for line in lines if re.match(r"\w.*==", line))

    def writes(self) -> dict[str, int]:
        """Every write so far, by kind or pool."""
        return {**self.cluster.writes, **self.prefect.writes}

    def state(self) -> Any:
        """Everything that is kept, with its versions."""
        cluster = self.cluster
        return _copied((cluster.sets, cluster.maps, cluster.told, self.prefect.pools))
