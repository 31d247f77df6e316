"""A lock that was made elsewhere (spec.lockFrom): whether it is one, and fits the set's image."""

from packaging.version import Version

from flowdeps.api.reasons import Reason
from flowdeps.locks import overlay
from flowdeps.locks.lock import Lock, LockError, parse_lock
from flowdeps.reconcile.dependency_set.status import GatherError
from flowdeps.trials.images import Image

_PATH = "spec.lockFrom"
_SHOWN = 5


def finished_lock(text: str, image: Image | None, *, shadow: tuple[str, ...]) -> Lock:
    """The lock in a text; `shadow` names what of the image it may move. Raises GatherError."""
    try:
        lock = parse_lock(text)
    except LockError as error:
        raise _invalid(f"{error}; make the lock with `flowdeps lock`") from None
    if image is not None:
        _check_fits(lock, image, shadow)
    return lock


def _check_fits(lock: Lock, image: Image, shadow: tuple[str, ...]) -> None:
    facts, name = image.facts, image.ref.image
    if lock.target.python != facts.python:
        raise _invalid(
            f"the lock is for Python {lock.target.python}, {name} has Python {facts.python}; make"
            " the lock for it"
        )
    missing = [f"{n} {v}" for n, v in lock.base if facts.versions.get(n) != v]
    if missing:
        raise _invalid(
            f"the lock builds on {', '.join(missing[:_SHOWN])}, which {name} does not have; make"
            " the lock for this image (`flowdeps lock --image-packages`)"
        )
    fixed = facts.versions.keys() - overlay.shadowed(facts, shadow)
    moved = {
        f"{pin.name} {pin.version} before {facts.versions[pin.name]}"
        for pin in lock.pins
        if pin.name in fixed and Version(pin.version) != Version(facts.versions[pin.name])
    }
    if moved:
        more = f" and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        raise _invalid(
            f"the lock puts other versions before those of {name}:"
            f" {', '.join(sorted(moved)[:_SHOWN])}{more}; name them in spec.shadow, or make the"
            " lock for this image (`flowdeps lock --image-packages`)"
        )


def _invalid(message: str) -> GatherError:
    return GatherError(Reason.LOCK_INVALID, f"{_PATH}: {message}")
