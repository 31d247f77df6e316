"""What a run's pod sees: an image, a lock, a volume; and what its two containers do.

The install container's command is the one that the fragment carries, run through the shell as in a
pod. The flow's is a program beside the interpreter.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowdeps.delivery.in_image.mounted import digest_of
from flowdeps.delivery.kinds.kubernetes.merge import merge
from tests.cluster import distributions
from tests.cluster.index import Index
from tests.unit.delivery.flow_images import FlowImage
from tests.unit.delivery.samples import flow_of, fragment, pod_of, pool

_MERGED = merge(pool(), fragment())
COMMAND = pod_of(_MERGED)["initContainers"][0]["command"]
[PYTHON_PATH] = [one["value"] for one in flow_of(_MERGED)["env"] if one["name"] == "PYTHONPATH"]
PYTHON = "{}.{}".format(*sys.version_info)
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
WRONG = "0" * 64
# What an interpreter begins with, as JSON.
SEEN = """
import sys
modules = sorted(sys.modules)
import json, os
seen = {"path": sys.path, "modules": modules, "flags": list(sys.flags), "env": dict(os.environ)}
print(json.dumps(seen))
"""


def unprivileged() -> tuple[str, ...]:
    """What runs a command so that permissions count, for root as well."""
    if os.geteuid():
        return ()
    return (shutil.which("setpriv") or "setpriv", "--bounding-set=-dac_override,-dac_read_search")


@dataclass(frozen=True, kw_only=True)
class Step:
    """How a run of the script ended."""

    code: int
    lines: list[str]
    site: Path

    @property
    def last(self) -> str:
        return self.lines[-1]

    @property
    def installed(self) -> list[str]:
        return sorted(path.name for path in self.site.iterdir()) if self.site.exists() else []


@dataclass(kw_only=True)
class Pod:
    """What the install container sees: an image's programs, the lock, the volume."""

    programs: Path
    lock: Path
    home: Path
    secret: Path
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, *pins: str, **changes: Any) -> None:
        """The ConfigMap's content for these lines of a requirements file."""
        text = "".join(f"{pin}\n" for pin in pins)
        about: dict[str, Any] = {
            "set": "team-a/ml",
            "key": "ml",
            "revision": "ml-3f9a1c20de",
            "digest": digest_of(text),
            "python": PYTHON,
            "platforms": [f"linux/{MACHINE}"],
            "packages": len(pins),
            "index": {"url": None, "extraUrls": []},
        }
        (self.lock / "requirements.txt").write_text(text)
        (self.lock / "lock.json").write_text(json.dumps(about | changes))

    def run(self, key: str = "ml") -> Step:
        done = subprocess.run(
            [*unprivileged(), *COMMAND],
            env={
                **self.image_environment,
                "FLOWDEPS_SET": key,
                "FLOWDEPS_VARIABLE": "dependency_set",
                "FLOWDEPS_NAMESPACE": "jobs",
                "FLOWDEPS_SOURCE": str(self.lock),
                "FLOWDEPS_HOME": str(self.home),
                "FLOWDEPS_CREDENTIALS": str(self.secret),
                **self.environment,
            },
            cwd=self.lock,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        outcome = Step(
            code=done.returncode, lines=done.stdout.splitlines(), site=self.home / "site"
        )
        assert "Traceback" not in done.stdout
        assert outcome.last.startswith("flowdeps: ")
        assert (outcome.code == 0) == outcome.site.exists() or key == "none"
        assert not (self.home / "tmp").exists()
        return outcome

    def flow(
        self, code: str = SEEN, *, ours: bool = True, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program of the image with what the template sets; ``ours``: with our fragment."""
        program = self.programs / "a-flow"
        program.write_text(code)
        added = {"PYTHONPATH": self.python_path} if ours else {}
        return subprocess.run(
            [*unprivileged(), self.programs / "python3", program],
            env={**self.image_environment, **added, **variables},
            cwd=self.lock,
            capture_output=True,
            text=True,
            check=False,
        )

    def said(self, code: str = SEEN, **given: Any) -> str:
        """What such a program prints; nothing else is said."""
        done = self.flow(code, **given)
        assert (done.returncode, done.stderr) == (0, ""), done
        return str(done.stdout).strip()

    def saw(self, **given: Any) -> Any:
        """What such a program's interpreter begins with."""
        return json.loads(self.said(**given))

    def choose(self, image: FlowImage, key: str = "ml", *base: str) -> "Pod":
        """Run the install container in an image for a set that brings nothing, or for none."""
        self.programs = image.programs
        self.environment |= image.environment
        self.write(*base, packages=0)
        outcome = self.run(key)
        assert outcome.code == 0, outcome.lines
        return self

    @property
    def image_environment(self) -> dict[str, str]:
        return {"PATH": f"{self.programs}:/usr/bin:/bin", **self.environment}

    @property
    def python_path(self) -> str:
        """What the fragment sets in the flow's container."""
        text: str = PYTHON_PATH.replace("/opt/flowdeps", str(self.home))
        return text


def look_at_lock(file: Path) -> str:
    """A program that prints whether a file is ``held``, or ``free`` to be removed."""
    return (
        "import fcntl, os\n"
        f"file = os.open({str(file)!r}, os.O_RDWR)\n"
        "try:\n    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    print('free')\n"
        "except BlockingIOError:\n    print('held')\n"
    )


def child(code: str, *flags: str, environment: str = "None") -> str:
    """A program that starts its own interpreter with a program, and prints what that prints."""
    command = f"[sys.executable, *{list(flags)}, '-c', {code!r}]"
    call = f"subprocess.run({command}, env={environment}, check=True)"
    return f"import subprocess, sys\nsys.stdout.flush()\n{call}\n"


def bake(
    directory: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    modules: Mapping[str, str] | None = None,
) -> None:
    """Put a distribution into a directory that the image's PYTHONPATH leads to."""
    made = distributions.wheel(name=name, version=version, requires=requires, modules=modules)
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        archive.extractall(directory)


def pin(index: Index, name: str, version: str, **more: Any) -> str:
    """Publish a package and return its line in a lock."""
    published = index.add(name, version, **more)
    hashes = " ".join(f"--hash=sha256:{one.sha256}" for one in published)
    return f"{name}=={version} {hashes}"


def at(index: Index, *extra: Index) -> dict[str, Any]:
    return {"url": index.url, "extraUrls": [one.url for one in extra]}
