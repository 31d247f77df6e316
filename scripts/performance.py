"""Makes the tables and the plot of docs/performance.md from docs/performance.json.

    python -m tests.bench --only pods,ten,policy,arrive,pack --save docs/performance.json
    python -m tests.bench --only restart,restart-ready --save docs/performance.json
    python -m scripts.performance [--check]

`--check` writes nothing, and fails where the page or the plot differs.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs" / "performance.json"
PAGE, PLOT = DATA.with_suffix(".md"), DATA.with_suffix(".svg")

_BEGIN, _END = "<!-- measured -->\n", "<!-- end -->\n"
_WIDTH, _LEFT, _ROW, _BAR, _HEAD = 720, 250, 30, 16, 34

Measured = Mapping[str, Any]
Way = Mapping[str, Any]


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
    wanted = {PAGE: f"{before}{_BEGIN}{tables(measured)}{_END}{after}", PLOT: plot(measured)}
    return {
        path: text
        for path, text in wanted.items()
        if not path.exists() or path.read_text("utf-8") != text
    }


def tables(measured: Measured) -> str:
    """All figures as Markdown: medians, with the least and the most."""
    parts = [_aims(measured)]
    pods = measured.get("pods", {}).values()
    parts += [f"## One pod: {of['title']}\n\n{table(of)}" for of in pods]
    for of in measured.get("together", {}).values():
        count = len(of["ways"][0]["first_line"][0])
        parts.append(f"## {count} pods at once: {of['title']}\n\n{table(of)}")
    return "\n".join(parts)


def table(of: Measured) -> str:
    """The ways of one list of packages. Of pods that began together the last one counts."""
    baked = next((_last(one, "imported") for one in of["ways"] if one["name"] == "pod-baked"), None)
    lines = [
        "| way | first line, s | imported, s | added to the packages in the image | written |"
        " requests |",
        "|---|---|---|---|---|---|",
    ]
    for way in of["ways"]:
        last = _last(way, "imported")
        imported = _spread(last) if way["imports"] else ""
        added = ""
        if baked and way["imports"] and way["name"] != "pod-baked":
            added = f"{_paired(last, baked):+.2f} s"
        written = asked = ""
        if "files" in way:
            files, size, requests = (median(_each(way, n)) for n in ("files", "bytes", "asked"))
            written, asked = f"{files:,.0f} files, {size / 1e6:,.1f} MB", f"{requests:.0f}"
        first = _spread(_last(way, "first_line"))
        lines.append(f"| {way['title']} | {first} | {imported} | {added} | {written} | {asked} |")
    rounds = len(of["ways"][0]["first_line"])
    packages = ", ".join(f"`{one}`" for one in of["requirements"])
    heading = f"Medians of {rounds} rounds (least to most). Packages: {packages}."
    return f"{heading}\n\n" + "\n".join(lines) + "\n"


def _aims(measured: Measured) -> str:
    """What was to be reached, and what was."""
    lines = ["| figure | aim | measured | rounds |", "|---|---|---|---|"]
    for of in measured.get("pods", {}).values():
        ways = {one["name"]: one for one in of["ways"]}
        for title, aim, needed, value in _COMPARED:
            if not {*needed} <= ways.keys():
                continue
            pairs = [value(*one) for one in zip(*(_seconds(ways[n]) for n in needed), strict=True)]
            lines.append(f"| {title}: {of['title']} | {aim} | {_spread(pairs)} | {len(pairs)} |")
    for one in measured.get("figures", {}).values():
        values = one["values"]
        spread = f"{_short(median(values))} {one['unit']}".strip()
        if len(values) > 1:
            spread += f" ({_short(min(values))} to {_short(max(values))})"
        lines.append(f"| {one['title']} | {one['aim']} | {spread} | {len(values)} |")
    return "## Aims\n\n" + "\n".join(lines) + "\n"


Seconds = tuple[float, float]  # first line, imported

_COMPARED: Sequence[tuple[str, str, Sequence[str], Callable[..., float]]] = (
    (
        "added by a ready environment, warm, to the packages in the image, s",
        "≤ 0.1",
        ("pod-image", "pod-baked"),
        lambda one, other: one[1] - other[1],
    ),
    (
        "the same, to the first line, s",
        "",
        ("pod-image", "pod-baked"),
        lambda one, other: one[0] - other[0],
    ),
    (
        "import through the environment, against in the image",
        "≤ 1.05 ×",
        ("pod-image", "pod-baked"),
        lambda one, other: (one[1] - one[0]) / (other[1] - other[0]),
    ),
    (
        "ready environment on a cold node, against Install by uv",
        "< 1 ×",
        ("pod-cold", "pod-uv"),
        lambda one, other: one[1] / other[1],
    ),
    (
        "added by a pool that offers sets to a run that chooses none, s",
        "≤ 0.1",
        ("pod-none", "pod-bare"),
        lambda one, other: one[0] - other[0],
    ),
    (
        "added by Install with uv, against what the usual recipe adds",
        "≤ 0.2 ×",
        ("pod-uv", "pod-recipe", "pod-bare"),
        lambda one, other, bare: (one[0] - bare[0]) / (other[0] - bare[0]),
    ),
)


def plot(measured: Measured) -> str:
    """The pods as horizontal bars: to the first line, and on to what is imported. Each list of
    packages has a scale of its own."""
    parts: list[str] = []
    top = 0.0
    for of in measured["pods"].values():
        parts.append(
            f'<text x="12" y="{top + 22:.0f}" font-weight="bold">{escape(of["title"])}</text>'
        )
        parts += _bars(of["ways"], top=top + _HEAD)
        top += _HEAD + _ROW * len(of["ways"])
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 34:.0f}" role="img"'
        ' font-family="sans-serif" font-size="13">',
        "<title>Seconds from creating a pod to its packages imported</title>",
        f'<rect width="{_WIDTH}" height="{top + 34:.0f}" fill="white"/>',
    ]
    legend = (
        f'<text x="{_LEFT}" y="{top + 20:.0f}" fill="#333">dark: to the first line; light: until'
        " imported; line: least to most</text>"
    )
    return "\n".join([*head, *parts, legend, "</svg>"]) + "\n"


def _bars(ways: Sequence[Way], *, top: float) -> Iterator[str]:
    longest = max(max(one["imported"]) for one in ways)
    scale = (_WIDTH - _LEFT - 90) / longest
    for number, way in enumerate(ways):
        y = top + number * _ROW
        first, last = median(way["first_line"]), median(way["imported"])
        low, high = min(way["imported"]), max(way["imported"])
        middle = y + _BAR / 2
        yield (
            f'<text x="{_LEFT - 10}" y="{middle + 4:.0f}" text-anchor="end">'
            f"{escape(way['title'])}</text>"
        )
        yield (
            f'<rect x="{_LEFT}" y="{y:.0f}" width="{first * scale:.1f}" height="{_BAR}"'
            ' fill="#4a6fa5"/>'
        )
        yield (
            f'<rect x="{_LEFT + first * scale:.1f}" y="{y:.0f}"'
            f' width="{(last - first) * scale:.1f}" height="{_BAR}" fill="#a9bcd6"/>'
        )
        yield (
            f'<path d="M{_LEFT + low * scale:.1f} {middle}H{_LEFT + high * scale:.1f}"'
            ' stroke="#333"/>'
        )
        yield f'<text x="{_LEFT + high * scale + 8:.1f}" y="{middle + 4:.0f}">{last:.2f} s</text>'


def _seconds(way: Way) -> list[Seconds]:
    return list(zip(way["first_line"], way["imported"], strict=True))


def _each(way: Way, name: str) -> list[float]:
    return [one for value in way[name] for one in (value if isinstance(value, list) else [value])]


def _last(way: Way, name: str) -> list[float]:
    return [max(value) if isinstance(value, list) else value for value in way[name]]


def _paired(values: Sequence[float], others: Sequence[float]) -> float:
    return median(one - other for one, other in zip(values, others, strict=True))


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
