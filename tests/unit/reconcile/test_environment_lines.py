"""Runs are told of their environments while all is well, and of none that they could not mount."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flowdeps.api.config import parse_config
from flowdeps.api.names import (
    EARLIER_ENVIRONMENTS,
    EARLIER_PURPOSE,
    ENVIRONMENT_ANNOTATION,
    ENVIRONMENTS,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    OWNER_ANNOTATION,
    PURPOSE_LABEL,
    mounted_name,
)
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.runs_namespace import lines, reconciler
from flowdeps.reconcile.runs_namespace.lines import told_by
from flowdeps.reconcile.runs_namespace.offering import offer_lines
from flowdeps.state.store import RunsKey, SetKey
from tests.support.faults import Fault, Gate, at_write
from tests.unit.reconcile.environments import (
    CONFIG,
    FIRST,
    IMAGE,
    MINUTE,
    SECOND,
    built,
    delivery,
    prepare,
    recorded,
    told,
    with_pool,
)
from tests.unit.reconcile.simulation import Simulation
from tests.unit.reconcile.test_life import play, settled

HOUR = 60 * MINUTE


def test_runs_are_told_of_an_environment_once_a_pod_has_mounted_it() -> None:
    """The key and the revision have a line, the status says so, and a restart asks no pod again."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            [revision] = sim.cluster.sets["flows", "ml"]["status"]["revisions"]
            assert told(sim) == {"ml": reference, revision["name"]: reference}
            assert sim.cluster.pods.made["mount"] == 1
            assert delivery(sim) == ["Image"]
        await settled(sim)
        assert told(sim) == {"ml": reference, revision["name"]: reference}
        assert sim.cluster.pods.made["mount"] == 1  # what runs are told was mounted

    play(script, **CONFIG)


def test_without_environments_nothing_is_asked_or_written() -> None:
    """No policy, node or event is looked at, and no pool says how it delivers."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.policy_error = ClusterError(500, "x", "asked for the policy")
        sim.cluster.events_error = ClusterError(500, "x", "asked for events")
        async with sim.operator() as service:
            await built(sim)
            assert told(sim) == {}
            assert delivery(sim) == [""]
            assert sim.cluster.asked_for["has_policy"] == sim.cluster.asked_for["failed_pods"] == 0
            assert not service.context.deliveries.states

    play(script)


def test_an_idle_operator_asks_only_whether_policy_and_nodes_are_as_they_were() -> None:
    """An hour in which nothing happens: one write, of the facts of the image."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            await built(sim)
            writes, passes = sim.writes(), sim.passes["runs in jobs"]
            before = dict(sim.cluster.asked_for)
            await asyncio.sleep(HOUR)
            changed = {k: n - writes.get(k, 0) for k, n in sim.writes().items()}
            assert {k: n for k, n in changed.items() if n} == {
                "apply_config_map": 1
            }  # of the image
            assert sim.passes["runs in jobs"] == passes
            now = sim.cluster.asked_for
            assert 11 <= now["has_policy"] - before["has_policy"] <= 12
            assert 11 <= now["each_node"] - before["each_node"] <= 12
            assert now["failed_pods"] == before["failed_pods"] == 1

    play(script, **CONFIG)


