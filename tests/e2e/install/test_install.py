"""`helm install` with the two values that it needs, up to a run; and `helm uninstall`.

The tests follow one release through its life, so each fixture leads on from the one before.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.chart import CHART
from tests.cluster.controlplane import KubectlError
from tests.e2e.install.site import SECONDS, SITE, TEAM, Site
from tests.integration.chart.helm import NAMESPACE, RELEASE, Helm, HelmError
from tests.support import sets

pytestmark = pytest.mark.node

_LONELY = "lonely"


@pytest.fixture(scope="module")
def failing(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[str]]:
    """`helm test` of a release whose Prefect is not there: what becomes of it, while others run."""
    site.node.kubectl("create", "namespace", _LONELY)
    helm = Helm(tmp_path_factory.mktemp("lonely"))
    values = {
        **site.values,
        "prefect": {"apiUrl": f"http://{site.node.gateway}:9/api"},
        "config": {"watchNamespaces": [_LONELY]},
        "crds": {"enabled": False},
        "rbac": {"aggregate": False},
    }
    where: dict[str, Any] = {"kubeconfig": site.node.kubeconfig}
    here = ("-n", _LONELY)
    helm("install", _LONELY, CHART, *here, values=values, **where)
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(helm, "test", _LONELY, *here, "--timeout", "240s", **where)
    helm("uninstall", _LONELY, *here, **where)


@pytest.fixture(scope="module")
def installed(site: Site) -> Site:
    """A release with nothing but the two values, whose set `first` is Ready."""
    site.install()
    site.offer(site.image_set("first", "alpha"))
    return site


@dataclass(frozen=True, kw_only=True)
class Uninstalled:
    """What there was before and after."""

    made: tuple[dict[str, str], dict[str, str]]
    template: tuple[str, str]


@pytest.fixture(scope="module")
def uninstalled(installed: Site) -> Uninstalled:
    """`helm uninstall`, and nothing else."""
    before = installed.made(), installed.pool()[0]
    installed.run_helm("uninstall", RELEASE, "--wait")
    after = installed.made(), installed.pool()[0]
    return Uninstalled(made=(before[0], after[0]), template=(before[1], after[1]))


def test_the_operator_is_a_restricted_pod_under_its_own_account(
    installed: Site, failing: Future[str]
) -> None:
    """In a namespace that enforces `restricted`: ready, as the image's user, never restarted."""
    assert failing
    (pod,) = installed.pods()
    ready = {one["type"]: one["status"] for one in pod["status"]["conditions"]}
    assert ready["Ready"] == "True"
    assert pod["spec"]["serviceAccountName"] == RELEASE
    (container,) = pod["status"]["containerStatuses"]
    assert container["restartCount"] == 0


def test_a_run_in_a_pod_uses_the_set(installed: Site) -> None:
    """From `helm install` with two values and `kubectl apply` to what the flow imports."""
    packages = installed.seen(installed.start("first", "alpha"))["packages"]
    assert packages["alpha"] == {"version": "1.0", "file": f"{SITE}/alpha/__init__.py"}


def test_helm_test_passes(installed: Site) -> None:
    """Prefect is reached, and the account's rights are enough."""
    said = installed.run_helm("test", RELEASE, "--timeout", "180s")
    assert "Failed" not in said
    assert "Succeeded" in said


def test_the_operators_pod_answers_why_a_set_is_as_it_is(installed: Site) -> None:
    """As the runbooks and helm's notes say, where nobody has the command at hand."""
    said = installed.node.kubectl(
        *("exec", "-n", NAMESPACE, f"deployment/{RELEASE}", "--"),
        *("flowdeps", "status", f"{TEAM}/first", "--config", "/etc/flowdeps/config.yaml"),
    )
    assert f"{TEAM}/first is ready" in said


def test_nothing_is_complained_of(installed: Site) -> None:
    """The operator's log has no warning: nothing was forbidden, and nothing failed."""
    assert installed.complaints() == []


def test_helm_test_fails_without_prefect(failing: Future[str]) -> None:
    """Where the address leads nowhere."""
    with pytest.raises(HelmError, match="failed"):
        failing.result()


def test_an_uninstall_takes_the_operator_alone(uninstalled: Uninstalled, site: Site) -> None:
    """Its pod and rights are gone; locks and templates are as they were."""
    with pytest.raises(KubectlError, match="NotFound"):
        site.node.kubectl("get", f"clusterrole/{RELEASE}")
    sets.wait(lambda: not site.pods(), what="the operator's pod to go", seconds=SECONDS)
    before, after = uninstalled.made
    assert before
    assert after == before
    assert uninstalled.template[1] == uninstalled.template[0]


def test_a_run_started_after_an_uninstall_works(uninstalled: Uninstalled, site: Site) -> None:
    """Its lock is where it was: no run needs the operator."""
    assert uninstalled
    assert site.seen(site.start("first", "alpha"))["packages"]["alpha"]["version"] == "1.0"
