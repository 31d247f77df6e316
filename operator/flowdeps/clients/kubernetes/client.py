"""The requests, one method each."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client

from flowdeps import __version__
from flowdeps.api.names import API_VERSION, FIELD_MANAGER, GROUP, KIND, PLURAL
from flowdeps.clients.fence import Fence, FenceClosedError
from flowdeps.clients.kubernetes.errors import ClusterError, refusal
from flowdeps.clients.kubernetes.login import Login, load, unusable
from flowdeps.clients.kubernetes.rights import IDENTITY, Right

Body = Mapping[str, Any]
Observe = Callable[[str, str, float], None]

_TIMEOUT_SECONDS = 30
_PAGE = 500
_NOTE_BYTES = 1024
_APPLY = "application/apply-patch+yaml"


class Cluster:
    """A client for one cluster; made by `connect`, bound to one event loop."""

    def __init__(self, api: Any, *, observe: Observe, fence: Fence | None = None) -> None:
        self._api = api
        self._observe = observe
        self._fence = fence or Fence.open()

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

        `observe` is told the method, outcome (HTTP status or `error`) and seconds of each
        request; `fence` stands before writes; `identity` tells audit logs who we are.
        Raises ClusterError where there is no usable configuration.
        """
        settings = client.Configuration()
        await load(settings)
        try:
            made = client.ApiClient(configuration=settings)
        except OSError as error:  # certificates that are none
            raise unusable(str(error)) from None
        made.user_agent = f"flowdeps/{__version__}" + (f" ({identity})" if identity else "")
        async with made as api:
            yield cls(api, observe=observe, fence=fence)

    async def login(self) -> Login:
        """How we are logged in now, read anew: tokens of service accounts and of
        kubeconfig's plugins expire."""
        settings = self._api.configuration
        await load(settings)
        token = await settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        return Login(
            server=settings.host,
            ca_path=settings.ssl_ca_cert,
            certificate_path=settings.cert_file,
            private_key_path=settings.key_file,
            token=token.split(" ", 1)[-1] if token else None,  # after "Bearer", or "bearer" in pods
            verify=settings.verify_ssl,
        )

    # Asking

    async def serves_sets(self) -> bool:
        """Whether the resource is installed."""
        return await self._get(f"/apis/{API_VERSION}") is not None

    async def identity(self) -> str:
        """The cluster's own name for good: the uid of kube-system; empty where we may not look."""
        try:
            body = await self._get(f"/api/v1/namespaces/{IDENTITY.name}")
        except ClusterError as error:
            if error.status == 403:
                return ""
            raise
        return str(body["metadata"]["uid"]) if body else ""

    async def may(self, right: Right) -> bool:
        """Whether we are allowed something."""
        resource, _, part = right.resource.partition("/")
        attributes = {
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": part,
            "namespace": right.namespace,
            "name": right.name,
        }
        answer = await self._request(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={"spec": {"resourceAttributes": attributes}},
        )
        return bool(answer["status"]["allowed"])

    # Reading

    async def list_sets(self, namespaces: Sequence[str] = ()) -> list[Body]:
        """All dependency sets, of the named namespaces or, with none, of all."""
        return [one async for one in self.each_set(namespaces)]

    async def each_set(self, namespaces: Sequence[str] = ()) -> AsyncIterator[Body]:
        """The same, of which no more than a page is held at once."""
        prefix = f"/apis/{API_VERSION}"
        paths = [f"{prefix}/namespaces/{_part(n)}/{PLURAL}" for n in namespaces]
        async for item in self._each(paths or [f"{prefix}/{PLURAL}"], selector=""):
            # Items of a list carry no kind of their own.
            yield {"apiVersion": API_VERSION, "kind": KIND, **item}

    def each_config_map(
        self, *, namespaces: Sequence[str] = (), selector: str
    ) -> AsyncIterator[Body]:
        """ConfigMaps by label, of the named namespaces or, with none, of all; no more than a page
        of them is held at once."""
        paths = [f"/api/v1/namespaces/{_part(n)}/configmaps" for n in namespaces]
        return self._each(paths or ["/api/v1/configmaps"], selector=selector)

    async def get_config_map(self, namespace: str, name: str) -> Body | None:
        """One ConfigMap, whoever owns it; None where there is none."""
        return await self._get(_config_map(namespace, name))

    async def get_secret(self, namespace: str, name: str) -> Body | None:
        """One Secret; None where there is none."""
        return await self._get(_secret(namespace, name))

    async def get_pod(self, namespace: str, name: str) -> Body | None:
        """One pod; None where there is none."""
        return await self._get(_pod(namespace, name))

    async def list_pods(self, *, namespaces: Sequence[str] = (), selector: str) -> list[Body]:
        """Pods by label, of the named namespaces or, with none, of all."""
        paths = [f"/api/v1/namespaces/{_part(n)}/pods" for n in namespaces]
        return [one async for one in self._each(paths or ["/api/v1/pods"], selector=selector)]

    async def get_lease(self, namespace: str, name: str) -> Body | None:
        """One Lease; None where there is none."""
        return await self._get(_lease(namespace, name))

    async def list_events(self, namespace: str, uid: str) -> list[Body]:
        """The events about one object, as many as a page has."""
        path = f"/api/v1/namespaces/{_part(namespace)}/events"
        query = [("fieldSelector", f"involvedObject.uid={uid}"), ("limit", str(_PAGE))]
        page = await self._request("GET", path, query=query)
        found: list[Body] = page["items"]
        return found

    async def pod_log(self, namespace: str, name: str, *, container: str, limit: int) -> str:
        """The first `limit` bytes that a container wrote; empty where it never ran or is gone."""
        path = f"{_pod(namespace, name)}/log"
        query = [("container", container), ("limitBytes", str(limit))]
        try:
            return await self._request_text("GET", path, query=query)
        except ClusterError as error:
            if error.status in {400, 404}:  # never started, or gone
                return ""
            raise

    # Writing

    async def apply_config_map(self, body: Body) -> Body:
        """Apply a ConfigMap; returns it as the server now has it."""
        meta = body["metadata"]
        return await self._apply(_config_map(meta["namespace"], meta["name"]), body)

    async def delete_config_map(
        self, *, namespace: str, name: str, uid: str, resource_version: str | None = None
    ) -> bool:
        """Delete a ConfigMap if it is still the one with that uid and, where one is given, this
        version of it; returns whether that one is gone."""
        path = _config_map(namespace, name)
        return await self._delete(path, uid=uid, resource_version=resource_version)

    async def apply_secret(self, body: Body) -> Body:
        """Apply a Secret; returns it as the server now has it."""
        meta = body["metadata"]
        return await self._apply(_secret(meta["namespace"], meta["name"]), body)

    async def delete_secret(self, *, namespace: str, name: str, uid: str) -> None:
        """Delete a Secret if it is still the one with that uid."""
        await self._delete(_secret(namespace, name), uid=uid)

    async def create_pod(self, body: Body) -> Body:
        """Create a pod; 409 where one of its name is there."""
        path = f"/api/v1/namespaces/{_part(body['metadata']['namespace'])}/pods"
        return await self._request("POST", path, body=body)

    async def delete_pod(self, *, namespace: str, name: str, uid: str) -> None:
        """Delete a pod at once if it is still the one with that uid."""
        await self._delete(_pod(namespace, name), uid=uid, gracePeriodSeconds=0)

    async def create_lease(self, body: Body) -> Body:
        """Create a Lease; 409 where there is one."""
        path = _lease(body["metadata"]["namespace"])
        return await self._request("POST", path, body=body)

    async def replace_lease(self, body: Body) -> Body:
        """Replace a Lease; 409 where it is another by now than the version in `body`."""
        meta = body["metadata"]
        return await self._request("PUT", _lease(meta["namespace"], meta["name"]), body=body)

    async def delete_lease(
        self, *, namespace: str, name: str, uid: str, resource_version: str
    ) -> None:
        """Delete a Lease if it is still this version of it."""
        await self._delete(_lease(namespace, name), uid=uid, resource_version=resource_version)

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

        With a resource version it is refused (409) where the set is another by now:
        of a status the server does not compare the uid.
        """
        body = _identity(namespace, name, uid)
        if resource_version is not None:
            body["metadata"]["resourceVersion"] = resource_version
        return await self._apply(f"{_set(namespace, name)}/status", {**body, "status": status})

    async def apply_finalizers(
        self, *, namespace: str, name: str, uid: str, finalizers: Sequence[str]
    ) -> Body:
        """Apply which finalizers of a set are ours; returns the set."""
        body = _identity(namespace, name, uid)
        body["metadata"]["finalizers"] = list(finalizers)
        return await self._apply(_set(namespace, name), body)

    async def create_event(
        self, *, regarding: Body, kind: str, reason: str, action: str, note: str
    ) -> None:
        """Post an event (kind `Normal` or `Warning`) about a set."""
        meta = regarding["metadata"]
        await self._request(
            "POST",
            f"/apis/events.k8s.io/v1/namespaces/{_part(meta['namespace'])}/events",
            body={
                "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]},
                "eventTime": datetime.now(UTC).isoformat(timespec="microseconds"),
                "reportingController": f"{GROUP}/operator",
                "reportingInstance": os.environ.get("HOSTNAME", "flowdeps")[:128],
                "type": kind,
                "reason": reason,
                "action": action,
                "note": note.encode()[:_NOTE_BYTES].decode(errors="ignore"),
                "regarding": {
                    "apiVersion": API_VERSION,
                    "kind": KIND,
                    "name": meta["name"],
                    "namespace": meta["namespace"],
                    "uid": meta["uid"],
                },
            },
        )

    # The one way to the server

    async def _get(self, path: str) -> Body | None:
        try:
            return await self._request("GET", path)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def _delete(
        self, path: str, *, uid: str, resource_version: str | None = None, **options: Any
    ) -> bool:
        version = {"resourceVersion": resource_version} if resource_version else {}
        body = {"preconditions": {"uid": uid, **version}, **options}
        try:
            await self._request("DELETE", path, body=body)
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise
            return error.status == 404
        return True

    async def _apply(self, path: str, body: Body) -> Body:
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._request("PATCH", path, query=query, body=body, content=_APPLY)

    async def _each(self, paths: Sequence[str], *, selector: str) -> AsyncIterator[Body]:
        for path in paths:
            token = ""
            while True:
                query = [("limit", str(_PAGE))]
                query += [("labelSelector", selector)] if selector else []
                query += [("continue", token)] if token else []
                page = await self._request("GET", path, query=query)
                for item in page["items"]:
                    yield item
                token = page["metadata"].get("continue", "")
                if not token:
                    break

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Body | None = None,
        content: str = "application/json",
    ) -> Body:
        data = await self._answer(method, path, query=query, body=body, content=content)
        if answer := _mapping(data):
            return answer
        raise ClusterError(
            0, "Unknown", f"what answered {method} {path} is not a Kubernetes API server"
        )

    async def _request_text(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]]
    ) -> str:
        data = await self._answer(method, path, query=query, body=None, content="application/json")
        return data.decode(errors="replace")

    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        body: Body | None,
        content: str,
    ) -> bytes:
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            status, data = await self._send(method, path, query=query, body=body, content=content)
            if status == 401:
                await self.login()
                status, data = await self._send(
                    method, path, query=query, body=body, content=content
                )
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:  # noqa: UP041
            self._observe(method, "error", clock() - start)
            cause = str(error) or type(error).__name__
            raise ClusterError(
                0, "Unreachable", f"the API server did not answer: {cause}"
            ) from None
        except FenceClosedError as error:
            raise ClusterError(0, "NotActive", str(error)) from None
        self._observe(method, str(status), clock() - start)
        if not 200 <= status < 300:
            raise refusal(status, data, what=f"{method} {path}")
        return data

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        body: Body | None,
        content: str,
    ) -> tuple[int, bytes]:
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Accept": "application/json", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        async with nullcontext() if method == "GET" else self._fence.write():
            response = await self._api.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
            return response.status, await response.read()


def _mapping(data: bytes) -> dict[str, Any]:
    """A JSON object; empty for anything else, such as a proxy's page."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _identity(namespace: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
    }


def _part(text: str) -> str:
    """One part of a path; a slash in a name, as a pool's template may hold, stays in it."""
    return quote(text, safe="")


def _set(namespace: str, name: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{_part(namespace)}/{PLURAL}/{_part(name)}"


def _config_map(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{_part(namespace)}/configmaps/{_part(name)}"


def _secret(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{_part(namespace)}/secrets/{_part(name)}"


def _pod(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{_part(namespace)}/pods/{_part(name)}"


def _lease(namespace: str, name: str = "") -> str:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{_part(namespace)}/leases"
    return f"{path}/{_part(name)}" if name else path
