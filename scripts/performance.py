"""Makes the table and the plot of docs/performance.md from docs/performance.json.

    python -m tests.bench --only pods --rounds 10 --save docs/performance.json
    python -m scripts.performance [--check]

`--check` writes nothing, and fails where the page or the plot differs.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs" / "performance.json"
PAGE, PLOT = DATA.with_suffix(".md"), DATA.with_suffix(".svg")

_BEGIN, _END = "<!-- measured -->\n", "<!-- end -->\n"
_WIDTH, _LEFT, _ROW, _BAR = 720, 250, 34, 16


def main(arguments: Sequence[str]) -> int:
    """Write what differs; 1 if there is something and `--check` is given."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    different = stale()
    for path, text in different.items():
        print(f"{path.relative_to(ROOT)}: {'differs' if arguments else 'written'}")
        if not arguments:
            path.write_text(text, encoding="utf-8")
    return 1 if different and arguments else 0


def stale() -> dict[Path, str]:
    """The files that are not what the measurements say, with what they should be."""
    measured = json.loads(DATA.read_text("utf-8"))
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    wanted = {PAGE: f"{before}{_BEGIN}{table(measured)}{_END}{after}", PLOT: plot(measured)}
    return {
        path: text
        for path, text in wanted.items()
        if not path.exists() or path.read_text("utf-8") != text
    }


def table(measured: Mapping[str, Any]) -> str:
    """The figures as a Markdown table: medians, with the least and the most."""
    ways = measured["ways"]
    baked = next((one["imported"] for one in ways if one["name"] == "pod-baked"), None)
    lines = [
        "| way | first line | imported | added to the packages in the image |",
        "|---|---|---|---|",
    ]
    for way in ways:
        imported = _spread(way["imported"]) if way["imports"] else ""
        added = ""
        if baked and way["imports"] and way["name"] != "pod-baked":
            pairs = zip(way["imported"], baked, strict=True)
            added = f"{median(one - other for one, other in pairs):+.2f} s"
        lines.append(f"| {way['title']} | {_spread(way['first_line'])} | {imported} | {added} |")
    rounds, packages = len(ways[0]["first_line"]), ", ".join(measured["packages"])
    heading = f"Seconds from creating a pod, medians of {rounds} rounds (least to most), {packages}"
    return f"{heading}:\n\n" + "\n".join(lines) + "\n"


def plot(measured: Mapping[str, Any]) -> str:
    """The same as horizontal bars: to the first line, and on to what is imported."""
    ways = measured["ways"]
    longest = max(max(one["imported"]) for one in ways)
    scale = (_WIDTH - _LEFT - 90) / longest
    height = _ROW * len(ways) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        ' font-family="sans-serif" font-size="13">',
        "<title>Seconds from creating a pod to its packages imported</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, way in enumerate(ways):
        top = 12 + number * _ROW
        first, last = median(way["first_line"]), median(way["imported"])
        low, high = min(way["imported"]), max(way["imported"])
        middle = top + _BAR / 2
        parts += [
            f'<text x="{_LEFT - 10}" y="{middle + 4:.0f}" text-anchor="end">'
            f"{escape(way['title'])}</text>",
            f'<rect x="{_LEFT}" y="{top}" width="{first * scale:.1f}" height="{_BAR}"'
            ' fill="#4a6fa5"/>',
            f'<rect x="{_LEFT + first * scale:.1f}" y="{top}" width="{(last - first) * scale:.1f}"'
            f' height="{_BAR}" fill="#a9bcd6"/>',
            f'<path d="M{_LEFT + low * scale:.1f} {middle}H{_LEFT + high * scale:.1f}"'
            ' stroke="#333"/>',
            f'<text x="{_LEFT + high * scale + 8:.1f}" y="{middle + 4:.0f}">{last:.2f} s</text>',
        ]
    legend = 12 + len(ways) * _ROW + 12
    parts += [
        f'<text x="{_LEFT}" y="{legend}" fill="#333">dark: to the first line; light: until'
        " imported; line: least to most</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _spread(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
