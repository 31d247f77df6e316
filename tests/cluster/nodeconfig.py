"""The configuration files of a node's components, as text. Pure.

Everything that a component would put under /var or /etc goes to the run's directory instead.
Settings that are there for the sake of odd machines say so.
"""

import json
from pathlib import Path

PAUSE_IMAGE = "example.com/flowdeps/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
NODE_NAME = "node"


def containerd(*, directory: Path, plugins: Path, runc: Path) -> str:
    # TOML's basic strings are JSON's.
    def quoted(value: str | Path) -> str:
        return json.dumps(str(value))

    return f"""\
version = 3
root = {quoted(directory / "containerd")}
state = "/run/containerd"
imports = []

[grpc]
address = {quoted(CONTAINERD_SOCKET)}

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = {quoted(PAUSE_IMAGE)}

# A registry without TLS has a file there, unless it is on loopback.
[plugins.'io.containerd.cri.v1.images'.registry]
config_path = {quoted(registries(directory))}

[plugins.'io.containerd.cri.v1.runtime']
# Without CAP_SYS_RESOURCE runc may not lower a score, and dies trying.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = {quoted(runc)}
SystemdCgroup = false

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [{quoted(plugins)}]
conf_dir = {quoted(directory / "cni")}
"""


def registries(directory: Path) -> Path:
    """Where containerd looks up how registries are reached, at each pull."""
    return directory / "registries"


def cni(*, directory: Path, pods: str) -> str:
    """A bridge on the pods' network. No masquerading: the machine has a route back."""
    return json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": "flowdeps",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": pods}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": str(directory / "cni-addresses"),
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
    )


def kubelet(*, directory: Path, address: str, authority: Path, cgroup: str, dns: str | None) -> str:
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "resolvConf": str(directory / "resolv.conf"),
            **({"clusterDNS": [dns], "clusterDomain": "cluster.local"} if dns else {}),
            "podLogsDir": str(directory / "pod-logs"),
            "volumePluginDir": str(directory / "volume-plugins"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup,
            # Machines with control groups of the first version, or with swap, will do.
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            # A full disk is its owner's business, and images are never fetched again.
            "evictionHard": {
                "memory.available": "50Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
        }
    )


def kube_proxy(*, kubeconfig: Path, pods: str) -> str:
    return json.dumps(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": pods,
            "hostnameOverride": NODE_NAME,
            "oomScoreAdj": 0,
            # Limits of connection tracking belong to the machine, not to our namespaces.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s"},
        }
    )
