"""Notices runs that could not pull their environment, by what kubelets say of pods.

Nothing in such a pod can be changed any more, so the line goes that led to it, within seconds. Only
what is said in a namespace of runs counts there: whoever may post events in one could else end the
environments of others. Where all namespaces are watched one watch brings all, else there is one for
each namespace with lines.
"""

import asyncio
import logging
import re

from flowdeps.api import rules
from flowdeps.api.names import MOUNT_CONTAINER
from flowdeps.clients.kubernetes.client import FailedPod
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.runs_namespace.deliveries import FailedPull
from flowdeps.scheduling.clock import Backoff
from flowdeps.state.store import RunsKey

log = logging.getLogger(__name__)

_RECENT = 600.0
"""Seconds that count, as clocks of nodes may differ too: a kubelet repeats itself every five
minutes at least."""
_WORDS = 300
_STEADY = 60.0
"""Seconds after which the end of a watch is no failure."""
_REFUSALS = {401, 403, 404, 405}
_REFUSED_AGAIN = 300.0
# A word of a message is looked at from its beginning only: anybody may post long ones.
_REFERENCE = re.compile(r"(?<![^\s\"'])[^\s\"'@]+@sha256:[0-9a-f]{64}")


class Pulls:
    """Watches for failed pulls in namespaces of runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def scope(self, namespace: str) -> str:
        """Return what is watched for a namespace: itself, or all (empty)."""
        return namespace if self._context.config.watch_namespaces else ""

    def begin(self, namespace: str) -> None:
        """Watch a namespace from now on."""
        scope = self.scope(namespace)
        if scope not in self._tasks:
            self._tasks[scope] = asyncio.create_task(self._watch(scope))

    def end(self, namespace: str) -> None:
        """Watch it no longer."""
        scope = self.scope(namespace)
        if scope and (task := self._tasks.pop(scope, None)):
            task.cancel()
            self._context.deliveries.events.pop(scope, None)

    async def close(self) -> None:
        """End all watches."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _watch(self, scope: str) -> None:
        context, failures = self._context, 0
        backoff = Backoff(longest=60.0, jitter=context.jitter)
        while True:
            start, refused = context.queue.time(), False
            try:
                async for event in context.cluster.failed_pods(scope):
                    if event is None:
                        self._know(scope, "")
                    else:
                        await self._take(event)
            except ClusterError as error:
                log.info("events of pods in %s: %s", scope or "all namespaces", error)
                # Anything else ends by itself, or is one event's: what is known stays.
                refused = error.status in _REFUSALS
                if refused:
                    why = "events can't be read, and nobody would notice a pull that fails"
                    self._know(scope, f"{why}: {error}")
            except Exception:
                log.exception("a mistake in flowdeps; the watch of events begins anew")
                refused = True
            failures = 0 if context.queue.time() - start > _STEADY else failures + 1
            await asyncio.sleep(_REFUSED_AGAIN if refused else backoff(max(1, failures)))

    def _know(self, scope: str, problem: str) -> None:
        """Keep whether failed pulls are noticed; requeue whom that concerns."""
        context = self._context
        if context.deliveries.events.get(scope) != problem:
            context.deliveries.events[scope] = problem
            concerned = [scope] if scope else context.deliveries.lines
            context.requeue(map(RunsKey, concerned))

    async def _take(self, event: FailedPod) -> None:
        """Take in what a kubelet says, if it names an environment of the pod's namespace."""
        context, lines = self._context, self._context.deliveries.lines.get(event.namespace)
        if not lines or event.time is None:
            return
        if event.pod.startswith(f"{MOUNT_CONTAINER}-"):
            return  # it is ours, and is waited for
        # Nor is one of tomorrow believed: all that comes before it would not be heard.
        if abs((context.now() - event.time).total_seconds()) > _RECENT:
            return
        if said := set(_REFERENCE.findall(event.message)):
            known = {one.environment.reference for found in lines.values() for one in found}
            for reference in sorted(said & known):
                await self._note(event, reference)

    async def _note(self, event: FailedPod, reference: str) -> None:
        context, where = self._context, (event.namespace, reference)
        known = context.deliveries.failed.get(where)
        if known and event.time and known.said and event.time <= known.said:
            return  # a watch that begins anew tells all again
        words = event.message[:_WORDS]
        failures = known.failures + known.mounted if known else 1
        secrets = known.pull_secrets if known else None
        pull = FailedPull(words, context.queue.time(), event.time, secrets, failures)
        context.deliveries.failed[where] = pull
        if known is None or known.mounted:
            log.warning("a run in %s can't pull %s: %s", event.namespace, reference, words)
            context.queue.add(RunsKey(event.namespace))
            pull.pull_secrets = await self._pull_secrets(event)

    async def _pull_secrets(self, event: FailedPod) -> tuple[str, ...] | None:
        """Return the names of the pull secrets of a pod, with those of its service account; None
        where nobody tells."""
        if rules.check_object_name(event.pod):
            return None  # anybody may post events, about anything
        try:
            pod = await self._context.cluster.get_pod(event.namespace, event.pod)
        except ClusterError as error:
            log.info("pod %s/%s can't be read: %s", event.namespace, event.pod, error)
            return None
        if pod is None:
            return None
        return tuple(one["name"] for one in pod["spec"].get("imagePullSecrets") or ())
