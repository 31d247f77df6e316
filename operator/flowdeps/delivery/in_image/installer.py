"""Run uv or pip, whichever the image has, and find out what its failures mean.

Where the lock's index wants credentials, a Secret is mounted with ``netrc`` (user names and
passwords by host) and ``ca.crt`` (a certificate authority), either or both. The installer gets
their paths; they are copied nowhere that outlives it, and what it prints is shown without them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from flowdeps.delivery.in_image.inventory import say
from flowdeps.delivery.in_image.progress import how_far, wait_for

STARTED = time.monotonic()
CREDENTIALS = Path(os.environ.get("FLOWDEPS_CREDENTIALS", "/etc/flowdeps-credentials"))
HOME = Path(os.environ.get("FLOWDEPS_HOME", "/opt/flowdeps"))
TEMPORARY = HOME / "tmp"
TAIL = 25  # lines of the installer's output that are worth reading
RETRIES, TIMEOUT = "2", "10"  # an index that does not answer ends within 40 seconds
# What an installer may see of the image's environment: the rest could change what is installed,
# or from where.
PASSED_ON = re.compile(
    r"PATH|LD_LIBRARY_PATH|LANG|LC_\w+|(https?|all|no)_proxy|SSL_\w+", re.IGNORECASE
)
CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
CLOSED_PROXY = "http://127.0.0.1:9"
WHEELS_ONLY = ("--only-binary", ":all:")
Causes = tuple[tuple[str, str], ...]
# What uv and pip print, and what it means; the first that is found counts.
CAUSES: Causes = (
    (r"No space left|os error 28|Disk quota", "the node has no space left for the packages"),
    (
        r"Hash mismatch|DO NOT MATCH THE HASHES",
        "the lock's hash for {package} does not match what {index} serves",
    ),
    (r"\b40[13] (Unauthorized|Forbidden|Client|Error)", "{index} refuses access"),
    (
        r"invalid peer certificate|CERTIFICATE_VERIFY_FAILED|UnknownIssuer",
        "the certificate of {index} is of an authority that the image does not know: give it as "
        "ca.crt in the Secret of the set's index",
    ),
    (
        r"connection error|error sending request|Max retries|timed out|server error|dns error",
        "{index} cannot be reached or does not answer",
    ),
    (r"no such option", "the image's pip is too old for this: use pip 23 or newer, or add uv"),
    (
        r"unexpected argument '--",
        "the image's uv is too old for this: use uv 0.4 or newer, or remove it to use pip",
    ),
    (
        r"No matching distribution|no wheels|no usable wheels|no version of|was not found in",
        "{index} has no wheel of {package} for this image",
    ),
)


class InstallError(Exception):
    """Why nothing was installed, and what to do, in one line."""

    code = 1  # the exit code


class OutOfTimeError(InstallError):
    """The time of a trial's installation was up."""

    code = 124