def test_a_start_with_many_sets_lets_the_loop_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of each are found out by themselves, so that a lease is renewed meanwhile."""
    turn, offered = 0, list[int]()

    def next_turn() -> None:
        nonlocal turn
        turn += 1

    def offer(context: Context, key: SetKey) -> None:
        offered.append(turn)
        asyncio.get_running_loop().call_soon(next_turn)
        offer_lines(context, key)

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator() as service:
            for name in ("a", "b", "c"):
                await built(sim, name)
            monkeypatch.setattr(reconciler, "offer_lines", offer)
            service.context.deliveries.reconciled.clear()  # as after a start
            service.context.queue.add(RunsKey("jobs"))
            await asyncio.sleep(MINUTE)
            assert len(offered) == len(set(offered)) == 3

    play(script, **CONFIG)


# What speaks against a line


def _moved(sim: Simulation) -> None:
    sim.cluster.pods.images[IMAGE].id = SECOND
    sim.registry.problem = "no other one is made"


def _without_policy(sim: Simulation) -> None:
    sim.cluster.policies.clear()


def _without_resource(sim: Simulation) -> None:
    sim.cluster.resources.clear()
    sim.cluster.told.clear()


def _forbidden_policy(sim: Simulation) -> None:
    sim.cluster.policy_error = ClusterError(403, "Forbidden", "may not get")


def _old_server(sim: Simulation) -> None:
    sim.cluster.policy_error = ClusterError(404, "Unknown", "GET x was answered with 404")


def _old_node(sim: Simulation) -> None:
    sim.cluster.nodes = {"node-1": "containerd://2.1.4", "old": "containerd://1.7.27"}


def _other_node(sim: Simulation) -> None:
    sim.cluster.nodes = {"node-1": "cri-o://1.31.0", "odd": "docker://28.0.0"}


def _deleted(sim: Simulation) -> None:
    sim.cluster.delete("ml")


def _left(sim: Simulation) -> None:
    sim.cluster.apply("ml", python={"image": IMAGE}, interval="0s", pools=[])


AGAINST: dict[str, tuple[Callable[[Simulation], None], str]] = {
    "another image": (_moved, "is another image than the environment was made for"),
    "no policy": (_without_policy, "there is no MutatingAdmissionPolicy flowdeps-environments"),
    "no resource": (_without_resource, "install crds/runenvironments.yaml"),
    "no right": (_forbidden_policy, "grant it get on both"),
    "an older server": (_old_server, "needs Kubernetes 1.36"),
    "an older node": (_old_node, "old (containerd://1.7.27)"),
    "another runtime": (_other_node, "odd (docker://28.0.0)"),
    "deleted": (_deleted, ""),
    "left": (_left, ""),
}


@pytest.mark.parametrize("what", AGAINST)
def test_no_run_is_told_of_what_it_could_not_have(what: str) -> None:
    """Whatever speaks against a line takes it out, and the reason is known."""
    happen, why = AGAINST[what]

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator() as service:
            await built(sim)
            assert told(sim)
            happen(sim)
            await asyncio.sleep(2 * HOUR)
            assert ("jobs", ENVIRONMENTS) not in sim.cluster.told
            if why:
                found = service.context.deliveries.states["jobs"].why
                assert all(why in text for text in found.values())
                assert delivery(sim) == ["Install"]
        if not sim.registry.problem:  # else builds go on
            await settled(sim)
        assert told(sim) == {}

    play(script, **CONFIG)


@pytest.mark.parametrize(
    ("before", "happen", "again"),
    [
        (_without_policy, "policy", {"flowdeps-environments"}),
        (_old_node, "node", {"node-1": "containerd://2.1.4"}),
    ],
)
def test_a_line_comes_back_with_what_it_needs(
    before: Callable[[Simulation], None], happen: str, again: Any
) -> None:
    """It was mounted before, so no pod is asked again."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            before(sim)
            await asyncio.sleep(10 * MINUTE)
            assert told(sim) == {}
            if happen == "policy":
                sim.cluster.policies = again
            else:
                sim.cluster.nodes = again
            await asyncio.sleep(10 * MINUTE)
            assert told(sim)["ml"] == reference
            assert sim.cluster.pods.made["mount"] == 1

    play(script, **CONFIG)


def test_where_nodes_are_not_listed_a_pod_tells() -> None:
    """A right that is missing is no answer: the mount decides."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.nodes = None
        async with sim.operator():
            reference = await built(sim)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_what_is_not_answered_for_now_stays_as_it_was() -> None:
    """An API server that is away says nothing of policies, and a restart then takes no line out."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
        sim.cluster.policy_error = ClusterError(503, "x", "away")
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
            assert told(sim)["ml"] == reference
            assert delivery(sim) == ["Image"]

    play(script, **CONFIG)


