"""What the end of a build says: where the environment is, or why there is none."""

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.names import INSTALL_CONTAINER, PACK_CONTAINER, VERIFY_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.locks.image import ImageFacts
from flowdeps.scheduling.limiter import Limiter
from flowdeps.state.environment import Environment, read_environment
from flowdeps.trials.build import Build, Builder
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.runner import Runner
from flowdeps.trials.verify import Trial
from tests.unit.locks.builders import lock, pin
from tests.unit.reconcile.simulation import MemoryCluster, MemoryImage
from tests.unit.scheduling import virtual
from tests.unit.trials.builders import IMAGE, TRIAL

ENVIRONMENTS = EnvironmentsConfig(
    repository="registry.example.com/ready",
    image="registry.example.com/flowdeps:1",
    push_secret="push",
)
ID = f"registry.example.com/flows@sha256:{'a1' * 32}"
LOCK = lock(pin("pandas", "1.0"))
BUILD = Build(**{**vars(TRIAL), "digest": LOCK.digest, "image_id": ID})
DIGEST = f"sha256:{'d' * 64}"
PROBED = "\n".join(MemoryImage().lines({"pandas": "1.0"}))
PACKED = {"ok": True, "digest": DIGEST, "size": 10, "unpacked": 40, "files": 4}


def verified(**what: Any) -> str:
    """What the verifying container prints, of the flow's image."""
    result = {"ok": True, "importSeconds": 1.5, **what}
    return f"{PROBED}\nflowdeps-verify: {json.dumps(result)}"


def packed(**what: Any) -> str:
    """What the packing container prints."""
    return f"pushing\nflowdeps-pack: {json.dumps(what or PACKED)}"


class Node(MemoryCluster):
    """A cluster with one node, on which a build's pod ends; what each container wrote is given."""

    def __init__(self, *, failed: str = "", image_id: str = ID, **logs: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.logs = {"verify": verified(), "pack": packed(), "install": "", **logs}
        statuses = [
            {
                "name": name,
                "imageID": ENVIRONMENTS.image if name == PACK_CONTAINER else image_id,
                "state": {"terminated": {"exitCode": int(name == failed), "reason": "Error"}},
            }
            for name in (INSTALL_CONTAINER, VERIFY_CONTAINER, PACK_CONTAINER)
        ]
        sidecar = {"name": "a-sidecar", "imageID": "theirs", "state": {"running": {}}}
        status = {
            "phase": "Failed" if failed else "Succeeded",
            "initContainerStatuses": statuses[:2],
            "containerStatuses": [sidecar, statuses[2]],
        }
        self.pods.instead = (status, "")

    async def create_pod(self, body: Any) -> Any:
        self.names.append(body["metadata"]["name"])
        return await super().create_pod(body)

    async def pod_log(
        self, _namespace: str, _name: str, *, container: str, limit: int, lines: int | None = None
    ) -> str:
        assert not lines  # only a trial's progress is asked for by lines
        return self.logs[container.removeprefix("flowdeps-")][:limit]


async def build(
    memory: MemoryCluster,
    asked: Build = BUILD,
    *,
    environments: EnvironmentsConfig = ENVIRONMENTS,
    runner: Runner | None = None,
) -> Environment:
    """Build an environment, by a builder that has built nothing yet."""
    cluster = cast("Cluster", memory)
    runner = runner or Runner(cluster, limiter=Limiter(1))
    facts = ImageFacts(python="3.11", platform="linux/amd64")
    return await Builder(cluster, runner, PodsConfig(), environments).build(
        asked,
        lock=LOCK,
        image=Image(ImageRef("flows", IMAGE), ID, facts),
        manifest={"key": "ml"},
        owner={"uid": "u"},
    )


async def refused(memory: MemoryCluster, asked: Build = BUILD) -> TrialError:
    """Why nothing is built."""
    with pytest.raises(TrialError) as caught:
        await build(memory, asked)
    assert memory.pods.pods == {}
    assert memory.maps == {}
    return caught.value


def test_what_was_built_is_named_by_digest_in_the_namespaces_repository() -> None:
    """With what was measured; nothing is left of pod and ConfigMap, and the record is believed."""
    memory = Node()
    found = virtual.run(build(memory))
    assert found == Environment(
        reference=f"registry.example.com/ready/flows@{DIGEST}",
        lock=LOCK.digest,
        image=IMAGE,
        image_id=ID,
        size=10,
        unpacked=40,
        files=4,
        import_seconds=1.5,
    )
    assert memory.pods.made == {"build": 1}
    assert memory.pods.pods == {}
    assert memory.maps == {}
    repository = ENVIRONMENTS.repository_of("flows")
    assert read_environment(found.to_json(), repository=repository) == found


IMAGES = replace(ENVIRONMENTS, images=True)


def test_a_derived_image_is_in_the_same_repository() -> None:
    """By its digest; where none is asked for, what is said of one counts for nothing."""
    said = packed(**PACKED, image={"digest": f"sha256:{'e' * 64}", "size": 99})
    found = virtual.run(build(Node(pack=said), environments=IMAGES))
    reference = f"registry.example.com/ready/flows@sha256:{'e' * 64}"
    assert (found.derived_reference, found.derived_size, found.underived) == (reference, 99, "")
    assert virtual.run(build(Node(pack=said))).derived_reference == ""
    repository = ENVIRONMENTS.repository_of("flows")
    assert read_environment(found.to_json(), repository=repository) == found


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"imageError": "no room"}, "no room"),
        ({"imageError": "x" * 10_000}, "x" * 499 + "…"),
        ({}, "flowdeps-pack says nothing of it"),
        ({"image": {"digest": "sha256:1", "size": 1}}, "flowdeps-pack says nothing of it"),
        ({"image": {"digest": DIGEST, "size": True}}, "flowdeps-pack says nothing of it"),
        ({"image": 1, "imageError": 1}, "flowdeps-pack says nothing of it"),
    ],
)
def test_an_environment_counts_without_the_image(more: dict[str, Any], why: str) -> None:
    """It says why there is none."""
    found = virtual.run(build(Node(pack=packed(**PACKED, **more)), environments=IMAGES))
    assert (found.digest, found.derived, found.underived) == (DIGEST, "", why)
    repository = ENVIRONMENTS.repository_of("flows")
    assert read_environment(found.to_json(), repository=repository) == found


