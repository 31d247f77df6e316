"""Generated requirements, pins and locks."""

from hypothesis import strategies as st

from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import PLATFORMS, Target

_LETTERS = "abcxyz019"
_MARKERS = (
    "python_version<'3.13'",
    'platform_machine == "aarch64" and  extra=="x_y"',
    "(os_name == 'posix' or sys_platform != 'win32')",
)


def names() -> st.SearchStrategy[str]:
    """Normalized package names."""
    part = st.text(_LETTERS, min_size=1, max_size=4)
    return st.lists(part, min_size=1, max_size=3).map("-".join)


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


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """The same requirement written twice, differently."""
    name = draw(names())
    extras = draw(st.lists(names(), max_size=3, unique=True))
    plain = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=3).map(".".join)
    conditions = draw(
        st.lists(st.tuples(st.sampled_from(["==", ">=", "<", "!=", ">"]), plain), max_size=3)
    )
    marker = draw(st.sampled_from(["", *(f"; {one}" for one in _MARKERS)]))
    one = f"{name}{_extras(extras)}{','.join(a + b for a, b in conditions)}{marker}"
    shuffled = draw(st.permutations(conditions))
    other = name.replace("-", draw(st.sampled_from(["_", ".", "--", "-"]))).upper()
    other += _extras(draw(st.permutations([extra.upper() for extra in extras])))
    other += " , ".join(f"{sign}  {version}.0" for sign, version in shuffled)
    return one, f"  {other} {marker.replace(chr(39), chr(34))} "


def _extras(names: list[str]) -> str:
    return f"[{','.join(names)}]" if names else ""


def targets() -> st.SearchStrategy[Target]:
    return st.builds(
        Target,
        st.integers(10, 20).map("3.{}".format),
        st.lists(st.sampled_from(sorted(PLATFORMS)), min_size=1).map(tuple),
    )


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    """Locks with pins for all platforms, for one, and with versions that differ between them."""
    target = draw(targets())
    pins: list[Pin] = []
    for name in draw(st.lists(names(), max_size=6, unique=True)):
        everywhere: list[tuple[str, ...]] = [target.platforms]
        apart: list[tuple[str, ...]] = [(one,) for one in target.platforms]
        groups = draw(st.sampled_from([everywhere, apart, apart[:1], apart[-1:]]))
        found = draw(st.lists(versions(), min_size=len(groups), max_size=len(groups), unique=True))
        pins += [
            Pin(name, version, draw(_hashes()), platforms)
            for version, platforms in zip(found, groups, strict=True)
        ]
    base = draw(st.dictionaries(names(), versions(), max_size=3))
    return Lock(target, tuple(pins), tuple(base.items()))


@st.composite
def images(draw: st.DrawFn) -> ImageFacts:
    """Images whose packages require each other and others, in bounds that may hold or not."""
    found = draw(st.dictionaries(_few_names(), versions(), max_size=5))
    return ImageFacts(
        python="3.11",
        full_version=draw(st.sampled_from(["", "3.11.9"])),
        platform=draw(st.sampled_from(sorted(PLATFORMS))),
        libc_version=draw(st.sampled_from(["", "2.17", "2.36"])),
        tools=draw(st.sampled_from([(), ("pip",), ("pip", "uv")])),
        markers=draw(st.sampled_from([{}, {"python_version": "3.11", "os_name": "posix"}])),
        distributions=tuple(
            Distribution(name, version, draw(_requires()), draw(st.sampled_from([(), ("x-y",)])))
            for name, version in found.items()
        ),
    )


def overlays() -> st.SearchStrategy[dict[str, str]]:
    """Versions by name that a lock puts on top of such an image."""
    return st.dictionaries(_few_names(), versions(), max_size=5)


def _few_names() -> st.SearchStrategy[str]:
    return st.sampled_from(["a", "b", "c-d", "e", "f"])


def _requires() -> st.SearchStrategy[tuple[str, ...]]:
    one = st.builds(
        "{}{}{}{}".format,
        _few_names(),
        st.sampled_from([">=", "<", "==", "!="]),
        st.integers(0, 30),
        st.sampled_from(["", *(f"; {one}" for one in _MARKERS)]),
    )
    return st.lists(one, max_size=4).map(tuple)


def _hashes() -> st.SearchStrategy[tuple[str, ...]]:
    one = st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
    return st.lists(one, min_size=1, max_size=3).map(tuple)
