"""How a pod ends that mounts an environment says which of registry, server and node is missing."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from flowdeps.api.names import MOUNT_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.scheduling.limiter import Limiter
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import ImageRef
from flowdeps.trials.mount import mount
from flowdeps.trials.runner import Runner
from tests.unit.reconcile.simulation import MemoryCluster
from tests.unit.scheduling import virtual
from tests.unit.trials.builders import IMAGE

# In its digits are 401 and 404, which say nothing.
REFERENCE = f"registry.example.com/ready/flows@sha256:{'401404ab' * 8}"
BROKEN = "CreateContainerError"


class Node(MemoryCluster):
    """A cluster on which the pod ends like this, or that refuses it."""

    def __init__(
        self, status: Mapping[str, Any], log: str = "", *, refusal: ClusterError | None = None
    ) -> None:
        super().__init__()
        self.pods.instead = (dict(status), log)
        self.refusal = refusal
        self.bodies: list[Any] = []

    async def create_pod(self, body: Any) -> Any:
        self.bodies.append(body)
        if self.refusal:
            raise self.refusal
        return await super().create_pod(body)


def ended(code: int) -> dict[str, Any]:
    """The status of a pod whose container ended."""
    state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
    phase = "Failed" if code else "Succeeded"
    return {"phase": phase, "containerStatuses": [{"name": MOUNT_CONTAINER, "state": state}]}


def waiting(reason: str, message: str) -> dict[str, Any]:
    """The status of a pod whose container does not start."""
    state = {"waiting": {"reason": reason, "message": message}}
    one = {"name": MOUNT_CONTAINER, "image": IMAGE, "state": state}
    return {"phase": "Pending", "containerStatuses": [one]}


async def mounted(memory: Node, *secrets: str) -> None:
    cluster = cast("Cluster", memory)
    await mount(
        Runner(cluster, limiter=Limiter(1)),
        PodsConfig(image_pull_secrets=("ours",)),
        ref=ImageRef("jobs", IMAGE),
        reference=REFERENCE,
        pull_secrets=secrets,
    )


async def refused(memory: Node) -> TrialError:
    with pytest.raises(TrialError) as caught:
        await mounted(memory, "pull")
    assert memory.pods.pods == {}
    return caught.value


def test_an_environment_that_is_there_is_mounted_as_a_run_has_it() -> None:
    """With the pull secrets of runs and no others, by digest, and nothing is left of the pod."""
    memory = Node(ended(0))
    virtual.run(mounted(memory, "pull"))
    [body] = memory.bodies
    [volume] = body["spec"]["volumes"]
    image = {"reference": REFERENCE, "pullPolicy": "Always"}
    assert volume == {"name": "flowdeps-site", "image": image}
    assert body["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert memory.pods.pods == {}
    none = Node(ended(0))
    virtual.run(mounted(none))
    assert "imagePullSecrets" not in none.bodies[0]["spec"]
    assert none.bodies[0]["metadata"]["name"] != body["metadata"]["name"]


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_image_volumes_is_named(status: int) -> None:
    """What it says is told."""
    said = "spec.volumes[0]: Required value: must specify a volume type"
    error = virtual.run(refused(Node({}, refusal=ClusterError(status, "Invalid", said))))
    assert error.reason is Reason.IMAGE_VOLUMES_UNSUPPORTED
    assert error.message.startswith(f"the API server refuses the pod: {said}; ")
    assert "Kubernetes 1.35" in error.message


def test_a_policy_or_quota_that_refuses_the_pod_is_another_matter() -> None:
    """As for all our pods."""
    error = virtual.run(
        refused(Node({}, refusal=ClusterError(403, "Forbidden", "no image volumes")))
    )
    assert error.reason is Reason.PODS_FORBIDDEN
    assert "no image volumes" in error.message


def test_a_server_that_drops_image_volumes_is_named() -> None:
    """It makes an empty volume of one that it does not know, and the container finds nothing."""
    error = virtual.run(refused(Node(ended(1), "flowdeps: nothing is mounted at /opt/flowdeps\n")))
    assert error.reason is Reason.IMAGE_VOLUMES_UNSUPPORTED
    assert error.message.startswith("the API server drops image volumes; ")


def test_a_runtime_that_knows_no_image_volumes_is_named() -> None:
    """It starts no container with one."""
    error = virtual.run(refused(Node(waiting(BROKEN, "failed to mkdir: no such file"))))
    assert error.reason is Reason.IMAGE_VOLUMES_UNSUPPORTED
    assert error.message == (
        "the node can't mount an image: failed to mkdir: no such file; it needs containerd 2.1 or"
        " CRI-O 1.31"
    )


def test_a_kubelet_that_knows_no_image_volumes_is_named() -> None:
    """It waits for the volume for ever."""
    late = {"phase": "Failed", "reason": "DeadlineExceeded", "message": "late"}
    error = virtual.run(refused(Node(late)))
    assert error.reason is Reason.IMAGE_VOLUMES_UNSUPPORTED
    assert f"no node mounted {REFERENCE} in time" in error.message


@pytest.mark.parametrize("why", ["ErrImagePull", "ImagePullBackOff", BROKEN])
@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("unexpected status from HEAD request: 401 Unauthorized", "imagePullSecrets"),
        ("pull access denied, insufficient_scope: authorization failed", "imagePullSecrets"),
        ("reading manifest: manifest unknown", "and is made again"),
        ("failed to resolve image: not found", "not in its registry any more"),
        ("not found, or denied", "imagePullSecrets"),
        ("dial tcp: connect: connection refused", "nodes reach its registry"),
        ("x509: certificate signed by unknown authority", "nodes reach its registry"),
    ],
)
def test_a_pull_that_fails_says_what_to_do(why: str, said: str, advice: str) -> None:
    """By the runtime's words, not by digits of the digest."""
    message = f'Back-off pulling image "{REFERENCE}": {said}'
    error = virtual.run(refused(Node(waiting(why, message))))
    gone = "made again" in advice or "any more" in advice
    reason = Reason.ENVIRONMENT_GONE if gone else Reason.ENVIRONMENT_UNAVAILABLE
    assert (error.reason, error.retry) == (reason, True)
    assert error.message.startswith(f"the environment {REFERENCE} can't be pulled: ")
    assert said in error.message
    assert advice in error.message.rpartition("; ")[2]


def test_a_flow_image_that_cannot_be_pulled_is_not_the_environments_fault() -> None:
    """Its name is in the message."""
    said = f'Back-off pulling image "{IMAGE}"'
    error = virtual.run(refused(Node(waiting("ImagePullBackOff", said))))
    assert error.reason is Reason.IMAGE_UNAVAILABLE


def test_a_container_that_ends_otherwise_is_told() -> None:
    """An image without a shell, or a node that ends it."""
    error = virtual.run(refused(Node(ended(127), "")))
    assert (error.reason, error.message) == (Reason.PODS_FAILED, "flowdeps-mount: exit code 127")
