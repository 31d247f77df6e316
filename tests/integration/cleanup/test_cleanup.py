"""`flowdeps cleanup` after a real operator, on a real API server and a real Prefect."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.names import mounted_name
from flowdeps.delivery.choice import find
from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.kinds.kubernetes.merge import merge
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.integration.chart.helm import Helm, config_of, needed, rights
from tests.integration.cli.support import Done, Shell
from tests.support.operator import Operator
from tests.support.sets import (
    Body,
    apply,
    config_map,
    get,
    get_set,
    names,
    pins,
    resource_versions,
    secret,
    set_body,
    wait,
    wait_ready,
    wait_tried,
)

pytestmark = pytest.mark.cluster

_RELEASE, _SETS, _JOBS = "cleanup-release", "cleanup-sets", "cleanup-jobs"
_NAME = "cleaned"
_KINDS = ("fds", "cm", "secret", "pod", "lease")
_UNSEEN = {"observedGeneration": -1}
_OURS = "app.kubernetes.io/managed-by=flowdeps"
_POOLS = {
    "name": "*",
    "namespaces": [_SETS],
    "jobNamespaces": [_JOBS],
    "image": "example.com/flows:1",
}
_MODES: dict[str, dict[str, Any]] = {
    "cluster": {"workPools": [_POOLS]},
    "namespaces": {"watchNamespaces": [_SETS], "workPools": [_POOLS]},
}


@dataclass
class Scene:
    """A set in service under an operator, and what is others'."""

    cluster: ControlPlane
    prefect: PrefectApi
    operator: Operator
    shell: Shell
    pool: str
    foreign: str
    before: dict[str, Any]
    values: Mapping[str, Any]

    def cleanup(self, *arguments: str, **variables: str) -> Done:
        """The command, with the rights of the chart's hook and no more."""
        return self.shell.flowdeps("cleanup", "--config", "config.yaml", *arguments, **variables)

    def versions(self) -> dict[str, str]:
        """Of everything that could be touched; the active operator renews the Lease."""
        found = resource_versions(self.cluster, *_KINDS)
        return {
            name: version
            for name, version in found.items()
            if "cleanup-" in name and not name.startswith("Lease")
        }

    def ours(self) -> str:
        """What has our label, or our name on the Lease."""
        text = self.cluster.kubectl("get", "cm,secret,pod", "-A", "-l", _OURS, "-o", "name")
        return text + self.cluster.kubectl("get", "lease", "-n", _RELEASE, "-o", "name")


@pytest.fixture(scope="module")
def place(cluster: ControlPlane) -> Iterator[ControlPlane]:
    """The cluster with the namespaces of all scenes: they take seconds to go."""
    for name in (_RELEASE, _SETS, _JOBS):
        cluster.kubectl("create", "namespace", name)
    yield cluster
    cluster.kubectl("delete", "namespace", _RELEASE, _SETS, _JOBS, "--timeout=300s")


