"""Requests to the API server, and nothing about what they are for.

Writes pass the fence, every request is measured, and one that is answered with 401 is made once
more with a login that was read anew.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import aiohttp

from flowdeps.api.names import FIELD_MANAGER
from flowdeps.clients.fence import Fence, FenceClosedError
from flowdeps.clients.kubernetes.errors import ClusterError, json_object, refusal
from flowdeps.clients.kubernetes.login import load
from flowdeps.scheduling.clock import Clock, loop_time

Body = Mapping[str, Any]
Query = Sequence[tuple[str, str]]

Observe = Callable[[str, str, float], None]
"""Called with the method, the outcome (HTTP status or `error`) and the seconds of each request."""

PAGE = 500
"""Objects that a list brings at once."""

_TIMEOUT_SECONDS = 30
_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"


@dataclass
class Transport:
    """Makes requests by the library's client `api`."""

    api: Any
    observe: Observe
    fence: Fence
    clock: Clock = loop_time

    async def get(self, path: str) -> Body | None:
        """Return an object; None where there is none."""
        try:
            return await self.request("GET", path)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def each(self, paths: Sequence[str], *, selector: str = "") -> AsyncIterator[Body]:
        """Iterate over the objects of some lists, a page at a time."""
        for path in paths:
            token = ""
            while True:
                query = [("limit", str(PAGE))]
                query += [("labelSelector", selector)] if selector else []
                query += [("continue", token)] if token else []
                page = await self.request("GET", path, query=query)
                for item in page["items"]:
                    yield item
                token = page["metadata"].get("continue", "")
                if not token:
                    break

    async def apply(self, path: str, body: Body) -> Body:
        """Apply an object server-side; returns it as the server now has it."""
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        return await self.request("PATCH", path, query=query, body=body, content=_APPLY)

    async def delete(
        self, path: str, *, uid: str, resource_version: str | None = None, **options: Any
    ) -> bool:
        """Delete an object if it is still the one with that uid and, where one is given, that
        version; returns whether that one is gone."""
        version = {"resourceVersion": resource_version} if resource_version else {}
        body = {"preconditions": {"uid": uid, **version}, **options}
        try:
            await self.request("DELETE", path, body=body)
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise
            return error.status == 404
        return True

    async def request(self, method: str, path: str, **more: Any) -> Body:
        """Make a request as `request_bytes` does; returns the JSON object of the answer."""
        data = await self.request_bytes(method, path, **more)
        if answer := json_object(data):
            return answer
        raise ClusterError(
            0, "Unknown", f"what answered {method} {path} is not a Kubernetes API server"
        )

    async def request_bytes(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Body | None = None,
        content: str = _JSON,
    ) -> bytes:
        """Make a request; returns the answer. Raises ClusterError."""
        start = self.clock()
        try:
            status, data = await self._send(method, path, query, body, content)
            if status == 401:
                await load(self.api.configuration)
                status, data = await self._send(method, path, query, body, content)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:  # noqa: UP041
            self.observe(method, "error", self.clock() - start)
            cause = str(error) or type(error).__name__
            raise ClusterError(
                0, "Unreachable", f"the API server did not answer: {cause}"
            ) from None
        except FenceClosedError as error:
            raise ClusterError(0, "NotActive", str(error)) from None
        self.observe(method, str(status), self.clock() - start)
        if not 200 <= status < 300:
            raise refusal(status, data, what=f"{method} {path}")
        return data

    async def _send(
        self, method: str, path: str, query: Query, body: Body | None, content: str
    ) -> tuple[int, bytes]:
        request = await self.api.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Accept": _JSON, "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        async with nullcontext() if method == "GET" else self.fence.write():
            response = await self.api.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
            return response.status, await response.read()
