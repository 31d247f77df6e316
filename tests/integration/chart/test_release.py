"""The chart as it is released."""

from pathlib import Path

import yaml

from scripts.chart.release import release
from tests.integration.chart.helm import Helm, pod_of

_ADDRESS = {"prefect": {"apiUrl": "http://prefect.example.com:4200/api"}}


def test_prefects_address_is_all_that_a_released_chart_needs(helm: Helm, tmp_path: Path) -> None:
    """The package names the published image itself; strict lint has nothing to say."""
    chart = release("registry.example.com/tools/flowdeps", tmp_path)
    helm("package", chart, "--destination", tmp_path)
    (package,) = tmp_path.glob("flowdeps-*.tgz")
    assert "0 chart(s) failed" in helm("lint", "--strict", package, values=_ADDRESS)
    text = helm("template", "flowdeps", package, "--namespace", "flowdeps", values=_ADDRESS)
    (operator,) = pod_of([one for one in yaml.safe_load_all(text) if one])["spec"]["containers"]
    assert operator["image"].startswith("registry.example.com/tools/flowdeps:")
    assert '| `image.repository` | `"registry.example.com/tools/flowdeps"` |' in helm(
        "show", "readme", package
    )
