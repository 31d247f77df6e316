"""Without root: a real control plane, and a run's steps as processes on this machine.

What the kubelet does with the pool's template is done by hand: the lock's ConfigMap becomes files,
the init container's script installs it, and the flow runs with what the template sets.
"""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from demo import runs, screen
from demo.stage import FLOW, NAMESPACE, POOL, Stage, made_index, reaches_default_index
from flowdeps.api.names import mounted_name
from tests.cluster import binaries, prefect_env, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.prefect import PrefectServer

_HOME = "/opt/flowdeps"


class HereStage(Stage):
    """etcd, kube-apiserver and Prefect's server; no worker and no pods."""

    image = "example.com/flows:1"  # nobody pulls it
    python = "{}.{}".format(*sys.version_info)
    flows = str(FLOW.parent)

    def open(self, stack: ExitStack) -> None:
        screen.say("starting etcd, kube-apiserver and Prefect's server")
        # Nothing in the story needs the controllers; somebody who explores may.
        cluster = ControlPlane(
            directory=self.at("cluster"), detached=self.keep, controllers=self.keep
        )
        self.enter(stack, cluster)
        self.kubeconfig = cluster.kubeconfig
        self.kubectl_program = binaries.ensure(["kubectl"])["kubectl"]
        self.prefect = PrefectServer(ui=self.keep, directory=self.at("prefect"), detached=self.keep)
        self.enter(stack, self.prefect)
        self._runs = cluster.run.directory / "runs"

    def choose_index(self, stack: ExitStack) -> None:
        if not reaches_default_index(["sh", "-c"]):
            self.index = made_index(stack, host="127.0.0.1")

    def start_worker(self, _stack: ExitStack) -> None:
        why = "The node is not built yet" if self.news else "Not root"
        screen.say(
            f"{why}, so there are no pods: the install script and the flow run as processes here."
        )

    def carry_out(self, run: str, *, key: str) -> None:
        home = self._runs / run
        source = home / "lock"
        source.mkdir(parents=True)
        pod = self._pod()
        if key != "none":
            name = mounted_name(key, pool=POOL)
            config_map = json.loads(
                self.kubectl("get", "configmap", name, "-n", NAMESPACE, "-o", "json")
            )
            for name, text in config_map["data"].items():
                (source / name).write_text(text)
        site = home / "flowdeps"
        site.mkdir()
        variables = {
            "FLOWDEPS_SET": key,
            "FLOWDEPS_SOURCE": str(source),
            "FLOWDEPS_HOME": str(site),
        }
        *_, script = pod["initContainers"][-1]["command"]
        python = prefect_env.bin_directory() / "python"
        self._call([python, "-I", "-X", "utf8", "-c", script], variables)
        env = {one["name"]: one.get("value", "") for one in pod["containers"][0]["env"]}
        path = env["PYTHONPATH"].replace(_HOME, str(site))
        program = prefect_env.bin_directory() / "prefect"
        self._call([program, "flow-run", "execute", run], {"PYTHONPATH": path}, show=False)

    def _pod(self) -> Any:
        job = runs.template(self)["job_configuration"]["job_manifest"]
        return job["spec"]["template"]["spec"]

    def _call(
        self, command: list[str | Path], variables: dict[str, str], *, show: bool = True
    ) -> None:
        uv = f"{tools.uv().parent}:{self.prefect.environment['PATH']}"
        done = subprocess.run(
            command,
            env=self.prefect.environment | {"PATH": uv} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0 or show:
            screen.output(done.stdout)
