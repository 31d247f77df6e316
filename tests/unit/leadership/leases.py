"""An API server that keeps one Lease, on a virtual clock, and may be slow, refuse, or lose answers;
and candidates that write as long as their fence lets them."""

import asyncio
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, cast

from flowdeps.api.config import ElectionConfig
from flowdeps.clients.fence import Fence, FenceClosedError
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.kubernetes.transport import Body
from flowdeps.leadership.election import Election
from tests.unit.scheduling import virtual

SETTINGS = ElectionConfig(
    enabled=True,
    namespace="flowdeps",
    name="flowdeps",
    lease_duration=timedelta(seconds=15),
    renew_deadline=timedelta(seconds=10),
    retry_period=timedelta(seconds=2),
)
DURATION, DEADLINE, RETRY = 15.0, 10.0, 2.0
MARGIN = (DURATION - DEADLINE) / 2
"""How long before the end of the Lease a write is cut off."""


@dataclass(frozen=True)
class Answer:
    """What becomes of a request: it arrives after `there` seconds and is answered `back` later."""

    there: float = 0.01
    back: float = 0.01
    arrives: bool = True
    answered: bool = True
    error: int | None = None
    """The status of an error that is answered though the request was carried out, if it arrived."""


PROMPT = Answer()
NO_SERVER = Answer(arrives=False, error=0)
SILENCE = Answer(arrives=False, answered=False)
LOST = Answer(answered=False)
"""Carried out, but the answer never comes."""


@dataclass
class Leases:
    """The server: one Lease, and who has renewed it when."""

    body: dict[str, Any] | None = None
    renewals: list[tuple[float, str]] = field(default_factory=list)
    """When the Lease was written, and whose it was then; empty: nobody's."""
    version: int = 0

    def client(self, answers: Iterable[Answer] = ()) -> "LeaseClient":
        """A client with a network of its own: the answers that its requests get, in turn; prompt
        ones from then on."""
        return LeaseClient(self, chain(answers, repeat(PROMPT)))

    def write(self, body: Body | None, *, over: str | None) -> dict[str, Any]:
        """Make a change to the version `over` (None: to nothing), as of now."""
        known = self.body and self.body["metadata"]["resourceVersion"]
        if over != known:
            status = 404 if over and known is None else 409
            raise ClusterError(status, "Conflict", "another version")
        self.version += 1
        self.body = None
        if body is not None:
            meta = {**body["metadata"], "uid": "u", "resourceVersion": str(self.version)}
            self.body = {**copy.deepcopy(dict(body)), "metadata": meta}
        self.renewals.append((virtual.now(), self.holder))
        return copy.deepcopy(self.body or {})

    @property
    def holder(self) -> str:
        """Whose the Lease is."""
        return str(self.body["spec"]["holderIdentity"]) if self.body else ""


@dataclass
class LeaseClient:
    """The client of one candidate."""

    leases: Leases
    answers: Iterator[Answer]
    requests: int = 0

    async def get_lease(self, _namespace: str, _name: str) -> Body | None:
        found: Body | None = await self._request(lambda: copy.deepcopy(self.leases.body))
        return found

    async def create_lease(self, body: Body) -> Body:
        made: Body = await self._request(lambda: self.leases.write(body, over=None))
        return made

    async def replace_lease(self, body: Body) -> Body:
        over = body["metadata"]["resourceVersion"]
        made: Body = await self._request(lambda: self.leases.write(body, over=over))
        return made

    async def delete_lease(self, *, resource_version: str, **_: str) -> None:
        await self._request(lambda: self.leases.write(None, over=resource_version))

    async def _request(self, carry_out: Callable[[], Any]) -> Any:
        self.requests += 1
        answer = next(self.answers)
        arrived, outcome = asyncio.Event(), list[Any]()

        def arrive() -> None:  # also where nobody waits for it any more
            try:
                outcome.append(carry_out())
            except ClusterError as error:
                outcome.append(error)
            arrived.set()

        if answer.arrives:
            asyncio.get_running_loop().call_later(answer.there, arrive)
        if answer.error is not None:
            await asyncio.sleep(answer.there + answer.back)
            raise ClusterError(answer.error, "Faulty", "the server did not answer well")
        if not (answer.arrives and answer.answered):
            await asyncio.Event().wait()
        await arrived.wait()
        await asyncio.sleep(answer.back)
        [made] = outcome
        if isinstance(made, ClusterError):
            raise made
        return made


class Candidate:
    """A process that takes part in the election."""

    def __init__(self, leases: Leases, name: str, answers: Iterable[Answer] = ()) -> None:
        self.name = name
        self.client = leases.client(answers)
        self.fence = Fence(clock=virtual.now)
        self.stop = asyncio.Event()
        self.election = Election(
            cast("Cluster", self.client),
            SETTINGS,
            identity=name,
            fence=self.fence,
            clock=virtual.now,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=virtual.now()),
        )

    @property
    def may_write(self) -> bool:
        """Whether its fence is open."""
        try:
            self.fence.check()
        except FenceClosedError:
            return False
        return True


@dataclass(frozen=True)
class Span:
    """A write that was under way."""

    who: str
    begin: float
    end: float


async def write_on(
    candidate: Candidate, spans: list[Span], seconds: Iterable[float], *, pause: float = 0.3
) -> None:
    """Make one write after the other as long as the fence lets them through."""
    for length in seconds:
        begin = virtual.now()
        try:
            async with candidate.fence.write():
                begin = virtual.now()
                try:
                    await asyncio.sleep(length)
                finally:
                    spans.append(Span(candidate.name, begin, virtual.now()))
        except (FenceClosedError, TimeoutError):
            pass
        await asyncio.sleep(pause)
