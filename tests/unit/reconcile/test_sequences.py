"""Specs of one set, valid and not, applied one after the other: what counts is the last."""

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowdeps.api.names import (
    CONTENT_ANNOTATION,
    INPUTS_ANNOTATION,
    PURPOSE_LABEL,
    REFRESH_REQUESTED_ANNOTATION,
    REVISION_LABEL,
    SET_LABEL,
    SUMMARY_ANNOTATION,
    VERIFIED_ANNOTATION,
    VERIFY_NOTES_ANNOTATION,
    mounted_name,
)
from flowdeps.reconcile.dependency_set.retention import GRACE
from flowdeps.state.store import MANIFEST_FILE
from tests.support.night import examples
from tests.unit.reconcile.lives import CONFIG, INDEX, prepare, state
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.scheduling import virtual

SETTLED = GRACE + 400.0
_IMAGES = ("registry.example.com/flows:1", "registry.example.com/other:1")

_POOL = st.fixed_dictionaries(
    {"name": st.sampled_from(["k", "l", "missing"])},
    optional={"key": st.sampled_from(["a", "b", "taken"])},
)
_SPEC = st.fixed_dictionaries(
    {
        "requirements": st.lists(
            st.sampled_from(["alpha", "beta", "gamma", "impossible", "no good", "alpha==9"]),
            min_size=1,
            max_size=3,
            unique=True,
        ),
        "pools": st.lists(_POOL, max_size=3, unique_by=lambda pool: str(pool["name"])),
    },
    optional={
        "python": st.sampled_from([{}, *({"image": image} for image in (*_IMAGES, "none"))]),
        "index": st.just(INDEX),
        "updates": st.sampled_from(["Automatic", "Manual"]),
        "verify": st.sampled_from([{"mode": "Disabled"}, {"imports": ["alpha"]}]),
        "includes": st.sampled_from([[{"name": name}] for name in ("base", "nobody", "ml")]),
        "requirementsFrom": st.sampled_from(
            [[{"configMapKeyRef": {"name": name, "key": "txt"}}] for name in ("src", "nothing")]
        ),
        "constraints": st.sampled_from([["alpha<5"], ["beta"]]),
        "revision": st.just("ml-0123456789"),
        "revisionHistoryLimit": st.sampled_from([0, 1, -1]),
        "suspend": st.booleans(),
        "interval": st.sampled_from(["0s", "1h", "soon"]),
        "asked": st.sampled_from(["once", "twice"]),
    },
)
_HOW_MADE = (INPUTS_ANNOTATION, SUMMARY_ANNOTATION, VERIFIED_ANNOTATION, VERIFY_NOTES_ANNOTATION)
# Specs that come together and then time to settle: fewer seconds than a resolution takes.
_BURST = st.lists(
    st.tuples(st.sampled_from([0.0, 0.003, 0.02, 0.9]), _SPEC), min_size=1, max_size=3
)


Burst = list[tuple[float, dict[str, Any]]]


def _apply(sim: Simulation, spec: Mapping[str, Any]) -> None:
    changes = dict(spec)
    asked = changes.pop("asked", None)
    annotations = {REFRESH_REQUESTED_ANNOTATION: asked} if asked else {}
    sim.cluster.apply("ml", **changes, metadata={"annotations": annotations})


@cache
def _world() -> tuple[bytes, float]:
    """Two images, a source, a set to include, and one that has a key; and the time there."""

    async def main() -> tuple[bytes, float]:
        sim = Simulation(**CONFIG)
        prepare(sim)
        sim.cluster.pods.images[_IMAGES[1]] = MemoryImage(
            id="sha256:2", packages={"prefect": "3.0", "beta": "7.0"}, broken=frozenset({"gamma"})
        )
        sim.cluster.put_foreign_map("flows", "src", {"txt": "delta"})
        sim.cluster.apply("base", requirements=["epsilon"], interval="0s")
        sim.cluster.apply("taken", pools=["k", "l"], interval="0s")
        async with sim.operator():
            await asyncio.sleep(60)
        return sim.save(), virtual.now()

    return virtual.run(main())


