import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdeps.locks.requirements import RequirementError, normalize, parse_requirement
from tests.property.locks.strategies import spellings


@given(spellings())
def test_equal_requirements_have_equal_texts(pair: tuple[str, str]) -> None:
    """Spelling, order, spaces and trailing zeros don't change a requirement's normal text."""
    one, other = (parse_requirement(text) for text in pair)
    assert one == other
    assert normalize(one) == normalize(other)


@given(spellings())
def test_a_normal_text_means_the_same_and_is_its_own_normal_text(pair: tuple[str, str]) -> None:
    """Normalizing loses nothing, and doing it twice changes nothing."""
    requirement = parse_requirement(pair[0])
    text = normalize(requirement)
    assert parse_requirement(text) == requirement
    assert normalize(parse_requirement(text)) == text


_HOSTILE = st.text(
    st.one_of(st.characters(), st.sampled_from("-re@:/.#$\\\n\r\x0b\x0c\u2028 =<>;[]'\"~{}"))
)


@given(_HOSTILE)
def test_any_text_is_refused_or_becomes_one_harmless_line(text: str) -> None:
    """No text raises anything else, and none gets a flag, comment, URL or second line through."""
    try:
        line = normalize(parse_requirement(text))
    except RequirementError:
        return
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert line[0].isalnum()
    assert not any(sign in line for sign in ("#", "@", "://", "$", "\\", "--"))


@given(st.sampled_from(["-r ", "-e ", "--hash=", "a @ ", "./", "git+ssh://"]), _HOSTILE)
def test_what_starts_like_something_else_never_passes(start: str, rest: str) -> None:
    """A flag, direct reference, path or URL is refused whatever follows."""
    try:
        parse_requirement(start + rest)
    except RequirementError:
        return
    raise AssertionError(f"{start + rest!r} passed")


@given(st.from_regex(r"[a-z]{0,5}( @ )?[a-z+]{3,9}://\S{0,9}hunter2\S{0,9}", fullmatch=True))
def test_no_message_shows_what_follows_a_scheme(text: str) -> None:
    """Whatever signs stand in a URL, nothing of it is told."""
    with pytest.raises(RequirementError) as caught:
        parse_requirement(text)
    assert "hunter2" not in str(caught.value)