def test_an_environment_that_no_pod_can_mount_is_none() -> None:
    """It is tried again ever more rarely, and its line comes when it works."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator() as service:
            sim.cluster.pods.unpullable.add("*")
            reference = await built(sim)
            await asyncio.sleep(HOUR)
            assert told(sim) == {}
            assert sim.cluster.pods.made["mount"] < 10
            found = service.context.deliveries.states["jobs"].why.values()
            assert all(reference in why for why in found)
            sim.cluster.pods.unpullable.clear()
            await asyncio.sleep(HOUR)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


# Pools


@pytest.mark.parametrize(
    ("choice", "nodes", "way"),
    [
        ("Auto", "containerd://2.1.0", "Image"),
        ("Image", "containerd://2.1.0", "Image"),
        ("Install", "containerd://2.1.0", "Install"),
        ("Auto", "containerd://2.0.9", "Install"),
        ("Image", "containerd://2.0.9", "Image"),
    ],
)
def test_a_pool_chooses_how_its_runs_get_their_packages(choice: str, nodes: str, way: str) -> None:
    """From one configuration to another; `Image` does not count nodes."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            await built(sim)
            assert told(sim)
        sim.config = parse_config(with_pool(delivery=choice))
        sim.cluster.nodes = {"node-1": nodes}
        await settled(sim)
        assert delivery(sim) == [way]
        assert ("ml" in told(sim)) == (way == "Image")

    play(script, **CONFIG)


def test_a_pool_that_admits_a_set_no_longer_tells_its_runs_nothing() -> None:
    """What is in a namespace is what pools admit there now."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            await built(sim)
            assert told(sim)
        sim.config = parse_config(with_pool(namespaces=["team"]))
        await settled(sim)
        assert ("jobs", ENVIRONMENTS) not in sim.cluster.told

    play(script, **CONFIG)


def test_two_pools_and_two_sets_share_a_namespace() -> None:
    """Each has its own lines, and one that goes takes only its own."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.prefect.make("l", namespace="jobs")
        async with sim.operator():
            first = await built(sim, "ml", pools=["k", "l"])
            second = await built(sim, "other", namespace="team", requirements=["beta"])
            keys = told_by(sim.cluster.told["jobs", ENVIRONMENTS])
            wanted = {
                mounted_name(key, pool=pool).removeprefix("flowdeps-")
                for key, pool in (("ml", "k"), ("ml", "l"), ("other", "k"))
            }
            assert wanted < keys.keys()
            assert {told(sim)["ml"], told(sim)["other"]} == {first, second}
            sim.cluster.delete("ml")
            await asyncio.sleep(5 * MINUTE)
            assert set(told(sim).values()) == {second}

    play(script, **CONFIG)


def test_an_environment_of_another_namespace_is_not_believed() -> None:
    """Whoever may write ConfigMaps beside a set can't lead its runs to other repositories."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.registry.problem = "no other one is made"
        async with sim.operator():
            await built(sim)
            body = sim.cluster.maps["flows", "flowdeps-ml"]
            made = {
                "reference": "registry.example.com/environments/team@sha256:" + "a" * 64,
                "lock": json.loads(body["data"]["lock.json"])["digest"],
                "image": IMAGE,
                "image_id": FIRST,
                "size": 1,
                "unpacked": 1,
                "files": 1,
                "import_seconds": 0.1,
            }
            for believed in (False, True):
                forged = {ENVIRONMENT_ANNOTATION: json.dumps(made)}
                sim.cluster.annotate_map("flows", "flowdeps-ml", **forged)
                await asyncio.sleep(5 * MINUTE)
                assert ("ml" in told(sim)) == believed
                made["reference"] = made["reference"].replace("/team@", "/flows@")

    play(script, **CONFIG)


# Others


def _edited(sim: Simulation) -> None:
    [key, *_] = told_by(sim.cluster.told["jobs", ENVIRONMENTS])
    other = {"image": IMAGE, "reference": "other@sha256:0", "lock": ""}
    sim.cluster.put_told("jobs", {key: other}, owner=sim.config.owner)


def _added(sim: Simulation) -> None:
    before = told_by(sim.cluster.told["jobs", ENVIRONMENTS])
    more = {"image": IMAGE, "reference": "more@sha256:0", "lock": ""}
    sim.cluster.put_told("jobs", {**before, "more": more}, owner=sim.config.owner)


def _removed(sim: Simulation) -> None:
    sim.cluster.delete_told("jobs")


@pytest.mark.parametrize("slip", [_edited, _added, _removed])
@pytest.mark.parametrize("watching", [True, False])
def test_what_others_do_to_the_lines_is_undone(
    slip: Callable[[Simulation], None], watching: bool
) -> None:
    """By the watch, or else by the next list of everything."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            await built(sim)
            before = told_by(sim.cluster.told["jobs", ENVIRONMENTS])
            sim.cluster.watch.missed = lambda _: not watching
            slip(sim)
            await asyncio.sleep(MINUTE if watching else 15 * MINUTE)
            assert told_by(sim.cluster.told["jobs", ENVIRONMENTS]) == before

    play(script, **CONFIG)


