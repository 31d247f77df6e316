"""Requests to the API server, and nothing about what they are for.

Writes pass the fence, every request is measured, and one that is answered with 401 is made once
more with a login that was read anew.

No answer is held that is longer than a limit. A page of a list may have objects of any size, so it
is cut off at its limit and asked for again with fewer objects; where they are small, pages grow.

An API server that has too much to do says when to come back (Retry-After). Nothing is asked of it
before that time, neither by the request that was refused nor by another one; a request waits a few
seconds, then it fails without being sent, and the caller's own pauses go on from there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import aiohttp

from flowdeps.api.names import FIELD_MANAGER
from flowdeps.clients.fence import Fence, FenceClosedError
from flowdeps.clients.kubernetes.errors import (
    ClusterError,
    TooLongError,
    json_object,
    refusal,
)
from flowdeps.clients.kubernetes.login import load
from flowdeps.scheduling.clock import Clock, loop_time

Body = Mapping[str, Any]
Query = Sequence[tuple[str, str]]

Observe = Callable[[str, str, float], None]
"""Called with the method, the outcome (HTTP status or `error`) and the seconds of each request."""

PAGE = 500
"""Objects that a list brings at once, at most."""
PAGE_BYTES = 4 * 2**20
"""Bytes of a page with more than one object."""
ANSWER_BYTES = 32 * 2**20
"""Bytes of any other answer. An object has up to 1.5 MiB in etcd, and six times that in JSON."""

_FIRST_PAGE = 32
_TIMEOUT_SECONDS = 30
_WATCH_SECONDS = 600
_TRIES = 4
_PATIENCE_SECONDS = 10.0
"""How long a request waits, in all, for an API server that asks us to come back later."""
_LONGEST_PAUSE = 60.0
_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"


@dataclass
class Transport:
    """Makes requests by the library's client `api`."""

    api: Any
    observe: Observe
    fence: Fence
    clock: Clock = loop_time
    _not_before: float = float("-inf")  # by the clock, as the API server has asked

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
        limit = min(_FIRST_PAGE, PAGE)
        for path in paths:
            token = ""
            while True:
                query = [("limit", str(limit))]
                query += [("labelSelector", selector)] if selector else []
                query += [("continue", token)] if token else []
                most = PAGE_BYTES if limit > 1 else ANSWER_BYTES
                try:
                    data = await self.request_bytes("GET", path, query=query, most=most)
                except TooLongError:
                    if limit == 1:
                        raise
                    limit = max(1, limit // 4)
                    continue
                if len(data) < PAGE_BYTES // 4:
                    limit = min(PAGE, limit * 2)
                page = _parse(data, what=f"GET {path}")
                del data
                token = page["metadata"].get("continue", "")
                for item in page["items"]:
                    yield item
                del page
                if not token:
                    break

    async def watch(
        self, path: str, *, selector: str, labels: str = "", since: str = ""
    ) -> AsyncIterator[Body]:
        """Iterate over what happens to objects, by fields and labels: first over all that there
        are, or from the version `since` on.

        An empty object comes before, once the watch is there. It ends after some minutes.
        """
        query = [("watch", "true"), ("fieldSelector", selector)]
        query += [("labelSelector", labels)] if labels else []
        query += [("resourceVersion", since)] if since else []
        query += [("timeoutSeconds", str(_WATCH_SECONDS))]
        start, what = self.clock(), f"GET {path}"
        await self._wait(what, until=start + _PATIENCE_SECONDS)
        try:
            async with self._open(path, query) as response:
                self.observe("GET", str(response.status), self.clock() - start)
                if response.status != 200:
                    raise refusal(response.status, await response.content.read(2**16), what=what)
                yield {}
                data = bytearray()
                async for part in response.content.iter_any():
                    data += part
                    if b"\n" in part:  # the end of an event, which may be long
                        *lines, data = data.split(b"\n")
                        for line in lines:
                            yield _parse(bytes(line), what=what)
                    if len(data) > ANSWER_BYTES:
                        raise TooLongError(f"{what} brought more than {ANSWER_BYTES} bytes at once")
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:  # noqa: UP041
            cause = str(error) or type(error).__name__
            raise ClusterError(0, "Unreachable", f"the watch has ended: {cause}") from None

    @asynccontextmanager
    async def _open(self, path: str, query: Query) -> AsyncIterator[Any]:
        """A request whose answer is read as it comes; with a login that was read anew if needed."""
        for again in (True, False):
            request = await self.api.param_serialize(
                "GET",
                path,
                query_params=list(query),
                header_params={"Accept": _JSON},
                auth_settings=["BearerToken"],
            )
            answer = await self.api.call_api(
                *request, _request_timeout=_WATCH_SECONDS + _TIMEOUT_SECONDS
            )
            async with answer.response as response:
                if response.status == 401 and again:
                    await load(self.api.configuration)
                    continue
                yield response
                response.close()  # nobody reads the rest of it
                return

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
        return _parse(await self.request_bytes(method, path, **more), what=f"{method} {path}")

    async def request_bytes(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Body | None = None,
        content: str = _JSON,
        most: int = ANSWER_BYTES,
    ) -> bytes:
        """Make a request; returns the answer, of `most` bytes. Raises ClusterError."""
        start = self.clock()
        what = f"{method} {path}"
        for tries in range(1, _TRIES + 1):
            await self._wait(what, until=start + _PATIENCE_SECONDS)
            try:
                answer = await self._send(method, path, query, body, content, most)
                if answer.status == 401:
                    await load(self.api.configuration)
                    answer = await self._send(method, path, query, body, content, most)
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:  # noqa: UP041
                self.observe(method, "error", self.clock() - start)
                cause = str(error) or type(error).__name__
                raise ClusterError(
                    0, "Unreachable", f"the API server did not answer: {cause}"
                ) from None
            except FenceClosedError as error:
                raise ClusterError(0, "NotActive", str(error)) from None
            self.observe(method, str(answer.status), self.clock() - start)
            if answer.later is None:
                break
            self._not_before = max(self._not_before, self.clock() + answer.later)
            if tries == _TRIES:
                break
        if not 200 <= answer.status < 300:
            raise refusal(answer.status, answer.data, what=what)
        if answer.is_cut_off:
            raise TooLongError(f"{what} was answered with more than {most} bytes")
        return answer.data

    async def _wait(self, what: str, *, until: float) -> None:
        """Wait until the API server may be asked; not longer than `until`."""
        while (pause := self._not_before - self.clock()) > 0:
            if self._not_before > until:
                text = f"{what} is not sent: the API server asks for a pause of {pause:.0f} s"
                raise ClusterError(429, "TooManyRequests", text)
            await asyncio.sleep(pause)

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: Body | None,
        content: str,
        most: int,
    ) -> "_Answer":
        request = await self.api.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Accept": _JSON, "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        async with nullcontext() if method == "GET" else self.fence.write():
            answer = await self.api.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
            async with answer.response as response:
                data = bytearray()
                async for part in response.content.iter_any():
                    data += part
                    if len(data) > most:
                        response.close()  # nobody reads the rest of it
                        break
            later = _retry_after(response.status, response.headers.get("Retry-After"))
            cut_off = len(data) > most
            return _Answer(response.status, b"" if cut_off else bytes(data), cut_off, later)


@dataclass(frozen=True)
class _Answer:
    status: int
    data: bytes
    is_cut_off: bool
    later: float | None
    """In how many seconds to come back; None: the server does not ask for that."""


def _retry_after(status: int, header: str | None) -> float | None:
    """Read when to come back. Only what the server did not carry out has this header."""
    if header is None or not header.isdecimal() or not (status == 429 or status >= 500):
        return None
    return min(float(header), _LONGEST_PAUSE)


def _parse(data: bytes, *, what: str) -> Body:
    if answer := json_object(data):
        return answer
    raise ClusterError(0, "Unknown", f"what answered {what} is not a Kubernetes API server")
