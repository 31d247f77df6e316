"""docs/performance.md shows what was measured."""

from typing import Any
from xml.etree import ElementTree

from scripts.performance import plot, stale, table, tables

_PODS: dict[str, Any] = {
    "title": "one",
    "requirements": ["one==1"],
    "ways": [
        {
            "name": "pod-baked",
            "title": "baked & ready",
            "imports": True,
            "first_line": [1.0, 2.0, 3.0],
            "imported": [2.0, 3.0, 4.0],
            "files": [0, 0, 0],
            "bytes": [0, 0, 0],
            "asked": [0, 0, 0],
        },
        {
            "name": "pod-image",
            "title": "mounted",
            "imports": True,
            "first_line": [2.0, 2.0, 2.0],
            "imported": [4.0, 4.5, 4.0],
            "files": [1000, 1200, 1300],
            "bytes": [2e6, 2e6, 2e6],
            "asked": [3, 3, 3],
        },
    ],
}
_TOGETHER: dict[str, Any] = {
    **_PODS,
    "ways": [{**_PODS["ways"][0], "first_line": [[1.0, 5.0]], "imported": [[2.0, 6.0]]}],
}
_FIGURE = {"title": "a pass", "unit": "ms", "values": [1.0, 2.0, 4.0], "aim": "≤ 5 ms"}
_MEASURED = {"pods": {"one": _PODS}, "together": {"one": _TOGETHER}, "figures": {"pass": _FIGURE}}


def test_the_page_and_the_plot_are_made_from_the_figures() -> None:
    """Nobody writes a figure by hand: python -m scripts.performance."""
    assert stale() == {}


def test_a_table_has_medians_and_what_is_added_in_pairs() -> None:
    """Of each round, and then the median; with what was written and asked for a run."""
    found = table(_PODS)
    assert "Medians of 3 rounds" in found
    assert (
        "| baked & ready | 2.00 (1.00 to 3.00) | 3.00 (2.00 to 4.00) |  | 0 files, 0.0 MB | 0 |"
        in (found)
    )
    assert "| +1.50 s | 1,200 files, 2.0 MB | 3 |" in found


def test_of_pods_that_begin_together_the_last_one_counts() -> None:
    """Ten at once are as late as the last."""
    assert "## 2 pods at once: one" in tables(_MEASURED)
    assert "| 5.00 (5.00 to 5.00) | 6.00 (6.00 to 6.00) |" in table(_TOGETHER)


def test_aims_stand_beside_what_was_measured() -> None:
    """Also where they were missed."""
    found = tables(_MEASURED)
    assert "image, s: one | ≤ 0.1 | 1.50 (0.00 to 2.00) | 3 |" in found
    assert "| a pass | ≤ 5 ms | 2 ms (1 to 4) | 3 |" in found


def test_a_plot_is_a_picture() -> None:
    """Also with signs in a title that have a meaning in XML."""
    found = ElementTree.fromstring(plot(_MEASURED))  # noqa: S314 - ours
    texts = ["".join(one.itertext()) for one in found]
    assert "baked & ready" in texts
    assert "4.00 s" in texts
