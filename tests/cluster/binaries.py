"""The programs of a cluster, built from source once and kept in the cache.

Each module in ``go/`` pins one project's version with its checksums; a program's place in the cache
is named by a digest of that module and of how it is built. ``KUBEBUILDER_ASSETS`` may bring etcd,
kube-apiserver and kubectl along. Programs of the control plane come first, so that tests which need
only that can start while the rest is built.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache, go_toolchain, tools
from tests.cluster.progress import run_step

_MODULES = Path(__file__).with_name("go")
_KUBERNETES = "v1.37.2"
_FROM_ASSETS = frozenset({"etcd", "kube-apiserver", "kubectl"})
# Without a version, kube-apiserver calls itself v0.0.0 and feature gates go wrong.
_KUBERNETES_FLAGS = " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in {
        "gitVersion": _KUBERNETES,
        "gitMajor": "1",
        "gitMinor": "37",
        "gitTreeState": "clean",
    }.items()
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program: its package in which module of ``go/``, and how it is built."""

    module: str
    package: str
    linker_flags: str = ""
    build_tags: str = ""


def _kubernetes(name: str) -> Program:
    return Program(
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        linker_flags=_KUBERNETES_FLAGS,
    )


def _containerd(name: str) -> Program:
    return Program(
        module="containerd",
        package=f"github.com/containerd/containerd/v2/cmd/{name}",
        build_tags="no_btrfs no_devmapper no_zfs",
    )


# In the order in which they are built.
PROGRAMS = {
    "etcd": Program(module="kubernetes", package="go.etcd.io/etcd/server/v3"),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kubectl": _kubernetes("kubectl"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kubelet": _kubernetes("kubelet"),
    "kube-proxy": _kubernetes("kube-proxy"),
    "containerd": _containerd("containerd"),
    "containerd-shim-runc-v2": _containerd("containerd-shim-runc-v2"),
    "ctr": _containerd("ctr"),
    "pause": Program(module="pause", package="."),
    "helm": Program(module="helm", package="helm.sh/helm/v4/cmd/helm"),
    "oras": Program(module="oras", package="oras.land/oras/cmd/oras"),
    "promtool": Program(
        module="promtool",
        package="github.com/prometheus/prometheus/cmd/promtool",
        build_tags="remove_all_sd",  # service discovery is most of it, and nothing here discovers
    ),
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kubectl", "kube-controller-manager")
NODE = tuple(name for name in PROGRAMS if name not in {"helm", "oras", "promtool"})


def ensure(names: Sequence[str]) -> dict[str, Path]:
    """The paths of programs by name; what is missing is built, which takes minutes at first."""
    unknown = set(names) - set(PROGRAMS)
    if unknown:
        raise ValueError(f"no such program: {', '.join(sorted(unknown))}")
    return {name: _ensure(name) for name in PROGRAMS if name in names}


def _ensure(name: str) -> Path:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and name in _FROM_ASSETS and (Path(assets) / name).exists():
        return Path(assets) / name
    program = PROGRAMS[name]
    module = _MODULES / program.module
    sources = sorted(path for path in module.iterdir() if path.suffix in {".go", ".mod", ".sum"})
    key = cache.digest(*sources, program.linker_flags, program.build_tags)
    # A name is also the name under which a program is found by others (containerd and its shim).
    return cache.entry(f"bin/{name}-{key}", lambda at: _build(name, at / name)) / name


def _build(name: str, output: Path) -> None:
    program = PROGRAMS[name]
    go = go_toolchain.find()
    command = ["build", "-trimpath", "-v", "-ldflags", f"-s -w {program.linker_flags}".strip()]
    if program.build_tags:
        command += ["-tags", program.build_tags]
    run_step(
        f"building {name}",
        ["nice", "-n", "5", go, *command, "-o", output, program.package],
        log=cache.root() / "logs" / f"build-{name}.log",
        cwd=_MODULES / program.module,
        attempts=3,
        env=tools.environment(
            {
                "CGO_ENABLED": "0",
                "GOFLAGS": "-mod=readonly -buildvcs=false",
                "GOTOOLCHAIN": "local",
                "GOWORK": "off",
                "GOBIN": "",
            }
        ),
    )
