from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.version import Version

from flowdeps.locks import overlay
from flowdeps.locks.image import ImageError, ImageFacts
from flowdeps.locks.inspection import parse_freeze, parse_image_packages
from flowdeps.locks.inspection import parse_probe as probe
from flowdeps.locks.pylock import read_pylock
from flowdeps.locks.target import Target
from tests.property.locks.strategies import images, names, overlays, versions

AMD64 = "linux/amd64"
SHADOWS = st.sampled_from([(), ("a",), ("b", "e"), ("*",)])


@given(images())
def test_facts_survive_being_stored(facts: ImageFacts) -> None:
    """JSON and back."""
    assert ImageFacts.from_json(facts.to_json()) == facts


@given(images(), st.data())
def test_the_digest_of_facts_does_not_depend_on_order(
    facts: ImageFacts, data: st.DataObject
) -> None:
    """Whatever order the image's packages are found in."""
    shuffled = tuple(data.draw(st.permutations(facts.distributions)))
    markers = dict(data.draw(st.permutations(list(facts.markers.items()))))
    other = replace(facts, distributions=shuffled, markers=markers)
    assert (other, other.digest) == (facts, facts.digest)


@given(images(), images())
def test_facts_have_one_digest_exactly_if_they_are_equal(
    one: ImageFacts, other: ImageFacts
) -> None:
    """A digest names one image's facts."""
    assert (one == other) == (one.digest == other.digest)


@given(images())
def test_freeze_lines_give_back_names_and_versions(facts: ImageFacts) -> None:
    """What pip prints of an image is the image's packages."""
    text = "".join(f"{name}=={version}\n" for name, version in facts.versions.items())
    assert parse_freeze(text, python="3.11", platform=AMD64).versions == facts.versions


@given(st.text())
def test_no_text_breaks_a_reader(text: str) -> None:
    """Facts, or the one error."""
    for read in (
        probe,
        ImageFacts.from_json,
        lambda text: parse_image_packages(text, python="3.11", platform=AMD64),
    ):
        try:
            assert read(text).digest
        except ImageError:
            continue


@given(images(), SHADOWS, st.data())
def test_what_keeps_to_the_constraints_breaks_nothing(
    facts: ImageFacts, shadow: tuple[str, ...], data: st.DataObject
) -> None:
    """A resolver that follows them, and leaves out what the image has, never meets a conflict,
    unless a package that may move stays."""
    pins = data.draw(overlays())
    lines = [Requirement(one) for one in overlay.constraints(facts, shadow=shadow, platform=AMD64)]
    for line in lines:
        if line.name in pins:
            assume(line.specifier.contains(Version(pins[line.name]), prereleases=True))
    pins = {name: one for name, one in pins.items() if facts.versions.get(name) != one}
    free = overlay.shadowed(facts, shadow)
    for one in overlay.conflicts(facts, pins, platform=AMD64):
        assert one.requirement.name in free


@given(images())
def test_nothing_moved_breaks_nothing(facts: ImageFacts) -> None:
    """The image's own versions, or none, charge no lock with what was broken before."""
    for pins in ({}, facts.versions):
        assert overlay.conflicts(facts, pins, platform=AMD64) == ()


@given(st.dictionaries(names(), versions(), min_size=1, max_size=6), st.data())
def test_base_and_pins_together_are_what_was_resolved(
    resolved: dict[str, str], data: st.DataObject
) -> None:
    """Leaving out what the image has, and adding it again, gives the resolution."""
    image = {
        name: data.draw(st.sampled_from([version, "99.0"]))
        for name, version in resolved.items()
        if data.draw(st.booleans())
    }
    lines = ['lock-version = "1.0"', 'created-by = "x"']
    for name, version in resolved.items():
        url = f"https://example.com/{name.replace('-', '_')}-{version}-py3-none-any.whl"
        hashes = f'{{ sha256 = "{"0" * 64}" }}'
        lines += ["[[packages]]", f'name = "{name}"', f'version = "{version}"']
        lines.append(f'wheels = [{{ url = "{url}", hashes = {hashes} }}]')
    target = Target("3.11", (AMD64,))
    found = read_pylock("\n".join(lines), target=target, platform=AMD64, image=image)
    pins = {name: pin.version for name, pin in found.pins.items()}
    assert {**pins, **found.base} == resolved
    assert pins.keys() & found.base.keys() == set()
    assert found.base.items() <= image.items()