class Installer:
    """The installer of the image, and the indexes that it uses.

    ``urls``: the first index that has a package wins; none: the installer's default. ``packages``:
    how many there are to install, where that is known.
    """

    def __init__(self, urls: Sequence[str], packages: int = 0) -> None:
        self.urls = urls
        self.packages = packages
        self.uv = shutil.which("uv")
        if self.uv or importlib.util.find_spec("uv"):
            self.name = "uv"
        elif importlib.util.find_spec("pip"):
            self.name = "pip"
        else:
            raise InstallError("the flow's image has neither uv nor pip: add one of them to it")
        self.secrets = read_secrets(CREDENTIALS / "netrc")
        self.bundle = find_bundle()

    def install(self, requirements: Path, target: Path, *options: str) -> None:
        """Install what a file pins, nothing else. Raises InstallError with the cause."""
        place = ["--no-deps", *WHEELS_ONLY, "--target", str(target), "-r", str(requirements)]
        if self.name == "uv":
            self.run([*self.uv_command("install"), *options, *place])
        else:
            self.run([*self.pip_command(), "--no-compile", *options, *place])

    def run(self, command: Sequence[str], causes: Causes = CAUSES) -> str:
        """Run the installer and return what it printed. Raises InstallError with the cause."""
        limit = float(os.environ.get("FLOWDEPS_TIMEOUT") or 0)  # of a trial's installation
        left = max(0.0, limit - (time.monotonic() - STARTED)) if limit else None
        child = subprocess.Popen(
            command, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        read: list[bytes] = []  # not from a file, which a full volume would not take
        reader = threading.Thread(target=read.extend, args=(child.stdout,), daemon=True)
        reader.start()
        in_time = wait_for(child, lambda: say(f"installing: {self.how_far()}"), limit=left)
        reader.join(None if in_time else 1.0)
        output = self.public(b"".join(read).decode("utf-8", "replace"))
        if not in_time:
            raise OutOfTimeError(
                f"the installation did not end within {limit:.0f} seconds ({self.how_far()}): give "
                "it more by spec.verify.installTimeout"
            )
        if child.returncode:
            print("\n".join(output.splitlines()[-TAIL:]), flush=True)
        if child.returncode == -signal.SIGKILL:
            where = "pods.resources" if limit else "install.resources of the pool"
            raise InstallError(
                f"{self.name} was killed ({self.how_far()}), as happens where memory runs out: "
                f"give the install container more, by {where} in the operator's configuration"
            )
        if child.returncode:
            log = TEMPORARY / "pip.log"
            details = log.read_text("utf-8", "replace") if log.exists() else ""
            index = " and ".join(self.urls) or "the installer's default index"
            raise InstallError(cause(output + self.public(details), index, causes))
        return output

    def how_far(self) -> str:
        return how_far(TEMPORARY, self.packages)

    def uv_command(self, verb: str) -> list[str]:
        command = [self.uv] if self.uv else [sys.executable, "-I", "-m", "uv"]
        command += ["pip", verb, "--no-config", "--python", sys.executable]
        # On the volume, so that files are linked to their place and not copied.
        command += ["--cache-dir", str(TEMPORARY / "cache")]
        for url in self.urls[:-1]:  # uv asks the extra ones first, in their order
            command += ["--extra-index-url", url]
        return command + (["--index-url", self.urls[-1]] if self.urls else [])

    def pip_command(self) -> list[str]:
        command = [sys.executable, "-I", "-m", "pip", "--isolated", "install", "--no-cache-dir"]
        command += ["--no-input", "--disable-pip-version-check", "--timeout", TIMEOUT]
        command += ["--retries", RETRIES, "--no-warn-script-location"]
        # Only its log says why an index had no answer.
        command += ["--log", str(TEMPORARY / "pip.log")]
        command += ["--cert", self.bundle] if self.bundle else []
        for number, url in enumerate(self.urls):
            command += ["--extra-index-url" if number else "--index-url", url]
            if url.startswith("http:"):  # pip demands it; the hashes protect the content
                command += ["--trusted-host", urlsplit(url).netloc.rpartition("@")[2]]
        return command

    def environment(self) -> dict[str, str]:
        passed = {key: value for key, value in os.environ.items() if PASSED_ON.fullmatch(key)}
        passed.update(HOME=str(TEMPORARY), TMPDIR=str(TEMPORARY), PIP_CONFIG_FILE=os.devnull)
        passed.update(UV_HTTP_TIMEOUT=TIMEOUT, UV_HTTP_CONNECT_TIMEOUT=TIMEOUT)
        passed.update(UV_HTTP_RETRIES=RETRIES, UV_PYTHON_DOWNLOADS="never")
        if (CREDENTIALS / "netrc").exists():
            passed["NETRC"] = str(CREDENTIALS / "netrc")
            if self.urls and all(url.startswith("https:") for url in self.urls):
                # An entry is for a host, also in plain text. So nothing is fetched in plain text,
                # though a page may name such files: it would go to a port where nobody listens.
                passed = {key: one for key, one in passed.items() if key.lower() != "http_proxy"}
                passed.update(http_proxy=CLOSED_PROXY, HTTP_PROXY=CLOSED_PROXY)
                if not any(key.lower() in {"https_proxy", "all_proxy"} for key in passed):
                    passed = {key: one for key, one in passed.items() if key.lower() != "no_proxy"}
        if self.bundle:
            passed["SSL_CERT_FILE"] = self.bundle
        return passed

    def public(self, text: str) -> str:
        """Return the text without what nobody may read."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return without_credentials(text)


def read_secrets(path: Path) -> list[str]:
    """Return the passwords in a netrc file, if there is one; the longest first."""
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    found = {secret.strip('"') for secret in re.findall(r"\bpassword\s+(\S+)", text)}
    return sorted(found - {""}, key=len, reverse=True)


def find_bundle() -> str | None:
    """Return the certificates to trust, if not those that the installer brings along."""
    given = (os.environ.get(name, "") for name in CERTIFICATES)
    named = next((one for one in given if os.access(one, os.R_OK)), None)
    authority = CREDENTIALS / "ca.crt"
    if not authority.exists():
        return named
    vendored = importlib.util.find_spec("pip")
    certifi = Path(vendored.origin or "").parent / "_vendor/certifi/cacert.pem" if vendored else ""
    places = [named, ssl.get_default_verify_paths().cafile, *BUNDLES, str(certifi)]
    # Not Path's: it raises where a parent is closed to the user.
    known = next((Path(one) for one in places if one and os.path.isfile(one)), None)  # noqa: PTH113
    joined = TEMPORARY / "ca.crt"
    joined.write_text((f"{known.read_text()}\n" if known else "") + authority.read_text())
    return str(joined)


def cause(output: str, index: str, causes: Causes = CAUSES) -> str:
    """Return what an installer's output means."""
    text = " ".join(output.split())  # both break lines where they like
    for pattern, meaning in causes:
        found = re.search(pattern, text)
        if found:
            pin = re.search(r"([\w.-]+)==([\w.!+-]*\w)", text[found.start() :])
            package = f"{pin[1]} {pin[2]}" if pin else "a package"
            subject = found.groupdict().get("subject", "")
            index = without_credentials(index)
            return meaning.format(package=package, index=index, subject=subject)
    return "the installer failed, see its output above"


def without_credentials(text: str) -> str:
    return re.sub(r"//[^/\s@]+@", "//", text)
