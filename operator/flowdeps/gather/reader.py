"""Reads the sources that sets refer to, for the operator.

Each is read by its name, never listed or watched, so the operator's role needs no more than `get`,
and is read again every half minute. A text that has changed is parsed here, beside the event loop,
and never again. Prefect variables are read many at a time, by one request a second at most. A
credential helper runs again when two thirds of its token's life are over.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from math import inf

from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.prefect.client import VARIABLES_AT_ONCE, Pools, PoolsError, Variable
from flowdeps.gather import sources
from flowdeps.gather.credentials import secret_data
from flowdeps.gather.tokens import Token, TokenError, fetch_token, parse_token
from flowdeps.scheduling.clock import Clock, loop_time
from flowdeps.scheduling.off_loop import off_loop

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two requests for variables."""
_REREAD = 30.0
_REREAD_ABSENT = 10.0
"""Seconds until a source is read again: one that is there, and one that is not."""
_AGAIN = 60.0
"""Seconds until a helper that failed runs again."""


@dataclass
class SourceReader:
    """Reads sources from a cluster and from Prefect."""

    cluster: Cluster
    pools: Pools
    fetch: Callable[[CredentialHelper], Awaitable[str]] = fetch_token
    """Runs a credential helper."""
    clock: Clock = loop_time
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _asked: dict[str, "asyncio.Future[Variable | PoolsError | None]"] = field(default_factory=dict)
    _request: asyncio.Lock = field(default_factory=asyncio.Lock)
    _helped: dict[CredentialHelper, float] = field(default_factory=dict)
    """When each helper ran last: however often sets are edited, it rests half a minute."""
    _next: float = -inf
    """When the next request may begin."""

    async def read(
        self, ref: sources.SourceRef, known: sources.Content | None
    ) -> tuple[sources.Content, float]:
        """Return what a source holds now, and in how many seconds to read it again."""
        found: sources.Content = sources.Absent(f"there is no {ref}; create it")
        match ref:
            case sources.ConfigMapKey(namespace, name):
                body = await self.cluster.get_config_map(namespace, name)
                found = sources.Absent(f"there is no ConfigMap {namespace}/{name}; create it")
                if body is not None:
                    found = await off_loop(sources.key_content, ref, body, known)
            case sources.SecretName(namespace, name):
                if secret := await self.cluster.get_secret(namespace, name):
                    found = sources.Present(secret_data(secret))
            case sources.PrefectVariable(name):
                if variable := await self._variable(name):
                    found = await off_loop(sources.variable_content, variable.value, known)
            case sources.IndexToken(helper):
                return await self._token(helper, known)
        return found, _REREAD_ABSENT if isinstance(found, sources.Absent) else _REREAD

    async def _token(
        self, helper: CredentialHelper, known: sources.Content | None
    ) -> tuple[sources.Content, float]:
        """Return a helper's token: the known one until it is time, and as long as it is valid."""
        token: Token | None = known.content if isinstance(known, sources.Present) else None
        if known and token and self.now() < token.renewed:
            return known, (token.renewed - self.now()).total_seconds()
        await asyncio.sleep(max(0.0, self._helped.get(helper, -inf) + _REREAD - self.clock()))
        try:
            text = await self.fetch(helper)
            token = parse_token(text, helper, now=self.now())
        except TokenError as error:
            if known and token and self.now() < token.expires:
                log.warning("%s; the token for %s is valid still", error, helper.url)
                return known, _AGAIN
            return sources.Absent(error.message), _AGAIN
        finally:
            self._helped[helper] = self.clock()
        return sources.Present(token), (token.renewed - self.now()).total_seconds()

    async def _variable(self, name: str) -> Variable | None:
        """Return a variable; None where there is none. Whoever comes first asks for all."""
        asked = self._asked.setdefault(name, asyncio.get_running_loop().create_future())
        async with self._request:
            if not asked.done():
                await asyncio.sleep(max(0.0, self._next - self.clock()))
                self._next = self.clock() + _PAUSE
                others = islice(self._asked.items(), VARIABLES_AT_ONCE - 1)
                await self._read_all({name: asked, **dict(others)})
        found = asked.result()
        if isinstance(found, PoolsError):
            raise PoolsError(found.reason, str(found))
        return found

    async def _read_all(
        self, asked: Mapping[str, "asyncio.Future[Variable | PoolsError | None]"]
    ) -> None:
        found: Mapping[str, Variable] | PoolsError
        try:
            found = await self.pools.variables(list(asked))
        except PoolsError as error:
            found = error
        for name, future in asked.items():
            del self._asked[name]
            future.set_result(found if isinstance(found, PoolsError) else found.get(name))
