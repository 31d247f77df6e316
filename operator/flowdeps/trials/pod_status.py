"""What a pod's status says: whether it has ended, how, and what keeps it from running."""

import re
from collections.abc import Mapping
from typing import Any

from flowdeps.api.names import PACK_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.trials.errors import TrialError

Body = Mapping[str, Any]

_NODE_SECONDS = 180.0
"""How long a pod may wait for a node, which may have to be made for it."""
_CLAIM_SECONDS = 20.0
"""How long it may wait for a claim that somebody is making."""
_NO_CLAIM = re.compile(r'persistentvolumeclaim "([^"]*)" not found')
_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_BROKEN = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_REFUSED = re.compile(r"\b40[13]\b|unauthorized|authori[sz]ation|authenticat|denied|forbidden")
_GONE = re.compile(r"\b404\b|not found|manifest unknown|name unknown")
_KILLED = {137, 143}
"""Exit codes of what SIGKILL or SIGTERM ended."""


def has_ended(pod: Body) -> bool:
    """Return whether a pod or its main container has ended; a sidecar may outlive that."""
    status, main = pod.get("status") or {}, pod["spec"]["containers"][0]["name"]
    return status.get("phase") in {"Succeeded", "Failed"} or any(
        "terminated" in (one.get("state") or {})
        for one in status.get("containerStatuses") or ()
        if one["name"] == main
    )


def unscheduled(pod: Body) -> str | None:
    """Return why no node has taken a pod so far; None: one has, or nobody has tried."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return condition.get("message") or condition.get("reason") or "no reason is given"
    return None


def stuck(pod: Body, *, waited: float) -> TrialError | None:
    """Return why a pod that does not run never will unless somebody acts; None: it may yet."""
    status = pod.get("status") or {}
    why = unscheduled(pod)
    if why and waited > _CLAIM_SECONDS and (claim := _NO_CLAIM.search(why)):
        return TrialError(
            f'the namespace has no PersistentVolumeClaim "{claim[1]}": create it, or correct the'
            " entry of the work pool in the operator's configuration",
            reason=Reason.PODS_UNSCHEDULABLE,
        )
    if why and waited > _NODE_SECONDS:
        return TrialError(
            f"no node took the pod within {_NODE_SECONDS:.0f} s: {why}",
            reason=Reason.PODS_UNSCHEDULABLE,
        )
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, image = waiting.get("reason", ""), container.get("image", "")
        message = waiting.get("message", "") or reason
        if reason in _PULL | _BROKEN and (problem := _not_of_the_flow(pod, container, message)):
            return problem
        if reason in _PULL:
            return TrialError(
                f"the image {image} can't be pulled: {message};"
                " check its name, and that the namespace's default service account has a pull"
                " secret for it",
                reason=Reason.IMAGE_UNAVAILABLE,
            )
        if reason in _BROKEN:
            return TrialError(
                f"a container of the image {image} can't start: {message}",
                reason=Reason.IMAGE_UNUSABLE,
            )
    return None


def _not_of_the_flow(pod: Body, container: Body, message: str) -> TrialError | None:
    """Return what keeps a container from its start, unless it is the flow's image."""
    if container["name"] == PACK_CONTAINER:
        return TrialError(
            f"the image {container.get('image', '')}, which packs environments, can't be run:"
            f" {message}; check environments.image in the operator's configuration, and that the"
            " namespace can pull it (pods.imagePullSecrets there)",
            reason=Reason.BUILD_FAILED,
        )
    volumes = pod["spec"].get("volumes") or ()
    reference = next((one["image"]["reference"] for one in volumes if one.get("image")), "")
    if reference and reference in message:
        return TrialError(
            f"the environment {reference} can't be pulled: {message}; {_advice(message)}",
            reason=_pull_reason(message),
        )
    if reference and container["state"]["waiting"]["reason"] in _BROKEN:
        return TrialError(
            f"the node can't mount an image: {message}; it needs containerd 2.1 or CRI-O 1.31",
            reason=Reason.IMAGE_VOLUMES_UNSUPPORTED,
        )
    return None


def _pull_reason(message: str) -> Reason:
    said = _words(message)
    gone = _GONE.search(said) and not _REFUSED.search(said)
    return Reason.ENVIRONMENT_GONE if gone else Reason.ENVIRONMENT_UNAVAILABLE


def _advice(message: str) -> str:
    """Return what to do about a pull that fails, by the words of the runtime."""
    said = _words(message)
    if _REFUSED.search(said):
        return "give the work pool's pods a pull secret for its registry (imagePullSecrets)"
    if _GONE.search(said):
        return "it is not in its registry any more, and is made again"
    return "check that nodes reach its registry, and trust its certificate"


def _words(message: str) -> str:
    return re.sub(r"[0-9a-f]{32,}", "", message.lower())  # a digest may have any number in it


def cut_off(status: Body) -> TrialError | None:
    """Return why a pod was ended from outside, which says nothing of its lock; None: it was not."""
    reason, message = status.get("reason", ""), status.get("message", "")
    if reason and status.get("phase") == "Failed":  # evicted, not admitted, a node that goes, late
        late = reason == "DeadlineExceeded"
        return TrialError(
            f"the pod was ended ({reason}): {message}",
            reason=Reason.VERIFY_TIMEOUT if late else Reason.PODS_FAILED,
        )
    for container in _containers(status):
        end = _terminated(container)
        if end.get("exitCode") in _KILLED:
            return TrialError(f"{container['name']}: {_why(end)}", reason=Reason.PODS_FAILED)
    return None


def failure(pod: Body) -> tuple[str, str]:
    """Return the first container that failed and why; empty texts where none did."""
    status = pod["status"]
    for container in _containers(status):
        end = _terminated(container)
        if end.get("exitCode"):
            return container["name"], _why(end)
    if status.get("phase") == "Failed":
        return pod["spec"]["containers"][0]["name"], status.get("message") or "the pod failed"
    return "", ""


def image_id(pod: Body, *, of: Body) -> str:
    """Return the id of the flow image that a pod ran: that of the first container of the body that
    we made, `of`; others may have added more."""
    ours: list[Body] = [*of["spec"].get("initContainers", []), *of["spec"]["containers"]]
    found: dict[str, str] = {
        one["name"]: one.get("imageID", "") for one in _containers(pod["status"])
    }
    return found.get(ours[0]["name"], "")


def _containers(status: Body) -> list[Body]:
    init, main = status.get("initContainerStatuses"), status.get("containerStatuses")
    return [*(init or ()), *(main or ())]


def _terminated(container: Body) -> Body:
    return (container.get("state") or {}).get("terminated") or {}


def _why(end: Body) -> str:
    """Why a container failed. Where it ended by itself, the message is but the tail of its log."""
    code, reason = end["exitCode"], end.get("reason") or "Error"
    if reason == "OOMKilled":
        more = "give it more by pods.resources in the operator's configuration"
        return f"out of memory (OOMKilled): {more}"
    if reason == "Error":
        return f"killed (exit code {code})" if code in _KILLED else f"exit code {code}"
    return end.get("message") or reason
