"""The operator's image: what buildah makes of the Containerfile, upon the flow image's Debian.

The build has no network. The wheels of its locks are fetched before, by this machine's pip, so that
its index settings, certificates and cache count and none of them is passed into a build. It happens
in namespaces of its own, so what it mounts goes with it, also when it is killed.
"""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from tests.cluster import binaries, cache, debian, oci, rootfs, tools
from tests.cluster.progress import run_step
from tests.cluster.tools import MissingToolError

NAME = "example.com/flowdeps/operator:0.1.0"
ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "operator.txt"

_LOCKS = (LOCK, ROOT / "requirements" / "build.txt")
_FILES = ("Containerfile", ".containerignore", "pyproject.toml", "README.md", "LICENSE")
_KEPT = 2  # each takes 150 MB, and another one follows each change of the operator
_OLDEST_GLIBC, _GLIBC = 5, 36  # the minor versions; the second is that of rootfs.SUITE
# buildah keeps notes on layers in /var/lib, whatever it is told.
_APART = (
    *("unshare", "--mount", "--net"),
    *("sh", "-c", 'mount -t tmpfs tmpfs /var/lib && exec "$@"', "sh"),
)
_RECIPE = "1"  # to be raised when the code below makes something else of the same inputs


def archive() -> Path:
    """An archive of the image under NAME, made where it is not in the cache (a minute, root)."""
    sources = [ROOT / name for name in _FILES] + sorted(
        (ROOT / "operator" / "flowdeps").rglob("*.py")
    )
    parts = [part for path in sources for part in (str(path.relative_to(ROOT)), path)]
    made_of = (rootfs.debian_layer().parent.name, _wheels().name, _oras().parent.name)
    key = cache.digest(*made_of, _RECIPE, *parts)
    made = cache.entry(f"images/operator-{key}", _build)
    _forget_older(made)
    return made / "operator.tar"


def pins(lock: Path = LOCK) -> Iterator[tuple[Requirement, str]]:
    """What a lock pins for the image's Python, each with its hashes as pip's options."""
    for line in lock.read_text().replace("\\\n", "").splitlines():
        words, *hashes = re.split(r"\s+(?=--hash=)", line.strip())
        requirement = Requirement(words)
        marker = requirement.marker
        # Which release of this Python the image has is not known here; a wheel too much is no harm.
        releases = (f"{rootfs.PYTHON}.{patch}" for patch in (0, 99))
        if marker is None or any(marker.evaluate(environment(one)) for one in releases):
            yield requirement, " ".join(hashes)


def environment(python: str) -> dict[str, str]:
    """What markers see in an image with this Python, such as 3.11.2."""
    return {
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_version": rootfs.PYTHON,
        "python_full_version": python,
        "sys_platform": "linux",
    }


def _wheels() -> Path:
    """A directory with the wheels of the locks for the image's Python."""
    key = cache.digest(*_LOCKS, rootfs.PYTHON, platform.machine(), _RECIPE)
    return cache.entry(f"wheels/operator-{key}", _download)


def _download(at: Path) -> None:
    lines = {f"{one.name}{one.specifier} {hashes}" for lock in _LOCKS for one, hashes in pins(lock)}
    wanted = at / "wanted.txt"
    wanted.write_text("\n".join(sorted(lines)))
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_OLDEST_GLIBC, _GLIBC + 1)]
    abis = (f"cp{rootfs.PYTHON.replace('.', '')}", "abi3", "none")
    run_step(
        "fetching the wheels of the operator's image",
        [
            *(sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps"),
            *("--only-binary", ":all:", "--python-version", rootfs.PYTHON),
            *("--implementation", "cp", *(word for one in abis for word in ("--abi", one))),
            *(word for one in (*tags, f"manylinux2014_{machine}") for word in ("--platform", one)),
            *("--dest", at, "--requirement", wanted),
        ],
        log=cache.root() / "logs" / "operator-wheels.log",
        attempts=3,
    )


def _oras() -> Path:
    return binaries.ensure(["oras"])["oras"]


def _build(at: Path) -> None:
    if os.geteuid() != 0:
        raise MissingToolError("building the operator's image needs root")
    debian.ensure_packages(debian.BUILD_PACKAGES)
    with tempfile.TemporaryDirectory(dir=at) as temporary:
        base = Path(temporary) / "base.tar"
        layers = [rootfs.debian_layer()]
        config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]}
        oci.write_archive([oci.Image(name="base", layers=layers, config=config)], base)
        program, oras = Path(temporary) / "oras", Path(temporary) / "oras.tar"
        oci.layer_of_files({"bin/oras": (_oras().read_bytes(), 0o755)}, program)
        oci.write_archive([oci.Image(name="oras", layers=[program], config={})], oras)
        places = ("--root", f"{temporary}/storage", "--runroot", f"{temporary}/run")
        buildah = (*_APART, "buildah", "--storage-driver", "vfs", *places)
        arguments = {
            "BASE": f"oci-archive:{base}",
            "ORAS": f"oci-archive:{oras}",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "/wheels",
        }
        _run(
            "building the operator's image",
            *(*buildah, "build", "--isolation", "chroot", "--pull-never", "--layers=false"),
            *("--http-proxy=false", "--volume", f"{_wheels()}:/wheels:ro"),
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *("--build-arg", f"VERSION={NAME.rpartition(':')[2]}", "--tag", NAME, ROOT),
        )
        target = f"oci-archive:{at / 'operator.tar'}:{NAME}"
        _run("packing it", *buildah, "push", NAME, target)


def _run(title: str, *command: str | Path) -> None:
    log = cache.root() / "logs" / f"operator-image-{title.split()[0]}.log"
    run_step(title, command, log=log, env=tools.environment(without=("BUILDAH_", "PIP_")))


def _forget_older(made: Path) -> None:
    others = sorted(
        (one for one in made.parent.glob("operator-*") if one != made),
        key=lambda one: one.stat().st_mtime,
    )
    for one in others[: -(_KEPT - 1)]:
        shutil.rmtree(one, ignore_errors=True)
