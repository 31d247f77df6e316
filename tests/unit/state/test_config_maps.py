import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from flowdeps.api import names
from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION
from flowdeps.api.status import LockStatus, SetStatus
from flowdeps.locks.index import Index
from flowdeps.state.config_maps import config_maps, keep_history, obsolete
from flowdeps.state.environment import Environment
from flowdeps.state.locations import Location
from flowdeps.state.records import (
    LockRecord,
    Served,
    lock_in_service,
    record_of,
    references_named,
    refresh_after,
    revisions_of,
)
from flowdeps.state.store import ConfigMapView, view_config_map
from tests.unit.locks.builders import AMD64, digest, lock, pin
from tests.unit.state.builders import (
    HOME,
    LOCK,
    NOW,
    applied,
    current,
    entry,
    record,
    revision,
    view,
)

JOBS = Location("jobs", "etl", "k")
_T = "2026-01-0{}T00:00:00.000000+00:00".format


def test_a_revision_and_the_current_config_map_have_one_shape() -> None:
    """A deployment may name a revision as it names a key: the same files, the same content."""
    revision_, current_ = config_maps(entry(), HOME, record("abc"), summary="+pandas 2.3.3")
    assert revision_.name == "flowdeps-ml-abc0000000"
    assert current_.name == "flowdeps-ml"
    assert revision_.body(LOCK)["data"] == current_.body(LOCK)["data"]
    assert set(current_.body(LOCK)["data"]) == {"requirements.txt", "lock.json", "digest"}
    assert revision_.body(LOCK)["immutable"] is True
    assert "immutable" not in current_.body(LOCK)


def test_the_manifest_tells_what_the_lock_is_and_where_its_wheels_are() -> None:
    """lock.json: the set, its key in which pool, the revision, the target, and the index without
    credentials. At home there is no pool."""
    _, current_ = config_maps(entry(), JOBS, record("abc"), summary="")
    assert json.loads(current_.body(LOCK)["data"]["lock.json"]) == {
        "set": "flows/ml",
        "key": "etl",
        "pool": "k",
        "revision": "etl-abc0000000",
        "digest": record("abc").digest,
        "python": "3.12",
        "platforms": ["linux/amd64"],
        "packages": 3,
        "index": {"url": "https://packages.example.com/simple", "extraUrls": []},
    }
    assert "pool" not in config_maps(entry(), HOME, record("abc"))[1].manifest


@pytest.mark.parametrize("more", [{"of": "others"}, {"shadow": {"*": 1}}, {"credentials": "yes"}])
def test_what_a_manifest_should_not_say_is_written_over(more: dict[str, Any]) -> None:
    """A field that is not ours, or is no such thing: what runs read is what we wrote, also where
    somebody has made a hash that says so."""
    for desired in config_maps(entry(), HOME, record()):
        assert desired.met_by(view(desired))
        forged = replace(desired, manifest={**desired.manifest, **more})
        assert view(forged).intact
        assert not desired.met_by(view(forged))


def test_config_maps_at_home_are_owned_by_the_set_and_copies_are_labelled() -> None:
    """Kubernetes collects what stands in the set's namespace; elsewhere an owner can't be named,
    and labels say whose it is."""
    for desired in config_maps(entry(uid="u1"), HOME, record(), summary=""):
        owners = desired.body(LOCK)["metadata"]["ownerReferences"]
        assert [(one["kind"], one["uid"]) for one in owners] == [("FlowDependencySet", "u1")]
    for desired in config_maps(entry(uid="u1"), JOBS, record(), summary=""):
        metadata = desired.body(LOCK)["metadata"]
        assert "ownerReferences" not in metadata
        assert metadata["labels"]["flowdeps.dev/set"] == "ml"
        assert metadata["labels"]["flowdeps.dev/namespace"] == "flows"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "flowdeps"


def test_only_home_says_when_pins_were_last_free_to_move() -> None:
    """A refresh that moves no pin touches one ConfigMap: copies and revisions stay as they are."""
    before, after = record("a", at=_T(1)), replace(record("a", at=_T(1)), refreshed_at=_T(2))
    for place, changed in ((HOME, ["flowdeps-ml"]), (JOBS, [])):
        views = [view(one) for one in config_maps(entry(), place, before, summary="x")]
        wanted = config_maps(entry(), place, after, summary="")
        unmet = [
            one.name
            for one, there in zip(wanted, views, strict=True)
            if not keep_history(one, there).met_by(there)
        ]
        assert unmet == changed