def test_what_another_operator_tells_stays() -> None:
    """The set says why its runs install, and once it is gone they mount."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        theirs = {"a": {"image": IMAGE, "reference": "their@sha256:0", "lock": ""}}
        sim.cluster.put_told("jobs", theirs)
        async with sim.operator() as service:
            reference = await built(sim)
            assert told_by(sim.cluster.told["jobs", ENVIRONMENTS]) == theirs
            found = service.context.deliveries.states["jobs"].why.values()
            assert all("are not this operator's" in why for why in found)
            assert delivery(sim) == ["Install"]
            sim.cluster.delete_told("jobs")
            service.context.queue.add(RunsKey("jobs"))
            await asyncio.sleep(MINUTE)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_the_newest_locks_come_first_where_not_all_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object has an end; what is left out installs, and says so."""
    monkeypatch.setattr(lines, "MOST_BYTES", 900)

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            for number in range(4):
                await built(sim, f"s{number}", requirements=[f"alpha{number}"])
            found = told(sim)
            assert "s3" in found
            assert "s0" not in found
            assert delivery(sim, "s3") == ["Image"]
            assert delivery(sim, "s0") == ["Install"]

    play(script, **CONFIG)


def _earlier(owner: str) -> dict[str, Any]:
    """What an earlier version told runs of their environments by."""
    return {
        "labels": {MANAGED_BY_LABEL: MANAGED_BY, PURPOSE_LABEL: EARLIER_PURPOSE},
        "annotations": {OWNER_ANNOTATION: owner},
    }


def test_what_an_earlier_version_told_runs_by_is_deleted() -> None:
    """Once, at the start, whether environments are made or not; another operator's stays, and what
    only has the name or only the labels."""

    def put(sim: Simulation, namespace: str, name: str, meta: dict[str, Any]) -> tuple[str, str]:
        given = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "0", **meta}
        sim.cluster.maps[namespace, name] = {"metadata": given, "data": {"0123.ml": "i r l"}}
        return namespace, name

    async def script(sim: Simulation) -> None:
        prepare(sim)
        ours = _earlier(sim.config.owner)
        goes = {put(sim, one, EARLIER_ENVIRONMENTS, ours) for one in ("jobs", "flows", "unused")}
        unlabelled = put(sim, "a", EARLIER_ENVIRONMENTS, {})
        stays = {
            put(sim, "b", EARLIER_ENVIRONMENTS, _earlier("others/flowdeps")),
            put(sim, "c", "mine", ours),
        }
        delete, deleted = sim.cluster.delete_config_map, list[tuple[str, str]]()

        async def noted(*, namespace: str, name: str, **more: Any) -> bool:
            if "image" not in name and "verify" not in name and "build" not in name:
                deleted.append((namespace, name))
            return await delete(namespace=namespace, name=name, **more)

        sim.cluster.delete_config_map = noted  # type: ignore[method-assign]
        async with sim.operator():
            await built(sim)
            await asyncio.sleep(HOUR)
            assert not goes & sim.cluster.maps.keys()
            assert {unlabelled, *stays} <= sim.cluster.maps.keys()
        assert sorted(deleted) == sorted(goes)

    for config in (CONFIG, {}):
        play(script, **config)


