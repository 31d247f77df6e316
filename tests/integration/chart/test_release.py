"""The chart as it is released."""

from pathlib import Path

import yaml

from scripts.chart.release import release
from tests.integration.chart.helm import Helm, one_of, pod_of

_ADDRESS = {"prefect": {"apiUrl": "http://prefect.example.com:4200/api"}}


def test_prefects_address_is_all_that_a_released_chart_needs(helm: Helm, tmp_path: Path) -> None:
    """The package names the published image itself, by its digest, and alerts lead to pages that
    can be read; strict lint has nothing to say."""
    digest = f"sha256:{'0' * 64}"
    chart = release(
        tmp_path,
        image="registry.example.com/tools/flowdeps",
        digest=digest,
        docs="https://example.com/flowdeps/docs",
    )
    helm("package", chart, "--destination", tmp_path)
    (package,) = tmp_path.glob("flowdeps-*.tgz")
    assert "0 chart(s) failed" in helm("lint", "--strict", package, values=_ADDRESS)
    values = {**_ADDRESS, "metrics": {"prometheusRule": {"enabled": True}}}
    text = helm("template", "flowdeps", package, "--namespace", "flowdeps", values=values)
    objects = [one for one in yaml.safe_load_all(text) if one]
    (operator,) = pod_of(objects)["spec"]["containers"]
    assert operator["image"] == f"registry.example.com/tools/flowdeps@{digest}"
    for rule in one_of(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]:
        page, _, _ = rule["annotations"]["runbook_url"].partition("#")
        assert page == "https://example.com/flowdeps/docs/how-to/monitoring.md"
    assert '| `image.repository` | `"registry.example.com/tools/flowdeps"` |' in helm(
        "show", "readme", package
    )
