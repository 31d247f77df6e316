"""One pod of ours, from its creation to its deletion.

A pod's name is a digest of what it is for, so whoever asks again after a kill finds the same pod
and waits for it. It is looked at each second rather than watched: there are few, and each lives for
seconds. Whatever keeps it from ending (an image that can't be pulled, a node that isn't there, a
quota) becomes an error in words.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes import Cluster, ClusterError

log = logging.getLogger(__name__)

Body = Mapping[str, Any]

LOG_LIMIT = 8 * 2**20
"""Bytes of a container's log that are read."""
_LOOK = 1.0
_OUTAGE_PATIENCE = 60.0
"""Seconds that no look at a pod need succeed, as while API servers are replaced."""
_PULL_PATIENCE = 20.0
"""Seconds that a pull may fail: the first failure may be a hiccup."""
_NODE_PATIENCE = 180.0
"""Seconds that a pod may wait for a node, which may have to be made for it."""
_START_SLACK = 300.0
"""Seconds beside a pod's own limit for a node, the pull and its end."""

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_BROKEN = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_KILLED = {137, 143}
"""Exit codes of what SIGKILL or SIGTERM ended."""


class TrialError(Exception):
    """A pod could not find out what it was run for, or found out that a lock does not work.

    `reason` is a condition's; `retry` says whether another try may end otherwise, with nothing
    changed.
    """

    def __init__(self, message: str, *, reason: Reason, retry: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.retry = retry


@dataclass(frozen=True)
class Ended:
    """How a pod ended: the container that failed and why ("" where all went well), the main
    container's log or the failed one's, and the id of the image that it ran."""

    failed: str
    why: str
    log: str
    image_id: str


class Runner:
    """Runs pods, at most `at_once` at a time, and one less in one namespace: pods that wait there,
    for a node or an image, must not keep all others waiting."""

    def __init__(self, cluster: Cluster, *, at_once: int) -> None:
        self._cluster = cluster
        self._turn = asyncio.Semaphore(at_once)
        share = max(1, at_once - 1)
        self._shares: dict[str, asyncio.Semaphore]
        self._shares = defaultdict(lambda: asyncio.Semaphore(share))
        self.running: set[tuple[str, str]] = set()

    async def run(self, body: Body) -> Ended:
        """Run a pod to its end and delete it. Raises TrialError where it could not run.

        A cancellation or a ClusterError leaves the pod, for whoever asks next.
        """
        where = (body["metadata"]["namespace"], body["metadata"]["name"])
        self.running.add(where)  # also while it waits for its turn: what it needs must stay
        try:
            async with self._shares[where[0]], self._turn:
                return await self._run(body)
        finally:
            self.running.discard(where)

    async def _run(self, body: Body) -> Ended:
        pod = await self._start(body)
        start = asyncio.get_running_loop().time()
        try:
            pod = await self._wait(pod, seconds=body["spec"]["activeDeadlineSeconds"])
            ended = await self._read(pod)
        except TrialError as error:
            _tell_end(pod, since=start, outcome=error.reason, why=error.message)
            await self._delete(pod)
            raise
        why = f"{ended.failed}: {ended.why}" if ended.failed else ""
        _tell_end(pod, since=start, outcome="Failed" if why else "Succeeded", why=why)
        await self._delete(pod)
        return ended

    async def _start(self, body: Body) -> Body:
        try:
            pod = await self._cluster.create_pod(body)
            log.info("pod %s is created", _name(pod), extra=_told(pod))
            return pod  # noqa: TRY300
        except ClusterError as error:
            if error.status == 409:
                if found := await self._get(body):
                    log.info("pod %s is there already", _name(found), extra=_told(found))
                    return found
                raise TrialError("a pod came and went", reason=Reason.PROBING) from error
            if error.status in {403, 422, 400}:
                raise TrialError(
                    f"a pod in the flow's image was refused: {error}; allow it (quota, policy or"
                    " the operator's role)",
                    reason=Reason.PODS_FORBIDDEN,
                ) from error
            raise

    async def _get(self, pod: Body) -> Body | None:
        return await self._cluster.get_pod(pod["metadata"]["namespace"], pod["metadata"]["name"])

    async def _wait(self, pod: Body, *, seconds: float) -> Body:
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            status = pod.get("status") or {}
            if status.get("phase") in {"Succeeded", "Failed"} or _ended(pod, status):
                return pod
            waited = loop.time() - start
            if waited > _PULL_PATIENCE and (problem := _stuck(status, waited)):
                raise problem
            if waited > seconds + _START_SLACK:
                text = f"the pod did not end within {waited:.0f} s"
                raise TrialError(text, reason=Reason.VERIFY_TIMEOUT)
            pod = await self._look(pod)

    async def _look(self, pod: Body) -> Body:
        """The pod as it is a second later, or once an API server that is away has come back."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _OUTAGE_PATIENCE
        while True:
            await asyncio.sleep(_LOOK)
            try:
                found = await self._get(pod)
            except ClusterError as error:
                passing = error.status in {0, 429} or error.status >= 500
                if not passing or loop.time() > until:
                    raise
            else:
                if found is None or found["metadata"].get("uid") != pod["metadata"].get("uid"):
                    raise TrialError("somebody deleted the pod", reason=Reason.PROBING)
                return found

    async def _read(self, pod: Body) -> Ended:
        status, spec = pod["status"], pod["spec"]
        if problem := _cut_off(status):
            raise problem
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        main = spec["containers"][0]["name"]
        failed, why = _failure(status)
        if status.get("phase") == "Failed" and not failed:
            failed, why = main, status.get("message") or "the pod failed"
        log = await self._cluster.pod_log(
            namespace, name, container=failed or main, limit=LOG_LIMIT
        )
        ids = [one.get("imageID", "") for one in status.get("containerStatuses") or ()]
        ids += [one.get("imageID", "") for one in status.get("initContainerStatuses") or ()]
        return Ended(failed, why, log, next(filter(None, ids), ""))

    async def _delete(self, pod: Body) -> None:
        meta = pod["metadata"]
        await self._cluster.delete_pod(
            namespace=meta["namespace"], name=meta["name"], uid=meta["uid"]
        )


def _name(pod: Body) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _told(pod: Body) -> dict[str, str]:
    return {"pod": _name(pod), "image": pod["spec"]["containers"][0]["image"]}


def _tell_end(pod: Body, *, since: float, outcome: str, why: str) -> None:
    seconds = round(asyncio.get_running_loop().time() - since, 3)
    told = {**_told(pod), "outcome": str(outcome), "seconds": seconds}
    text = f"{outcome}: {why}" if why else outcome
    log.info("pod %s ends after %.1f s: %s", _name(pod), seconds, text, extra=told)


def _ended(pod: Body, status: Mapping[str, Any]) -> bool:
    """Whether the main container has ended, which a sidecar may outlive."""
    main = pod["spec"]["containers"][0]["name"]
    states = [
        c.get("state") or {} for c in status.get("containerStatuses") or () if c["name"] == main
    ]
    return any("terminated" in state for state in states)


def _containers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    init, main = status.get("initContainerStatuses"), status.get("containerStatuses")
    return [*(init or ()), *(main or ())]


def _stuck(status: Mapping[str, Any], waited: float) -> TrialError | None:
    """Why a pod that does not run never will, as long as nobody mends it."""
    for condition in status.get("conditions") or () if waited > _NODE_PATIENCE else ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return TrialError(
                f"no node took the pod within {_NODE_PATIENCE:.0f} s:"
                f" {condition.get('message') or condition.get('reason', '')}",
                reason=Reason.PODS_UNSCHEDULABLE,
            )
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _PULL:
            return TrialError(
                f"the image {container.get('image', '')} can't be pulled: {message or reason};"
                " check its name, and that the namespace's default service account has a pull"
                " secret for it",
                reason=Reason.IMAGE_UNAVAILABLE,
            )
        if reason in _BROKEN:
            return TrialError(
                f"a container of the image {container.get('image', '')} can't start: "
                f"{message or reason}",
                reason=Reason.IMAGE_UNUSABLE,
            )
    return None


def _cut_off(status: Mapping[str, Any]) -> TrialError | None:
    """Why a pod was ended from outside, which says nothing of its image or lock; None where it
    ended by itself."""
    reason, message = status.get("reason", ""), status.get("message", "")
    if reason and status.get("phase") == "Failed":  # evicted, not admitted, a node that goes, late
        late = reason == "DeadlineExceeded"
        return TrialError(
            f"the pod was ended ({reason}): {message}",
            reason=Reason.VERIFY_TIMEOUT if late else Reason.PODS_FAILED,
        )
    for container in _containers(status):
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode") in _KILLED:
            return TrialError(f"{container['name']}: {_end(ended)}", reason=Reason.PODS_FAILED)
    return None


def _failure(status: Mapping[str, Any]) -> tuple[str, str]:
    """The first container that failed, and why; empty where none did."""
    for container in _containers(status):
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return container["name"], _end(ended)
    return "", ""


def _end(ended: Mapping[str, Any]) -> str:
    """Why a container failed. Where it ended by itself, the message is but the tail of its log."""
    code, reason = ended["exitCode"], ended.get("reason") or "Error"
    if reason == "OOMKilled":
        return (
            "out of memory (OOMKilled): give it more by pods.resources in the operator's"
            " configuration"
        )
    if reason == "Error":
        return f"killed (exit code {code})" if code in _KILLED else f"exit code {code}"
    return ended.get("message") or reason