# Pulls


def test_a_pull_that_fails_takes_its_line_out_within_seconds() -> None:
    """The set says so, and the line comes back when a pod has mounted the environment again."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator() as service:
            reference = await built(sim)
            sim.cluster.pods.unpullable.add(reference)
            sim.cluster.fail_pull("jobs", reference, why="manifest unknown")
            await asyncio.sleep(3)
            assert ("jobs", ENVIRONMENTS) not in sim.cluster.told
            [said] = {service.context.deliveries.pull_failure(one) for one in _sets(sim)}
            assert "manifest unknown" in said
            assert delivery(sim) == ["Install"]
            await asyncio.sleep(20 * MINUTE)
            assert told(sim) == {}
            sim.cluster.pods.unpullable.clear()
            await asyncio.sleep(HOUR)
            assert told(sim)["ml"] == reference
            assert not service.context.deliveries.pull_failure(_sets(sim)[0])
            sim.cluster.fail_pull("jobs", reference)  # once more, and the pause is longer
            await asyncio.sleep(55 * MINUTE)
            assert told(sim) == {}
            await asyncio.sleep(15 * MINUTE)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_the_set_says_that_a_run_could_not_pull_its_environment() -> None:
    """`Built` has the kubelet's words until a pod has mounted it again; the set stays Ready."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            sim.cluster.pods.unpullable.add(reference)
            sim.cluster.fail_pull("jobs", reference, why="manifest unknown")
            await asyncio.sleep(10)
            condition = sim.condition("ml", "Built")
            assert (condition["status"], condition["reason"]) == ("False", "PullFailed")
            assert "manifest unknown" in condition["message"]
            assert sim.ready("ml") == ("True", "Ready")
            sim.cluster.pods.unpullable.clear()
            await asyncio.sleep(HOUR)
            assert sim.condition("ml", "Built")["reason"] == "Built"
        await settled(sim)

    play(script, **CONFIG)


def test_built_says_why_runs_do_not_get_the_environment() -> None:
    """And nothing of it when they do."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            await built(sim)
            _without_policy(sim)
            await asyncio.sleep(10 * MINUTE)
            message = sim.condition("ml", "Built")["message"]
            assert "there is no MutatingAdmissionPolicy" in message
            assert message.count('work pool "k"') == 1
            sim.cluster.policies = {"flowdeps-environments"}
            await asyncio.sleep(10 * MINUTE)
            assert "work pool" not in sim.condition("ml", "Built")["message"]
        await settled(sim)

    play(script, **CONFIG)


def _sets(sim: Simulation) -> list[SetKey]:
    return [SetKey(*where) for where in sim.cluster.sets]


def test_only_what_is_said_where_runs_are_ends_an_environment() -> None:
    """Whoever may post events in another namespace ends nothing, nor does an old event."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            sim.cluster.fail_pull("team", reference)
            sim.cluster.fail_pull("flows", reference)
            sim.cluster.fail_pull("jobs", reference.replace("flows@", "other@"))
            await asyncio.sleep(MINUTE)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_an_event_of_tomorrow_keeps_nobody_from_hearing_of_a_failed_pull() -> None:
    """Whoever posts it does not decide until when the operator listens."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            sim.cluster.fail_pull("jobs", reference, after=timedelta(days=1))
            await asyncio.sleep(10 * MINUTE)
            assert told(sim)["ml"] == reference
            sim.cluster.fail_pull("jobs", reference)
            await asyncio.sleep(10)
            assert told(sim) == {}

    play(script, **CONFIG)


@pytest.mark.parametrize("namespace", ["jobs", "others"])
def test_a_long_event_takes_no_time(namespace: str) -> None:
    """Anybody may post events; what they say is read once, from its beginning to its end."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
            before = time.process_time()
            for _ in range(100):
                sim.cluster.fail_pull(namespace, "a" * 4000)
            await asyncio.sleep(1)
            assert time.process_time() - before < 2
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_an_operator_that_was_away_hears_of_a_failed_pull_when_it_is_back() -> None:
    """Events are kept for an hour; those of the last minutes count, for kubelets repeat them."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        async with sim.operator():
            reference = await built(sim)
        sim.cluster.pods.unpullable.add(reference)
        sim.cluster.fail_pull("jobs", reference)
        async with sim.operator():
            await asyncio.sleep(10)
            assert told(sim) == {}
        sim.cluster.pods.unpullable.clear()
        await asyncio.sleep(HOUR)
        async with sim.operator():
            await asyncio.sleep(2 * MINUTE)
            assert told(sim)["ml"] == reference

    play(script, **CONFIG)


def test_where_events_can_not_be_read_no_run_is_told_of_an_environment() -> None:
    """Nobody would notice a pull that fails."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        sim.cluster.events_error = ClusterError(403, "Forbidden", "may not watch events")
        async with sim.operator() as service:
            await built(sim)
            assert told(sim) == {}
            found = service.context.deliveries.states["jobs"].why.values()
            assert all("events can't be read" in why for why in found)

    play(script, **CONFIG)


