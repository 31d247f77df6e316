"""Brings pages and events in Prefect in line with what sets have reported, one at a time.

Each step is about one page or one event, and at least a second after the one before, so that
Prefect has time for all else; namespaces take turns. No set waits for it. What a page should be is
compared with what Prefect has, so a restart reads each page once and writes none. Once an hour each
is read again: others may have changed it.

    wanted   a page for each key that the template of a pool offers, once its set has reported
    gone     a page of ours that is not wanted: all its versions are deleted. Those of an earlier
             operator are looked for where Prefect has more keys than we know of

An event is sent if Prefect does not have it. What happened an hour before it was seen first is old
news, as after a restart.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from flowdeps.api.names import ARTIFACT_PREFIX, DEPLOYMENT_TAG, artifact_key
from flowdeps.api.reasons import Reason
from flowdeps.api.wording import shorten
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.announcements import Artifact, Deployment, PrefectEvent
from flowdeps.clients.prefect.errors import PoolsError, RefusedError
from flowdeps.locks.legible import printable
from flowdeps.locks.lock import LockError, parse_lock
from flowdeps.reconcile.announcements.happenings import Happening
from flowdeps.reconcile.announcements.page import Page, document_of, is_of, render
from flowdeps.reconcile.context import Context
from flowdeps.scheduling.clock import Backoff
from flowdeps.scheduling.off_loop import off_loop
from flowdeps.state.locations import primary_location
from flowdeps.state.store import LOCK_FILE, SetKey

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds between two steps."""
_AGAIN = 3600.0
"""Seconds after which what is in line, or was refused, is looked at again."""
_SOON = 60.0
"""Seconds until what could not be read in the cluster is tried again."""
_FIRST_SEARCH = 600.0
"""Seconds after the start in which sets and pools report what they have."""
_VERSIONS = 10
"""How many versions of a page are kept."""
_MOST_DELETED = 50
"""Versions in one step."""
_NEWS = timedelta(hours=1)
_FUTURE = timedelta(minutes=5)
"""How far the clock of an earlier operator may have been ahead."""
_TEXT = 1024

Step = Callable[[], Awaitable[None]]


@dataclass
class _Known:
    """A page that was looked at."""

    page: Page | None
    """What Prefect has by now; None: we don't know."""
    due: float
    """When to look again, in queue time."""