def _end(specs: Sequence[Burst]) -> tuple[Any, bool]:
    """What it is like after these, and whether the set has a lock."""
    saved, start = _world()

    async def main() -> tuple[Any, bool]:
        sim = Simulation(**CONFIG)
        sim.load(saved)
        async with sim.operator():
            await asyncio.sleep(10)
            for burst in specs:
                for pause, spec in burst:
                    await asyncio.sleep(pause)
                    _apply(sim, spec)
                await asyncio.sleep(SETTLED)
        status = sim.cluster.sets["flows", "ml"]["status"]
        lock = status.get("lock", {}).get("digest", "").removeprefix("sha256:")[:10]
        return _comparable(state(sim), lock), bool(lock)

    return virtual.run(main(), start=start)


def _comparable(found: Any, lock: str) -> Any:
    """A state without what a history leaves.

    That is: revisions that are not in service, and how the one in service was made first; how often
    the spec was another; a finalizer, which a set keeps that has once been outside; and what is
    known of an image, where the last spec leads to none.
    """
    objects, templates, pods = found
    kept = {}
    for where, body in objects.items():
        if PURPOSE_LABEL in (body["labels"] or {}):
            continue  # what an image has is kept until a list finds that nobody needs it
        if _is_of_ml(body) and body["labels"].get(REVISION_LABEL, lock) != lock:
            continue
        annotations = dict(body["annotations"] or {})
        if REVISION_LABEL in (body["labels"] or {}):
            for name in _HOW_MADE:
                annotations.pop(name, None)
        resolved = any(
            one["type"] == "Resolved" and one["status"] == "True"
            for one in body["status"].get("conditions", ())
        )
        left = {"revisions"} if resolved else {"revisions", "image"}
        status = {k: v for k, v in body["status"].items() if k not in left}
        kept[where] = _ungenerated({**body, "annotations": annotations, "status": status})
        del kept[where]["finalizers"]
    return kept, templates, pods


def _drop_left(found: Any, expected: Any) -> None:
    """Drop the copies that are left in one of two states, where nothing is deleted: a spec that
    can't be read does not say what is wanted."""
    conditions = expected[0]["set", "flows", "ml"]["status"]["conditions"]
    if any(one["reason"] == "InvalidSpec" for one in conditions):
        for where in found[0].keys() ^ expected[0].keys():
            own = where[1] == "flows" and where[2].startswith(mounted_name("ml"))
            for objects in (found[0], expected[0]):
                if not own and _is_of_ml(objects.get(where, {})):
                    del objects[where]


def _drop_credentials(found: Any) -> None:
    """Drop whether runs need credentials: those of a lock that stays in service are those of the
    last spec whose inputs could be read, though it may have made no lock."""
    for where, body in list(found[0].items()):
        if where[0] == "secret" and _is_of_ml(body):
            del found[0][where]
        elif MANIFEST_FILE in (body.get("data") or {}) and _is_of_ml(body):
            manifest = json.loads(body["data"][MANIFEST_FILE])
            manifest.pop("credentials", None)
            body["data"] = {**body["data"], MANIFEST_FILE: manifest}
            body["annotations"] = {
                name: text
                for name, text in body["annotations"].items()
                if name != CONTENT_ANNOTATION
            }


def _is_of_ml(body: Mapping[str, Any]) -> bool:
    return (body.get("labels") or {}).get(SET_LABEL) == "ml"


def _ungenerated(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _ungenerated(v) for k, v in value.items() if "eneration" not in k}
    return [_ungenerated(one) for one in value] if isinstance(value, list) else value


@given(bursts=st.lists(_BURST, min_size=2, max_size=8))
@settings(max_examples=examples(20, share=0.03), suppress_health_check=list(HealthCheck))
def test_a_sequence_of_specs_ends_as_the_last_alone(bursts: list[Burst]) -> None:
    """Where no lock can be made for the last, the lock of the one before that had one stays in
    service; so what counts is these two."""
    ends = [[burst[-1]] for burst in bursts]
    expected, locked = _end(ends[-1:])
    if not locked:
        earlier = (one for one in reversed(ends[:-1]) if _end([one])[1])
        expected, _ = _end([*itertools.islice(earlier, 1), ends[-1]])
    found, _ = _end(bursts)
    _drop_left(found, expected)
    if not locked:
        _drop_credentials(found)
        _drop_credentials(expected)
    assert found == expected
