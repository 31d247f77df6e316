"""Kubernetes: the few requests that the operator makes.

Bodies go in and come out as plain JSON mappings. What we write is applied
server-side under one field manager, so that each write says only what we own,
and applying the same again changes nothing. Writes to sets carry the set's uid:
a set that was deleted and made anew meanwhile is never touched by mistake.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio import client, config

from flowdeps.api.resource import GROUP, KIND, PLURAL, VERSION

FIELD_MANAGER = "flowdeps"
API_VERSION = f"{GROUP}/{VERSION}"

Body = Mapping[str, Any]

_TIMEOUT_SECONDS = 30
_PAGE = 500
_APPLY = "application/apply-patch+yaml"


class ClusterError(Exception):
    """A request that the API server refused or did not answer.

    `status` is the HTTP status, 0 where there was no answer; `reason` is the
    server's (`NotFound`, `Conflict`, `Forbidden`, …).
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Login:
    """Where the API server is and what proves us to it; paths of PEM files, or None."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None
    verify: bool


class Cluster:
    """A client for one cluster; made by `connect`, bound to one event loop."""

    def __init__(self, api: Any, *, observe: Callable[[str, str], None]) -> None:
        self._api = api
        self._observe = observe

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, *, observe: Callable[[str, str], None] = lambda _method, _outcome: None
    ) -> AsyncIterator[Self]:
        """Connect by KUBECONFIG or ~/.kube/config, in a pod by its service account.

        `observe` is told the method and outcome (HTTP status or `error`) of each
        request. Raises ClusterError where there is no usable configuration.
        """
        settings = client.Configuration()
        await _load(settings)
        try:
            made = client.ApiClient(configuration=settings)
        except OSError as error:  # certificates that are none
            raise _unusable(str(error)) from None
        async with made as api:
            yield cls(api, observe=observe)

    async def login(self) -> Login:
        """How we are logged in now, read anew: tokens of service accounts and of
        kubeconfig's plugins expire."""
        settings = self._api.configuration
        await _load(settings)
        token = await settings.get_api_key_with_prefix("BearerToken", alias="authorization")
        return Login(
            server=settings.host,
            ca_path=settings.ssl_ca_cert,
            certificate_path=settings.cert_file,
            private_key_path=settings.key_file,
            token=token.removeprefix("Bearer ") if token else None,
            verify=settings.verify_ssl,
        )

    # Reading

    async def list_sets(self, namespaces: Sequence[str] = ()) -> list[Body]:
        """All dependency sets, of the named namespaces or, with none, of all."""
        prefix = f"/apis/{API_VERSION}"
        paths = [f"{prefix}/namespaces/{_part(n)}/{PLURAL}" for n in namespaces]
        found = await self._list(paths or [f"{prefix}/{PLURAL}"], selector="")
        # Items of a list carry no kind of their own.
        return [{"apiVersion": API_VERSION, "kind": KIND, **item} for item in found]

    async def list_config_maps(
        self, *, namespaces: Sequence[str] = (), selector: str
    ) -> list[Body]:
        """ConfigMaps by label, of the named namespaces or, with none, of all."""
        paths = [f"/api/v1/namespaces/{_part(n)}/configmaps" for n in namespaces]
        return await self._list(paths or ["/api/v1/configmaps"], selector=selector)

    async def get_config_map(self, namespace: str, name: str) -> Body | None:
        """One ConfigMap, whoever owns it; None where there is none."""
        try:
            return await self._request("GET", _config_map(namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    # Writing

    async def apply_config_map(self, body: Body) -> Body:
        """Apply a ConfigMap; returns it as the server now has it."""
        meta = body["metadata"]
        return await self._apply(_config_map(meta["namespace"], meta["name"]), body)

    async def delete_config_map(self, *, namespace: str, name: str, uid: str) -> None:
        """Delete a ConfigMap if it is still the one with that uid."""
        body = {"preconditions": {"uid": uid}}
        try:
            await self._request("DELETE", _config_map(namespace, name), body=body)
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise

    async def apply_status(self, *, namespace: str, name: str, uid: str, status: Body) -> Body:
        """Apply a set's whole status; returns the set."""
        return await self._apply(
            f"{_set(namespace, name)}/status",
            {**_identity(namespace, name, uid), "status": status},
        )

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
                "note": note[:1024],
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

    async def _apply(self, path: str, body: Body) -> Body:
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self._request("PATCH", path, query=query, body=body, content=_APPLY)

    async def _list(self, paths: Sequence[str], *, selector: str) -> list[Body]:
        found: list[Body] = []
        for path in paths:
            token = ""
            while True:
                query = [("limit", str(_PAGE))]
                query += [("labelSelector", selector)] if selector else []
                query += [("continue", token)] if token else []
                page = await self._request("GET", path, query=query)
                found += page["items"]
                token = page["metadata"].get("continue", "")
                if not token:
                    break
        return found

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Body | None = None,
        content: str = "application/json",
    ) -> Body:
        try:
            status, data = await self._send(method, path, query=query, body=body, content=content)
            if status == 401:
                await self.login()
                status, data = await self._send(
                    method, path, query=query, body=body, content=content
                )
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:  # noqa: UP041
            self._observe(method, "error")
            cause = str(error) or type(error).__name__
            raise ClusterError(
                0, "Unreachable", f"the API server did not answer: {cause}"
            ) from None
        self._observe(method, str(status))
        if not 200 <= status < 300:
            raise _refusal(status, data, what=f"{method} {path}")
        if answer := _mapping(data):
            return answer
        raise ClusterError(
            0, "Unknown", f"what answered {method} {path} is not a Kubernetes API server"
        )

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
        response = await self._api.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
        return response.status, await response.read()


async def _load(settings: Any) -> None:
    file = os.environ.get("KUBECONFIG")
    in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and not file
    if not in_pod and not any(map(os.path.exists, _kubeconfig().split(os.pathsep))):
        raise _unusable("there is no such file; set KUBECONFIG")
    try:
        if in_pod:
            config.load_incluster_config(client_configuration=settings)
        else:
            # Named here: the library reads the variable only when it is imported.
            await config.load_kube_config(config_file=file, client_configuration=settings)
    except (AttributeError, KeyError, TypeError):
        raise _unusable("it is not a kubeconfig file") from None
    except Exception as error:  # whatever else the library stumbles over in it
        raise _unusable(" ".join(str(error).split())) from None


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")


def _unusable(why: str) -> ClusterError:
    text = f"no usable cluster configuration in {_kubeconfig()}: {why}"
    return ClusterError(0, "NoConfiguration", text)


def _mapping(data: bytes) -> dict[str, Any]:
    """A JSON object; empty for anything else, such as a proxy's page."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(status: int, data: bytes, *, what: str) -> ClusterError:
    answer = _mapping(data)
    message = answer.get("message") or f"{what} was answered with {status}"
    gone = status == 409 and "uid mismatch" in message
    anew = status == 422 and "metadata.uid: Invalid value" in message
    if gone or anew:
        return ClusterError(404, "NotFound", message)
    return ClusterError(status, answer.get("reason") or "Unknown", message)


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
