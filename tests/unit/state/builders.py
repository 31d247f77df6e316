"""Entries, records and views in one line."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flowdeps.api.config import Config, parse_config
from flowdeps.state.config_maps import Desired, config_maps
from flowdeps.state.locations import Location
from flowdeps.state.records import LockRecord
from flowdeps.state.store import ConfigMapView, PoolView, SetEntry, SetKey, Store, view_config_map
from tests.unit.state.bodies import Body, set_body

LOCK = "# the text of a lock\n"
NOW = datetime(2026, 2, 1, tzinfo=UTC)


def entry(name: str = "ml", **changes: Any) -> SetEntry:
    """A set as the store has it."""
    store = Store()
    key = store.put_set(set_body(name, **changes))
    assert key is not None
    return store.sets[key]


def record(seed: str = "a", *, at: str = "2026-01-01T00:00:00.000000+00:00", **changes: Any) -> LockRecord:  # fmt: skip  # noqa: E501
    """A record whose digest begins with `seed`."""
    given: dict[str, Any] = {
        "digest": f"sha256:{seed.ljust(64, '0')}",
        "inputs": f"sha256:{'1' * 64}",
        "resolved_at": at,
        "refreshed_at": at,
        "refresh": "",
        "python": "3.12",
        "platforms": ("linux/amd64",),
        "packages": 3,
        "index": {"url": "https://packages.example.com/simple", "extraUrls": []},
    }
    return LockRecord(**(given | changes))


def config(*pools: Mapping[str, Any]) -> Config:
    """A configuration of pools; without any, all pools take sets of all namespaces."""
    given = pools or [{"name": "*", "namespaces": ["*"], "defaultNamespaces": ["*"]}]
    return parse_config({"workPools": [dict(pool) for pool in given]})


def pools(**namespaces: str | Sequence[str]) -> dict[str, PoolView]:
    """Pools and where their jobs run."""
    return {
        name: PoolView(name=name, job_namespaces=(n,) if isinstance(n, str) else tuple(n))
        for name, n in namespaces.items()
    }


def applied(desired: Desired, *, text: str = LOCK, version: int = 1) -> Body:
    """A desired ConfigMap as the API server has it after the write."""
    body = desired.body(text)
    body["metadata"] |= {"uid": f"uid-{desired.name}", "resourceVersion": str(version)}
    return body


def view(desired: Desired, *, text: str = LOCK) -> ConfigMapView:
    """A desired ConfigMap as the store has it after the write."""
    return view_config_map(applied(desired, text=text))


def revision(
    place: Location, seed: str, *, at: str, of: SetEntry | None = None, **changes: Any
) -> ConfigMapView:
    """A published revision of a set."""
    made = config_maps(of or entry(), place, record(seed, at=at, **changes), summary=seed)
    return view(made[0])


def current(place: Location, seed: str, *, at: str, of: SetEntry | None = None) -> ConfigMapView:
    """The ConfigMap that runs mount."""
    return view(config_maps(of or entry(), place, record(seed, at=at), summary="")[1])


HOME = Location("flows", "ml")
ML = SetKey("flows", "ml")
