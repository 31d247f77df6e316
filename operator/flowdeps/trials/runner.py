"""Run one pod of ours, from its creation to its deletion.

A pod's name is a digest of what it is for, so an operator that was killed and asks again finds the
same pod and waits for it. It is read each second rather than watched: there are few, and each lives
for seconds. Whatever keeps it from ending (an image that can't be pulled, a missing node, a quota)
becomes an error that says what to do.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flowdeps.api.names import INSTALL_CONTAINER, is_managed
from flowdeps.api.reasons import Reason
from flowdeps.api.wording import shorten
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.kubernetes.transport import Body
from flowdeps.locks.legible import printable
from flowdeps.scheduling.clock import Clock, loop_time
from flowdeps.scheduling.limiter import Limiter, Turn
from flowdeps.trials.errors import TrialError
from flowdeps.trials.pod_status import (
    cut_off,
    failure,
    has_ended,
    image_id,
    is_installing,
    stuck,
    unscheduled,
)

log = logging.getLogger(__name__)

Watch = Callable[[str], None]

LOG_LIMIT = 8 * 2**20
"""Bytes of a container's log that are read."""
INSTALLING = "flowdeps: installing: "
"""What the lines begin with that say how far an installation is (``in_image/installer.py``)."""
_EVERY = 1.0
_WATCH_EVERY = 15.0
_WATCHED, _WATCHED_LINES, _LONGEST = 2**16, 20, 200
_OUTAGE_SECONDS = 60.0
"""How long a pod may be unreadable, as while API servers are replaced."""
_PULL_SECONDS = 20.0
"""How long a pull may fail: the first failure may be a hiccup."""
_START_SECONDS = 300.0
"""Time for a node, the pull and the end, beside a pod's own limit."""


@dataclass(frozen=True)
class Ended:
    """How a pod ended; `failed` and `why` are empty where all went well."""

    failed: str
    """The container that failed."""
    why: str
    log: str
    """What the main container wrote, or the one that failed."""
    image_id: str
    """The id of the flow image that it ran."""
    also: str = ""
    """What another container wrote that was asked for, where none failed."""
    code: int = 0
    """The exit code of the container that failed."""


