"""Makes one lock of resolutions for several platforms, and says which versions each should prefer.

Platforms are resolved one after the other. Each keeps its own previous versions, except where a
platform resolved before it had to move: then it is asked to move along, so that versions agree
where they can. Where they still differ, the first is asked once more, the other way round.
"""

from collections import defaultdict
from collections.abc import Container, Mapping

from packaging.utils import NormalizedName

from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import Target

Pins = Mapping[NormalizedName, Pin]  # one platform's pins by name
Versions = Mapping[NormalizedName, str]


def preferred_versions(
    platform: str,
    *,
    resolved: Mapping[str, Pins],
    previous: Lock | None,
    image: Container[str] = (),
) -> dict[NormalizedName, str]:
    """Return versions by name to offer to ``platform``, after other platforms were ``resolved``.

    What the lock built on in its image counts as a pin, unless the present ``image`` (names) has
    the package: then the image's version counts.
    """
    versions = {name: v for name, v in previous.base if name not in image} if previous else {}
    versions |= {pin.name: pin.version for pin in previous.pins} if previous else {}
    versions |= _versions(previous.on(platform)) if previous else {}
    for other, pins in resolved.items():
        before = _versions(previous.on(other)) if previous else {}
        versions |= {n: v for n, v in _versions(pins).items() if before.get(n) != v}
    return versions


def toward_others(platform: str, *, resolved: Mapping[str, Pins]) -> dict[NormalizedName, str]:
    """Return versions by name for asking ``platform`` again: the others', else its own."""
    versions = _versions(resolved[platform])
    for other, pins in resolved.items():
        if other != platform:
            versions |= _versions(pins)
    return versions


def disagreements(resolved: Mapping[str, Pins]) -> frozenset[tuple[str, frozenset[str]]]:
    """Return the names that have several versions, with these versions."""
    versions: dict[str, set[str]] = defaultdict(set)
    for pins in resolved.values():
        for pin in pins.values():
            versions[pin.name].add(pin.version)
    return frozenset((name, frozenset(found)) for name, found in versions.items() if len(found) > 1)


def merge_platforms(
    target: Target,
    resolved: Mapping[str, Pins],
    *,
    base: tuple[tuple[NormalizedName, str], ...] = (),
) -> Lock:
    """Return the lock with what each platform resolved to, on image packages ``base``."""
    same: dict[tuple[NormalizedName, str], list[Pin]] = defaultdict(list)
    for pins in resolved.values():
        for pin in pins.values():
            same[pin.name, pin.version].append(pin)
    return Lock(
        target,
        tuple(
            Pin(
                name=name,
                version=version,
                hashes=tuple(one for pin in pins for one in pin.hashes),
                platforms=tuple(one for pin in pins for one in pin.platforms),
            )
            for (name, version), pins in same.items()
        ),
        base,
    )


def by_platform(lock: Lock) -> dict[str, Pins]:
    """Return each platform's pins: the inverse of `merge_platforms`, up to shared hashes."""
    return {platform: lock.on(platform) for platform in lock.target.platforms}


def _versions(pins: Pins) -> dict[NormalizedName, str]:
    return {name: pin.version for name, pin in pins.items()}
