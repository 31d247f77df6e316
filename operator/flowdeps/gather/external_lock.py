"""Checks a lock that was made elsewhere (spec.lockFrom): by itself, and against the set's image."""

from packaging.version import Version

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.wording import listed
from flowdeps.locks import overlay
from flowdeps.locks.external_pylock import ExternalPylock
from flowdeps.locks.lock import Lock, LockError
from flowdeps.trials.image import Image

_SHOWN = 5


def external_lock(
    found: Lock | ExternalPylock | str, image: Image | None, *, shadow: tuple[str, ...]
) -> Lock | Outcome:
    """Return a lock, or why it can't be used (`found`: why it is none); `shadow` names what of the
    image it may move."""
    if isinstance(found, ExternalPylock):
        try:
            found = found.lock_for(image.facts if image else None)
        except LockError as error:
            return Outcome.failed(Reason.LOCK_INVALID, f"spec.lockFrom: {error}")
    if isinstance(found, str):
        problem: str | None = f"{found}; make the lock with `flowdeps lock`"
    elif image is None or (problem := _misfit(found, image, shadow)) is None:
        return found
    return Outcome.failed(Reason.LOCK_INVALID, f"spec.lockFrom: {problem}")


def _misfit(lock: Lock, image: Image, shadow: tuple[str, ...]) -> str | None:
    """Why a lock does not fit an image; None: it does."""
    facts, name = image.facts, image.ref.image
    if lock.target.python != facts.python:
        return (
            f"the lock is for Python {lock.target.python}, {name} has Python {facts.python}; make"
            " the lock for it"
        )
    missing = [f"{n} {v}" for n, v in lock.base if facts.versions.get(n) != v]
    if missing:
        return (
            f"the lock builds on {listed(missing, most=_SHOWN)}, which {name} does not have; make"
            " the lock for this image (`flowdeps lock --image-packages`)"
        )
    fixed = facts.versions.keys() - overlay.shadowed(facts, shadow)
    moved = {
        f"{pin.name} {pin.version} before {facts.versions[pin.name]}"
        for pin in lock.pins
        if pin.name in fixed and Version(pin.version) != Version(facts.versions[pin.name])
    }
    if moved:
        return (
            f"the lock puts other versions before those of {name}:"
            f" {listed(sorted(moved), most=_SHOWN)}; name them in spec.shadow, or make the"
            " lock for this image (`flowdeps lock --image-packages`)"
        )
    return None
