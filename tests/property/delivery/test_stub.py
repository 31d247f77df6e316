"""What an installer is told of installed packages, for whatever their metadata say."""

from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from flowdeps.delivery.in_image.stub import required_here

PRESENT = {"six", "a", "some-thing"}
NAMES = st.sampled_from(["six", "a", "Some.Thing", "-"])
EXTRAS = st.sampled_from(["", "[]", "[a]", " [a, b-c]", "[a b]", "[-]"])
VERSIONS = st.sampled_from(["1", "1.5", "2.0rc1", "1.*", "1.0+own", "2004d", "1!2.0.post1", ""])
OPERATORS = st.sampled_from(["==", ">=", "~=", "!=", "<", "===", "=>", " > ", ""])
BOUNDS = st.lists(st.builds(str.__add__, OPERATORS, VERSIONS), max_size=3).map(",".join)
PLACES = st.sampled_from(["@ https://example.com/a.whl", "@file:///a ", "@ x;y"])
SIDES = st.sampled_from(["extra", "python_version", "os_name", "'3'", '"a"', "sys", "3"])
TERMS = st.builds(" {} {} {} ".format, SIDES, OPERATORS, SIDES) | st.just("(os_name not in 'nt')")
MARKERS = st.lists(TERMS, min_size=1, max_size=3).map("and".join)
LINES = st.builds(
    "{}{}{}{}".format,
    NAMES,
    EXTRAS,
    BOUNDS | BOUNDS.map("({})".format) | PLACES,
    st.just("") | MARKERS.map(" ;{}".format),
)


def read(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


@given(LINES | st.text("abs @[](){};,=<>~!1.*'\"", max_size=20))
def test_just_what_can_be_read_is_told(text: str) -> None:
    """All that the metadata say of a package that is there, but where it came from."""
    told, before = required_here(text, PRESENT), read(text)
    if told is None:
        absent = before and before.url and canonicalize_name(before.name) not in PRESENT
        assert before is None or absent or "===" in text  # which needs no version
        return
    after = read(told)
    assert after
    assert after.url is None
    if before:
        assert (after.name, after.extras) == (before.name, before.extras)
        assert (after.specifier, after.marker) == (before.specifier, before.marker)
