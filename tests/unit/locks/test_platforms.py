from dataclasses import replace

from flowdeps.locks.lock import Pin
from flowdeps.locks.platforms import (
    Pins,
    by_platform,
    disagreements,
    merge_platforms,
    preferred_versions,
    toward_others,
)
from tests.unit.locks.builders import AMD64, ARM64, BOTH, base, lock, pin


def resolved(*pins: Pin) -> Pins:
    return {one.name: one for one in pins}


def test_platforms_that_agree_share_a_pin() -> None:
    """One version on both platforms is one pin with the hashes of both."""
    one = merge_platforms(
        BOTH,
        {
            AMD64: resolved(pin("a", "1.0", AMD64, files=("any", "amd64"))),
            ARM64: resolved(pin("a", "1.0", ARM64, files=("any", "arm64"))),
        },
    )
    assert one == lock(pin("a", "1.0", files=("any", "amd64", "arm64")))


def test_platforms_that_differ_have_pins_of_their_own() -> None:
    """A version or package of one platform only holds there alone."""
    pins = (pin("a", "1.0", AMD64), pin("a", "2.0", ARM64), pin("b", "1.0", ARM64))
    one = lock(*pins)
    assert merge_platforms(BOTH, by_platform(one)) == one


def test_without_a_past_nothing_is_preferred() -> None:
    """The first platform of a refresh takes what is newest."""
    assert preferred_versions(AMD64, resolved={}, previous=None) == {}


def test_each_platform_keeps_its_own_version() -> None:
    """A lock whose versions differ between platforms is stable."""
    previous = lock(pin("a", "1.0", AMD64), pin("a", "2.0", ARM64))
    first = previous.on(AMD64)
    assert preferred_versions(AMD64, resolved={}, previous=previous) == {"a": "1.0"}
    assert preferred_versions(ARM64, resolved={AMD64: first}, previous=previous) == {"a": "2.0"}


def test_a_platform_follows_one_that_had_to_move() -> None:
    """A version that changed on one platform is preferred on the next."""
    previous = lock(pin("a", "1.0"), pin("b", "1.0"))
    first = resolved(pin("a", "2.0", AMD64), pin("b", "1.0", AMD64), pin("c", "1.0", AMD64))
    wanted = preferred_versions(ARM64, resolved={AMD64: first}, previous=previous)
    assert wanted == {"a": "2.0", "b": "1.0", "c": "1.0"}


def test_a_pin_of_the_other_platform_only_is_a_preference_too() -> None:
    """A package that becomes needed here starts with the version that is known there."""
    previous = lock(pin("a", "1.0", ARM64))
    assert preferred_versions(AMD64, resolved={}, previous=previous) == {"a": "1.0"}


def test_what_the_image_no_longer_brings_keeps_its_version() -> None:
    """A version that the lock built on is preferred like a pin; a pin of that name comes first, and
    an image that has the package says itself which version."""
    previous = replace(lock(pin("a", "2.0")), base=base(a="1.0", b="1.0", c="1.0"))
    wanted = preferred_versions(AMD64, resolved={}, previous=previous, image={"c": "3.0"})
    assert wanted == {"a": "2.0", "b": "1.0"}


def test_disagreements_are_names_with_several_versions() -> None:
    """A package of one platform only is no disagreement."""
    results = {
        AMD64: resolved(pin("a", "1.0", AMD64), pin("b", "1.0", AMD64)),
        ARM64: resolved(pin("a", "2.0", ARM64)),
    }
    assert disagreements(results) == {("a", frozenset({"1.0", "2.0"}))}


def test_asked_again_a_platform_prefers_the_others_versions() -> None:
    """Its own versions stay where nobody differs."""
    results = {
        AMD64: resolved(pin("a", "2.0", AMD64), pin("b", "1.0", AMD64)),
        ARM64: resolved(pin("a", "1.0", ARM64)),
    }
    assert toward_others(AMD64, resolved=results) == {"a": "1.0", "b": "1.0"}
