"""What runs of a pool get without us: by its template and by its workers.

Workers are asked for now and then, not with each reconcile: an upgrade of theirs changes the image
of runs that name none, and nothing tells of it.
"""

import logging
from dataclasses import dataclass

from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.clients.prefect.pool import Pool, Workers
from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds import for_type, remove
from flowdeps.delivery.kinds.kind import TemplateView, default_image_note, worker_image
from flowdeps.reconcile.context import Context

log = logging.getLogger(__name__)

_AGAIN = 600.0
"""Seconds until a pool's workers are asked for again."""


@dataclass(frozen=True)
class Runs:
    """What runs of a pool get that choose nothing."""

    view: TemplateView
    """By its template without our fragment."""
    image: str | None
    """What their worker takes where nobody names an image; None where somebody does."""
    notes: tuple[str, ...]
    """What people should know of them."""


class RunsReader:
    """Finds out what runs get; remembers each pool's workers, and what was logged of it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._workers: dict[str, tuple[float, Workers]] = {}
        self._logged: dict[str, tuple[str, ...]] = {}

    def due(self, name: str) -> bool:
        """Return whether a pool's workers were asked for, and should be again."""
        if name not in self._workers:
            return False
        then, known = self._workers[name]
        return not known.server or self._context.queue.time() - then > _AGAIN

    async def read(self, pool: Pool, *, ours: bool) -> Runs | None:
        """Return what a pool's runs get; None where it is of another kind.

        `ours`: whether a fragment in its template is.
        """
        kind = for_type(pool.type)
        if kind is None:
            return None
        view = kind.view(remove(pool.template) if ours else pool.template)
        settings, workers = self._context.config.pool(pool.name), await self._workers_of(pool)
        image, notes = None, (*view.notes, *workers.notes)
        if view.worker_chooses and settings.image is None:
            live = find(pool.template)
            if ours and live and self._context.identity and not live.cluster:
                image = kind.view(pool.template).image  # `flowdeps template` chose it
            elif workers.prefect:
                image = worker_image(prefect=workers.prefect, python=settings.worker_python)
        if image:
            notes = (*notes, default_image_note(image))
        if notes and notes != self._logged.get(pool.name):
            log.warning("work pool %s: %s", pool.name, "; ".join(notes))
        self._logged[pool.name] = notes
        return Runs(view, image, notes)

    async def _workers_of(self, pool: Pool) -> Workers:
        asked = self._workers.get(pool.name)
        if asked is None or self.due(pool.name):
            known = asked[1] if asked else Workers()
            try:
                known = await self._context.pools.workers(pool, known)
            except PoolsError as error:
                log.info("work pool %s: its workers are not known: %s", pool.name, error)
            asked = self._workers[pool.name] = (self._context.queue.time(), known)
        return asked[1]
