import pytest

from tests.integration.chart.helm import Helm


@pytest.fixture(scope="package")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm, built when it is not there."""
    return Helm(tmp_path_factory.mktemp("helm"))
