from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdeps.api.durations import parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", timedelta(hours=24)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, expected: timedelta) -> None:
    """Days, hours, minutes and seconds add up, in that order, each at most once."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "5", "1.5h", "1m1h", "h", "-1h", "1 h", "1w", "9" * 20 + "d"])
def test_what_is_no_duration_is_told_the_form(text: str) -> None:
    """A text in another form is refused with an example of the form."""
    with pytest.raises(ValueError, match="such as 24h"):
        parse_duration(text)


@given(st.tuples(*[st.integers(0, 99999)] * 4))
def test_every_duration_that_fits_the_form_is_read(parts: tuple[int, ...]) -> None:
    """No duration within the form is too long to be a timedelta."""
    days, hours, minutes, seconds = parts
    expected = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2Gi", 2 * 2**30), ("512Mi", 512 * 2**20), ("1500M", 1_500_000_000), ("1.5Gi", 3 * 2**29)],
)
def test_memory_is_read_in_bytes(text: str, expected: int) -> None:
    """Binary and decimal units give bytes."""
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["2GB", "Gi", "-1Gi", "2 Gi", ""])
def test_what_is_no_amount_of_memory_is_told_the_form(text: str) -> None:
    """A text in another form is refused with an example of the form."""
    with pytest.raises(ValueError, match="such as 512Mi"):
        parse_bytes(text)
