"""Debian packages that a node needs from the machine."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import cache, tools
from tests.cluster.progress import StepFailedError, run_step
from tests.cluster.tools import MissingToolError

# A file or program that shows a package's presence, whoever installed it.
NODE_PACKAGES: Mapping[str, str] = {
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "procps": "sysctl",
    "util-linux": "nsenter",
}
IMAGE_PACKAGES: Mapping[str, str] = {"debootstrap": "debootstrap"}
BUILD_PACKAGES: Mapping[str, str] = {"buildah": "buildah"}
REGISTRY_PACKAGES: Mapping[str, str] = {"docker-registry": "docker-registry"}
# Another apt may be at work, and a mirror out of reach for a moment.
_PATIENTLY = ("-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=5")


def ensure_packages(wanted: Mapping[str, str]) -> None:
    """Install what is missing; ``wanted`` maps a package to a program or path it provides."""
    missing = [package for package, sign in wanted.items() if not _present(sign)]
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise MissingToolError(f"install with this system's package manager: {names}")
    if os.geteuid() != 0:
        raise MissingToolError(f"as root, run: apt-get install {names}")
    with cache.locked("apt"):
        try:
            _install(missing)
        except StepFailedError:  # most often the lists of packages are old, or not there at all
            _apt("updating the lists of Debian packages", "update", attempts=3)
            _install(missing, attempts=3)


def _install(packages: list[str], *, attempts: int = 1) -> None:
    words = ("install", "--no-install-recommends", *packages)
    _apt(f"installing {' '.join(packages)}", *words, attempts=attempts)


def _apt(title: str, *arguments: str, attempts: int) -> None:
    run_step(
        title,
        ["apt-get", *_PATIENTLY, "--quiet", "--yes", *arguments],
        log=cache.root() / "logs" / f"apt-{arguments[0]}.log",
        attempts=attempts,
        env=tools.environment({"DEBIAN_FRONTEND": "noninteractive"}),
    )


def _present(sign: str) -> bool:
    if sign.startswith("/"):
        return Path(sign).exists()
    return shutil.which(sign, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
