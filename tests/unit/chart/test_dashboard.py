"""The dashboard is whole: every panel says what it shows, in which unit, in a place of its own."""

import json
from itertools import combinations
from typing import Any

from scripts.chart import CHART
from scripts.chart.dashboard import ROWS, SELECTOR

_PANELS: list[dict[str, Any]] = json.loads((CHART / "files" / "dashboard.json").read_text())[
    "panels"
]
_SHOWN = [one for one in _PANELS if one["type"] != "row"]


def test_every_panel_says_what_it_shows() -> None:
    """A title of its own, a sentence, a unit, and queries about the chosen operators whose series
    have names where there may be several."""
    for panel in _SHOWN:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for target in panel["targets"]:
            assert SELECTOR in target["expr"]
            assert target["legendFormat"] or panel["type"] == "stat"
    titles = [panel["title"] for panel in _PANELS]
    assert len(titles) == len(set(titles))


def test_rows_are_health_locks_pools_and_the_operator() -> None:
    """In the order in which somebody looks who was woken by an alert."""
    rows = [panel["title"] for panel in _PANELS if panel["type"] == "row"]
    assert rows == list(ROWS) == ["Health now", "Locks", "Pools", "Operator"]


def test_no_two_panels_share_a_place_or_a_number() -> None:
    """Grafana would move them, or drop one."""
    assert len({panel["id"] for panel in _PANELS}) == len(_PANELS)
    fields = [
        {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        for place in (panel["gridPos"] for panel in _PANELS)
    ]
    assert not [1 for one, other in combinations(fields, 2) if one & other]
    assert max(x for field in fields for x, _ in field) < 24