def test_a_revision_keeps_what_it_says_of_its_making() -> None:
    """Serving an old lock again leaves its revision with the time and the summary that it has."""
    first = config_maps(entry(), HOME, record("a", at=_T(1)), summary="first")[0]
    again = config_maps(entry(), HOME, record("a", at=_T(5)), summary="again")[0]
    there = view(first)
    assert not again.met_by(there)
    assert keep_history(again, there).met_by(there)
    assert keep_history(again, None) == again


def test_the_record_of_a_lock_counts_packages_not_pins() -> None:
    """A package with one version for each platform is one package."""
    made = lock(pin("a", "1.0", AMD64), pin("a", "2.0", "linux/arm64"), pin("b", "1.0"))
    index = Index("https://p.example.com/simple")
    found = record_of(
        made, inputs="sha256:i", index=index, resolved_at="r", refreshed_at="f", refresh="x"
    )
    assert found.packages == 2
    assert found.digest == made.digest
    assert found.short == made.short
    assert found.inputs == "sha256:i"
    assert found.index == {"url": "https://p.example.com/simple", "extraUrls": []}


# The lock in service


def test_what_was_published_reads_back_as_its_record() -> None:
    """The record comes from the cluster alone, and is the one that was written."""
    there = current(HOME, "a", at=_T(1))
    assert lock_in_service(entry(), [there], now=NOW) == Served(
        record("a", at=_T(1)), "flowdeps-ml"
    )


def test_the_current_config_map_comes_before_newer_revisions() -> None:
    """What runs mount is what is in service, also when a revision is newer."""
    views = [revision(HOME, "b", at=_T(5)), current(HOME, "a", at=_T(1))]
    found = lock_in_service(entry(), views, now=NOW)
    assert found is not None
    assert found.record.short == "a000000000"


def test_without_a_current_config_map_the_newest_intact_revision_stands_in() -> None:
    """A deleted or damaged ConfigMap moves no pin: the newest revision is served again."""
    damaged = applied(config_maps(entry(), HOME, record("d", at=_T(9)), summary="")[0])
    damaged["data"]["requirements.txt"] = "tampered==1.0"
    changed = applied(config_maps(entry(), HOME, record("e"), summary="")[1])
    changed["data"]["digest"] = "sha256:tampered"
    views = [
        revision(HOME, "a", at=_T(1)),
        view_config_map(damaged),
        revision(HOME, "c", at=_T(3)),
        revision(HOME, "b", at=_T(2)),
        view_config_map(changed),
    ]
    found = lock_in_service(entry(), views, now=NOW)
    assert found is not None
    assert found.config_map == "flowdeps-ml-c000000000"
    assert found.record.digest == record("c").digest


def _stand_in(**changes: Any) -> LockRecord:
    """What a set with a newer revision b than a takes up without a current ConfigMap."""
    found = lock_in_service(
        entry(**changes),
        [revision(HOME, "a", at=_T(1)), revision(HOME, "b", at=_T(2))],
        now=NOW,
    )
    assert found is not None
    return found.record


_LOCK_A = LockStatus(
    digest=record("a").digest,
    revision="ml-a000000000",
    packages=3,
    python="3.12",
    platforms=(),
    resolved_at=NOW,
    inputs_digest=record("a").inputs,
)
_SERVED_A = SetStatus(lock=_LOCK_A).to_dict()


def test_what_was_served_stands_in_before_newer_revisions() -> None:
    """By the status, or else by spec.revision; where neither says, it is the newest."""
    assert _stand_in(status=_SERVED_A).short == "a000000000"
    assert _stand_in(status=_SERVED_A, revision="ml-b000000000").short == "a000000000"
    pinned = _stand_in(revision="ml-a000000000")
    assert (pinned.short, pinned.pinned) == ("a000000000", True)
    assert _stand_in(revision="ml-c000000000").short == "b000000000"
    assert not _stand_in().pinned


def test_a_stand_in_counts_as_just_refreshed() -> None:
    """A revision knows neither when its lock was last refreshed nor which request was met: the
    status does, and where there is none, what is asked for was."""
    asked = {"annotations": {REFRESH_REQUESTED_ANNOTATION: "now"}}
    assert _stand_in().refreshed_at == "2026-02-01T00:00:00.000000+00:00"
    assert _stand_in(metadata=asked).refresh == "now"
    assert _stand_in(metadata=asked, status=_SERVED_A).refresh == ""
    handled = SetStatus(lock=_LOCK_A, last_handled_refresh_at="before").to_dict()
    assert _stand_in(metadata=asked, status=handled).refresh == "before"