def test_a_build_is_tagged_for_people() -> None:
    """By lock and image; an id without a digest has one too."""
    assert BUILD.tag == f"{LOCK.digest[7:17]}-a1a1a1a1a1"
    odd = replace(BUILD, image_id="$(HOME) é").tag
    assert odd.isascii()
    assert len(odd) == len(BUILD.tag)


def test_a_build_is_no_trial_of_the_same() -> None:
    """Neither answers the other's question, nor finds its pod."""
    trial = Trial(**{k: v for k, v in vars(BUILD).items() if k != "lost"})
    assert (trial == BUILD) is False
    assert trial.short == BUILD.short


def test_an_operator_that_was_killed_finds_its_pod_again() -> None:
    """With its lock; what comes next waits for the same pod."""

    async def main() -> None:
        memory = Node()
        ended, memory.pods.instead = memory.pods.instead, ({"phase": "Running"}, "")
        before = Runner(cast("Cluster", memory), limiter=Limiter(1))
        asked = asyncio.create_task(build(memory, runner=before))
        await asyncio.sleep(5)
        before.closed = True
        asked.cancel()
        await asyncio.wait([asked])
        assert len(memory.pods.pods) == len(memory.maps) == 1
        memory.pods.instead = ended
        assert (await build(memory)).digest == DIGEST
        assert memory.pods.made == {"build": 1}
        assert memory.pods.pods == {}
        assert memory.maps == {}

    virtual.run(main())


def test_what_goes_elsewhere_is_another_build() -> None:
    """So is what is made of another image: neither finds the other's pod."""
    names = set()
    for environments in (ENVIRONMENTS, replace(ENVIRONMENTS, repository="registry.example.com/b")):
        for asked in (BUILD, replace(BUILD, image_id="sha256:other")):
            memory = Node(image_id=asked.image_id)
            virtual.run(build(memory, asked, environments=environments))
            names.update(memory.names)
    assert len(names) == 4


@pytest.mark.parametrize("failed", ["", VERIFY_CONTAINER])
def test_a_lock_that_fails_in_its_environment_is_no_lock_that_does_not_work(failed: str) -> None:
    """It was tried before as runs install it, so the set is not stalled: they go on with that."""
    log = verified(ok=False, module="pandas", error="ImportError: no")
    error = virtual.run(refused(Node(failed=failed, verify=log)))
    assert error.reason is Reason.BUILD_FAILED
    assert error.message.startswith("import pandas: ImportError: no")


def test_what_the_trial_in_an_environment_finds_is_checked_as_in_a_trial() -> None:
    """By the log of its own container, not by that of the one that packs."""
    missing = MemoryImage(requires={"pandas": ["numpy>=2"]})
    log = "\n".join(missing.lines({"pandas": "1.0"})) + '\nflowdeps-verify: {"ok": true}'
    error = virtual.run(refused(Node(verify=log, pack=f"{verified()}\n{packed()}")))
    assert error.reason is Reason.BUILD_FAILED
    assert "numpy" in error.message


