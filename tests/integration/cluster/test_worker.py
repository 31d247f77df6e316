"""The worker that the harness starts."""

from pathlib import Path

from tests.cluster.controlplane import ControlPlane
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.cluster.prefect_api import PrefectApi


def test_what_a_worker_hands_to_its_runs_is_of_use_to_any_user(
    control_plane: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
    tmp_path: Path,
) -> None:
    """Its PREFECT_HOME goes to the pods: not below the harness's own directory, which may be
    root's, but where every user may make it, and gone when the worker is."""
    prefect_api.create_pool("homely", image="example.com/flows:1")
    worker = KubernetesWorker(
        prefect_server,
        pool="homely",
        kubeconfig=control_plane.kubeconfig,
        directory=tmp_path / "worker",
    )
    with worker:
        (one,) = worker.run.processes
        variables = Path(f"/proc/{one.pid}/environ").read_text().split("\0")
        (home,) = [Path(v.partition("=")[2]) for v in variables if v.startswith("PREFECT_HOME=")]
        assert not home.is_relative_to(tmp_path)
        assert home.parent == Path("/tmp")
        assert home.is_dir()
    assert not home.exists()
