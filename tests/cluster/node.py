"""A whole cluster of one node: real pods, without a container engine. Needs root.

On top of the control plane: the controller manager and the scheduler on this machine; containerd,
kubelet and kube-proxy in namespaces of their own (``sandbox``). Images come from archives
(``load_image``) and are never pulled. Pods reach servers on this machine by ``gateway``. There is
no cluster DNS, unless asked for.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import binaries, debian, images, nodeconfig, ports, procfs, tools
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import Process
from tests.cluster.progress import run_step
from tests.cluster.sandbox import Sandbox
from tests.cluster.tools import MissingToolError

_PLUGINS = Path("/usr/lib/cni")
_READY_SECONDS = 240.0  # a busy machine is no failure; a process that ends is, at once
_MEMORY_FOR_IMAGES = 8 * 2**30


class Node(ControlPlane):
    """A cluster with one node named ``node``.

    With ``egress`` pods also reach what this machine reaches; without, only this machine. With
    ``dns`` they ask the gateway for names, where a ``ClusterDns`` has to be started.
    """

    programs: Sequence[str] = binaries.NODE

    def __init__(
        self,
        *,
        directory: Path | None = None,
        detached: bool = False,
        egress: bool = False,
        dns: bool = False,
    ) -> None:
        super().__init__(directory=directory, detached=detached, controllers=True)
        self._egress = egress
        self._dns = dns

    @property
    def gateway(self) -> str:
        """The address by which pods reach this machine, and where servers for them listen."""
        return self._sandbox.gateway

    def load_image(self, archive: Path) -> None:
        """Import an image archive under the names that it carries; a name may move by it."""
        self._images(f"loading {archive.name}", "import", archive)

    def tag_image(self, name: str, other: str) -> None:
        """Give the image ``name`` one more name."""
        self._images(f"tagging {name}", "tag", name, other)

    def trust_registry(self, address: str) -> None:
        """Let the node pull from the registry at ``host:port`` without TLS."""
        place = nodeconfig.registries(self.run.directory) / address
        place.mkdir(parents=True)
        (place / "hosts.toml").write_text(f'server = "http://{address}"\n')

    def forget_image(self, name: str) -> None:
        """Remove an image from the node, as where it was never pulled: all names that lead to it,
        so that its content goes too."""
        rows = [line.split() for line in self._ctr("images", "list").splitlines()]
        found = {row[0]: row[2] for row in rows}
        same = [one for one, digest in found.items() if digest == found.get(name)]
        self._images(f"removing {name}", "remove", "--sync", *(same or [name]))

    def end_leases(self) -> None:
        """Let go of what pods had that have ended: containerd keeps all layers that a pod mounted
        until the kubelet removes what is left of the pod, a minute later. For nodes on which no pod
        runs."""
        if found := self._ctr("leases", "list", "--quiet").split():
            self._ctr("leases", "delete", *found)

    def _images(self, what: str, *arguments: str | Path) -> None:
        command = self._ctr_command("images", *arguments)
        run_step(what, command, log=self.logs / f"images-{arguments[0]}.log")

    def _ctr(self, *arguments: str) -> str:
        command = self._ctr_command(*arguments)
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout

    def _ctr_command(self, *arguments: str | Path) -> list[str | Path]:
        return self._sandbox.command(
            *(self._paths["ctr"], "--address", nodeconfig.CONTAINERD_SOCKET),
            *("--namespace", "k8s.io", *arguments),
        )

    def prepare(self) -> None:
        if os.geteuid() != 0:
            raise MissingToolError("a node needs root; a control plane does not")
        debian.ensure_packages(debian.NODE_PACKAGES)
        super().prepare()

    def _end_processes(self) -> None:
        # All that runs in the namespaces ends with their first process, and nothing waits for it.
        if self._processes:
            self._processes[0].kill()
            self._processes.pop(0)
        super()._end_processes()

    def _start(self) -> None:
        directory = self.run.directory
        self._sandbox = Sandbox(self.run, init=self._paths["pause"], egress=self._egress)
        self._processes.append(self._sandbox.process)
        self._sandbox.start()
        self.host = self._sandbox.gateway
        self._start_containerd(directory)
        super()._start()
        scheduler = self._component_kubeconfig("system:kube-scheduler")
        self._run_program(
            "kube-scheduler",
            *(f"--kubeconfig={scheduler}", "--leader-elect=false", "--bind-address=127.0.0.1"),
            *(f"--secure-port={ports.free()}", f"--cert-dir={directory / 'pki'}"),
        )
        self.load_image(images.pause(self._paths["pause"]))
        kubelet = self._start_kubelet(directory)
        self._start_kube_proxy()
        kubelet.wait_until(self._node_ready, what="the node", seconds=_READY_SECONDS)
        self.run.tell(GATEWAY=self.gateway)

    def _advertise(self) -> list[str]:
        return [f"--advertise-address={self.host}"]

    def _start_containerd(self, directory: Path) -> None:
        # Tens of thousands of small files: on a slow disk they would take longer than all else.
        if procfs.available_memory() > _MEMORY_FOR_IMAGES:
            self._sandbox.mount_memory(directory / "containerd")
        cni = directory / "cni"
        cni.mkdir()
        (cni / "10-flowdeps.conflist").write_text(
            nodeconfig.cni(directory=directory, pods=self._sandbox.pods)
        )
        runc = shutil.which("runc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
        if runc is None:
            raise MissingToolError("runc is missing")
        config = self._write(
            "containerd.toml",
            nodeconfig.containerd(directory=directory, plugins=_PLUGINS, runc=Path(runc)),
        )
        # It finds its shim on PATH.
        path = f"{self._paths['containerd-shim-runc-v2'].parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        process = self._run_inside(
            "containerd", "--config", config, env={**os.environ, "PATH": path}
        )
        ready = self._sandbox.command(
            *(self._paths["ctr"], "--address", nodeconfig.CONTAINERD_SOCKET, "version")
        )
        process.wait_until(lambda: tools.succeeds(ready), what="containerd", seconds=_READY_SECONDS)

    def _start_kubelet(self, directory: Path) -> Process:
        # Of the machine's own file: /run is another one within the namespaces.
        self._write("resolv.conf", Path("/etc/resolv.conf").read_text())
        config = self._write(
            "kubelet.json",
            nodeconfig.kubelet(
                directory=directory,
                address=self._sandbox.address,
                authority=self._authority.own.certificate,
                cgroup=self._sandbox.cgroup,
                dns=self.gateway if self._dns else None,
            ),
        )
        return self._run_inside(
            "kubelet",
            f"--kubeconfig={self._component_kubeconfig('system:node:node')}",
            f"--config={config}",
            f"--root-dir={directory / 'kubelet'}",
            f"--cert-dir={directory / 'pki'}",
            f"--hostname-override={nodeconfig.NODE_NAME}",
            f"--node-ip={self._sandbox.address}",
        )

    def _start_kube_proxy(self) -> None:
        config = self._write(
            "kube-proxy.json",
            nodeconfig.kube_proxy(
                kubeconfig=self._component_kubeconfig("system:kube-proxy"),
                pods=self._sandbox.pods,
            ),
        )
        self._run_inside("kube-proxy", f"--config={config}")

    def _node_ready(self) -> bool:
        nodes = self.kubectl(
            *("get", "nodes", "-o"),
            'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
            "{.items[*].spec.taints[*].key}",
        )
        return nodes == "True"

    def _run_inside(
        self, name: str, *arguments: str | Path, env: dict[str, str] | None = None
    ) -> Process:
        return self._launch(name, self._sandbox.command(self._paths[name], *arguments), env=env)

    def _write(self, name: str, text: str) -> Path:
        path = self.run.directory / name
        path.write_text(text)
        return path
