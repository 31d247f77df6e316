"""Install a dependency set beside the flow's own packages: flowdeps' init container.

Runs in the flow's image, with Python 3.9 or newer and nothing but the standard library, as any
user, on a root file system that may be read-only. It reads /etc/flowdeps (a ConfigMap) and writes
/opt/flowdeps (an empty volume):

    /etc/flowdeps/requirements.txt    the lock: every package at one version, with hashes
    /etc/flowdeps/lock.json           what it is for: {"set": "team-a/ml", "key": "ml",
                                      "digest": "sha256:...", "python": "3.11" or null,
                                      "platforms": ["linux/amd64"], "packages": 20,
                                      "index": {"url": "https://..." or null, "extraUrls": []}}
    /opt/flowdeps/site                the packages: complete, or not there
    /opt/flowdeps/image/0 ... 3       links to the directories of the image's own PYTHONPATH
    /opt/flowdeps/lock.json           what was installed

The last line it prints begins with "flowdeps:" and says how it ended. It exits with 0 or 1.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SOURCE = Path(os.environ.get("FLOWDEPS_SOURCE", "/etc/flowdeps"))
HOME = Path(os.environ.get("FLOWDEPS_HOME", "/opt/flowdeps"))
TEMPORARY = HOME / "tmp"
IMAGE_ENTRIES = 4
TAIL = 25  # lines of the installer's output that are worth a look
RETRIES, TIMEOUT = "2", "10"  # an index that does not answer ends within 40 seconds
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
# What an installer may see of the image's environment: the rest could change what is installed,
# or from where.
PASSED_ON = re.compile(
    r"PATH|LD_LIBRARY_PATH|LANG|LC_\w+|(https?|all|no)_proxy|SSL_\w+", re.IGNORECASE
)
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
# What uv and pip print, and what it means; the first that is found counts.
CAUSES = (
    (r"No space left|os error 28|Disk quota", "the node has no space left for the packages"),
    (
        r"Hash mismatch|DO NOT MATCH THE HASHES",
        "the lock's hash for {package} does not match what {index} serves",
    ),
    (r"\b40[13] (Unauthorized|Forbidden|Client)", "{index} refuses access"),
    (
        r"connection error|error sending request|Max retries|timed out|server error|dns error",
        "{index} cannot be reached or does not answer",
    ),
    (
        r"No matching distribution|no wheels|no usable wheels|no version of|was not found in",
        "{index} has no wheel of {package} for this image",
    ),
)


class InstallError(Exception):
    """Its text is the one line that says why there is nothing installed, and the way out."""


def main() -> int:
    os.umask(0o022)  # the flow may run as another user
    key = os.environ.get("FLOWDEPS_SET", "")
    try:
        clean("site", "image", "tmp")  # a restarted pod begins again
        (HOME / "lock.json").unlink(missing_ok=True)
        link_image_path(os.environ.get("PYTHONPATH", ""))
        say(install(key))
    except InstallError as error:
        say(str(error))
        return 1
    except Exception as error:  # a traceback would hide the cause from those who read the run's log
        say(f'cannot install "{key}": {type(error).__name__}: {error}')
        return 1
    finally:
        clean("tmp")
    return 0


def install(key: str) -> str:
    """Install the set and return what to say about it."""
    started = time.monotonic()
    if key == "none":
        return "no dependency set chosen: the flow sees the packages of its image"
    lock = read_lock(key)
    staged = TEMPORARY / "site"
    staged.mkdir(parents=True)
    tool = None
    if lock["packages"]:
        check_fits(lock)
        tool = run_installer(lock, staged)
    staged.rename(HOME / "site")
    shutil.copyfile(SOURCE / "lock.json", HOME / "lock.json")
    if tool is None:
        return f"{key} ({lock['digest'][:19]}) adds no packages to those of the image"
    seconds = time.monotonic() - started
    count = "1 package" if lock["packages"] == 1 else f"{lock['packages']} packages"
    return f"installed {count} of {key} ({lock['digest'][:19]}) with {tool} in {seconds:.1f} s"


def link_image_path(search_path: str) -> None:
    """Link what the image puts on PYTHONPATH: the flow's container sets that to our directories."""
    links = HOME / "image"
    links.mkdir()
    entries = [Path(entry).absolute() for entry in search_path.split(os.pathsep) if entry]
    for number, entry in enumerate(entries[:IMAGE_ENTRIES]):
        (links / str(number)).symlink_to(entry)  # may be missing here: a volume of the flow's alone
    if len(entries) > IMAGE_ENTRIES:
        lost = os.pathsep.join(map(str, entries[IMAGE_ENTRIES:]))
        say(f"warning: the image's PYTHONPATH is longer than {IMAGE_ENTRIES} entries; lost: {lost}")


def read_lock(key: str) -> dict[str, Any]:
    try:
        lock: dict[str, Any] = json.loads((SOURCE / "lock.json").read_text("utf-8"))
    except FileNotFoundError:
        namespace = os.environ.get("FLOWDEPS_NAMESPACE", "")
        variable = os.environ.get("FLOWDEPS_VARIABLE", "dependency_set")
        raise InstallError(
            f'dependency set "{key}" does not exist for namespace "{namespace}" or has no lock '
            f'yet: choose another with the job variable "{variable}", or see kubectl get fds -A'
        ) from None
    return lock


