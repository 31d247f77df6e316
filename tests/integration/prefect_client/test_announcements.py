"""Artifacts and events, against a real Prefect server."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flowdeps.api.names import artifact_key
from flowdeps.clients.prefect.announcements import PrefectEvent
from flowdeps.clients.prefect.client import Pools
from flowdeps.clients.prefect.errors import PoolsError, RefusedError
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi

PREFIX = "flowdeps-"


@pytest.fixture
async def pools(
    prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Pools]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with temporary_settings({}, restore_defaults=[PREFECT_API_URL, PREFECT_API_AUTH_STRING]):
        async with Pools.connect(prefect_server.url) as one:
            yield one


@pytest.fixture
def key() -> str:
    return artifact_key(f"ml-{uuid.uuid4().hex[:8]}", pool="any")


async def test_a_page_has_versions_and_a_history_by_key(pools: Pools, key: str) -> None:
    """What is written is read to the letter, in place or as another version; a megabyte too. What
    is deleted leaves the version before as the latest one, and then nothing."""
    assert await pools.latest_artifact(key) is None
    count = await pools.count_artifacts(PREFIX)
    first = "# ml\n\n| ü | `x` |\n" + "0" * 1_100_000
    await pools.write_artifact(key, first, description="one")
    found = await pools.latest_artifact(key)
    assert found is not None
    assert (found.key, found.data, found.description) == (key, first, "one")
    await pools.write_artifact(key, "# changed", description="two", id=found.id)
    changed = await pools.latest_artifact(key)
    assert changed == replace(found, data="# changed", description="two")
    await pools.write_artifact(key, "# second", description="three")
    assert await pools.count_artifacts(PREFIX) == count + 1
    assert await pools.older_artifacts(key, beyond=1) == [found.id]
    second = await pools.latest_artifact(key)
    assert second is not None
    assert second.data == "# second"
    assert second in [one async for one in _all(pools)]
    await pools.delete_artifact(second.id)
    assert await pools.latest_artifact(key) == changed
    await pools.delete_artifact(found.id)
    await pools.delete_artifact(found.id)  # gone already
    assert await pools.latest_artifact(key) is None
    assert await pools.count_artifacts(PREFIX) == count


async def test_a_page_that_prefect_refuses_is_no_outage(pools: Pools) -> None:
    """A key that it takes from nobody: trying again is of no use."""
    with pytest.raises(RefusedError, match="422"):
        await pools.write_artifact("No Key", "# x", description="")


async def test_only_the_active_operator_writes(pools: Pools, key: str) -> None:
    """The fence is asked before each write, and not before what is read."""
    pools.fence.close()
    assert await pools.latest_artifact(key) is None
    assert not await pools.has_event(uuid.uuid4())
    writes: list[Callable[[], Awaitable[Any]]] = [
        lambda: pools.write_artifact(key, "# x", description=""),
        lambda: pools.delete_artifact(str(uuid.uuid4())),
        lambda: pools.emit(_event()),
    ]
    for write in writes:
        with pytest.raises(PoolsError, match="not the active one"):
            await write()
    assert await pools.latest_artifact(key) is None


async def test_an_event_is_kept_once(pools: Pools, prefect_api: PrefectApi) -> None:
    """With its labels and related resources; sent again, it is still one."""
    event = _event()
    assert not await pools.has_event(event.id)
    for _ in range(2):
        await pools.emit(event)
    async with asyncio.timeout(30):
        while not await pools.has_event(event.id):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    page = prefect_api.call("POST", "/events/filter", {"filter": {"id": {"id": [str(event.id)]}}})
    (kept,) = page["events"]
    assert kept["event"] == event.name
    assert kept["resource"] == dict(event.resource)
    assert kept["related"] == [dict(one) for one in event.related]
    assert kept["payload"] == dict(event.payload)


async def test_deployments_are_found_by_their_tag(
    pools: Pools, prefect_api: PrefectApi, key: str
) -> None:
    """Those of the pools, with one of the tags."""
    tag = f"flowdeps:{key}"
    ids: dict[str, str] = {}
    for pool, tags in (("a", [tag, "other"]), ("b", [tag]), ("a", ["other"]), ("c", [tag])):
        name = f"{key}-{pool}"
        if name not in ids:
            prefect_api.create_pool(name, image="x")
        made = prefect_api.deploy(f"d-{len(ids)}", pool=name)
        prefect_api.call("PATCH", f"/deployments/{made}", {"tags": tags})
        ids.setdefault(name, made)
    found = await pools.tagged_deployments([f"{key}-a", f"{key}-b"], [tag])
    assert {one.id: one.pool for one in found} == {
        ids[f"{key}-{pool}"]: f"{key}-{pool}" for pool in "ab"
    }
    assert {one.name for one in found} == {"d-0", "d-1"}
    assert all(tag in one.tags for one in found)


def _event() -> PrefectEvent:
    pool = "prefect.work-pool.00000000-0000-0000-0000-000000000001"
    return PrefectEvent(
        id=uuid.uuid4(),
        name="flowdeps.lock.failed",
        occurred=datetime.now(UTC),
        resource={"prefect.resource.id": "flowdeps.set.flows.ml", "flowdeps.serving": "false"},
        related=[{"prefect.resource.id": pool, "prefect.resource.role": "work-pool"}],
        payload={"message": "it does not fit together"},
    )


async def _all(pools: Pools) -> AsyncIterator[Any]:
    offset = 0
    while found := await pools.artifacts(PREFIX, offset=offset):
        for one in found:
            yield one
        offset += len(found)


_PAGE = Path(__file__).parents[3] / "docs/how-to/prefect.md"
_AUTOMATION = re.compile(r"^```yaml\n(# automation\.yaml\n.*?)^```$", re.MULTILINE | re.DOTALL)


async def test_the_automations_of_the_documentation_work(key: str) -> None:
    """The one that notifies is accepted; the other one pauses its deployment when its set has
    failed and serves nothing, and not while it serves something."""
    notify, pause = (yaml.safe_load(one) for one in _AUTOMATION.findall(_PAGE.read_text()))
    with PrefectServer(automations=True) as server, server.api() as api:
        api.create_pool(key, image="x")
        empty, serving = (api.deploy(name, pool=key) for name in ("empty", "serving"))
        api.call("POST", "/automations/", {**notify, "enabled": False})  # there is no such block
        for deployment, label in ((empty, "false"), (serving, "true")):
            action = {**pause["actions"][0], "deployment_id": deployment}
            match = {**pause["trigger"]["match"], "flowdeps.serving": label}
            trigger = {**pause["trigger"], "match": match}
            assert (trigger == pause["trigger"]) == (deployment == empty)
            api.call("POST", "/automations/", {**pause, "trigger": trigger, "actions": [action]})

        def paused(deployment: str) -> bool:
            return bool(api.call("GET", f"/deployments/{deployment}")["paused"])

        async with Pools.connect(server.url) as pools, asyncio.timeout(60):
            for deployment, label in ((serving, "true"), (empty, "false")):
                assert not paused(empty)
                while not paused(deployment):  # it may take a moment to know an automation
                    name = {"prefect.resource.id": "flowdeps.set.flows.ml-extras"}
                    labels = {**name, "flowdeps.serving": label}
                    await pools.emit(replace(_event(), resource=labels))
                    await asyncio.sleep(0.5)
