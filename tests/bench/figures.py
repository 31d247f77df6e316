"""Figures that are one number each round, and what was measured as a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing that was measured, round by round."""

    title: str
    unit: str
    values: Sequence[float]
    aim: str = ""

    @property
    def row(self) -> list[str]:
        """Its cells in a table: title, median, the least and the most, aim."""
        low, high = min(self.values), max(self.values)
        return [self.title, self._told(median(self.values)), f"{low:.4g} to {high:.4g}", self.aim]

    def _told(self, value: float) -> str:
        return f"{value:.4g} {self.unit}".strip()


def save(path: Path, part: str, measured: Mapping[str, Any]) -> None:
    """Put what was measured in place of what a part of the file has under the same names."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content[part] = content.get(part, {}) | dict(measured)
    path.write_text(json.dumps(content, indent=1) + "\n")


def saved(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Figures for a file."""
    return {
        name: asdict(one) | {"values": [round(value, 5) for value in one.values]}
        for name, one in figures.items()
    }