@pytest.mark.parametrize("days", [1, 5, 20])
def test_a_stand_in_is_refreshed_when_the_status_says(days: int) -> None:
    """However often and late it is read: counted from each read, it would never be due."""
    due = NOW + timedelta(days=days)
    status = SetStatus(lock=_LOCK_A, next_refresh_at=due).to_dict()
    one = entry(status=status, interval="720h")
    for read in (NOW, NOW + timedelta(hours=7), due + timedelta(hours=1)):
        found = lock_in_service(one, [revision(HOME, "a", at=_T(1))], now=read)
        assert found is not None
        after = refresh_after(one)
        assert after is not None
        assert datetime.fromisoformat(found.record.refreshed_at) + after == due


def test_a_stand_in_is_never_refreshed_later_than_an_interval_from_now() -> None:
    """A status that was written by a slower clock, or by hand, puts nothing off for years."""
    far = SetStatus(lock=_LOCK_A, next_refresh_at=NOW + timedelta(days=9999)).to_dict()
    found = _stand_in(status=far, interval="720h")
    assert found.refreshed_at == NOW.isoformat(timespec="microseconds")


def test_copies_and_strangers_are_no_record() -> None:
    """Only home counts: a copy, another key's revision or a half-written manifest is no lock."""
    half = applied(config_maps(entry(), HOME, record(), summary="")[1])
    del half["metadata"]["annotations"]["flowdeps.dev/inputs"]
    views = [current(JOBS, "a", at=_T(1)), revision(Location("flows", "mlx"), "b", at=_T(2))]
    assert lock_in_service(entry(), views, now=NOW) is None
    assert lock_in_service(entry(), [view_config_map(half)], now=NOW) is None
    assert lock_in_service(entry(), [], now=NOW) is None


# What is to go


def _names(views: list[ConfigMapView]) -> set[str]:
    return {f"{one.namespace}/{one.name}" for one in views}


@pytest.mark.parametrize(
    ("limit", "kept"), [(0, "a"), (1, "ae"), (2, "aed"), (3, "aedc"), (9, "aedcb")]
)
def test_revisions_beyond_the_history_go_the_oldest_first(limit: int, kept: str) -> None:
    """Besides the one in service, however old, the `limit` newest are kept."""
    views = [revision(HOME, seed, at=_T(day)) for day, seed in enumerate("abcde", start=1)]
    views.append(current(HOME, "a", at=_T(1)))
    gone = obsolete([HOME], views, serving=record("a").short, limit=limit)
    wanted = {f"flows/flowdeps-ml-{seed}000000000" for seed in "abcde" if seed not in kept}
    assert _names(gone) == wanted


def test_everything_in_a_place_that_was_left_goes() -> None:
    """Of a job namespace that no pool names any more, also the lock in service goes."""
    views = [
        current(HOME, "a", at=_T(1)),
        revision(HOME, "a", at=_T(1)),
        current(JOBS, "a", at=_T(1)),
        revision(JOBS, "a", at=_T(1)),
    ]
    gone = obsolete([HOME], views, serving=record("a").short, limit=5)
    assert _names(gone) == {f"jobs/{JOBS.live_name}", f"jobs/{JOBS.revision('a000000000')}"}
    assert obsolete([HOME, JOBS], views, serving=record("a").short, limit=5) == []


def test_each_place_has_a_history_of_its_own() -> None:
    """The limit holds in each job namespace."""
    views = [
        revision(place, seed, at=_T(day))
        for place in (HOME, JOBS)
        for day, seed in enumerate("abc", start=1)
    ]
    gone = obsolete([HOME, JOBS], views, serving=record("c").short, limit=1)
    assert _names(gone) == {"flows/flowdeps-ml-a000000000", f"jobs/{JOBS.revision('a000000000')}"}


def test_revisions_are_listed_newest_first() -> None:
    """By the time of resolution, and always in the same order."""
    views = [revision(HOME, seed, at=_T(day)) for seed, day in (("b", 2), ("a", 1), ("c", 2))]
    views.append(current(HOME, "b", at=_T(2)))
    expected = ["flowdeps-ml-c000000000", "flowdeps-ml-b000000000", "flowdeps-ml-a000000000"]
    assert [one.name for one in revisions_of(HOME, views)] == expected
    assert [one.name for one in revisions_of(HOME, views[::-1])] == expected


