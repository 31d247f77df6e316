"""What the operator asks of the API server, and what it writes: a method each."""

import logging
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

from flowdeps.api.names import (
    API_VERSION,
    ENVIRONMENTS,
    ENVIRONMENTS_PLURAL,
    GROUP,
    INSTALL_CONTAINER,
    KIND,
    LOCK_VOLUME,
    OURS,
    PLURAL,
    SET_LABEL,
    TRY,
)
from flowdeps.api.times import parse_time
from flowdeps.api.wording import shorten
from flowdeps.clients.fence import Fence
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.kubernetes.login import Login, load, login_of, make_api
from flowdeps.clients.kubernetes.older import Field, undeclared, without
from flowdeps.clients.kubernetes.rights import IDENTITY, Right
from flowdeps.clients.kubernetes.transport import PAGE, Body, Observe, Transport
from flowdeps.locks.legible import printable

log = logging.getLogger(__name__)

_SETS = (f"/apis/{API_VERSION}", PLURAL)
_ENVIRONMENTS = (f"/apis/{API_VERSION}", ENVIRONMENTS_PLURAL)
_CONFIG_MAPS = ("/api/v1", "configmaps")
_SECRETS = ("/api/v1", "secrets")
_PODS = ("/api/v1", "pods")
_JOBS = ("/apis/batch/v1", "jobs")
_CLAIMS = ("/api/v1", "persistentvolumeclaims")
_EVENTS = ("/api/v1", "events")
_POLICIES = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies"
_BINDINGS = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings"
_LEASES = ("/apis/coordination.k8s.io/v1", "leases")

_NOTE_BYTES = 1024
_MESSAGE_CHARACTERS = 4096
_LONGEST = 300
_DISK = re.compile("ephemeral|emptydir|disk", re.IGNORECASE)
_POD_META = ("name", "namespace", "uid", "labels", "ownerReferences", "creationTimestamp")


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    name: str
    runtime: str
    """Its container runtime and the version of it, such as `containerd://2.1.4`."""
    takes_pods: bool
    """Whether pods of flows may come to it."""


@dataclass(frozen=True)
class FailedPod:
    """An event about a pod that can't start."""

    namespace: str
    message: str
    time: datetime | None
    """When it was so last."""
    pod: str = ""
    """The pod's name."""


@dataclass(frozen=True)
class FailedInstall:
    """A run whose install container failed."""

    namespace: str
    pod: str = ""
    lock: str = ""
    """The ConfigMap in which it has its lock."""
    killed: str = ""
    """What it lacked, where the node ended it: memory, or disk; its own log has no word of that."""


