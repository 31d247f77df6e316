"""The namespaces that a node lives in: its processes, mounts and network end with one process.

The first process in them (``pause``) only reaps. When it ends, the kernel ends every other process
within, and with the last of them go the mounts, the pods' network namespaces, the bridge and the
firewall rules of kube-proxy. So several nodes can run on one machine and none can leave anything
behind, even when everything is killed at once. Two things stand outside: one end of a virtual cable
whose address is the gateway (pods reach servers on this machine by it, and nothing beyond unless
``egress`` is asked for), and the control groups of the pods. Both are recorded in the run.
"""

import ipaddress
import random
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.cluster.processes import Process
from tests.cluster.runs import Run
from tests.cluster.undo import Undo

_NAMESPACES = ("--mount", "--net", "--ipc", "--uts", "--pid")
_CGROUPS = Path("/sys/fs/cgroup")
_START_SECONDS = 60.0
# Directories that node components write to under names they were compiled with. Within the
# namespaces what they write lands in memory; what the machine has there stays visible.
_SHADOWED = ("/var/lib", "/var/log")


class Sandbox:
    """Namespaces with a network of their own; ``command`` puts a process into them."""

    def __init__(self, run: Run, *, init: Path, egress: bool) -> None:
        self._run = run
        self._egress = egress
        self._device = f"fd-{run.name}"
        self.cgroup = f"/flowdeps-{run.name}"
        self._network = _free_network()
        link, pods, *_ = self._network.subnets(new_prefix=24)
        self.gateway, self.address = str(link[1]), str(link[2])
        self.pods = str(pods)
        self._prefix = link.prefixlen
        # unshare stays as the parent: what ends it ends its child.
        self.process = Process(
            run, "init", ["unshare", *_NAMESPACES, "--fork", "--kill-child", "--mount-proc", init]
        )
        self._target = 0

    def start(self) -> None:
        self.process.start()
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.process.wait_until(
            lambda: bool(children.read_text().split()),
            what="the first process",
            seconds=_START_SECONDS,
        )
        self._target = int(children.read_text().split()[0])
        # The child appears before it has its mounts.
        self.process.wait_until(
            lambda: Path(f"/proc/{self._target}/comm").read_text().strip() == "pause",
            what="the first process",
            seconds=_START_SECONDS,
        )
        self._mount()
        self._connect()
        self._make_cgroups()
        if self._egress:
            self._open_egress()

    def command(self, *words: str | Path) -> list[str | Path]:
        """A command line that runs ``words`` in the namespaces."""
        return ["nsenter", f"--target={self._target}", *_NAMESPACES, "--", *words]

    def call(self, *words: str | Path) -> None:
        _call(*self.command(*words))

    def mount_memory(self, directory: Path) -> None:
        """Keep a directory in memory, as seen from within; gone with the namespaces."""
        directory.mkdir()
        self.call("mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", directory)

    def _mount(self) -> None:
        self.call("mount", "--make-rshared", "/")
        self.call("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        for shadowed in _SHADOWED:
            layers = f"/run/shadow{shadowed}"
            self.call("mkdir", "-p", f"{layers}/upper", f"{layers}/work")
            options = f"lowerdir={shadowed},upperdir={layers}/upper,workdir={layers}/work"
            self.call("mount", "-t", "overlay", "-o", options, "overlay", shadowed)
        self.call("hostname", "node")

    def _connect(self) -> None:
        self._run.will_change(Undo("link", [self._device]))
        peer = ["peer", "name", "eth0", "netns", str(self._target)]
        _call("ip", "link", "add", self._device, "type", "veth", *peer)
        _call("ip", "address", "add", f"{self.gateway}/{self._prefix}", "dev", self._device)
        _call("ip", "link", "set", self._device, "up")
        _call("ip", "route", "add", self.pods, "via", self.address)
        self.call("ip", "address", "add", f"{self.address}/{self._prefix}", "dev", "eth0")
        self.call("ip", "link", "set", "lo", "up")
        self.call("ip", "link", "set", "eth0", "up")
        self.call("ip", "route", "add", "default", "via", self.gateway)
        self.call("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")

    def _make_cgroups(self) -> None:
        """One group under each hierarchy's root; kubelet wants to find it."""
        self._run.will_change(Undo("cgroup", [self.cgroup.strip("/")]))
        if (_CGROUPS / "cgroup.controllers").exists():
            controllers = (_CGROUPS / "cgroup.controllers").read_text().split()
            with suppress(OSError):  # some cannot be handed down; kubelet says which it misses
                (_CGROUPS / "cgroup.subtree_control").write_text(
                    " ".join(f"+{one}" for one in controllers)
                )
            (_CGROUPS / self.cgroup.strip("/")).mkdir()
            return
        for hierarchy in {one.resolve() for one in _CGROUPS.iterdir() if one.is_dir()}:
            group = hierarchy / self.cgroup.strip("/")
            group.mkdir()
            for inherited in ("cpuset.cpus", "cpuset.mems"):  # empty at first, and then useless
                if (group / inherited).exists():
                    (group / inherited).write_text((hierarchy / inherited).read_text())

    def _open_egress(self) -> None:
        """Let pods reach what this machine reaches."""
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        undo = Undo("file", [str(forward), "0"])
        if forward.read_text().strip() == "0" or self._run.others_change(undo):
            self._run.will_change(undo)
            forward.write_text("1")
        network, device = str(self._network), self._device
        mark = ["-m", "comment", "--comment", f"flowdeps-{self._run.name}"]
        rules = [
            ["nat", "POSTROUTING", "-s", network, "!", "-o", device, *mark, "-j", "MASQUERADE"],
            ["filter", "FORWARD", "-i", device, *mark, "-j", "ACCEPT"],
            ["filter", "FORWARD", "-o", device, *mark, "-j", "ACCEPT"],
        ]
        for table, *rule in rules:
            self._run.will_change(Undo("rule", [table, *rule]))
            _call("iptables", "--wait", "-t", table, "-I", *rule)


def _call(*words: str | Path) -> None:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


def _free_network() -> ipaddress.IPv4Network:
    """A /16 that no route of this machine leads to."""
    shown = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True)
    taken = [
        ipaddress.ip_network(words[0], strict=False)
        for line in shown.stdout.splitlines()
        if (words := line.split()) and words[0][0].isdigit()
    ]
    for second in random.sample(range(128, 250), 100):
        network = ipaddress.IPv4Network(f"10.{second}.0.0/16")
        if not any(network.overlaps(one) for one in taken if one.version == 4):
            return network
    raise RuntimeError("no free network for the node")
