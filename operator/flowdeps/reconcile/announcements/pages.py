"""Pages in Prefect: which are to be looked at, and what is done about each.

What a page should be is compared with what Prefect has, so a restart reads each page once and
writes none. Once an hour each is read again: others may have changed it.

    wanted   a page for each key that the template of a pool offers, once its set has reported
    gone     a page of ours that is not wanted: all its versions are deleted. Those of an earlier
             operator are looked for where Prefect has more keys than we know of
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from flowdeps.api.names import ARTIFACT_PREFIX, artifact_key
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.clients.prefect.announcements import Artifact
from flowdeps.clients.prefect.errors import RefusedError
from flowdeps.locks.lock import LockError, parse_lock
from flowdeps.reconcile.announcements.board import Step
from flowdeps.reconcile.announcements.page import Page, document_of, is_of, render
from flowdeps.reconcile.context import Context
from flowdeps.scheduling.off_loop import off_loop
from flowdeps.state.locations import primary_location
from flowdeps.state.store import LOCK_FILE

log = logging.getLogger(__name__)

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


@dataclass
class _Known:
    """A page that was looked at."""

    page: Page | None
    """What Prefect has by now; None: we don't know."""
    due: float
    """When to look again, in queue time."""


class Pages:
    """The pages of all keys that pools offer."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._wanted: dict[str, Page | None] = {}
        """By the keys of their artifacts; None where it is not known yet what they should show."""
        self._known: dict[str, _Known] = {}
        self._search_due = 0.0
        self._offset: int | None = None
        """How far a search for pages of earlier operators is; None: there is none."""

    def begin(self) -> None:
        """Begin anew; sets and pools report what they have before what was left is looked for."""
        self._search_due, self._offset = self._context.queue.time() + _FIRST_SEARCH, None

    def due(self) -> list[tuple[str, Step]]:
        """Return the steps that are due, each with the namespace whose turn it takes."""
        self._wanted = dict(self._pages())
        return list(self._steps(self._context.queue.time()))

    def next_due(self) -> float:
        """Return in how many seconds a page that nothing changes is due."""
        times = (one.due for artifact, one in self._known.items() if self._wanted.get(artifact))
        return max(0.0, min((self._search_due, *times)) - self._context.queue.time())

    @property
    def search_is_due(self) -> bool:
        """Whether pages of earlier operators are to be looked for."""
        return self._context.queue.time() >= self._search_due

    def _pages(self) -> Iterator[tuple[str, Page | None]]:
        context = self._context
        for pool, state in context.pool_states.items():
            for key, owner in state.offered.items():
                found = context.board.known.get(owner)
                content = found.content if found else None
                page = Page(pool=pool, key=key, set=owner, content=content) if content else None
                yield artifact_key(key, pool=pool), page

    def _steps(self, now: float) -> Iterator[tuple[str, Step]]:
        for artifact, page in self._wanted.items():
            known = self._known.get(artifact)
            if page and (known is None or known.page != page or now >= known.due):
                if known and known.page is None and now < known.due:
                    continue  # it failed a moment ago
                yield page.set.namespace, partial(self._bring_in_line, page)
        for artifact in self._known.keys() - self._wanted.keys():
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

    async def search(self) -> None:
        """Look for pages that an earlier operator left, some in each step."""
        context, pools = self._context, self._context.pools
        if self._offset is None:
            there = sum(one.page is not None for one in self._known.values())
            if await pools.count_artifacts(ARTIFACT_PREFIX) <= there:
                self._search_due = context.queue.time() + _AGAIN
                return
            self._offset = 0
        found = await pools.artifacts(ARTIFACT_PREFIX, offset=self._offset)
        left = [one for one in found if one.key not in self._wanted and self._is_left(one)]
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