class Announcer:
    """Tells Prefect."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, _Known] = {}
        self._seen: dict[SetKey, frozenset[object]] = {}
        self._pending: dict[tuple[SetKey, str], Happening] = {}
        self._turns: dict[str, int] = {}
        self._count = itertools.count(1)
        self._search_due = _FIRST_SEARCH
        self._offset: int | None = None
        """How far a search for pages of earlier operators is; None: there is none."""

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do, by the configuration."""
        prefect = self._context.config.prefect
        return prefect.artifacts or prefect.events

    async def run(self) -> None:
        """Run without end."""
        context, failures, problem = self._context, 0, ""
        backoff = Backoff(first=5.0, jitter=context.jitter)
        self._search_due = context.queue.time() + _FIRST_SEARCH
        while True:
            context.board.changed.clear()
            try:
                left = await self._step()
            except PoolsError as error:
                failures += 1
                if str(error) != problem:
                    log.warning("Prefect is not told of locks, but will be: %s", error)
                problem = str(error)
                await asyncio.sleep(max(_PAUSE, backoff(failures)))
                continue
            failures, problem = 0, ""
            await asyncio.sleep(_PAUSE)
            if left > _PAUSE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left - _PAUSE):
                        await context.board.changed.wait()

    async def _step(self) -> float:
        """Take the next step; returns in how many seconds another one is due."""
        now, prefect = self._context.queue.time(), self._context.config.prefect
        pages = dict(self._pages()) if prefect.artifacts else {}
        due: list[tuple[str, Step]] = []
        if prefect.events:
            self._hear()
            due += [(key.namespace, partial(self._emit, key)) for key, _ in self._pending]
        if prefect.artifacts:
            due += self._due_pages(pages, now)
        if due:
            namespace, step = min(due, key=lambda one: self._turns.get(one[0], 0))
            self._turns[namespace] = next(self._count)
            try:
                await step()
            except PoolsError:
                raise
            except Exception:  # of one set, which must not keep the others waiting
                log.exception("%s: a mistake in flowdeps", namespace or "an artifact")
            return 0.0
        if not prefect.artifacts:
            return _AGAIN
        if now >= self._search_due:
            await self._search(pages)
            return 0.0
        times = (one.due for artifact, one in self._known.items() if pages.get(artifact))
        return max(0.0, min((self._search_due, *times)) - now)

    # Pages

    def _pages(self) -> Iterator[tuple[str, Page | None]]:
        """The pages that are wanted, by the keys of their artifacts; None where it is not known yet
        what they should show."""
        context = self._context
        for pool, state in context.pool_states.items():
            for key, owner in state.offered.items():
                found = context.board.known.get(owner)
                content = found.content if found else None
                page = Page(pool=pool, key=key, set=owner, content=content) if content else None
                yield artifact_key(key, pool=pool), page

    def _due_pages(
        self, pages: Mapping[str, Page | None], now: float
    ) -> Iterator[tuple[str, Step]]:
        for artifact, page in pages.items():
            known = self._known.get(artifact)
            if page and (known is None or known.page != page or now >= known.due):
                if known and known.page is None and now < known.due:
                    continue  # it failed a moment ago
                yield page.set.namespace, partial(self._bring_in_line, page)
        for artifact in self._known.keys() - pages.keys():
            yield "", partial(self._delete, artifact)

    async def _bring_in_line(self, page: Page) -> None:
        context, pools, artifact = self._context, self._context.pools, page.artifact
        known = self._known[artifact] = _Known(None, context.queue.time() + _SOON)
        data = await self._rendered(page)
        if data is None:
            return
        there = await pools.latest_artifact(artifact)
        same = there and document_of(there.data).get("digest") == page.content.record.digest
        try:
            if there is None or not same:
                await pools.write_artifact(artifact, data, description=page.description)
                for one in await pools.older_artifacts(artifact, beyond=_VERSIONS):
                    await pools.delete_artifact(one)
            elif (there.data, there.description) != (data, page.description):
                await pools.write_artifact(
                    artifact, data, description=page.description, id=there.id
                )
        except RefusedError as error:
            log.warning("%s has no page for work pool %s: %s", page.set, page.pool, error)
            known.due = context.queue.time() + _AGAIN
            return
        known.page, known.due = page, context.queue.time() + _AGAIN

    async def _rendered(self, page: Page) -> str | None:
        """Return the text of a page; None where its lock can't be read now."""
        home = primary_location(page.set)
        try:
            body = await self._context.cluster.get_config_map(home.namespace, home.live_name)
        except ClusterError as error:
            log.info("the lock of %s can't be read for its page: %s", page.set, error)
            return None
        text = ((body or {}).get("data") or {}).get(LOCK_FILE, "")
        owner, cluster = self._context.config.owner, self._context.identity

        def make() -> str | None:
            lock = parse_lock(text)
            if lock.digest != page.content.record.digest:
                return None  # another one by now, of which the set reports soon
            return render(page, lock, text, owner=owner, cluster=cluster)

        try:
            return await off_loop(make)
        except LockError:
            return None

    async def _delete(self, artifact: str) -> None:
        """Delete all versions of a page of ours."""
        for _ in range(_MOST_DELETED):
            there = await self._context.pools.latest_artifact(artifact)
            if there is None or not self._is_ours(there):
                self._known.pop(artifact, None)
                return
            await self._context.pools.delete_artifact(there.id)

    async def _search(self, pages: Mapping[str, Page | None]) -> None:
        """Look for pages that an earlier operator left, some in each step."""
        context, pools = self._context, self._context.pools
        if self._offset is None:
            there = sum(one.page is not None for one in self._known.values())
            if await pools.count_artifacts(ARTIFACT_PREFIX) <= there:
                self._search_due = context.queue.time() + _AGAIN
                return
            self._offset = 0
        found = await pools.artifacts(ARTIFACT_PREFIX, offset=self._offset)
        left = [one for one in found if one.key not in pages and self._is_left(one)]
        for one in left:
            self._known.setdefault(one.key, _Known(None, 0.0))  # the next steps delete it
        self._offset += len(found) - len(left)
        if not found:
            self._offset, self._search_due = None, context.queue.time() + _AGAIN

    def _is_left(self, artifact: Artifact) -> bool:
        """Return whether a page is of ours, and its pool does not offer it, as far as is known."""
        if not self._is_ours(artifact):
            return False
        pool = str(document_of(artifact.data).get("pool"))
        state = self._context.pool_states.get(pool)
        return state.looked if state else pool not in self._context.store.named_pools()

    def _is_ours(self, artifact: Artifact) -> bool:
        config, cluster = self._context.config, self._context.identity
        document = document_of(artifact.data)
        return is_of(document, artifact=artifact.key, owner=config.owner, cluster=cluster)

    # Events

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
