"""What Prefect is told of locks: artifacts, one page for each key of a pool, and events.

Requests are made here, and not by the methods of Prefect's client: those emit events of their own
beside them, from a thread that goes by the environment's settings.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.events.filters import EventFilter, EventIDFilter

from flowdeps.clients.fence import Fence
from flowdeps.clients.prefect.errors import Observe, request
from flowdeps.scheduling.clock import Clock, loop_time

_AT_ONCE = 5
"""Artifacts in one answer: each may have a megabyte."""
_DEPLOYMENTS = 50
"""Named in one event, which takes 100 resources."""


@dataclass(frozen=True)
class Artifact:
    """One version of an artifact."""

    id: str
    key: str
    data: str
    """Empty where it is no text."""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment, as far as an event names it."""

    id: str
    name: str
    pool: str
    tags: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class PrefectEvent:
    """An event as Prefect takes it; `id` is the same each time that it is sent."""

    id: UUID
    name: str
    occurred: datetime
    resource: Mapping[str, str]
    related: Sequence[Mapping[str, str]]
    payload: Mapping[str, Any]


def writes(method: str, path: str) -> bool:
    """Return whether a request changes something in Prefect; much of what is read is posted."""
    posted = method == "POST" and path.endswith(("/artifacts/", "/events"))
    return posted or method in {"PATCH", "DELETE"}


@dataclass
class Announcements:
    """The requests for artifacts and events."""

    api: PrefectClient
    observe: Observe
    fence: Fence
    clock: Clock = loop_time

    async def count_artifacts(self, prefix: str) -> int:
        """Return how many keys of artifacts begin with a prefix."""
        async with self._announcing("GET"):
            answer = await self.api.request(
                "POST", "/artifacts/latest/count", json={"artifacts": _like(prefix)}
            )
            return int(answer.json())

    async def artifacts(self, prefix: str, *, offset: int = 0) -> list[Artifact]:
        """Return some of the latest artifacts whose keys begin with a prefix, by key; none where
        there are no more."""
        query = {"artifacts": _like(prefix), "sort": "KEY_ASC", "offset": offset}
        return await self._latest({**query, "limit": _AT_ONCE})

    async def latest_artifact(self, key: str) -> Artifact | None:
        """Return the latest artifact of a key; None where there is none."""
        # By a list: a proxy also answers 404, while Prefect restarts behind it.
        found = await self._latest({"artifacts": {"key": {"any_": [key]}}, "limit": 1})
        return found[0] if found else None

    async def _latest(self, query: Mapping[str, Any]) -> list[Artifact]:
        async with self._announcing("GET"):
            answer = await self.api.request("POST", "/artifacts/latest/filter", json=dict(query))
            return [_artifact(one, one["latest_id"]) for one in answer.json()]

    async def older_artifacts(self, key: str, *, beyond: int) -> list[str]:
        """Return ids of artifacts of a key that are not among its newest ones, some at a time."""
        query = {
            "artifacts": {"key": {"any_": [key]}},
            "sort": "CREATED_DESC",
            "offset": beyond,
            "limit": _AT_ONCE,
        }
        async with self._announcing("GET"):
            answer = await self.api.request("POST", "/artifacts/filter", json=query)
            return [str(one["id"]) for one in answer.json()]

    async def write_artifact(self, key: str, data: str, *, description: str, id: str = "") -> None:  # noqa: A002
        """Write a page: in place of the artifact `id`, or as the latest one of its key.

        Raises RefusedError where Prefect takes none like it.
        """
        page = {"data": data, "description": description}
        method, path = ("PATCH", f"/artifacts/{UUID(id)}") if id else ("POST", "/artifacts/")
        body = page if id else {**page, "key": key, "type": "markdown"}
        async with self._announcing(method), self.fence.write():
            await self.api.request(method, path, json=body)  # type: ignore[arg-type]

    async def delete_artifact(self, id: str) -> None:  # noqa: A002
        """Delete one version of an artifact, if it is there."""
        async with self._announcing("DELETE"), self.fence.write():
            try:
                await self.api.request("DELETE", f"/artifacts/{UUID(id)}")  # type: ignore[arg-type]
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.NOT_FOUND:
                    raise

    async def has_event(self, id: UUID) -> bool:  # noqa: A002
        """Return whether Prefect has an event."""
        async with self._announcing("GET"):
            wanted = EventFilter(id=EventIDFilter(id=[id]))
            return bool((await self.api.read_events(wanted, limit=1)).events)

    async def emit(self, event: PrefectEvent) -> None:
        """Send an event. Raises RefusedError where Prefect takes none like it."""
        body = {
            "id": str(event.id),
            "event": event.name,
            "occurred": event.occurred.isoformat(),
            "resource": dict(event.resource),
            "related": [dict(one) for one in event.related],
            "payload": dict(event.payload),
        }
        async with self._announcing("POST"), self.fence.write():
            await self.api.request("POST", "/events", json=[body])

    async def tagged_deployments(
        self, pools: Collection[str], tags: Collection[str]
    ) -> list[Deployment]:
        """Return up to 50 deployments of some pools that have one of some tags."""
        async with self._announcing("GET"):
            found = await self.api.read_deployments(
                work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=sorted(pools))),
                deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(any_=sorted(tags))),
                limit=_DEPLOYMENTS,
            )
        return [
            Deployment(
                id=str(one.id),
                name=one.name,
                pool=one.work_pool_name or "",
                tags=frozenset(one.tags),
            )
            for one in found
        ]

    def _request(self, method: str) -> AbstractAsyncContextManager[None]:
        return request(method, observe=self.observe, clock=self.clock)

    def _announcing(self, method: str) -> AbstractAsyncContextManager[None]:
        return request(method, observe=self.observe, clock=self.clock, announcing=True)


def _like(prefix: str) -> dict[str, Any]:
    return {"key": {"like_": f"{prefix}%"}}


def _artifact(found: Mapping[str, Any], id: str) -> Artifact:  # noqa: A002
    data = found.get("data")
    return Artifact(
        id=str(id),
        key=str(found.get("key") or ""),
        data=data if isinstance(data, str) else "",
        description=str(found.get("description") or ""),
    )
