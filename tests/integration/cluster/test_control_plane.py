"""The control plane of the harness: it serves, it can be hurt, and it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cluster import cache, runs, tools
from tests.cluster.controlplane import ControlPlane, KubectlError
from tests.cluster.leftovers import leftovers
from tests.cluster.processes import ProcessError
from tests.support.sets import wait

pytestmark = pytest.mark.cluster

_ROOT = Path(__file__).parents[3]
_HOLDS = """
import time
from tests.cluster import signals
from tests.cluster.controlplane import ControlPlane

with signals.terminable(), ControlPlane() as cluster:
    print(cluster.run.name, flush=True)
    time.sleep(600)
"""


def test_it_stores_objects_and_survives_a_restart(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    control_plane.restart()
    found = json.loads(control_plane.kubectl("get", "configmap", "kept", "-o", "json"))
    assert found["data"] == {"a": "b"}
    control_plane.kubectl("delete", "configmap", "kept")


def test_a_user_may_do_what_rbac_says(control_plane: ControlPlane) -> None:
    config = str(control_plane.kubeconfig_for(user="alice", groups=["readers"]))
    with pytest.raises(KubectlError, match='User "alice" cannot list'):
        control_plane.kubectl("--kubeconfig", config, "get", "configmaps")
    create = ("create", "-n", "default")
    control_plane.kubectl(*create, "role", "reader", "--verb=list", "--resource=configmaps")
    control_plane.kubectl(*create, "rolebinding", "readers", "--role=reader", "--group=readers")

    def allowed() -> bool:
        with suppress(KubectlError):
            asked = ("auth", "can-i", "list", "configmaps")
            return control_plane.kubectl("--kubeconfig", config, *asked).strip() == "yes"
        return False

    try:
        wait(allowed, what="the role to be known")
    finally:
        control_plane.kubectl("delete", "-n", "default", "role/reader", "rolebinding/readers")


def test_a_service_account_is_known_by_its_token(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "serviceaccount", "robot")
    config = str(control_plane.kubeconfig_for(service_account="robot"))
    who = control_plane.kubectl("--kubeconfig", config, "auth", "whoami")
    assert "system:serviceaccount:default:robot" in who
    control_plane.kubectl("delete", "serviceaccount", "robot")


def test_writes_are_counted_with_their_author(control_plane: ControlPlane) -> None:
    control_plane.kubectl("create", "configmap", "counted")
    control_plane.kubectl("delete", "configmap", "counted")
    ours = [one for one in control_plane.writes() if one.name == "counted"]
    assert [(one.verb, one.resource, one.status) for one in ours] == [
        ("create", "configmaps", 201),
        ("delete", "configmaps", 200),
    ]
    assert {one.user for one in ours} == {"admin"}


def test_a_paused_api_server_answers_nothing_until_it_goes_on(control_plane: ControlPlane) -> None:
    control_plane.api_server.pause()
    try:
        with pytest.raises(KubectlError, match=r"(?i)timeout|deadline"):
            control_plane.kubectl("get", "namespaces", "--request-timeout=1s")
    finally:
        control_plane.api_server.resume()
    assert "kube-system" in control_plane.kubectl("get", "namespaces")


def test_controllers_collect_what_has_lost_its_owner(
    control_plane_with_controllers: ControlPlane,
) -> None:
    cluster = control_plane_with_controllers
    cluster.kubectl("create", "configmap", "owner")
    uid = json.loads(cluster.kubectl("get", "configmap", "owner", "-o", "json"))["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "owned", "namespace": "default", "ownerReferences": [owner]},
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(owned))
    cluster.kubectl("delete", "configmap", "owner")
    cluster.kubectl("wait", "--for=delete", "configmap/owned", "--timeout=60s")


def test_nothing_stays_after_a_run() -> None:
    with ControlPlane() as cluster:
        run = cluster.run
        assert leftovers(run)
    assert leftovers(run) == []


def test_nothing_stays_after_a_start_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error carries the log of the process that failed."""
    cluster = ControlPlane()
    monkeypatch.setattr(cluster, "_advertise", lambda: ["--no-such-flag"])
    before = _own_runs()
    with pytest.raises(ProcessError, match="unknown flag: --no-such-flag"):
        cluster.start()
    assert _own_runs() == before
    cluster.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_after_a_signal(number: signal.Signals) -> None:
    with _holder() as holder:
        run = _run_of(holder)
        assert leftovers(run)
        holder.send_signal(number)
        holder.wait(timeout=120)
    assert leftovers(run) == []


def test_what_a_killed_run_left_is_reaped_by_the_next(capfd: pytest.CaptureFixture[str]) -> None:
    with _holder() as holder:
        run = _run_of(holder)
        with cache.locked(runs.REAP):  # else another process may be the next
            holder.kill()
            holder.wait(timeout=120)
            assert leftovers(run)
            runs.reap()
    assert leftovers(run) == []
    assert "cleaning up" in capfd.readouterr().err


def test_up_leaves_a_cluster_that_down_ends(tmp_path: Path) -> None:
    """The printed lines lead a shell to the cluster, after the command has ended."""
    directory = tmp_path / "cluster"
    command = [sys.executable, "-m", "tests.cluster"]
    where = ["--dir", str(directory)]
    up = subprocess.run(
        [*command, "up", "--level", "control-plane", *where],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    [run] = [one for one in runs.all_runs() if one.directory.is_relative_to(directory)]
    try:
        name, _, value = up.stdout.strip().removeprefix("export ").partition("=")
        assert name == "KUBECONFIG"
        content = json.loads(Path(value).read_text())
        assert content["clusters"][0]["cluster"]["server"].startswith("https://127.0.0.1:")
        again = subprocess.run(
            [*command, "up", *where], cwd=_ROOT, capture_output=True, check=False
        )
        assert again.returncode == 1
    finally:
        subprocess.run([*command, "down", *where], cwd=_ROOT, check=True, capture_output=True)
    assert leftovers(run) == []
    assert not directory.exists()


@contextmanager
def _holder() -> Iterator[subprocess.Popen[str]]:
    """A process that holds a control plane and says its run's name; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS],
        cwd=_ROOT,
        env=tools.environment({"PYTHONPATH": str(_ROOT)}),
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            yield holder
        finally:
            holder.kill()


def _run_of(holder: subprocess.Popen[str]) -> runs.Run:
    assert holder.stdout is not None
    name = holder.stdout.readline().strip()
    [run] = [one for one in runs.all_runs() if one.name == name]
    return run


def _own_runs() -> set[str]:
    return {run.name for run in runs.all_runs() if run.owner == os.getpid()}
