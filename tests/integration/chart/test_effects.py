"""No value of the chart is without effect."""

from typing import Any

import pytest

from scripts.chart import CHART
from scripts.chart.comments import leaves, read_values
from tests.integration.chart.helm import Helm, HelmError, case

_LEAVES = {
    ".".join(value.path): value
    for value in leaves(read_values((CHART / "values.yaml").read_text()))
}
_OF_OTHERS = {"enabled", "global"}
# Another value for what ci/everything-values.yaml leaves at its default.
_OTHERS: dict[str, Any] = {
    "admissionPolicy.enabled": False,
    "cache.sizeLimit": "1Gi",
    "config.watchNamespaces": ["flows"],
    "crds.enabled": False,
    "fullnameOverride": "packages",
    "image.tag": "1.2",
    "livenessProbe": {"periodSeconds": 7},
    "nameOverride": "packages",
    "prefect.existingSecret.authStringKey": "auth",
    "rbac.aggregate": False,
    "rbac.create": False,
    "readinessProbe": {"periodSeconds": 7},
    "securityContext": {"runAsUser": 1},
    "serviceAccount.create": False,
    "startupProbe": {"periodSeconds": 7},
    "terminationGracePeriodSeconds": 7,
}
# What must be otherwise for a value to count.
_WITH: dict[str, dict[str, Any]] = {
    "cache.sizeLimit": {"cache.existingClaim": ""},
    "image.tag": {"image.digest": ""},
    "podDisruptionBudget.enabled": {"replicas": 1},
    "prefect.existingSecret.authStringKey": {"prefect.existingSecret.apiKeyKey": ""},
}
_MONITOR = "metrics.podMonitor."


@pytest.mark.parametrize("path", sorted(_LEAVES.keys() - _OF_OTHERS))
def test_every_value_has_an_effect(path: str, helm: Helm) -> None:
    """What is rendered, or whether it is refused, depends on each value."""
    values = case("everything")
    if path.startswith(_MONITOR):
        _set(values, "metrics.podMonitor", values["metrics"].pop("serviceMonitor"))
    for other, value in _WITH.get(path, {}).items():
        _set(values, other, value)
    before = _rendered(helm, values)
    _set(values, path, _OTHERS.get(path, _LEAVES[path].default))
    assert _rendered(helm, values) != before


def test_the_table_is_about_values_that_exist() -> None:
    """Other values are for what everything-values.yaml does not set."""
    assert _OTHERS.keys() | _WITH.keys() <= _LEAVES.keys()


def _rendered(helm: Helm, values: dict[str, Any]) -> Any:
    try:
        return helm.template(values)
    except HelmError as error:
        return str(error)


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for name in above:
        values = values.setdefault(name, {})
    values[last] = value