def _environment(seed: str, *, repository: str = "r.example.com/flows", **changes: Any) -> Any:
    given: dict[str, Any] = {
        "reference": f"{repository}@{digest(seed)}",
        "lock": record(seed).digest,
        "image": "registry.example.com/flows:1",
        "image_id": "sha256:1",
        "size": 1,
        "unpacked": 2,
        "files": 3,
        "import_seconds": 0.5,
    }
    return Environment(**(given | changes))


def test_an_environment_is_recorded_at_home_only() -> None:
    """What runs mount elsewhere has the lock, and no word of who made what of it."""
    made = record("a", environment=_environment("a"))
    for place, told in ((HOME, True), (JOBS, False)):
        for desired in config_maps(entry(), place, made):
            assert (names.ENVIRONMENT_ANNOTATION in desired.annotations) is told


def test_a_new_environment_replaces_that_of_a_revision_and_none_takes_it_away() -> None:
    """A revision is immutable but for what is known of it; while none is known, what is recorded
    stays, of this lock only."""
    first, second = _environment("a"), _environment("a", image_id="sha256:2")
    known, moved = record("a", environment=first), record("a", environment=second)
    for which in (0, 1):
        there = view(config_maps(entry(), HOME, known)[which])
        newer = keep_history(config_maps(entry(), HOME, moved)[which], there)
        assert newer.annotations[names.ENVIRONMENT_ANNOTATION] == second.to_json()
        assert not newer.met_by(there)
        none = keep_history(config_maps(entry(), HOME, record("a"))[which], there)
        assert none.annotations[names.ENVIRONMENT_ANNOTATION] == first.to_json()
        assert none.met_by(there)
        other = keep_history(config_maps(entry(), HOME, record("b"))[which], there)
        assert names.ENVIRONMENT_ANNOTATION not in other.annotations


def test_what_is_named_is_that_of_all_records_of_all_sets() -> None:
    """Live locks and revisions count, each for the repository of its own namespace; what a record
    says of another repository or another lock names nothing."""
    of = entry("other", namespace="team")
    away = Location("team", "other")
    team = {"repository": "r.example.com/team"}
    with_image = _environment("b", derived=digest("i"))
    views = [
        view(config_maps(entry(), HOME, record("a", environment=_environment("a")))[1]),
        view(config_maps(entry(), HOME, record("b", environment=with_image))[0]),
        view(config_maps(of, away, record("c", environment=_environment("c", **team)))[0]),
        view(config_maps(entry(), HOME, record("d", environment=_environment("d", **team)))[0]),
        view(config_maps(entry(), HOME, record("e", environment=_environment("f")))[0]),
        view(config_maps(entry(), HOME, record("g"))[0]),
    ]
    found = references_named(views, repository_of=lambda namespace: f"r.example.com/{namespace}")
    assert found == {
        *(f"r.example.com/flows@{digest(seed)}" for seed in "abi"),
        f"r.example.com/team@{digest('c')}",
    }
    assert references_named(views, repository_of=lambda _: "") == frozenset()


def test_a_copy_for_a_claim_names_the_directory_that_runs_mount() -> None:
    """And what their interpreters begin with; both ConfigMaps of a lock do, and no other has it."""
    mounted = f"sha256-{'1' * 64}"
    given = config_maps(entry(), JOBS, record("abc"), directory=mounted, slower="2.6")
    for one in given:
        data = one.body(LOCK)["data"]
        assert data["environment"] == mounted
        assert data["pythonPath"].startswith("/opt/flowdeps/boot:/opt/flowdeps/site:")
    _, live = given
    assert live.annotations == {names.SLOWER_ANNOTATION: "2.6"}
    there = view(live)
    assert there.directory == mounted
    assert live.met_by(there)
    other = replace(live, directory=f"sha256-{'2' * 64}")
    assert not other.met_by(there)
    # As long as the lock is the same, what runs may mount stays, also where no pool asks for it.
    _, bare = config_maps(entry(), JOBS, record("abc"))
    assert not bare.met_by(there)
    assert keep_history(bare, there) == live
    _, another = config_maps(entry(), JOBS, record("def"))
    assert keep_history(another, there) == another


@pytest.mark.parametrize(
    "text", ["../other", f"sha256:{'1' * 64}", f"sha256-{'1' * 63}", f"sha256-{'1' * 64}/x", "none"]
)
def test_what_is_no_directory_of_an_environment_is_not_known(text: str) -> None:
    """Others may write into a copy."""
    _, live = config_maps(entry(), JOBS, record("abc"), directory=text)
    assert view(live).directory == ""
