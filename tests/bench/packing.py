"""How long `flowdeps pack` takes on one core, from a tree that is complete to the registry."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.utils import canonicalize_name, parse_wheel_filename

from flowdeps.delivery.in_image.bytecode import compile_all
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import Target
from tests.bench import mirror
from tests.bench.figures import Figure
from tests.cluster import binaries, rootfs, tools
from tests.cluster.progress import run_step, say
from tests.cluster.registry import Registry

_PLATFORM = "linux/amd64"
_ROOT = Path(__file__).parents[2]


def measure(*, rounds: int) -> dict[str, Figure]:
    """Each round goes to a repository of its own, which has nothing yet."""
    oras = binaries.ensure(["oras"])["oras"]
    seconds, computed, size = [], [], 0
    with TemporaryDirectory() as place, Registry() as registry:
        directory = Path(place)
        _make(directory)
        for number in range(rounds):
            started, before = time.monotonic(), _computed()
            told = _pack(directory, f"{registry.address}/round-{number}", oras)
            seconds.append(time.monotonic() - started)
            computed.append(_computed() - before)
            size = told["unpacked"]
            say(f"packed and pushed {size >> 20} MiB in {seconds[-1]:.1f} s")
    title = f"packing and pushing {mirror.SETS[mirror.DATA].title} ({size / 1e6:.0f} MB, with"
    return {
        "pack": Figure(
            title=f"{title} bytecode) on one core", unit="s", values=seconds, aim="≤ 10 s"
        ),
        "pack-computed": Figure(
            title=f"{title} bytecode): processor time, which other work leaves alone",
            unit="s",
            values=computed,
            aim="≤ 10 s",
        ),
    }


def _computed() -> float:
    """Seconds that children which have ended have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _make(directory: Path) -> None:
    """What a build's pod has: the tree, and the lock's ConfigMap."""
    tree, lock = directory / "tree", directory / "lock"
    (tree / "site").mkdir(parents=True)
    lock.mkdir()
    wheels = mirror.wheels(mirror.DATA)
    run_step(
        "installing what is packed",
        [
            *(tools.uv(), "pip", "install", "--target", tree / "site", "--no-deps", "--no-index"),
            *("--python-version", rootfs.PYTHON, "--link-mode", "copy"),
            *wheels,
        ],
        log=directory / "install.log",
        env=tools.environment(),
    )
    compile_all([tree / "site"])
    made = Lock(Target(rootfs.PYTHON, (_PLATFORM,)), tuple(map(_pin, sorted(wheels))))
    manifest = json.dumps({"set": "team-a/data", "key": "data", "digest": made.digest})
    (lock / "lock.json").write_text(manifest)
    (lock / "requirements.txt").write_text(made.render())
    (tree / "lock.json").write_text(manifest)
    (tree / "manifest.json").write_text("{}")


def _pin(wheel: Path) -> Pin:
    name, version, _, _ = parse_wheel_filename(wheel.name)
    return Pin(canonicalize_name(name), str(version), (f"sha256:{'a' * 64}",), (_PLATFORM,))


def _pack(directory: Path, repository: str, oras: Path) -> dict[str, int]:
    (directory / "tmp").mkdir()
    given = {
        "PATH": f"{oras.parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{_ROOT / 'operator'}:{os.environ.get('PYTHONPATH', '')}",
        "TMPDIR": str(directory / "tmp"),
        "FLOWDEPS_REPOSITORY": repository,
        "FLOWDEPS_TAG": "0123456789-abcdef0123",
        "FLOWDEPS_IMAGE": "registry.example.com/flow:1",
        "FLOWDEPS_IMAGE_ID": f"sha256:{'c' * 64}",
        "FLOWDEPS_PLAIN_HTTP": "1",
    }
    places = [f"--{name}={directory / name}" for name in ("tree", "lock", "credentials")]
    command: Sequence[str | Path] = (sys.executable, "-m", "flowdeps", "pack", *places)
    cores = sorted(os.sched_getaffinity(0))
    done = subprocess.run(
        ["taskset", "--cpu-list", str(cores[0]), *command],
        env=tools.environment(given),
        check=True,
        capture_output=True,
        text=True,
    )
    shutil.rmtree(directory / "tmp")
    told: dict[str, int] = json.loads(done.stdout.splitlines()[-1].partition(": ")[2])
    return told
