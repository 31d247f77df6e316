"""Which image a set's lock is for, and what that has: a part of gathering."""

from collections.abc import Iterator

from flowdeps.api.reasons import Reason
from flowdeps.api.resource import SetSpec
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.status import GatherError
from flowdeps.scheduling.lookups import Failure
from flowdeps.state.store import SetEntry
from flowdeps.trials.images import Image, ImageRef


def _image_ref(context: Context, entry: SetEntry, spec: SetSpec) -> ImageRef | None:
    """The image that a set is for, as its pools' runs get it; None: none is named."""
    views = []
    for ref in entry.offers:
        state = context.pool_states.get(ref.name)
        if view := context.store.pools.get(ref.name):
            views.append(view)
        elif state is None or entry.key not in state.verdicts:
            raise GatherError(Reason.PENDING, "waits for the first look at the work pool")
    views = [view for view in views if view.image]
    name = spec.python.image or (views[0].image if views else None)
    if name is None:
        return None
    like = next((view for view in views if view.image == name), views[0] if views else None)
    if like is None:
        return ImageRef(entry.key.namespace, name)
    policy = like.pull_policy if like.image == name else None
    return ImageRef(entry.key.namespace, name, policy, like.user)


def find_image(
    context: Context, entry: SetEntry, spec: SetSpec
) -> tuple[Image | None, tuple[str, ...]]:
    """What the set's image has, and notes on it; None with python.version, or a lock from elsewhere
    that no image is named for."""
    if spec.target is not None:
        context.images.need(entry.key, frozenset())
        return None, ()
    ref = _image_ref(context, entry, spec)
    allowed = ref is not None and context.config.allows_image(ref.image)
    context.images.need(entry.key, frozenset({ref} if ref and allowed else ()))
    if ref is None:
        if any(one.name not in context.store.pools for one in entry.offers):
            raise GatherError(Reason.PENDING, "waits for a look at the work pool, for its image")
        if spec.lock_from:
            return None, ()
        raise GatherError(
            Reason.IMAGE_UNKNOWN,
            "spec.python: no image or version is given, and no work pool of the set names an image;"
            " set spec.python.image to the image of the flows",
        )
    if not allowed:
        raise GatherError(
            Reason.IMAGE_NOT_ALLOWED,
            f"spec.python.image: {ref.image} is not among the images that the operator allows"
            f" ({', '.join(context.config.images.allowed)}); use one of them, or ask whoever runs"
            " flowdeps to allow it in images.allowed",
        )
    image = context.images.get(ref)
    if image is None:
        raise GatherError(Reason.PROBING, f"a pod looks at what {ref.image} has installed")
    if isinstance(image, Failure):
        raise GatherError(image.reason, f"spec.python.image: {image.message}")
    if problem := image.facts.problem:
        raise GatherError(Reason.IMAGE_UNUSABLE, f"{ref.image}: {problem}")
    return image, (*_without_prefect(entry, image), *_other_images(context, entry, ref.image))


def _without_prefect(entry: SetEntry, image: Image) -> Iterator[str]:
    """Pods of ours go through no ENTRYPOINT, so they may have seen another Python than runs do."""
    if entry.offers and "prefect" not in image.facts.versions:
        yield (
            f"python3 on the PATH of {image.ref.image} is Python {image.facts.full_version},"
            " without Prefect: if an ENTRYPOINT chooses another Python for runs, set ENV PATH in"
            " the image so that it comes first"
        )


def _other_images(context: Context, entry: SetEntry, image: str) -> Iterator[str]:
    for ref in entry.offers:
        view = context.store.pools.get(ref.name)
        if view and view.image and view.image != image:
            yield (
                f'work pool "{ref.name}" has the image {view.image}, the lock is made for {image}:'
                " make a set for each image"
            )
