"""The node of the harness: real pods and flow runs, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images, runs, tools
from tests.cluster.fixtures import StartWorker
from tests.cluster.index import Index
from tests.cluster.leftovers import leftovers
from tests.cluster.node import Node
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi

pytestmark = pytest.mark.node

_ROOT = Path(__file__).parents[3]
_HOLDS = """
import time
from tests.cluster import images, signals
from tests.cluster.node import Node

with signals.terminable(), Node(egress=True) as node:
    node.load_image(images.flow())
    node.kubectl("run", "sleeper", "--image", images.FLOW_PIP, "--image-pull-policy=Never",
                 "--", "python", "-c", "import time; time.sleep(600)")
    node.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=240s")
    print(node.run.name, flush=True)
    time.sleep(600)
"""
# Asks the API server, by its service's address and the pod's own token.
_ASKS_API = """
import os, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount"
url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:443/version"
token = open(f"{account}/token").read()
request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
context = ssl.create_default_context(cafile=f"{account}/ca.crt")
print(urllib.request.urlopen(request, context=context).read().decode())
"""


def test_a_pod_reaches_the_api_server_by_its_service(node: Node) -> None:
    with running(node, "asks-api", image=images.FLOW_PIP, command=["python", "-c", _ASKS_API]):
        assert '"gitVersion": "v1.37.2"' in finished(node, "asks-api")


@pytest.mark.parametrize(
    ("image", "installer"),
    [
        (images.FLOW_UV, ["uv", "pip", "install", "--no-cache", "--default-index"]),
        (images.FLOW_PIP, ["pip", "install", "--no-cache-dir", "--index-url"]),
    ],
)
def test_a_pod_installs_from_the_index_without_root(
    node: Node, node_index: Index, image: str, installer: list[str]
) -> None:
    """With a read-only root file system, as user 1000, into an emptyDir."""
    node_index.add("demo-base", "1.0")
    node_index.add("demo-app", "2.0", requires=["demo-base"])
    name = image.rpartition(":")[2]
    # pip takes plain HTTP from the machine itself only, unless told otherwise.
    trusted = ["--trusted-host", node.gateway] if name == "pip" else []
    command = [*installer, node_index.url, *trusted, "--target", "/tmp/site", "demo-app"]
    with running(node, name, image=image, command=command):
        finished(node, name)
    assert any(path.endswith("demo_base-1.0-py3-none-any.whl") for path in node_index.requests)


def test_kubectl_reads_logs_and_runs_commands_in_pods(node: Node) -> None:
    wait = "import time; print('here', flush=True); time.sleep(600)"
    with running(node, "sleeper", image=images.FLOW_UV, command=["python", "-c", wait]):
        node.kubectl("wait", "--for=condition=Ready", "pod/sleeper", "--timeout=240s")
        assert node.kubectl("exec", "sleeper", "--", "id", "-u").strip() == "1000"
        assert "here" in node.kubectl("logs", "sleeper")


def test_a_flow_run_tells_what_its_pod_sees(
    node: Node, node_prefect_api: PrefectApi, start_worker: StartWorker
) -> None:
    node.kubectl("create", "namespace", "jobs")
    node_prefect_api.create_pool("probe", image=images.FLOW_UV, namespace="jobs")
    start_worker("probe", ["jobs"])
    deployment = node_prefect_api.deploy(
        "probe", pool="probe", job_variables={"env": {"FLOWDEPS_SET": "some"}}
    )
    run = node_prefect_api.start_run(deployment, packages=["prefect", "absent"])
    ended = node_prefect_api.wait(run)
    assert ended.state == "COMPLETED", node_prefect_api.logs(run)
    seen = node_prefect_api.probe_result(run, seconds=60)
    assert seen["set"] == "some"
    assert seen["packages"]["prefect"]["file"].startswith("/opt/prefect/lib/")
    assert seen["packages"]["absent"]["version"] is None


def test_a_prefect_server_keeps_its_database_over_a_restart(
    node_prefect_server: PrefectServer, node_prefect_api: PrefectApi
) -> None:
    node_prefect_api.create_pool("kept", image=images.FLOW_UV)
    node_prefect_server.restart()
    assert node_prefect_api.template("kept")["variables"]
    answered = node_prefect_server.python(
        "from prefect.client.orchestration import get_client\n"
        "with get_client(sync_client=True) as client: print(client.read_work_pool('kept').name)"
    )
    assert answered.strip() == "kept"


def test_two_nodes_live_side_by_side(node: Node) -> None:
    """Ending one takes nothing of the other with it."""
    with Node() as other:
        run = other.run
        assert other.gateway != node.gateway
        assert "Ready" in other.kubectl("get", "nodes")
    assert leftovers(run) == []
    with running(node, "still-here", image=images.FLOW_PIP, command=["python", "-c", _ASKS_API]):
        finished(node, "still-here")


@pytest.mark.skipif(os.geteuid() != 0, reason="a node needs root")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_a_node_with_a_running_pod(number: signal.Signals) -> None:
    """No process, mount, network device, firewall rule or control group, however it ended.

    SIGINT unwinds as SIGTERM does, which tests of the control plane show.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS],
        cwd=_ROOT,
        env=tools.environment({"PYTHONPATH": str(_ROOT)}),
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        assert name, "the node or its pod did not start"
        [run] = [one for one in runs.all_runs() if one.name == name]
        assert len(leftovers(run)) > 10
        holder.send_signal(number)
        holder.wait(timeout=60)
    if number == signal.SIGKILL:
        runs.reap_stale()
    assert leftovers(run) == []


@contextmanager
def running(node: Node, name: str, *, image: str, command: list[str]) -> Iterator[None]:
    """A pod that runs a command once, as restricted as a pod can be."""
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": command,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }
    node.kubectl("apply", "-f", "-", input=json.dumps(pod))
    try:
        yield
    finally:
        node.kubectl("delete", "pod", name, "--now", "--wait=true")


def finished(node: Node, name: str) -> str:
    """What a pod printed by its successful end."""
    code = "{.status.containerStatuses[0].state.terminated.exitCode}"
    node.kubectl("wait", f"--for=jsonpath={code}", f"pod/{name}", "--timeout=240s")
    printed = node.kubectl("logs", name)
    assert node.kubectl("get", "pod", name, "-o", f"jsonpath={code}") == "0", printed
    return printed
