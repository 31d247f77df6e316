from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

from flowdeps.locks import overlay
from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.installed_requirements import InstalledRequirement, installed_requirements
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from flowdeps.resolver.messages import ranges
from tests.unit.locks.builders import AMD64, ARM64

PREFECT = Distribution(
    "prefect",
    "3.8.8",
    (
        "python-dateutil<3,>=2.8.2",
        "uvloop>=0.18; platform_machine == 'x86_64'",
        "tomli<3; python_version < '3.11'",
        "redis<7; extra == 'redis'",
        "Jinja2",
        "not a requirement !!",
    ),
    ("redis",),
)
DATEUTIL = Distribution("python-dateutil", "2.9.0", ("six>=1.5",))
SIX = Distribution("six", "1.16.0")
FACTS = ImageFacts(
    python="3.11",
    full_version="3.11.9",
    platform=AMD64,
    markers={"platform_machine": "x86_64", "python_version": "3.11"},
    distributions=(PREFECT, DATEUTIL, SIX),
)
ALL = ("prefect==3.8.8", "python-dateutil==2.9.0", "six==1.16.0")


@pytest.mark.parametrize(
    ("shadow", "platform", "lines"),
    [
        ((), AMD64, (*ALL, "uvloop>=0.18")),
        ((), ARM64, ALL),
        (("six",), ARM64, (*ALL[:2], "six>=1.5")),
        (("prefect",), AMD64, ALL[1:]),
        (("python-dateutil", "absent"), ARM64, (ALL[0], ALL[2], "python-dateutil<3,>=2.8.2")),
        (("*",), AMD64, ()),
    ],
)
def test_constraints_keep_an_image_whole(
    shadow: tuple[str, ...], platform: str, lines: tuple[str, ...]
) -> None:
    """Versions stay unless shadowed; what is required of names that may move, or that the image
    lacks, holds; markers are those of the image on that platform, and extras that no package of it
    asks for don't count."""
    assert overlay.constraints(FACTS, shadow=shadow, platform=platform) == lines


def test_extras_that_the_image_uses_count() -> None:
    """What one package asks of another with an extra, and that extra of further ones, is required,
    however the extra is spelled; the same extra of another package is not."""
    facts = replace(
        FACTS,
        distributions=(
            Distribution("app", "1.0", ("httpx[HTTP_2]>=0.23", "other; extra == 'http-2'")),
            Distribution("httpx", "0.28", ("httpx[all]; extra == 'http-2'", "h2<5; extra=='all'")),
            Distribution("h2", "5.0", ("never<1; extra == 'all'",)),
        ),
    )
    assert list(map(str, installed_requirements(facts, platform=AMD64))) == [
        "app 1.0 requires httpx>=0.23",
        "httpx 0.28 requires h2<5",
    ]
    assert list(map(str, overlay.unmet_requirements(facts))) == ["httpx 0.28 requires h2<5"]


def test_a_shadowed_package_prefers_the_images_version() -> None:
    """Only packages that are there, and all with `*`."""
    assert overlay.image_preferences(FACTS, shadow=("six", "absent")) == {"six": "1.16.0"}
    assert overlay.image_preferences(FACTS, shadow=("*",)) == FACTS.versions
    assert overlay.image_preferences(FACTS, shadow=()) == {}


def test_what_breaks_in_the_image_names_both_sides_and_the_way_out() -> None:
    """A pin beyond what a package of the image allows, on the platforms where it counts."""
    pins = {"python-dateutil": "4.0.0", "uvloop": "0.17.0", "tomli": "9.0", "redis": "9.0"}
    broken = "prefect 3.8.8 of the image requires python-dateutil<3,>=2.8.2, the lock has 4.0.0: "
    found = overlay.conflicts(FACTS, pins, platform=ARM64)
    assert overlay.describe_conflicts(found + found, others_moved=False) == (
        f"{broken}ask for a version that fits, or change the image"
    )
    assert overlay.describe_conflicts(found, others_moved=True) == (
        f"{broken}ask for a version that fits, add prefect to spec.requirements, so that it can "
        "move too, or change the image"
    )
    assert len(overlay.conflicts(FACTS, pins, platform=AMD64)) == 2


def test_what_hides_a_package_that_can_not_be_compared_is_named() -> None:
    """Unless it may be shadowed."""
    facts = replace(FACTS, unreadable=("odd", "odder"))
    pins = {"odd": "1.0", "other": "1.0"}
    for shadow in ((), ("odder",), ("six",)):
        assert overlay.hidden(facts, pins, shadow=shadow) == (
            "the lock would put odd 1.0 before the image's own, whose version can't be compared: "
            "name odd in spec.shadow, or change the image",
        )
    for shadow in (("odd",), ("*",)):
        assert overlay.hidden(facts, pins, shadow=shadow) == ()