@pytest.fixture(params=_MODES)
def scene(
    request: pytest.FixtureRequest,
    place: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
    tmp_path: Path,
) -> Iterator[Scene]:
    """All that an operator makes is there: copies with credentials in another namespace, facts and
    pods of trials, a fragment; and beside it what is others'."""
    cluster = place
    mode: str = request.param
    (tmp_path / "helm").mkdir()
    release = Helm(tmp_path / "helm").template(
        needed(
            config=_MODES[mode], fullnameOverride=_NAME, cleanup={"onUninstall": True}, replicas=2
        ),
        namespace=_RELEASE,
    )
    hook = [one for one in release if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    apply(cluster, *rights(hook))
    account = cluster.kubeconfig_for(service_account=f"{_NAME}-cleanup", namespace=_RELEASE)
    pool = f"cleanup-{uuid.uuid4().hex[:8]}"
    foreign = f"{pool}-foreign"
    for name in (pool, foreign):
        prefect_api.create_pool(name, image="example.com/flows:1", namespace=_JOBS)
    before = prefect_api.template(pool)
    prefect_api.set_template(
        foreign,
        merge(before, Fragment(owner="somebody/else", version="1", pool="k", keys=("theirs",))),
    )
    config = config_of(release)
    del config["resolver"], config["httpPort"]
    config["prefect"] = {"apiUrl": prefect_server.url, "pollInterval": "1s"}
    with (
        Index(username="reader", password="horse") as index,
        Operator(
            kubeconfig=cluster.kubeconfig, prefect_url=prefect_server.url, config=config
        ) as operator,
    ):
        index.add("alpha", "1.0")
        apply(
            cluster,
            secret("mine", namespace=_SETS, username="reader", password="horse"),
            config_map("others", namespace=_JOBS, text="theirs"),
            _of_another_operator(),
            set_body(
                *("extras", ["alpha"]),
                namespace=_SETS,
                pools=[pool],
                index={"url": index.url, "credentialsSecretRef": {"name": "mine"}},
            ),
            *_of_trials(),
        )
        wait_ready(cluster, "extras", namespace=_SETS)
        wait_tried(cluster, "extras", namespace=_SETS)
        wait(lambda: find(prefect_api.template(pool)) is not None, what="the pool to offer it")
        shell = Shell(tmp_path, {"KUBECONFIG": str(account)})
        shell.write("config.yaml", yaml.safe_dump(config))
        yield Scene(cluster, prefect_api, operator, shell, pool, foreign, before, values=config)
        if not operator.exit_code:
            operator.down()
    shell.flowdeps("cleanup", "--config", "config.yaml", "--yes")
    cluster.kubectl(
        "delete", "clusterrole,clusterrolebinding", f"{_NAME}-cleanup", "--ignore-not-found"
    )
    for namespace in (_RELEASE, _SETS, _JOBS):
        kinds = "fds,cm,secret,pod,role,rolebinding"
        cluster.kubectl("delete", kinds, "--all", "-n", namespace, "--now", "--timeout=300s")


def _of_another_operator() -> Body:
    """A copy that another one put where our jobs run too, for a set that it watches."""
    body = config_map("flowdeps-theirs", namespace=_JOBS)
    body["metadata"]["labels"] = {
        "app.kubernetes.io/managed-by": "flowdeps",
        "flowdeps.dev/set": "theirs",
        "flowdeps.dev/namespace": "elsewhere",
    }
    return body


def _of_trials() -> Iterator[Body]:
    for kind, name, purpose in [
        ("ConfigMap", "flowdeps-image.0123456789", "image"),
        ("ConfigMap", "flowdeps-verify.0123456789", "verify"),
        ("Pod", "flowdeps-probe.0123456789", "probe"),
    ]:
        body = config_map(name, namespace=_SETS)
        body["kind"] = kind
        body["metadata"]["labels"] = {
            "app.kubernetes.io/managed-by": "flowdeps",
            "flowdeps.dev/purpose": purpose,
        }
        if kind == "Pod":
            del body["data"]
            body["spec"] = {"containers": [{"name": "probe", "image": "example.com/flows:1"}]}
        yield body


@pytest.mark.parametrize("scene", ["cluster"], indirect=True)
def test_what_the_operator_of_another_cluster_offers_stays(scene: Scene) -> None:
    """Also where its release has our name: a Prefect may serve several clusters."""
    name = f"{scene.pool}-elsewhere"
    scene.prefect.create_pool(name, image="example.com/flows:1", namespace=_JOBS)
    owner = scene.values["owner"]
    fragment = Fragment(owner=owner, cluster="another", version="1", pool="k", keys=("theirs",))
    theirs = merge(scene.before, fragment)
    scene.prefect.set_template(name, theirs)
    scene.operator.down()
    assert scene.cleanup("--yes").status == 0
    assert find(scene.prefect.template(scene.pool)) is None
    assert scene.prefect.template(name) == theirs


def test_everything_goes_and_nothing_else(scene: Scene) -> None:
    """While the operator is active nothing is touched, and a dry run only tells. Afterwards the
    template is what it was to the letter, nothing has our label, sets have no finalizer and no
    status; what is others' stays; a second run finds nothing; sets can be deleted with no operator
    there; and a new operator serves them again, and leaves another's copies alone as well."""
    cluster = scene.cluster
    foreign, versions = scene.prefect.template(scene.foreign), scene.versions()
    offered = scene.prefect.template(scene.pool)

    refused = scene.cleanup("--yes", "--wait", "10")
    assert refused.status == 1
    assert "is active and holds the Lease cleanup-release/cleaned" in refused.err
    told = scene.cleanup("--dry-run")
    assert (told.status, told.err) == (0, "")
    assert scene.versions() == versions
    assert scene.prefect.template(scene.pool) == offered

    scene.operator.down()
    done = scene.cleanup("--yes")
    assert (done.status, done.err) == (0, "")
    assert sorted(done.out.splitlines()) == sorted(told.out.splitlines())
    assert f"work pool {scene.pool}: " in done.out
    for line in (
        f"ConfigMap {_JOBS}/{mounted_name('extras', pool=scene.pool)}",
        f"Secret {_JOBS}/{mounted_name('extras', pool=scene.pool)}",
        f"Secret {_SETS}/flowdeps-extras",
        f"ConfigMap {_SETS}/flowdeps-image.0123456789",
        f"Pod {_SETS}/flowdeps-probe.0123456789",
        f"FlowDependencySet {_SETS}/extras: status and finalizer; it stays itself",
    ):
        assert line in done.out.splitlines()
    assert json.dumps(scene.prefect.template(scene.pool)) == json.dumps(scene.before)
    assert scene.prefect.template(scene.foreign) == foreign
    # With watchNamespaces another operator may use the same job namespace.
    theirs = ["configmap/flowdeps-theirs"] if "watchNamespaces" in scene.values else []
    assert scene.ours().split() == theirs
    assert "mine" in names(cluster, "secret", namespace=_SETS)
    assert get(cluster, "cm", "others", namespace=_JOBS)["data"] == {"text": "theirs"}
    left = get_set(cluster, "extras", namespace=_SETS)
    assert left["status"] == _UNSEEN
    assert "finalizers" not in left["metadata"]
    assert left["spec"]["requirements"] == ["alpha"]

    versions = scene.versions()
    again = scene.cleanup("--yes")
    assert (again.status, again.out, again.err) == (0, "", "")
    assert scene.versions() == versions

    scene.operator.up()
    wait_ready(cluster, "extras", namespace=_SETS)
    assert pins(cluster, "extras", namespace=_JOBS, pool=scene.pool) == "alpha==1.0"
    wait(lambda: find(scene.prefect.template(scene.pool)) is not None, what="the pool to offer it")
    scene.operator.down()
    assert scene.cleanup("--yes").status == 0
    assert scene.ours().split() == theirs
    cluster.kubectl("delete", "fds", "extras", "-n", _SETS, "--timeout=180s")


@pytest.mark.parametrize("scene", ["cluster"], indirect=True)
def test_without_prefect_nothing_goes_but_by_request(scene: Scene) -> None:
    """A template that still needs a lock keeps it: while Prefect does not answer, nothing in the
    cluster is touched, and the message tells the way out; --skip-pools does the rest."""
    scene.operator.down()
    config = yaml.safe_load(scene.shell.read("config.yaml"))
    config["prefect"]["apiUrl"] = "http://127.0.0.1:9/api"
    scene.shell.write("config.yaml", yaml.safe_dump(config))
    versions, template = scene.versions(), scene.prefect.template(scene.pool)

    failed = scene.cleanup("--yes", PREFECT_CLIENT_MAX_RETRIES="0")
    assert failed.status == 1
    assert failed.out == ""
    assert "work pools could not be read: the Prefect API did not answer" in failed.err
    assert "--skip-pools" in failed.err
    assert scene.versions() == versions

    done = scene.cleanup("--yes", "--skip-pools")
    assert (done.status, done.err) == (0, "")
    assert f"ConfigMap {_SETS}/flowdeps-extras" in done.out
    assert "work pool" not in done.out
    assert scene.prefect.template(scene.pool) == template
    assert get_set(scene.cluster, "extras", namespace=_SETS)["status"] == _UNSEEN
    scene.shell.write("config.yaml", yaml.safe_dump(dict(scene.values)))


def test_it_wants_to_be_asked_twice(tmp_path: Path) -> None:
    """Without --yes nothing is done, not even looked at."""
    done = Shell(tmp_path, {}).flowdeps("cleanup")
    assert done.status == 1
    assert "--dry-run" in done.err
    assert "--yes" in done.err
