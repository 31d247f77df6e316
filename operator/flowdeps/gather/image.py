"""Finds the image that a set's lock is for, with what it has installed."""

from collections.abc import Iterator

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import SetSpec
from flowdeps.gather.sources import Lookup
from flowdeps.scheduling.tracking import Failure
from flowdeps.trials.image import Image


def find_image(lookup: Lookup, spec: SetSpec) -> Image | Outcome | None:
    """Return what the set's image has, or why that is not known; None: the lock is for no image.

    A lock is for no image with python.version, and if it was made elsewhere and nobody names an
    image.
    """
    ref = None if spec.target else lookup.image_ref(spec)
    if isinstance(ref, Outcome):
        return ref
    allowed = ref is not None and lookup.config.allows_image(ref.image)
    lookup.need_image(ref if allowed else None)
    if ref is None:
        if spec.target or spec.lock_from:
            return None
        return Outcome.failed(
            Reason.IMAGE_UNKNOWN,
            "spec.python: no image or version is given, and no work pool that admits the set names"
            " an image; set spec.python.image to the image of the flows",
        )

    def told(text: str) -> str:
        return "; ".join((text, *_worker_choice(lookup, spec, ref.image)))

    if not allowed:
        text = (
            f"spec.python.image: {ref.image} is not among the images that the operator allows"
            f" ({', '.join(lookup.config.images.allowed)}); use one of them, or ask those who run"
            " flowdeps to allow it in images.allowed"
        )
        return Outcome.failed(Reason.IMAGE_NOT_ALLOWED, told(text))
    image = lookup.image(ref)
    if image is None or (isinstance(image, Failure) and not image.message):
        text = f"a pod looks at what {ref.image} has installed"
        return Outcome.waits(Reason.PROBING, told(text))
    if isinstance(image, Failure):
        return Outcome.failed(image.reason, told(f"spec.python.image: {image.message}"))
    if problem := image.facts.problem:
        return Outcome.failed(Reason.IMAGE_UNUSABLE, told(f"{ref.image}: {problem}"))
    return image


def image_notes(lookup: Lookup, spec: SetSpec, image: Image) -> Iterator[str]:
    """Yield what people should know of the set's image."""
    # Our pods go through no ENTRYPOINT, so they may have seen another Python than runs do.
    if spec.work_pools and "prefect" not in image.facts.versions:
        python = image.facts.full_version or image.facts.python
        yield (
            f"python3 on the PATH of {image.ref.image} is Python {python}, without Prefect: if an"
            " ENTRYPOINT chooses another Python for runs, set ENV PATH in the image so that it"
            " comes first"
        )
    yield from _worker_choice(lookup, spec, image.ref.image)
    for pool in lookup.pools().values():
        if pool.image is None or pool.image == image.ref.image:
            continue
        what, to_do = f"has the image {pool.image}", "make a set for each image"
        if pool.by_worker:
            what = f"names no image (its worker takes {pool.image})"
            to_do = "its runs that choose the set must name that one"
        yield (f'work pool "{pool.name}" {what}, the lock is made for {image.ref.image}: {to_do}')


def _worker_choice(lookup: Lookup, spec: SetSpec, image: str) -> Iterator[str]:
    """Yield how it came to an image that nobody names."""
    pools = lookup.pools().values()
    if spec.python.image is None and any(one.by_worker and one.image == image for one in pools):
        yield (
            f"{image} is what the worker takes, as the work pool names no image: if deployments"
            " name theirs, write that into spec.python.image"
        )
