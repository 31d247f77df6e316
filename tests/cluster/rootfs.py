"""The layers of the flow image: Debian with Python, and Prefect in an environment of its own.

Debian comes by debootstrap from the mirror that this machine's apt uses. Prefect is installed from
the hashed lock into a virtual environment made in a chroot; the files come by uv on this machine,
so that its index settings, certificates and cache count.
"""

import configparser
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import cache, debian, oci, tools
from tests.cluster.progress import run_step

SUITE = "bookworm"
PYTHON = "3.11"
ENVIRONMENT = "/opt/prefect"
UID = 1000
LOCK = Path(__file__).parents[2] / "requirements" / "prefect-image.txt"

_PACKAGES = ("ca-certificates", "python3", "python3-venv")
# Nothing in a container reads them.
_SUPERFLUOUS = (
    *("dev", "var/cache", "var/lib/apt/lists", "var/log"),
    *("usr/share/doc", "usr/share/locale", "usr/share/man"),
)
_RECIPE = "1"  # to be raised when the code below makes something else of the same inputs


def debian_layer() -> Path:
    """Debian with Python and a user; the path of the layer's tar file."""
    key = cache.digest(SUITE, *_PACKAGES, _RECIPE, platform.machine())
    return cache.entry(f"images/debian-{key}", _make_debian) / "layer.tar"


def prefect_layer() -> Path:
    """The environment with Prefect, to be put on top of Debian."""
    key = cache.digest(debian_layer().parent.name, LOCK, _RECIPE)
    return cache.entry(f"images/prefect-{key}", _make_prefect) / "layer.tar"


def _make_debian(at: Path) -> None:
    debian.ensure_packages(debian.IMAGE_PACKAGES)
    with tempfile.TemporaryDirectory(dir=at) as temporary:
        tree = Path(temporary) / "rootfs"
        options = ["--variant=minbase", f"--include={','.join(_PACKAGES)}"]
        script = 'rm -rf "$0" && exec debootstrap "$@"'  # an attempt before may have left half
        run_step(
            f"installing Debian {SUITE} for the flow image",
            # What it mounts on the way goes with it, also when it is killed.
            ["unshare", "--mount", "sh", "-c", script, tree, *options, SUITE, tree, *_mirror()],
            log=cache.root() / "logs" / "debootstrap.log",
            attempts=3,
            env=tools.environment({"PATH": f"{_path()}:/usr/sbin:/sbin"}),
        )
        for name in _SUPERFLUOUS:
            shutil.rmtree(tree / name, ignore_errors=True)
            (tree / name).mkdir(mode=0o755)
        with (tree / "etc/passwd").open("a") as users, (tree / "etc/group").open("a") as groups:
            users.write(f"flow:x:{UID}:{UID}::/home/flow:/bin/sh\n")
            groups.write(f"flow:x:{UID}:\n")
        (tree / "home/flow").mkdir()
        shutil.chown(tree / "home/flow", UID, UID)
        oci.layer_of_tree(tree, at / "layer.tar")


def _make_prefect(at: Path) -> None:
    with _unpacked(debian_layer(), at) as tree:
        _in(tree, "python3", "-m", "venv", ENVIRONMENT)
        environment = tree / ENVIRONMENT.strip("/")
        packages = environment / "lib" / f"python{PYTHON}" / "site-packages"
        run_step(
            "installing Prefect into the flow image",
            [
                *(tools.uv(), "pip", "install", "--python", sys.executable, "--target", packages),
                *("--python-version", PYTHON, "--only-binary", ":all:", "--link-mode", "copy"),
                *("--python-platform", f"{platform.machine()}-unknown-linux-gnu"),
                *("--require-hashes", "--requirement", LOCK),
            ],
            log=cache.root() / "logs" / "prefect-layer.log",
            attempts=3,
            env=tools.environment(without=("PYTHON",)),
        )
        _make_scripts(packages, environment / "bin")
        # Packages may hold modules for newer versions of Python, which don't compile.
        newer = r"_3[0-9]+\.py$"
        python = f"{ENVIRONMENT}/bin/python"
        _in(tree, python, "-m", "compileall", "-q", "-x", newer, "-j", "2", ENVIRONMENT)
        subprocess.run(["chown", "-R", "0:0", environment], check=True)
        oci.layer_of_tree(tree, at / "layer.tar", members=[f".{ENVIRONMENT}"])


def _make_scripts(packages: Path, into: Path) -> None:
    """Console scripts for the image's interpreter; those that uv made name this machine's."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for path in packages.glob("*.dist-info/entry_points.txt"):
        entries = configparser.ConfigParser(delimiters=("=",))
        entries.optionxform = str  # type: ignore[assignment,method-assign]
        entries.read(path)
        if not entries.has_section("console_scripts"):
            continue
        for name, target in entries.items("console_scripts"):
            module, _, function = target.partition("[")[0].strip().partition(":")
            script = into / name
            script.write_text(
                f"#!{ENVIRONMENT}/bin/python\n"
                f"import sys\nfrom {module} import {function.partition('.')[0]}\n"
                f"sys.exit({function}())\n"
            )
            script.chmod(0o755)


@contextmanager
def _unpacked(layer: Path, beside: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=beside) as temporary:
        subprocess.run(
            ["tar", "--extract", "--file", layer, "--directory", temporary, "--numeric-owner"],
            check=True,
        )
        yield Path(temporary)


def _in(tree: Path, *command: str) -> None:
    # The mount is gone with the command. The machine's environment means nothing in there.
    script = 'mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(tree), *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command)} (in a chroot) failed: {done.stderr or done.stdout}"
        )


def _mirror() -> list[str]:
    """Where this machine's apt gets the suite from; nothing means debootstrap's own default."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)"],
        capture_output=True,
        text=True,
        check=False,
    )
    targets = [line.split() for line in done.stdout.splitlines()]
    return [site for site, *what in targets if what == [SUITE, "main"]][:1]


def _path() -> str:
    return tools.environment().get("PATH", "/usr/bin:/bin")
