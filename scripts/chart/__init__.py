"""Makes what is generated of charts/flowdeps: the schema of the values, the tables of its README,
the chart's copies of the resources, and the dashboard.

    python -m scripts.chart            write what differs
    python -m scripts.chart --check    say what differs, and write nothing
"""

from pathlib import Path

import yaml

from scripts.chart import dashboard
from scripts.chart.comments import read_values
from scripts.chart.readme import with_tables
from scripts.chart.schema import build, to_text

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "flowdeps"


def generated(chart: Path = CHART) -> dict[Path, str]:
    """What each generated file of the chart must be."""
    values = read_values((chart / "values.yaml").read_text(encoding="utf-8"))
    definitions = Path(__file__).with_name("definitions.yaml").read_text(encoding="utf-8")
    schema = build(values, yaml.safe_load(definitions))
    readme = chart / "README.md"
    resources = sorted((ROOT / "crds").iterdir())
    return {
        chart / "values.schema.json": to_text(schema),
        readme: with_tables(readme.read_text(encoding="utf-8"), values, schema),
        **{chart / "files" / one.name: one.read_text(encoding="utf-8") for one in resources},
        chart / "files" / "dashboard.json": dashboard.text(),
    }


def stale() -> dict[Path, str]:
    """What differs, and what it must be."""
    return {
        path: text
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
