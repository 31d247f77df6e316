import pytest

from flowdeps.api.wording import as_many_as_fit, counted, listed, shorten


@pytest.mark.parametrize(
    ("texts", "total", "says"),
    [
        ([], None, ""),
        (["a", "b"], None, "a, b"),
        (["a", "b", "c"], None, "a, b and 1 more"),
        (["a", "b"], 70, "a, b and 68 more"),
        (["a", "b", "c"], 2, "a, b"),
    ],
)
def test_what_is_left_out_of_a_list_is_counted(
    texts: list[str], total: int | None, says: str
) -> None:
    """Also where the list itself does not have everything."""
    assert listed(texts, most=2, total=total) == says


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (19, "one; three; another"),
        (18, "one and 2 more"),
        (14, "one and 2 more"),
        (13, "one and 2 mo…"),
    ],
)
def test_texts_that_do_not_fit_are_counted(limit: int, says: str) -> None:
    """None is cut in the middle as long as one fits."""
    assert as_many_as_fit(["one", "three", "another"], limit) == says
    assert as_many_as_fit([], limit) == ""


def test_numbers_and_lengths() -> None:
    """One thing is not plural, and a cut text has the length that is allowed."""
    assert [counted(n, "pin") for n in (0, 1, 2)] == ["0 pins", "1 pin", "2 pins"]
    assert (shorten("abcd", 4), shorten("abcde", 4)) == ("abcd", "abc…")
    assert listed(["a", "b"], most=5, separator="; ") == "a; b"