class Cluster:
    """A client for one cluster; made by `connect`, bound to one event loop.

    Methods raise ClusterError. Those that take a uid touch nothing else: an object that was deleted
    and made anew meanwhile stays as it is.
    """

    def __init__(self, api: Any, *, observe: Observe, fence: Fence | None = None) -> None:
        self._to = Transport(api, observe=observe, fence=fence or Fence.open())
        self._undeclared: set[Field] = set()
        """What the resource in the cluster lacks of a status, as far as it was met."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        *,
        observe: Observe = lambda _method, _outcome, _seconds: None,
        fence: Fence | None = None,
        identity: str | None = None,
    ) -> AsyncIterator[Self]:
        """Connect by KUBECONFIG or ~/.kube/config, in a pod by its service account.

        Writes pass `fence`; `identity` tells audit logs who we are. Raises ClusterError where
        there is no usable configuration.
        """
        async with await make_api(identity) as api:
            yield cls(api, observe=observe, fence=fence)

    async def login(self) -> Login:
        """Read anew how we log in: tokens of service accounts and kubeconfigs' plugins expire."""
        settings = self._to.api.configuration
        await load(settings)
        return await login_of(settings)

    # The cluster

    async def serves(self, plural: str) -> bool:
        """Return whether a resource of ours is installed."""
        found = await self._to.get(_SETS[0]) or {"resources": []}
        return any(one["name"] == plural for one in found["resources"])

    async def identity(self) -> str:
        """Return the cluster's own lasting name, the uid of kube-system; empty where we may not
        read it."""
        try:
            body = await self._to.get(f"/api/v1/namespaces/{IDENTITY.name}")
        except ClusterError as error:
            if error.status == 403:
                return ""
            raise
        return str(body["metadata"]["uid"]) if body else ""

    async def may(self, right: Right) -> bool:
        """Return whether we have a right."""
        resource, _, part = right.resource.partition("/")
        attributes = {
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": part,
            "namespace": right.namespace,
            "name": right.name,
        }
        answer = await self._to.request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={"spec": {"resourceAttributes": attributes}},
        )
        return bool(answer["status"]["allowed"])

    async def is_limited(self, namespace: str) -> bool:
        """Return whether the chart's admission policy keeps us from writing what is not ours.

        Only an attempt tells, as we may not read policies: a ConfigMap without our label, which is
        not made.
        """
        meta = {"name": TRY, "namespace": namespace}
        path = _path(_CONFIG_MAPS, namespace)
        try:
            await self._to.request("POST", path, query=[("dryRun", "All")], body={"metadata": meta})
        except ClusterError as error:
            return OURS in str(error)
        return False

    async def has_policy(self, name: str) -> bool:
        """Return whether there is a MutatingAdmissionPolicy of a name, and its binding.

        Raises a ClusterError with 404 where the API server has no such policies.
        """
        for path in (_POLICIES, _BINDINGS):
            try:
                await self._to.request("GET", f"{path}/{quote(name, safe='')}")
            except ClusterError as error:
                if error.reason == "NotFound":  # else the path itself is unknown
                    return False
                raise
        return True

    async def each_node(self) -> AsyncIterator[Node]:
        """Iterate over the nodes, a page at a time."""
        async for body in self._to.each(["/api/v1/nodes"]):
            info = (body.get("status") or {}).get("nodeInfo") or {}
            yield Node(
                name=str(body["metadata"]["name"]),
                runtime=str(info.get("containerRuntimeVersion", "")),
                takes_pods=info.get("operatingSystem") != "windows"
                and not (body.get("spec") or {}).get("unschedulable"),
            )

    async def namespace_labels(self, namespace: str) -> dict[str, str]:
        """Return the labels of a namespace; none where there is no such namespace."""
        body = await self._to.get(f"/api/v1/namespaces/{quote(namespace, safe='')}")
        return dict((body or {}).get("metadata", {}).get("labels") or {})

    async def has_claim(self, namespace: str, name: str) -> bool:
        """Return whether there is a PersistentVolumeClaim of a name."""
        return await self._to.get(_path(_CLAIMS, namespace, name)) is not None

    async def try_create(self, body: Body) -> None:
        """Ask whether a Pod or a Job would be made, by all that judges it; nothing is."""
        kind = {"Pod": _PODS, "Job": _JOBS}[body["kind"]]
        path = _path(kind, body["metadata"]["namespace"])
        await self._to.request("POST", path, query=[("dryRun", "All")], body=body)

    # Sets

    async def list_sets(self, namespaces: Sequence[str] = ()) -> list[Body]:
        """Return all dependency sets, of the named namespaces or, with none, of all."""
        return [one async for one in self.each_set(namespaces)]

    async def each_set(self, namespaces: Sequence[str] = ()) -> AsyncIterator[Body]:
        """Iterate over the same, a page at a time."""
        async for item in self._to.each(_lists(_SETS, namespaces)):
            # Items of a list carry no kind of their own.
            yield {"apiVersion": API_VERSION, "kind": KIND, **item}

    async def apply_status(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        status: Body,
        resource_version: str | None = None,
    ) -> Body:
        """Apply a set's whole status; returns the set.

        With a resource version it is refused (409) where the set has changed since: the server
        does not compare the uid of a status. What the resource in the cluster does not declare,
        which an earlier version has brought, is left out: the rest must not be lost for it.
        """
        body = _set_body(namespace, name, uid)
        if resource_version is not None:
            body["metadata"]["resourceVersion"] = resource_version
        path = f"{_path(_SETS, namespace, name)}/status"
        while True:
            known = without(status, self._undeclared)
            try:
                return await self._to.apply(path, {**body, "status": known})
            except ClusterError as error:
                field = undeclared(error)
                if field is None or field in self._undeclared:
                    raise
                self._undeclared.add(field)
                log.warning(
                    "the resource %s in the cluster is older than the operator: its status has no"
                    " %s, which is left out; apply crds/ of its version, and restart it",
                    f"{PLURAL}.{GROUP}",
                    ".".join(field),
                )

    async def apply_finalizers(
        self, *, namespace: str, name: str, uid: str, finalizers: Sequence[str]
    ) -> Body:
        """Apply which finalizers of a set are ours; returns the set."""
        body = _set_body(namespace, name, uid)
        body["metadata"]["finalizers"] = list(finalizers)
        return await self._to.apply(_path(_SETS, namespace, name), body)

    async def create_event(
        self, *, regarding: Body, kind: str, reason: str, action: str, note: str
    ) -> None:
        """Post an event (kind `Normal` or `Warning`) about a set."""
        meta = regarding["metadata"]
        about = _set_body(meta["namespace"], meta["name"], meta["uid"])
        await self._to.request(
            "POST",
            _path(("/apis/events.k8s.io/v1", "events"), meta["namespace"]),
            body={
                "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]},
                "eventTime": datetime.now(UTC).isoformat(timespec="microseconds"),
                "reportingController": f"{GROUP}/operator",
                "reportingInstance": os.environ.get("HOSTNAME", "flowdeps")[:128],
                "type": kind,
                "reason": reason,
                "action": action,
                "note": printable(note).encode()[:_NOTE_BYTES].decode(errors="ignore"),
                "regarding": {"apiVersion": API_VERSION, "kind": KIND, **about["metadata"]},
            },
        )

    async def list_events(self, namespace: str, uid: str) -> list[Body]:
        """Return the events about one object, no more than a page of them."""
        query = [("fieldSelector", f"involvedObject.uid={uid}"), ("limit", str(PAGE))]
        path = _path(_EVENTS, namespace)
        page = await self._to.request("GET", path, query=query)
        found: list[Body] = page["items"]
        return found

    async def failed_pods(self, namespace: str = "") -> AsyncIterator[FailedPod | None]:
        """Iterate over what kubelets say of pods that can't start, in one namespace or all, from
        what they said in the last hour on.

        None comes once the watch is there; it ends after some minutes.
        """
        [path] = _lists(_EVENTS, [namespace] if namespace else [])
        selector = "reason=Failed,involvedObject.kind=Pod"
        async for change in self._to.watch(path, selector=selector):
            event = change.get("object") or {}
            if not change:
                yield None
            elif change.get("type") == "ERROR":
                raise _ended(event)
            elif change.get("type") in {"ADDED", "MODIFIED"}:
                last = (event.get("series") or {}).get("lastObservedTime")
                time = last or event.get("lastTimestamp") or event.get("eventTime")
                yield FailedPod(
                    namespace=str(event["metadata"]["namespace"]),
                    message=printable(str(event.get("message", ""))[:_MESSAGE_CHARACTERS]),
                    time=parse_time(time),
                    pod=str((event.get("involvedObject") or {}).get("name", "")),
                )

    async def failed_installs(self, namespace: str = "") -> AsyncIterator[FailedInstall | None]:
        """Iterate over the runs whose install container fails from now on, in one namespace or all.

        None comes once the watch is there; it ends after some minutes.
        """
        [path] = _lists(_PODS, [namespace] if namespace else [])
        page = await self._to.request("GET", path, query=[("limit", "1")])
        version = str(page["metadata"]["resourceVersion"])
        # A pod is ADDED as it begins to match, and MODIFIED when its Job has counted it.
        failed = "status.phase=Failed"
        async for change in self._to.watch(path, selector=failed, labels=SET_LABEL, since=version):
            pod = change.get("object") or {}
            if not change:
                yield None
            elif change.get("type") == "ERROR":
                raise _ended(pod)
            elif change.get("type") == "ADDED" and (failure := _failed_install(pod)):
                yield failure

    # What tells runs of their environments

    def each_environments(self, namespaces: Sequence[str] = ()) -> AsyncIterator[Body]:
        """Iterate over the RunEnvironments of the named namespaces or, with none, of all, a page at
        a time; 404 where the resource is not installed."""
        return self._to.each(_lists(_ENVIRONMENTS, namespaces))

    async def get_environments(self, namespace: str) -> Body | None:
        """Return what runs of a namespace are told, whoever wrote it; None where nothing is."""
        return await self._to.get(_path(_ENVIRONMENTS, namespace, ENVIRONMENTS))

    async def apply_environments(self, body: Body) -> Body:
        """Apply RunEnvironments, as `apply_config_map` does; returns them as they are then."""
        return await self._to.apply(_path_of(_ENVIRONMENTS, body), body)

    async def delete_environments(
        self, *, namespace: str, name: str, uid: str, resource_version: str | None = None
    ) -> bool:
        """Delete RunEnvironments, or only this version; returns whether that one is gone."""
        path = _path(_ENVIRONMENTS, namespace, name)
        return await self._to.delete(path, uid=uid, resource_version=resource_version)

    # ConfigMaps and Secrets

    def each_config_map(
        self, *, namespaces: Sequence[str] = (), selector: str
    ) -> AsyncIterator[Body]:
        """Iterate over ConfigMaps by label, of the named namespaces or, with none, of all, a page
        at a time."""
        return self._to.each(_lists(_CONFIG_MAPS, namespaces), selector=selector)

    async def get_config_map(self, namespace: str, name: str) -> Body | None:
        """Return a ConfigMap, whoever owns it; None where there is none."""
        return await self._to.get(_path(_CONFIG_MAPS, namespace, name))

    async def apply_config_map(self, body: Body) -> Body:
        """Apply a ConfigMap; returns it as the server now has it.

        With a uid and a resource version it is refused (404, 409 or 422) where that version is not
        there.
        """
        return await self._to.apply(_path_of(_CONFIG_MAPS, body), body)

    async def delete_config_map(
        self, *, namespace: str, name: str, uid: str, resource_version: str | None = None
    ) -> bool:
        """Delete a ConfigMap, or only this version of it; returns whether that one is gone."""
        path = _path(_CONFIG_MAPS, namespace, name)
        return await self._to.delete(path, uid=uid, resource_version=resource_version)

    async def get_secret(self, namespace: str, name: str) -> Body | None:
        """Return a Secret; None where there is none."""
        return await self._to.get(_path(_SECRETS, namespace, name))

    async def apply_secret(self, body: Body) -> Body:
        """Apply a Secret, as `apply_config_map` does; returns it as the server now has it."""
        return await self._to.apply(_path_of(_SECRETS, body), body)

    async def delete_secret(
        self, *, namespace: str, name: str, uid: str, resource_version: str | None = None
    ) -> None:
        """Delete a Secret, or only this version of it."""
        path = _path(_SECRETS, namespace, name)
        await self._to.delete(path, uid=uid, resource_version=resource_version)

    # Pods

    async def list_pods(self, *, namespaces: Sequence[str] = (), selector: str) -> list[Body]:
        """Return pods by label, of the named namespaces or, with none, of all: what they are
        called, whose they are, which images they run and how they are."""
        pods = self._to.each(_lists(_PODS, namespaces), selector=selector)
        return [_brief(one) async for one in pods]

    async def get_pod(self, namespace: str, name: str) -> Body | None:
        """Return a pod; None where there is none."""
        return await self._to.get(_path(_PODS, namespace, name))

    async def pod_log(
        self, namespace: str, name: str, *, container: str, limit: int, lines: int | None = None
    ) -> str:
        """Return the first `limit` bytes that a container wrote, or of its last `lines`; empty
        where it never ran or is gone."""
        path = f"{_path(_PODS, namespace, name)}/log"
        query = [("container", container), ("limitBytes", str(limit))]
        query += [("tailLines", str(lines))] if lines else []
        try:
            data = await self._to.request_bytes("GET", path, query=query)
        except ClusterError as error:
            if error.status in {400, 404}:  # never started, or gone
                return ""
            raise
        return data.decode(errors="replace")

    async def create_pod(self, body: Body) -> Body:
        """Create a pod; 409 where there is one of its name."""
        path = _path(_PODS, body["metadata"]["namespace"])
        return await self._to.request("POST", path, body=body)

    async def delete_pod(self, *, namespace: str, name: str, uid: str) -> None:
        """Delete a pod at once."""
        await self._to.delete(_path(_PODS, namespace, name), uid=uid, gracePeriodSeconds=0)

    # Leases

    async def get_lease(self, namespace: str, name: str) -> Body | None:
        """Return a Lease; None where there is none."""
        return await self._to.get(_path(_LEASES, namespace, name))

    async def create_lease(self, body: Body) -> Body:
        """Create a Lease; 409 where there is one."""
        path = _path(_LEASES, body["metadata"]["namespace"])
        return await self._to.request("POST", path, body=body)

    async def replace_lease(self, body: Body) -> Body:
        """Replace a Lease; 409 where it has changed since the version in `body`."""
        return await self._to.request("PUT", _path_of(_LEASES, body), body=body)

    async def delete_lease(
        self, *, namespace: str, name: str, uid: str, resource_version: str
    ) -> None:
        """Delete a Lease if it is still this version of it."""
        path = _path(_LEASES, namespace, name)
        await self._to.delete(path, uid=uid, resource_version=resource_version)


