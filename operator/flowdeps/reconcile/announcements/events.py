"""Events in Prefect: which are to be sent, and how.

An event is sent if Prefect does not have it. What happened an hour before it was seen first is old
news, as after a restart.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from uuid import UUID

from flowdeps.api.names import DEPLOYMENT_TAG
from flowdeps.api.reasons import Reason
from flowdeps.api.wording import shorten
from flowdeps.clients.prefect.announcements import Deployment, PrefectEvent
from flowdeps.clients.prefect.errors import PoolsError, RefusedError
from flowdeps.locks.legible import printable
from flowdeps.reconcile.announcements.board import Step
from flowdeps.reconcile.announcements.happenings import Happening
from flowdeps.reconcile.context import Context
from flowdeps.state.store import SetKey

log = logging.getLogger(__name__)

_NEWS = timedelta(hours=1)
_FUTURE = timedelta(minutes=5)
"""How far the clock of an earlier operator may have been ahead."""
_TEXT = 1024


class Events:
    """The events of all sets that pools admit."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[SetKey, frozenset[UUID]] = {}
        self._pending: dict[tuple[SetKey, str], Happening] = {}

    def due(self) -> list[tuple[str, Step]]:
        """Return the steps that are due, each with the namespace whose turn it takes."""
        self._hear()
        return [(key.namespace, partial(self._emit, key)) for key, _ in self._pending]

    def _hear(self) -> None:
        """Take in what has become of sets that a pool admits. Of each kind the last one counts."""
        context = self._context
        for key in list(context.board.news):
            entry, found = context.store.sets.get(key), context.board.known.get(key)
            if entry is None or found is None:
                del context.board.news[key]
            elif context.admitted(entry):
                del context.board.news[key]
                before = self._seen.get(key, frozenset())
                self._seen[key] = frozenset(one.id for one in found.happenings)
                for one in found.happenings:
                    age = context.now() - one.occurred
                    if one.id not in before and -_FUTURE < age < _NEWS:
                        self._pending[key, one.name] = one
        for key in self._seen.keys() - context.store.sets.keys():
            del self._seen[key]

    async def _emit(self, key: SetKey) -> None:
        """Send the oldest event of a set that waits."""
        where = min(
            (one for one in self._pending if one[0] == key),
            key=lambda one: self._pending[one].occurred,
        )
        one, pools = self._pending.pop(where), self._context.pools
        try:
            if not await pools.has_event(one.id):
                await pools.emit(await self._event(key, one))
        except RefusedError as error:
            log.warning("%s: the event %s is lost: %s", key, one.name, error)
        except PoolsError:
            self._pending.setdefault(where, one)  # unless there is a newer one
            raise

    async def _event(self, key: SetKey, one: Happening) -> PrefectEvent:
        context = self._context
        entry = context.store.sets.get(key)
        keys = {ref.name: ref.key for ref in context.admitted(entry)} if entry else {}
        related = [
            {
                "prefect.resource.id": f"prefect.work-pool.{state.id}",
                "prefect.resource.role": "work-pool",
                "prefect.resource.name": pool,
                "flowdeps.key": keys[pool],
            }
            for pool in keys
            if (state := context.pool_states.get(pool)) and state.id
        ]
        related += [
            {
                "prefect.resource.id": f"prefect.deployment.{found.id}",
                "prefect.resource.role": "deployment",
                "prefect.resource.name": found.name,
            }
            for found in await self._deployments(keys)
        ]
        labels = {
            "prefect.resource.id": f"flowdeps.set.{key.namespace}.{key.name}",
            "prefect.resource.name": str(key),
            "flowdeps.owner": context.config.owner,
            **({"flowdeps.cluster": context.identity} if context.identity else {}),
            **one.labels,
        }
        payload = {name: shorten(printable(text), _TEXT) for name, text in one.payload.items()}
        return PrefectEvent(
            id=one.id,
            name=one.name,
            occurred=one.occurred,
            resource=labels,
            related=related,
            payload={"set": str(key), **payload},
        )

    async def _deployments(self, keys: Mapping[str, str]) -> list[Deployment]:
        """Return the deployments of pools that say by a tag that they use a set's key there."""
        if not keys:
            return []
        tags = {pool: f"{DEPLOYMENT_TAG}{key}" for pool, key in keys.items()}
        try:
            found = await self._context.pools.tagged_deployments(tags.keys(), set(tags.values()))
        except PoolsError as error:
            if error.reason is not Reason.PREFECT_UNAUTHORIZED:
                raise
            return []  # the credentials may read none
        return [one for one in found if tags.get(one.pool) in one.tags]
