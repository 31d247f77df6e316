"""docs/performance.md shows what was measured."""

from xml.etree import ElementTree

from scripts.performance import plot, stale, table

_MEASURED = {
    "packages": ["one==1"],
    "ways": [
        {
            "name": "pod-baked",
            "title": "baked & ready",
            "imports": True,
            "first_line": [1.0, 2.0, 3.0],
            "imported": [2.0, 3.0, 4.0],
        },
        {
            "name": "pod-uv",
            "title": "Install",
            "imports": True,
            "first_line": [2.0, 2.0, 2.0],
            "imported": [4.0, 4.5, 4.0],
        },
    ],
}


def test_the_page_and_the_plot_are_made_from_the_figures() -> None:
    """Nobody writes a figure by hand: python -m scripts.performance."""
    assert stale() == {}


def test_a_table_has_medians_and_what_is_added_in_pairs() -> None:
    """Of each round, and then the median."""
    found = table(_MEASURED)
    assert "medians of 3 rounds" in found
    assert "| baked & ready | 2.00 (1.00 to 3.00) | 3.00 (2.00 to 4.00) |  |" in found
    assert "| Install | 2.00 (2.00 to 2.00) | 4.00 (4.00 to 4.50) | +1.50 s |" in found


def test_a_plot_is_a_picture() -> None:
    """Also with signs in a title that have a meaning in XML."""
    found = ElementTree.fromstring(plot(_MEASURED))  # noqa: S314 - ours
    texts = ["".join(one.itertext()) for one in found]
    assert "baked & ready" in texts
    assert "4.00 s" in texts
