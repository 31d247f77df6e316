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
    # How long a build after those before it took on two cores with nothing else to do: what
    # estimates of the time that is left begin with.
    seconds: int
    linker_flags: str = ""
    build_tags: str = ""


def _kubernetes(name: str, seconds: int) -> Program:
    return Program(
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        seconds=seconds,
        linker_flags=_KUBERNETES_FLAGS,
    )


def _containerd(name: str, seconds: int) -> Program:
    return Program(
        module="containerd",
        package=f"github.com/containerd/containerd/v2/cmd/{name}",
        seconds=seconds,
        build_tags="no_btrfs no_devmapper no_zfs",
    )


# In the order in which they are built.
PROGRAMS = {
    "etcd": Program(module="kubernetes", package="go.etcd.io/etcd/server/v3", seconds=60),
    "kube-apiserver": _kubernetes("kube-apiserver", 295),
    "kubectl": _kubernetes("kubectl", 40),
    "kube-controller-manager": _kubernetes("kube-controller-manager", 120),
    "kube-scheduler": _kubernetes("kube-scheduler", 10),
    "kubelet": _kubernetes("kubelet", 90),
    "kube-proxy": _kubernetes("kube-proxy", 75),
    "containerd": _containerd("containerd", 135),
    "containerd-shim-runc-v2": _containerd("containerd-shim-runc-v2", 5),
    "ctr": _containerd("ctr", 5),
    "pause": Program(module="pause", package=".", seconds=1),
    "helm": Program(module="helm", package="helm.sh/helm/v4/cmd/helm", seconds=25),
    "oras": Program(module="oras", package="oras.land/oras/cmd/oras", seconds=20),
    "promtool": Program(
        module="promtool",
        package="github.com/prometheus/prometheus/cmd/promtool",
        seconds=90,
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


def missing(names: Sequence[str]) -> list[str]:
    """Those of the programs that ``ensure`` would build, in its order."""
    return [
        name
        for name in PROGRAMS
        if name in names and not _asset(name) and not cache.has(_entry(name))
    ]


def _ensure(name: str) -> Path:
    # A name is also the name under which a program is found by others (containerd and its shim).
    return _asset(name) or cache.entry(_entry(name), lambda at: _build(name, at / name)) / name


def _asset(name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and name in _FROM_ASSETS and (Path(assets) / name).exists():
        return Path(assets) / name
    return None


def _entry(name: str) -> str:
    program = PROGRAMS[name]
    module = _MODULES / program.module
    sources = sorted(path for path in module.iterdir() if path.suffix in {".go", ".mod", ".sum"})
    return f"bin/{name}-{cache.digest(*sources, program.linker_flags, program.build_tags)}"


def _build(name: str, output: Path) -> None:
    program = PROGRAMS[name]
    go = go_toolchain.find()
    # The linker drops what debuggers read anyway; not to write it saves an eighth of the compiler's
    # time. GOGC saves nothing: the compiler begins with a heap in which most packages fit.
    command = ["build", "-trimpath", "-v", "-gcflags=all=-dwarf=false"]
    command += ["-ldflags", f"-s -w {program.linker_flags}".strip()]
    if program.build_tags:
        command += ["-tags", program.build_tags]
    run_step(
        f"building {name}",
        [go, *command, "-o", output, program.package],
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