def test_a_conflict_has_two_ways_out() -> None:
    """To keep to what the image's packages require, else to let them move along, with the extras
    that the image uses; what no requirement can say is no way out."""
    request = LockRequest(requirements=("bb",), target=Target("3.11", (AMD64,)), image=FACTS)
    required = [
        InstalledRequirement("aa", "1.0", "bb", SpecifierSet("<2,>=1")),
        InstalledRequirement("aa", "1.0", "cc", SpecifierSet("<2"), "x"),
    ]
    found = [overlay.Conflict(one, "2.0") for one in required]
    assert list(overlay.alternative_requests(request, found)) == [
        replace(request, constraints=("bb<2,>=1", "cc<2")),
        replace(request, requirements=("bb", "aa", "aa[x]")),
    ]
    odd = [overlay.Conflict(replace(required[0], specifier=SpecifierSet("===1.zip")), "2.0")]
    assert list(overlay.alternative_requests(request, odd)) == [
        replace(request, requirements=("bb", "aa"))
    ]


def test_nothing_breaks_that_moves_along_or_was_broken_before() -> None:
    """A package that the lock replaces requires nothing; old breakage isn't charged."""
    assert not overlay.conflicts(
        FACTS, {"python-dateutil": "4.0.0", "prefect": "4.0"}, platform=AMD64
    )
    broken = replace(
        FACTS, distributions=(PREFECT, replace(DATEUTIL, version="3.0"), replace(SIX, version="1"))
    )
    assert not overlay.conflicts(broken, {"python-dateutil": "4.0.0"}, platform=AMD64)
    assert overlay.constraints(broken, shadow=("python-dateutil",), platform=ARM64) == (
        "prefect==3.8.8",
        "six==1",
    )


def test_a_requirement_is_unmet_by_another_version_and_by_nothing_at_all() -> None:
    """With or without a specifier; extras and what markers rule out are not asked for."""
    changed = (PREFECT, replace(DATEUTIL, version="3.0"), replace(SIX, version="1.16.0"))
    assert list(map(str, overlay.unmet_requirements(replace(FACTS, distributions=changed)))) == [
        "prefect 3.8.8 requires python-dateutil<3,>=2.8.2",
        "prefect 3.8.8 requires uvloop>=0.18",
        "prefect 3.8.8 requires jinja2",
    ]


def test_a_pre_release_that_fits_is_no_conflict() -> None:
    """Whether one may be used is another question."""
    assert not overlay.conflicts(FACTS, {"python-dateutil": "2.10rc1"}, platform=AMD64)


@pytest.mark.parametrize(
    ("explanation", "shadow", "told"),
    [
        (
            "Because you require python-dateutil>=4 and python-dateutil==2.9.0, we can conclude …",
            (),
            "python-dateutil 2.9.0 is in the image, where prefect 3.8.8 requires "
            "python-dateutil<3,>=2.8.2: move the requirement, name python-dateutil in spec.shadow "
            "(what the image requires still holds), or change the image.",
        ),
        (
            "Because app depends on prefect>=4 and you require prefect==3.8.8, …",
            (),
            "prefect 3.8.8 is in the image: "
            "move the requirement, name prefect in spec.shadow, or change the image.",
        ),
        (
            "Because you require six>=2 and six>=1.5, …",
            ("six",),
            "In the image, python-dateutil 2.9.0 requires six>=1.5: "
            "move the requirement, or change the image.",
        ),
        (
            "Because you require uvloop<0.18 and uvloop>=0.18, …",
            (),
            "In the image, prefect 3.8.8 requires uvloop>=0.18: "
            "move the requirement, or change the image.",
        ),
        ("Because only app<2 is available and you require app>=2, six …", (), None),
        ("Because not-six==1.16.0 depends on six2==1.16.0, …", (), None),
    ],
)
def test_an_explanation_is_told_the_images_part_in_it(
    explanation: str, shadow: tuple[str, ...], told: str | None
) -> None:
    """What the image has or wants of the packages that uv names, and what to do about it."""
    found = overlay.describe_limits(FACTS, ranges(explanation), shadow=shadow, platform=AMD64)
    assert found == ([told] if told else [])


def test_who_in_the_image_is_in_the_way_is_named_first() -> None:
    """Of many that require a package, those that leave no version; each once."""
    many = tuple(Distribution(f"a{n}", "1.0", ("python-dateutil>=2.7",)) for n in range(5))
    twice = replace(PREFECT, requires=PREFECT.requires + PREFECT.requires)
    facts = replace(FACTS, distributions=(*many, twice, DATEUTIL, SIX))
    for bounds, first in (
        (">=4", "prefect 3.8.8 requires python-dateutil<3,>=2.8.2"),
        (">3,<5", "prefect 3.8.8 requires python-dateutil<3,>=2.8.2"),
        ("<2.8", "prefect 3.8.8 requires python-dateutil<3,>=2.8.2"),
        ("<2", "a0 1.0 requires python-dateutil>=2.7"),
    ):
        text = f"Because you require python-dateutil{bounds} and python-dateutil==2.9.0, …"
        [told] = overlay.describe_limits(facts, ranges(text), shadow=(), platform=AMD64)
        assert told.split("where ")[1].startswith(f"{first}; a")
        assert told.count("prefect") <= 1