@pytest.mark.parametrize("image_id", [f"registry.example.com/flows@sha256:{'b2' * 32}", ""])
def test_an_image_that_has_moved_since_it_was_looked_at_has_no_environment(image_id: str) -> None:
    """It would be taken for one of the image that it was made for."""
    error = virtual.run(refused(Node(image_id=image_id)))
    assert (error.reason, error.retry) == (Reason.BUILD_FAILED, True)
    assert ID in error.message
    assert (image_id or "unknown") in error.message


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"ok": True},
        {**PACKED, "digest": "sha256:0"},
        {**PACKED, "digest": f"{DIGEST}@{DIGEST}"},
        {**PACKED, "digest": 5},
        {**PACKED, "size": -1},
        {**PACKED, "size": True},
        {**PACKED, "files": "4"},
        {**PACKED, "ok": 1},
    ],
)
def test_a_result_that_names_no_environment_is_none(wrong: dict[str, Any]) -> None:
    """As by an image that is not the operator's."""
    log = f"flowdeps-pack: {json.dumps(wrong)}"
    error = virtual.run(refused(Node(pack=log)))
    assert error.reason is Reason.BUILD_FAILED
    assert "environments.image must be the operator's own image" in error.message


@pytest.mark.parametrize("told", ["Infinity", "NaN", "-1", "true", '"1"', "null", "[]"])
def test_seconds_that_no_import_takes_are_none(told: str) -> None:
    """They are what a container of the flow's image says; the record would not be read."""
    log = f'{PROBED}\nflowdeps-verify: {{"ok": true, "importSeconds": {told}}}'
    assert virtual.run(build(Node(verify=log))).import_seconds == 0.0


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_a_push_that_fails_names_what_to_look_at(retry: bool, there: bool) -> None:
    """The registry's own words, the repository, and the Secret, which may be missing."""
    memory = Node(failed=PACK_CONTAINER, pack=packed(ok=False, error="it is down", retry=retry))
    memory.secrets.clear()
    if there:
        memory.put_foreign_secret("flows", "push", {})
    error = virtual.run(refused(memory))
    assert (error.reason, error.retry) == (Reason.REGISTRY_UNAVAILABLE, retry)
    assert error.message == (
        "nothing was pushed to registry.example.com/ready/flows: it is down; "
        "environments.pushSecretRef is the Secret push of namespace flows"
        + ("" if there else ", which is missing: create it")
    )


@pytest.mark.parametrize("log", ["", "Traceback\nOSError: full", "flowdeps-pack: []"])
def test_a_container_that_ends_without_a_result_is_told_with_its_last_lines(log: str) -> None:
    """It may be out of memory, or no program of ours."""
    error = virtual.run(refused(Node(failed=PACK_CONTAINER, pack=log)))
    assert error.reason is Reason.BUILD_FAILED
    assert error.message.startswith("flowdeps-pack: exit code 1: ")
    assert error.message.endswith(log.splitlines()[-1] if log else "it printed nothing")


@pytest.mark.parametrize(
    ("why", "message"),
    [("ImagePullBackOff", "no such image"), ("CreateContainerError", "no command")],
)
def test_an_operators_image_that_cannot_run_is_not_the_flows_fault(why: str, message: str) -> None:
    """The field of the configuration is named."""
    memory = Node()
    done = {"state": {"terminated": {"exitCode": 0}}}
    waiting = {"waiting": {"reason": why, "message": message}}
    status = {
        "phase": "Pending",
        "initContainerStatuses": [{"name": INSTALL_CONTAINER, **done}],
        "containerStatuses": [
            {"name": PACK_CONTAINER, "image": ENVIRONMENTS.image, "state": waiting}
        ],
    }
    memory.pods.instead = (status, "")
    error = virtual.run(refused(memory))
    assert (error.reason, error.retry) == (Reason.BUILD_FAILED, True)
    assert f"{ENVIRONMENTS.image}, which packs environments, can't be run: {message}" in str(error)
    assert "environments.image" in error.message


def test_a_flow_image_that_cannot_be_pulled_is_told_as_ever() -> None:
    """It is nothing of environments."""
    memory = Node()
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    status = {
        "phase": "Pending",
        "initContainerStatuses": [{"name": INSTALL_CONTAINER, "image": IMAGE, "state": waiting}],
    }
    memory.pods.instead = (status, "")
    assert virtual.run(refused(memory)).reason is Reason.IMAGE_UNAVAILABLE


def test_a_build_that_is_late_stalls_nothing() -> None:
    """A push may be slow, and spec.verify.timeout is no cure for it."""
    memory = Node()
    memory.pods.instead = ({"phase": "Failed", "reason": "DeadlineExceeded", "message": "late"}, "")
    error = virtual.run(refused(memory))
    assert (error.reason, error.retry) == (Reason.BUILD_FAILED, True)
