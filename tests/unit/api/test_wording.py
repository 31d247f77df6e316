import pytest

from flowdeps.api.wording import counted, listed, shorten


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


def test_numbers_and_lengths() -> None:
    """One thing is not plural, and a cut text has the length that is allowed."""
    assert [counted(n, "pin") for n in (0, 1, 2)] == ["0 pins", "1 pin", "2 pins"]
    assert (shorten("abcd", 4), shorten("abcde", 4)) == ("abcd", "abc…")
    assert listed(["a", "b"], most=5, separator="; ") == "a; b"
