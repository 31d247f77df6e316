"""How large locks are, and what becomes of one that no ConfigMap holds."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from flowdeps.gather.refusals import LARGEST_LOCK, lock_too_large
from flowdeps.locks import index as locks_index
from flowdeps.locks.lock import Lock
from flowdeps.resolver.resolve import Resolver
from flowdeps.state.config_maps import config_maps
from flowdeps.state.locations import primary_location
from flowdeps.state.records import record_of
from flowdeps.state.store import Store
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.integration.resolver.support import ask, lock_of
from tests.support.fixtures import StartOperator
from tests.support.sets import (
    apply,
    condition,
    connect,
    resource_versions,
    set_body,
    wait_ready,
    wait_reason,
)

# Of 330 pins of well-known packages for two platforms (python -m tests.bench --only locks), most
# have one wheel for all, one in four some for each platform, and a few many.
_UNIVERSAL = ("py3-none-any",)
_A_PLATFORM = ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_17_aarch64")
_SOME = (
    *_A_PLATFORM,
    *("cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_28_aarch64"),
)
_MANY = (
    *_SOME,
    *("cp39-abi3-manylinux_2_17_x86_64", "cp39-abi3-manylinux_2_17_aarch64"),
    *("cp39-abi3-manylinux_2_28_x86_64", "cp39-abi3-manylinux_2_28_aarch64"),
)
_SHARES = ((_UNIVERSAL, 228), (_A_PLATFORM, 58), (_SOME, 12), (_MANY, 2))


async def test_a_lock_of_300_pins_fits_a_config_map_with_room(
    index: Index, resolver: Resolver
) -> None:
    """With as many hashes as real packages have, for two platforms, it takes less than a tenth."""
    every = [tags for tags, pins in _SHARES for _ in range(pins)]
    lines = []
    for number, tags in enumerate(every):
        name = f"a-package-{number:03}"  # 13 characters, as long as names are
        index.add(name, "2024.10.1", tags=tags)
        lines.append(name)
    lock = await lock_of(resolver, ask(*lines, index=index.url), previous=None)
    assert [len(pin.hashes) for pin in lock.pins] == [len(tags) for tags in every]
    assert len(lock.pins) == 300
    body = json.dumps(_config_map(lock, text=lock.render()))
    assert len(body.encode()) < 1024**2 / 10
    assert lock_too_large(lock) is None


def test_the_api_server_takes_a_lock_of_the_largest_size(cluster: ControlPlane) -> None:
    """With the longest names around it that the schema allows; so what fits by our measure fits."""
    lock = Lock(ask(index="http://index.example.com/simple/").target)
    body = _config_map(
        lock,
        text="#" * LARGEST_LOCK,
        index={"url": "u" * 1024, "extraUrls": ["u" * 1024] * 8},
        image="i" * 1024,
        shadow=("s" * 128,) * 64,
        notes="n" * 800,
    )
    path = "/api/v1/namespaces/default/configmaps/flowdeps-large"
    with connect(cluster) as client:
        answer = client.patch(
            path,
            params={"fieldManager": "flowdeps", "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(body),
        )
        client.delete(path)
    assert answer.is_success, answer.text


@pytest.fixture
def wide(index: Index) -> Index:
    """An index with a release of so many files that their hashes alone fit no ConfigMap."""
    files = LARGEST_LOCK // len("    --hash=sha256: \\\n" + "0" * 64) + 1
    index.add("wide", "1.0", tags=[f"py3.py3{other}-none-any" for other in range(files)])
    index.add("alpha", "1.0")
    return index


def test_a_lock_that_fits_no_config_map_is_told_before_anything_is_written(
    cluster: ControlPlane, wide: Index, start_operator: StartOperator
) -> None:
    """LockTooLarge is Stalled and says the way out; no ConfigMap is written or changed, neither of
    a new set nor of one whose last lock stays in service."""
    start_operator(index={"url": wide.url})
    apply(cluster, set_body("grows", ["alpha"]))
    good = wait_ready(cluster, "grows")["status"]["lock"]
    before = resource_versions(cluster, "cm")

    apply(cluster, set_body("grows", ["alpha", "wide"]), set_body("large", ["wide"]))
    for name in ("grows", "large"):
        body = wait_reason(cluster, name, "LockTooLarge", seconds=240)
        assert condition(body, "Stalled")["status"] == "True"
        message = condition(body, "Resolved")["message"]
        assert f"a ConfigMap holds {LARGEST_LOCK:,}" in message
        assert "split the set in two" in message
        assert body["status"].get("lock") == (good if name == "grows" else None)
    assert resource_versions(cluster, "cm") == before


def _config_map(lock: Lock, *, text: str, **changes: Any) -> dict[str, Any]:
    """The ConfigMap that runs mount, as the operator writes it at home."""
    body = set_body("large", [])
    body["metadata"] |= {"uid": "0" * 36, "resourceVersion": "1"}
    store = Store()
    key = store.put_set(body)
    assert key is not None
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    record = record_of(
        lock,
        inputs=lock.digest,
        index=locks_index.Index(),
        resolved_at=now,
        refreshed_at=now,
        refresh="",
    )
    record = replace(record, **changes)
    _, current = config_maps(store.sets[key], primary_location(key), record, summary="")
    return current.body(text)