class Runner:
    """Runs pods by turns of their namespaces.

    A pod that waits for a node lets other namespaces go on.
    """

    def __init__(self, cluster: Cluster, *, limiter: Limiter, clock: Clock = loop_time) -> None:
        self._cluster = cluster
        self._clock = clock
        self._limiter = limiter
        self.closed = False
        """Whether pods are left to the next operator, as this one ends."""
        self.running: Counter[tuple[str, str]] = Counter()

    async def run(
        self, body: Body, *, also: str = "", group: str = "", watch: Watch | None = None
    ) -> Ended:
        """Run a pod to its end and delete it. Raises TrialError where it could not run.

        `also` names another container whose log is read. The turn is of the pod's namespace, or of
        another `group`. `watch` is called with how far an installation is, each time that this
        changes.

        A cancellation deletes it as well, unless the operator ends: then, and after a ClusterError,
        it is left to the next one who asks.
        """
        where = _where(body)
        self.running[where] += 1  # also while it waits for its turn: what it needs must stay
        try:
            async with self._limiter.turn(group or where[0]) as turn:
                return await self._run(body, turn, also=also, watch=watch)
        finally:
            self.running[where] -= 1
            if not self.running[where]:
                del self.running[where]

    async def _run(self, body: Body, turn: Turn, *, also: str, watch: Watch | None) -> Ended:
        start = self._clock()
        try:
            pod = await self._start(body)
            try:
                limit = body["spec"]["activeDeadlineSeconds"]
                pod = await self._wait(pod, limit=limit, turn=turn, watch=watch)
                ended = await self._read_end(pod, body, also=also)
            except TrialError as error:
                _log_end(pod, error.reason, error.message, seconds=self._clock() - start)
                await self._delete(pod)
                raise
        except asyncio.CancelledError:
            if not self.closed and self.running[_where(body)] == 1:
                await self._withdraw(body)
            raise
        why = f"{ended.failed}: {ended.why}" if ended.failed else ""
        _log_end(pod, "Failed" if why else "Succeeded", why, seconds=self._clock() - start)
        await self._delete(pod)
        return ended

    async def _withdraw(self, body: Body) -> None:
        """Delete a pod that nobody waits for; the sweep does so where this fails."""
        with suppress(ClusterError):
            pod = await self._cluster.get_pod(*_where(body))
            if pod and _is_ours(pod, body):
                log.info("pod %s is not waited for any more", _name(pod), extra=_log_fields(pod))
                await self._delete(pod)

    async def _start(self, body: Body) -> Body:
        try:
            pod = await self._cluster.create_pod(body)
        except ClusterError as error:
            if error.status == 409:
                if found := await self._cluster.get_pod(*_where(body)):
                    if not is_managed(found["metadata"].get("labels") or {}):
                        raise TrialError(
                            f"pod {_name(body)} exists and is not flowdeps'; delete it",
                            reason=Reason.PODS_FAILED,
                        ) from error
                    log.info("pod %s is there already", _name(found), extra=_log_fields(found))
                    return found
                raise TrialError("a pod came and went", reason=Reason.PROBING) from error
            if error.status in {403, 422, 400}:
                raise TrialError(
                    f"a pod in the flow's image was refused: {error}; allow it (quota, policy or"
                    " the operator's role)",
                    reason=Reason.PODS_FORBIDDEN,
                ) from error
            raise
        log.info("pod %s is created", _name(pod), extra=_log_fields(pod))
        return pod

    async def _wait(self, pod: Body, *, limit: float, turn: Turn, watch: Watch | None) -> Body:
        """Return the pod once it has ended."""
        start = looked = self._clock()
        known = ""
        while not has_ended(pod):
            turn.pause(paused=bool(unscheduled(pod)))
            waited = self._clock() - start
            if waited > _PULL_SECONDS and (problem := stuck(pod, waited=waited)):
                raise problem
            if waited > limit + _START_SECONDS:
                text = f"the pod did not end within {waited:.0f} s"
                raise TrialError(text, reason=Reason.VERIFY_TIMEOUT)
            if watch and self._clock() - looked >= _WATCH_EVERY and is_installing(pod):
                looked = self._clock()
                if (text := await self._how_far(pod)) not in {"", known}:
                    known = text
                    watch(text)
            pod = await self._read_again(pod)
        return pod

    async def _how_far(self, pod: Body) -> str:
        """Return what the install container said last of how far it is; empty: nothing."""
        try:
            log = await self._cluster.pod_log(
                *_where(pod), container=INSTALL_CONTAINER, limit=_WATCHED, lines=_WATCHED_LINES
            )
        except ClusterError:  # the next time
            return ""
        said = [one for one in log.splitlines() if one.startswith(INSTALLING)]
        return shorten(printable(said[-1].removeprefix(INSTALLING)), _LONGEST) if said else ""

    async def _read_again(self, pod: Body) -> Body:
        """Return the pod a second later, or once an API server that is away has come back."""
        until = self._clock() + _OUTAGE_SECONDS
        while True:
            await asyncio.sleep(_EVERY)
            try:
                found = await self._cluster.get_pod(*_where(pod))
            except ClusterError as error:
                if not error.is_passing or self._clock() > until:
                    raise
            else:
                if found is None or found["metadata"].get("uid") != pod["metadata"].get("uid"):
                    raise TrialError("somebody deleted the pod", reason=Reason.PROBING)
                return found

    async def _read_end(self, pod: Body, body: Body, *, also: str) -> Ended:
        if problem := cut_off(pod):
            raise problem
        failed, why, code = failure(pod)
        text = await self._read_log(pod, failed or pod["spec"]["containers"][0]["name"])
        more = await self._read_log(pod, also) if also and not failed else ""
        return Ended(failed, why, text, image_id(pod, of=body), more, code)

    async def _read_log(self, pod: Body, container: str) -> str:
        return await self._cluster.pod_log(*_where(pod), container=container, limit=LOG_LIMIT)

    async def _delete(self, pod: Body) -> None:
        namespace, name = _where(pod)
        await self._cluster.delete_pod(namespace=namespace, name=name, uid=pod["metadata"]["uid"])


def _where(pod: Body) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _is_ours(pod: Body, body: Body) -> bool:
    """Return whether a pod is the one that we made from a body; others may have added labels."""
    found = pod["metadata"].get("labels") or {}
    return all(found.get(key) == value for key, value in body["metadata"]["labels"].items())


def _name(pod: Body) -> str:
    return "/".join(_where(pod))


def _log_fields(pod: Body) -> dict[str, str]:
    return {"pod": _name(pod), "image": pod["spec"]["containers"][0]["image"]}


def _log_end(pod: Body, outcome: str, why: str, *, seconds: float) -> None:
    fields = {**_log_fields(pod), "outcome": str(outcome), "seconds": round(seconds, 3)}
    text = f"{outcome}: {why}" if why else outcome
    log.info("pod %s ends after %.1f s: %s", _name(pod), seconds, text, extra=fields)