# What goes


def test_a_line_goes_before_the_revision_that_it_is_made_from() -> None:
    """At each moment, what runs are told of has its ConfigMap."""

    async def script(sim: Simulation) -> None:
        prepare(sim)
        remove = sim.cluster._remove
        orphaned: list[str] = []

        def watched(objects: Any, kind: str, where: tuple[str, str]) -> None:
            body = sim.cluster.told.get(("jobs", ENVIRONMENTS))
            if where[0] == "jobs" and where[1].removeprefix("flowdeps-") in (
                told_by(body) if body else {}
            ):
                orphaned.append(where[1])
            remove(objects, kind, where)

        sim.cluster._remove = watched  # type: ignore[method-assign]
        async with sim.operator():
            first = await built(sim, revisionHistoryLimit=1)
            second = await built(sim, revisionHistoryLimit=1, requirements=["beta"])
            assert set(told(sim).values()) == {first, second}
            third = await built(sim, revisionHistoryLimit=1, requirements=["gamma"])
            await asyncio.sleep(20 * MINUTE)
            assert set(told(sim).values()) == {second, third}
            sim.cluster.delete("ml")
            await asyncio.sleep(20 * MINUTE)
        assert not [one for one in sim.cluster.maps if one[0] == "jobs"]
        assert orphaned == []

    play(script, **CONFIG)


@pytest.mark.parametrize("fault", [Fault.KILLED_AFTER, Fault.LOST])
@pytest.mark.parametrize("step", ["built", "moved", "deleted"])
def test_a_kill_at_any_write_leaves_runs_told_of_what_there_is(step: str, fault: Fault) -> None:
    """The next operator ends where the one that was killed would have."""
    number = 0
    while True:
        number += 1
        ends: dict[str, Any] = {}

        async def script(sim: Simulation, number: int = number, ends: Any = ends) -> None:
            prepare(sim)
            gate = Gate()
            async with sim.operator(gate):
                reference = await built(sim)
                if step == "built":
                    sim.cluster.delete_told("jobs")
                gate.arm(at_write(number, fault))
                if step == "moved":
                    _moved(sim)
                if step == "deleted":
                    _deleted(sim)
                await asyncio.sleep(90 * MINUTE)
                ends["writes"] = len(gate.writes)
            sim.registry.problem = ""
            async with sim.operator():
                await asyncio.sleep(20 * MINUTE)
            if step == "built":
                assert told(sim)["ml"] == reference
            elif step == "moved":
                assert told(sim)["ml"] == recorded(sim) != reference
            else:
                assert told(sim) == {}

        play(script, **CONFIG)
        if ends["writes"] < number:
            break
    assert number > 1
