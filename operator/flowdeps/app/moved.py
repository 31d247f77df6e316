"""Look whether a name leads runs to another image than a pod of ours has looked at.

The pods of runs say which image they have, so that shows without a pod of ours that a tag has
moved. Nodes may go on with what they have pulled, so an image that is older than others is no news
each time: one image has a name probed again once in the time after which it would be anyway.
"""

import logging

from flowdeps.api.names import SET_LABEL
from flowdeps.app.listing import served_namespaces
from flowdeps.reconcile.context import Context
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.images import moved

log = logging.getLogger(__name__)


class MovedImages:
    """Has images probed again that runs have another of."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[tuple[ImageRef, str], float] = {}

    async def look(self) -> None:
        """Look at the pods of runs. Raises ClusterError."""
        context, now = self._context, self._context.queue.time()
        forget = now - context.config.images.recheck.total_seconds()
        self._seen = {one: then for one, then in self._seen.items() if then > forget}
        known = {ref: context.images.get(ref) for ref in context.images.needed()}
        images = [one for ref, one in known.items() if isinstance(one, Image) and not ref.is_fixed]
        if not images:
            return
        pods = await context.cluster.list_pods(
            namespaces=sorted(served_namespaces(context.config)), selector=SET_LABEL
        )
        needed = context.images.needed()
        for ref, digest in moved(images, pods):
            if (ref, digest) not in self._seen and ref in needed:
                log.info("a run has another image of the name %s: %s", ref, digest)
                self._seen[ref, digest] = now
                context.images.poll_thing(ref)
