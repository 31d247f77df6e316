"""One active operator of several: the one that holds a Lease.

    election = Election(cluster, settings, identity=…, fence=…)
    await election.acquire()        # stands by until the Lease is ours
    await election.keep()           # renews it; ends only with LostError
    await election.release()        # gives it away, so that the next one need not wait

The API server refuses every change (409) that is not made to the latest version. A candidate waits
as long as a Lease lasts, by its own clock, from when it saw the Lease change: the clocks of two
machines are never compared. The holder counts a renewal from before it was sent, so its time is
over before anybody else's begins:

    renewal sent        renewDeadline             leaseDuration
    |-- writes begin ---|-- writes end --|--------|-- another may hold it

It may run in another loop than the work, so that a busy one does not lose the Lease. Then it asks
how long the work's loop has stood still: for one that hangs, the Lease is not renewed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NoReturn

from flowdeps.api.config import ElectionConfig
from flowdeps.clients.fence import Fence, elapsed
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.kubernetes.transport import Body
from flowdeps.scheduling.heartbeat import HUNG_SECONDS

log = logging.getLogger(__name__)

_RELEASE_SECONDS = 5.0


class LostError(Exception):
    """The Lease is not ours any more."""


class Election:
    """A candidate called `identity`; while it holds the Lease, `fence` is open.

    `cluster` is a client without a fence: one with it could not take the Lease.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: ElectionConfig,
        *,
        identity: str,
        fence: Fence,
        clock: Callable[[], float] = elapsed,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        still: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._cluster, self._settings, self._fence = cluster, settings, fence
        self._identity, self._clock, self._now = identity, clock, now
        self._still = still
        self._duration = settings.lease_duration.total_seconds()
        self._deadline = settings.renew_deadline.total_seconds()
        self._retry = settings.retry_period.total_seconds()
        self._body: Body | None = None  # while it is ours
        self._renewed = 0.0
        self._seen: object = None
        self._since = 0.0
        self.holder = ""
        """Who held the Lease when it was read last; empty: nobody."""
        self.lost = False
        """Whether the Lease was ours and no longer is."""
        self.problem: str | None = f"the Lease {settings.lease} was not read yet"
        """Why the Lease can't be read or written; None: it can."""

    @property
    def active(self) -> bool:
        """Whether the Lease was ours when it was read last."""
        return self._body is not None

    def standby(self) -> str:
        """Return who is active instead, for people."""
        return f"standby: the Lease {self._settings.lease} is held by {self.holder or 'nobody'}"

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        logged = None
        while not await self.try_once():
            if (problem := self.problem) and problem != logged:
                log.warning("can't take the Lease %s: %s", self._settings.lease, problem)
            elif not problem and self.holder != logged:
                log.info("%s", self.standby())
            logged = problem or self.holder
            await asyncio.sleep(self._retry)
        log.info("active: %s holds the Lease %s", self._identity, self._settings.lease)

    async def try_once(self) -> bool:
        """Try once to take the Lease; returns whether it is ours."""
        return await self._attempt(self._take, seconds=self._deadline / 2)

    async def keep(self) -> NoReturn:
        """Renew the Lease as long as that works and the work's loop turns, then raise LostError."""
        try:
            while True:
                await asyncio.sleep(self._retry)
                await self._renew()
        except LostError:
            self.lost = True
            raise
        finally:
            self._fence.close()

    async def release(self) -> None:
        """Close the fence and, if the Lease is ours, give it away."""

        async def give() -> bool:
            if body := await self._leave():
                given = {**body["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._cluster.replace_lease({**body, "spec": given})
            return body is not None

        if await self._attempt(give, seconds=_RELEASE_SECONDS):
            log.info("the Lease %s is given away", self._settings.lease)
        elif self.problem:
            log.warning("the Lease %s was not given away: %s", self._settings.lease, self.problem)

    async def remove(self) -> None:
        """Close the fence and, if the Lease is ours, delete it. Raises ClusterError."""
        if body := await self._leave():
            meta = body["metadata"]
            await self._cluster.delete_lease(
                namespace=meta["namespace"],
                name=meta["name"],
                uid=meta["uid"],
                resource_version=meta["resourceVersion"],
            )

    # Steps

    async def _leave(self) -> Body | None:
        """Close the fence; returns the Lease as it is now, if it is ours."""
        self._fence.close()
        self._body = None
        body = await self._read()  # a renewal may have been cut off
        return body if self.holder == self._identity else None

    async def _renew(self) -> None:
        if (seconds := self._still()) > max(HUNG_SECONDS, self._duration):
            raise LostError(
                f"the event loop has stood still for {seconds:.0f} s, so the Lease"
                f" {self._settings.lease} is not renewed"
            )
        deadline = self._renewed + self._deadline
        while True:
            left = deadline - self._clock()
            # More than one try even where the first one hangs.
            seconds = min(self._deadline / 2, max(left, self._retry))
            if await self._attempt(self._renew_once, seconds=seconds):
                return
            if self._body is None:
                raise LostError(f"the Lease {self._settings.lease} is {self.holder or 'nobody'}'s")
            left = deadline - self._clock()
            if left <= 0:
                raise LostError(
                    f"the Lease {self._settings.lease} could not be renewed for"
                    f" {self._deadline:.0f} s: {self.problem}"
                )
            await asyncio.sleep(min(self._retry, left))

    async def _attempt(self, step: Callable[[], Awaitable[bool]], *, seconds: float) -> bool:
        """Make a step; returns whether it was made. Where it failed, `problem` says why."""
        problem, made = None, False
        try:
            async with asyncio.timeout(seconds):
                made = await step()
        except ClusterError as error:
            if error.status != 409:  # somebody was faster, which is no problem
                problem = str(error)
        except TimeoutError:
            problem = f"the API server did not answer within {seconds:.0f} s"
        self.problem = problem
        return made

    async def _take(self) -> bool:
        body = await self._read()
        if body and self.holder not in {"", self._identity}:
            lasts = body["spec"].get("leaseDurationSeconds") or self._duration
            if self._clock() < self._since + lasts:
                return False
            log.warning("%s did not renew the Lease for %d s", self.holder, lasts)
        await self._write(body)
        return True

    async def _renew_once(self) -> bool:
        try:
            await self._write(self._body)
        except ClusterError as error:
            if error.status not in {404, 409}:
                raise
        else:
            return True
        # Somebody else has changed it, or an earlier try of ours whose answer was lost.
        body = await self._read()
        self._body = body if self.holder == self._identity else None
        return False

    async def _read(self) -> Body | None:
        body = await self._cluster.get_lease(self._settings.namespace, self._settings.name)
        spec = (body or {}).get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        seen = [spec.get(name) for name in ("holderIdentity", "renewTime", "leaseTransitions")]
        if seen != self._seen:
            self._seen, self._since = seen, self._clock()
        return body

    async def _write(self, known: Body | None) -> None:
        """Write that the Lease is ours over the version that we know, and open the fence."""
        before = (known or {}).get("spec") or {}
        now = self._now().isoformat(timespec="microseconds")
        ours = before.get("holderIdentity") == self._identity
        spec = {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._duration),
            "acquireTime": before["acquireTime"] if ours else now,
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0)
            + (known is not None and not ours),
        }
        begun = self._clock()
        if known is None:
            meta = {"namespace": self._settings.namespace, "name": self._settings.name}
            self._body = await self._cluster.create_lease({"metadata": meta, "spec": spec})
        else:
            self._body = await self._cluster.replace_lease({**known, "spec": spec})
        self._renewed, self.holder = begun, self._identity
        self._fence.until(
            begin=begun + self._deadline,
            # The rest of the time is for what was sent before to arrive.
            end=begun + (self._deadline + self._duration) / 2,
        )