def check_fits(lock: dict[str, Any]) -> None:
    """Wheels are made for an interpreter, a machine and a libc: others fail late and obscurely."""
    python = "{}.{}".format(*sys.version_info)
    machine = platform.machine().lower()
    here = f"linux/{MACHINES.get(machine, machine)}"
    name = lock["set"]
    if lock["python"] not in {None, python}:
        raise InstallError(
            f"the lock of {name} is for Python {lock['python']}, the flow's image has Python "
            f"{python}: use an image with Python {lock['python']}, or set python.version of {name}"
        )
    if here not in lock["platforms"]:
        raise InstallError(
            f"the lock of {name} is for {', '.join(lock['platforms'])}, this node is {here}: run "
            f"the flow on another node, or add {here} to python.platforms of {name}"
        )
    if platform.libc_ver()[0] != "glibc":
        raise InstallError(
            f"the lock of {name} is for images with glibc, the flow's image has another C library "
            "(Alpine?): use a Debian, Ubuntu or Red Hat based image"
        )


def run_installer(lock: dict[str, Any], target: Path) -> str:
    """Install the lock into the target and return the installer's name."""
    # The first index that has a package wins, in the order of the lock.
    urls = [url for url in [lock["index"]["url"], *lock["index"]["extraUrls"]] if url]
    bundle = next((os.environ[name] for name in CERTIFICATES if os.environ.get(name)), None)
    uv = shutil.which("uv")
    if uv or importlib.util.find_spec("uv"):
        name, command = "uv", uv_command(uv, urls)
    elif importlib.util.find_spec("pip"):
        name, command = "pip", pip_command(urls, bundle)
    else:
        raise InstallError("the flow's image has neither uv nor pip: add one of them to it")
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    command += ["--target", str(target), "-r", str(SOURCE / "requirements.txt")]
    environment = {key: value for key, value in os.environ.items() if PASSED_ON.fullmatch(key)}
    environment.update(HOME=str(TEMPORARY), TMPDIR=str(TEMPORARY), PIP_CONFIG_FILE=os.devnull)
    environment.update(UV_HTTP_TIMEOUT=TIMEOUT, UV_HTTP_CONNECT_TIMEOUT=TIMEOUT)
    environment.update(UV_HTTP_RETRIES=RETRIES, UV_PYTHON_DOWNLOADS="never")
    if bundle:
        environment["SSL_CERT_FILE"] = bundle

    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        output = without_credentials(done.stdout.decode("utf-8", "replace"))
        print("\n".join(output.splitlines()[-TAIL:]), flush=True)
        log = TEMPORARY / "pip.log"
        details = log.read_text("utf-8", "replace") if log.exists() else ""
        index = " and ".join(urls) or "the installer's default index"
        why = cause(output + details, index)
        raise InstallError(f"{lock['set']}: {why}; nothing was installed")
    return name


def uv_command(uv: str | None, urls: list[str]) -> list[str]:
    command = [uv] if uv else [sys.executable, "-I", "-m", "uv"]
    command += ["pip", "install", "--no-config", "--python", sys.executable]
    # On the volume, so that files are linked to their place and not copied.
    command += ["--cache-dir", str(TEMPORARY / "cache")]
    for url in urls[:-1]:  # uv asks the extra ones first, in their order
        command += ["--extra-index-url", url]
    return command + (["--index-url", urls[-1]] if urls else [])


def pip_command(urls: list[str], bundle: str | None) -> list[str]:
    command = [sys.executable, "-I", "-m", "pip", "--isolated", "install", "--no-cache-dir"]
    command += ["--no-compile", "--no-input", "--disable-pip-version-check", "--timeout", TIMEOUT]
    command += ["--retries", RETRIES, "--no-warn-script-location"]
    # Only its log says why an index had no answer.
    command += ["--log", str(TEMPORARY / "pip.log"), *(["--cert", bundle] if bundle else [])]
    for number, url in enumerate(urls):
        command += ["--extra-index-url" if number else "--index-url", url]
        if url.startswith("http:"):  # pip demands it; what is right, the hashes say
            command += ["--trusted-host", urlsplit(url).netloc.rpartition("@")[2]]
    return command


def cause(output: str, index: str) -> str:
    """What an installer's output means."""
    text = " ".join(output.split())  # both break lines where they like
    for pattern, meaning in CAUSES:
        found = re.search(pattern, text)
        if found:
            pin = re.search(r"([\w.-]+)==([\w.!+-]*\w)", text[found.start() :])
            package = f"{pin[1]} {pin[2]}" if pin else "a package"
            return meaning.format(package=package, index=without_credentials(index))
    return "the installer failed, see its output above"


def without_credentials(text: str) -> str:
    return re.sub(r"//[^/\s@]+@", "//", text)


def clean(*names: str) -> None:
    for name in names:
        shutil.rmtree(HOME / name, ignore_errors=True)


def say(text: str) -> None:
    print("flowdeps: " + " ".join(text.split()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
