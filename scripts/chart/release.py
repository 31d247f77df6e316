"""Makes the chart as it is released, with values that name the published image, so that Prefect's
address is all that an install needs.

    python -m scripts.chart.release registry.example.com/flowdeps dist
"""

import shutil
import sys
from pathlib import Path

from scripts.chart import CHART, generated

_UNNAMED = '  repository: ""\n'


def release(image: str, directory: Path) -> Path:
    """Write the chart with `image` as its default below `directory`; returns where it is."""
    chart = directory / CHART.name
    shutil.copytree(CHART, chart)
    values = chart / "values.yaml"
    text = values.read_text(encoding="utf-8")
    if text.count(_UNNAMED) != 1:
        raise ValueError("values.yaml has not one image.repository without a name")
    values.write_text(text.replace(_UNNAMED, f"  repository: {image}\n"), encoding="utf-8")
    for path, made in generated(chart).items():
        path.write_text(made, encoding="utf-8")
    return chart


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m scripts.chart.release IMAGE DIRECTORY")
    print(release(sys.argv[1], Path(sys.argv[2])))
