"""What a request has to do with an explanation of uv's."""

from dataclasses import replace

import pytest

from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.index import Index
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from flowdeps.resolver.advice import advise, advise_on_cooldown, lowered_pins
from flowdeps.resolver.failures import yanked
from tests.unit.locks.builders import AMD64, BOTH, lock, pin

GONE = ["The last lock has app 2.0, which the index no longer has."]


def advised(
    explanation: str, messages: str = "", *, line: str = "app>1", image: ImageFacts | None = None
) -> list[str]:
    """The advice for a request, whose last lock had app 2.0."""
    request = LockRequest(
        requirements=(line,), target=BOTH, index=Index("https://example.com"), image=image
    )
    previous = lock(pin("app", "2.0"), pin("lib", "1.0"))
    return advise(explanation, messages, request=request, platform=AMD64, previous=previous)


@pytest.mark.parametrize(
    "explanation",
    [
        "Because there is no version of app==2 and you require app==2, we can conclude …",
        "Because only app==1.0 is available and you require app>1, we can conclude …",
        "Because only the following versions of app are available: app<=1.0, app==1.5, and …"
        " you require app>1",
        "Because there are no versions of app and you require app>1, …",
        "Because app was not found in the package registry and you require app>1, …",
    ],
)
def test_a_pin_that_the_index_lost_is_named(explanation: str) -> None:
    """Where the requirement would still allow it, and the index has it no more."""
    assert advised(explanation) == GONE


@pytest.mark.parametrize(
    ("explanation", "line"),
    [
        ("Because only app<=2.0 is available and you require app>1, …", "app>1"),
        ("Because only app==1.0 is available and you require app>1, …", "app>2"),
        ("Because only myapp==1.0 is available and you require myapp>1, …", "app>1"),
        ("Because there is no version of app==3 and you require app==3, …", "app==3"),
        ("Because app==2.0 depends on lib>1 and lib==1, …", "app>1"),
        ("Because only app~x is available and you require app>1, …", "app>1"),
    ],
)
def test_a_pin_that_may_be_there_is_not_named(explanation: str, line: str) -> None:
    """No claim without a ground."""
    assert advised(explanation, line=line) == []


@pytest.mark.parametrize("tag", ["manylinux_2_31_x86_64", "manylinux_2_39_aarch64"])
def test_who_bounds_glibc_is_told(tag: str) -> None:
    """Where wheels are for a newer one than is counted on without a look at the image."""
    messages = f"tag (e.g., `manylinux_2_28_x86_64`) … on the following platform: `{tag}`."
    facts = ImageFacts(python="3.11", platform=AMD64)
    for image in (None, facts):
        [told] = advised("", messages, image=image)
        assert told == (
            "Only wheels for glibc 2.28 and older are used as long as flowdeps has not inspected "
            "the image: choose another version, or name the image in spec.python.image."
        )
    assert advised("", messages, image=replace(facts, libc_version="2.28")) == []
    assert advised("", messages.replace(tag, "manylinux_2_17_i686")) == []


def test_a_pin_that_is_too_young_is_not_lost() -> None:
    """A cooldown keeps it out; the index has it."""
    explanation = "Because there is no version of app==2.0 and you require app==2.0, …"
    hint = (
        "hint: `app` was filtered by `exclude-newer` to only include packages uploaded before "
        "2026-11-16T06:41:28Z. The requested version, v2.0, was published at 2026-11-23T06:55Z."
    )
    assert advised(explanation, hint) == []
    assert advise_on_cooldown(hint) == [
        "app 2.0, uploaded on 2026-11-23, is younger than spec.index.cooldown allows: "
        "wait, or name app in spec.index.cooldownExempt."
    ]


@pytest.mark.parametrize(
    ("line", "now", "python", "told"),
    [
        ("app>1", "1.5", "3.11", True),
        ("lib", "1.5", "3.11", True),
        ("app>1", "2.0", "3.11", False),
        ("app>1", "3.0", "3.11", False),
        ("app<2", "1.5", "3.11", False),
        ("app>1", "1.5", "3.10", False),
    ],
)
def test_a_pin_that_went_down_is_told_unless_it_was_asked_for(
    line: str, now: str, python: str, *, told: bool
) -> None:
    """A lower version than the last lock's, which all lines allow, for the same Python."""
    request = LockRequest(requirements=("other",), target=Target(python, (AMD64,)))
    previous = lock(pin("app", "2.0"), pin("lib", "1.0"))
    pins = lock(pin("app", now), pin("new", "1.0")).on(AMD64)
    for one in (
        replace(request, requirements=(line,)),
        replace(request, constraints=(line,)),
        replace(request, exclude=(line,)),
    ):
        found = lowered_pins(one, previous, pins, platform=AMD64)
        assert [text.split(":")[0] for text in found] == (
            ["app 2.0 of the last lock is no longer chosen, 1.5 is"] if told else []
        )


def test_an_image_has_its_part_after_what_was_lost() -> None:
    """Both are told."""
    image = ImageFacts(python="3.11", platform=AMD64, distributions=(Distribution("six", "1.0"),))
    explanation = "Because there is no version of app==2.0 and six==1.0 depends on app==2.0, …"
    told = advised(explanation, image=image)
    assert told[:1] == GONE
    assert told[1].startswith("six 1.0 is in the image: ")


def test_yanked_releases_are_read_from_warnings() -> None:
    """With the index's words, shortened and without credentials; other warnings don't matter."""
    text = (
        "warning: Requirements file `x` does not contain any dependencies\n"
        'warning: `app==1.0` is yanked (reason: "broken on "x86"; see https://me:pw@example.com")\n'
        "warning: `lib==2.0` is yanked\n"
        f'warning: `long==1` is yanked (reason: "{"x" * 400}")\n'
    )
    found = yanked(text)
    assert found["app", "1.0"] == 'broken on "x86"; see https://example.com'
    assert found["lib", "2.0"] == ""
    assert len(found["long", "1"]) <= 200
    assert len(found) == 3
