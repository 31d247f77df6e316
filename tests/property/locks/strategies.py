"""Generated requirements, pins and locks.

Strategies are made once: Hypothesis checks each that it draws from, and many are drawn from for an
example.
"""

from collections.abc import Sequence
from functools import cache

from hypothesis import strategies as st
from packaging.utils import NormalizedName, canonicalize_name

from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import PLATFORMS, Target

_LETTERS = "abcxyz019"
_MARKERS = (
    "python_version<'3.13'",
    'platform_machine == "aarch64" and  extra=="x_y"',
    "(os_name == 'posix' or sys_platform != 'win32')",
)


@cache
def names() -> st.SearchStrategy[NormalizedName]:
    """Normalized package names."""
    part = st.text(_LETTERS, min_size=1, max_size=4)
    return st.lists(part, min_size=1, max_size=3).map("-".join).map(canonicalize_name)


@cache
def versions() -> st.SearchStrategy[str]:
    """Normalized versions: epochs, pre-, post-, development and local parts included."""
    release = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=4).map(".".join)
    return st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["", "", "2!"]),
            release,
            st.sampled_from(["", "", "a1", "b2", "rc3"]),
            st.sampled_from(["", "", ".post4"]),
            st.sampled_from(["", "", ".dev5"]),
            st.sampled_from(["", "", "+cpu.1"]),
        ),
    )


@cache
def _written() -> st.SearchStrategy[
    tuple[NormalizedName, list[NormalizedName], list[tuple[str, str]], str]
]:
    """A requirement's parts: name, extras, conditions and marker."""
    plain = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=3).map(".".join)
    condition = st.tuples(st.sampled_from(["==", ">=", "<", "!=", ">"]), plain)
    return st.tuples(
        names(),
        st.lists(names(), max_size=3, unique=True),
        st.lists(condition, max_size=3),
        st.sampled_from(["", *(f"; {one}" for one in _MARKERS)]),
    )


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """The same requirement written twice, differently."""
    name, extras, conditions, marker = draw(_written())
    one = f"{name}{_extras(extras)}{','.join(a + b for a, b in conditions)}{marker}"
    shuffled = draw(st.permutations(conditions))
    other = name.replace("-", draw(st.sampled_from(["_", ".", "--", "-"]))).upper()
    other += _extras(draw(st.permutations([extra.upper() for extra in extras])))
    other += " , ".join(f"{sign}  {version}.0" for sign, version in shuffled)
    return one, f"  {other} {marker.replace(chr(39), chr(34))} "


def _extras(names: Sequence[str]) -> str:
    return f"[{','.join(names)}]" if names else ""


@cache
def targets() -> st.SearchStrategy[Target]:
    return st.builds(
        Target,
        st.integers(10, 20).map("3.{}".format),
        st.lists(st.sampled_from(sorted(PLATFORMS)), min_size=1).map(tuple),
    )


_WHICH = st.integers(0, 3)


@cache
def _outlines() -> st.SearchStrategy[
    tuple[Target, list[NormalizedName], dict[NormalizedName, str]]
]:
    """A lock's target, the names of its pins, and what its image has."""
    return st.tuples(
        targets(),
        st.lists(names(), max_size=6, unique=True),
        st.dictionaries(names(), versions(), max_size=3),
    )


@cache
def _unique_versions(count: int) -> st.SearchStrategy[list[str]]:
    return st.lists(versions(), min_size=count, max_size=count, unique=True)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    """Locks with pins for all platforms, for one, and with versions that differ between them."""
    target, named, base = draw(_outlines())
    pins: list[Pin] = []
    for name in named:
        everywhere: list[tuple[str, ...]] = [target.platforms]
        apart: list[tuple[str, ...]] = [(one,) for one in target.platforms]
        groups = [everywhere, apart, apart[:1], apart[-1:]][draw(_WHICH)]
        found = draw(_unique_versions(len(groups)))
        pins += [
            Pin(name, version, draw(_hashes()), platforms)
            for version, platforms in zip(found, groups, strict=True)
        ]
    return Lock(target, tuple(pins), tuple(base.items()))


@cache
def images() -> st.SearchStrategy[ImageFacts]:
    """Images whose packages require each other and others, in bounds that may hold or not."""
    parts = st.tuples(versions(), _requires(), st.sampled_from([(), ("x-y",)]))
    return st.builds(
        ImageFacts,
        python=st.just("3.11"),
        full_version=st.sampled_from(["", "3.11.9"]),
        platform=st.sampled_from(sorted(PLATFORMS)),
        libc_version=st.sampled_from(["", "2.17", "2.36"]),
        tools=st.sampled_from([(), ("pip",), ("pip", "uv")]),
        markers=st.sampled_from([{}, {"python_version": "3.11", "os_name": "posix"}]),
        distributions=st.dictionaries(_few_names(), parts, max_size=5).map(
            lambda found: tuple(Distribution(name, *one) for name, one in found.items())
        ),
    )


@cache
def overlays() -> st.SearchStrategy[dict[str, str]]:
    """Versions by name that a lock puts on top of such an image."""
    return st.dictionaries(_few_names(), versions(), max_size=5)


@cache
def _few_names() -> st.SearchStrategy[str]:
    return st.sampled_from(["a", "b", "c-d", "e", "f"])


@cache
def _requires() -> st.SearchStrategy[tuple[str, ...]]:
    one = st.builds(
        "{}{}{}{}".format,
        _few_names(),
        st.sampled_from([">=", "<", "==", "!="]),
        st.integers(0, 30),
        st.sampled_from(["", *(f"; {one}" for one in _MARKERS)]),
    )
    return st.lists(one, max_size=4).map(tuple)


@cache
def _hashes() -> st.SearchStrategy[tuple[str, ...]]:
    one = st.binary(min_size=32, max_size=32).map(lambda content: f"sha256:{content.hex()}")
    return st.lists(one, min_size=1, max_size=3).map(tuple)