def _set_body(namespace: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
    }


def _brief(pod: Body) -> Body:
    """A pod without what makes it long: there may be many."""
    return {
        "metadata": {name: pod["metadata"].get(name) for name in _POD_META},
        "spec": {
            "containers": [
                {"name": one["name"], "image": one["image"]} for one in pod["spec"]["containers"]
            ]
        },
        "status": pod.get("status") or {},
    }


def _lists(kind: tuple[str, str], namespaces: Sequence[str]) -> list[str]:
    """The paths that list a kind, in the named namespaces or, with none, in all."""
    return [_path(kind, one) for one in namespaces] or ["/".join(kind)]


def _path_of(kind: tuple[str, str], body: Body) -> str:
    return _path(kind, body["metadata"]["namespace"], body["metadata"]["name"])


def _path(kind: tuple[str, str], namespace: str, name: str = "") -> str:
    """The path of an object, or of a namespace's list.

    A slash in a name, which a pool's template may hold, does not divide the path.
    """
    path = f"{kind[0]}/namespaces/{quote(namespace, safe='')}/{kind[1]}"
    return f"{path}/{quote(name, safe='')}" if name else path


def _ended(status: Body) -> ClusterError:
    """Why a watch ended, as its last event says."""
    code, reason = status.get("code"), str(status.get("reason", "Unknown"))
    text = str(status.get("message", "the watch has ended"))
    return ClusterError(code if isinstance(code, int) else 500, reason, text)


def _failed_install(pod: Body) -> FailedInstall | None:
    """Return the failure of a run's install container; None where it did not fail."""
    status, volumes = pod.get("status") or {}, (pod.get("spec") or {}).get("volumes") or ()
    found = (one for one in status.get("initContainerStatuses") or ())
    install = next((one for one in found if one.get("name") == INSTALL_CONTAINER), None)
    if install is None:
        return None
    state = install.get("state") or {}
    end = state.get("terminated") or {}
    evicted = status.get("reason") == "Evicted"
    if not (end.get("exitCode") or (evicted and "terminated" not in state)):
        return None
    killed = ""
    if end.get("reason") == "OOMKilled":
        killed = "memory"
    elif evicted and _DISK.search(message := str(status.get("message", ""))):
        killed = f"disk ({shorten(printable(message), _LONGEST)})"
    locks = (one.get("configMap") for one in volumes if one.get("name") == LOCK_VOLUME)
    return FailedInstall(
        str(pod["metadata"]["namespace"]),
        pod=str(pod["metadata"].get("name", "")),
        lock=next((str((one or {}).get("name", "")) for one in locks), ""),
        killed=killed,
    )
