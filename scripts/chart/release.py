"""Makes the chart as it is released, with values that name the published image and documentation,
so that Prefect's address is all that an install needs.

    python -m scripts.chart.release --image registry.example.com/flowdeps --digest sha256:... \\
        --docs https://example.com/docs build
"""

import argparse
import shutil
from pathlib import Path

from scripts.chart import CHART, generated

_PAGE = "docs/how-to/monitoring.md"


def release(directory: Path, *, image: str, digest: str = "", docs: str = "docs") -> Path:
    """Write the chart with `image` at `digest` as its default below `directory`, and runbooks below
    `docs`, where the pages of docs/ can be read; returns where it is."""
    chart = directory / CHART.name
    shutil.copytree(CHART, chart)
    values = chart / "values.yaml"
    text = values.read_text(encoding="utf-8")
    for line, value in (
        ('  repository: ""', f"  repository: {image}"),
        ('  digest: ""', f'  digest: "{digest}"'),
        (f"    runbookUrl: {_PAGE}", f"    runbookUrl: {docs}{_PAGE.removeprefix('docs')}"),
    ):
        if text.count(f"\n{line}\n") != 1:
            raise ValueError(f"values.yaml has not one line {line.strip()!r}")
        text = text.replace(f"\n{line}\n", f"\n{value}\n")
    values.write_text(text, encoding="utf-8")
    for path, made in generated(chart).items():
        path.write_text(made, encoding="utf-8")
    return chart


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the chart as it is released.")
    parser.add_argument("directory", type=Path, help="where; it must not be there yet")
    parser.add_argument("--image", required=True, help="the published image, without a tag")
    parser.add_argument("--digest", default="", help="its digest, sha256:...")
    parser.add_argument("--docs", default="docs", help="the URL of docs/")
    args = parser.parse_args()
    print(release(args.directory, image=args.image, digest=args.digest, docs=args.docs))


if __name__ == "__main__":
    main()
