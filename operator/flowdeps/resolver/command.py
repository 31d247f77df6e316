"""How uv is called: files, arguments and environment, for one platform of a request. Pure.

uv reads requirements from files in a directory of its own, so no line can become a flag, and keeps
versions that it finds where it is to write its output. It gets no configuration file, no
credentials, no interpreter but ours, and no variable of ours except those that lead to the network.
"""

import sys
from collections.abc import Mapping

from flowdeps.locks.index import Index
from flowdeps.locks.pylock import write_preferences
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import PLATFORMS

OUTPUT = "pylock.toml"
_REQUIREMENTS, _CONSTRAINTS = "requirements.in", "constraints.in"

# How to reach an index, and whom to trust: all that uv needs of our environment. A client
# certificate (SSL_CLIENT_CERT) is a credential, so it is not among them.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_KEPT = {*_PROXIES, *(name.lower() for name in _PROXIES), "SSL_CERT_FILE", "SSL_CERT_DIR"}
_RETRIES = 2
_LONGEST_WAIT = 30


def files(request: LockRequest, versions: Mapping[str, str]) -> dict[str, str]:
    """Texts by name of the files that uv finds in its directory; ``versions`` are preferred."""
    # Without versions no file: what is there afterwards is uv's.
    preferred = {OUTPUT: write_preferences(versions)} if versions else {}
    return {
        _REQUIREMENTS: "".join(f"{line}\n" for line in request.requirements),
        _CONSTRAINTS: "".join(f"{line}\n" for line in request.constraints),
        **preferred,
    }


def arguments(request: LockRequest, *, platform: str, cache: str) -> list[str]:
    """What follows the name of uv's program.

    A page of the index is asked for again each time (``--refresh``; an unchanged one costs a short
    answer), since a release that is a second old must be found. Metadata of wheels never change and
    stay cached.
    """
    return [
        *("pip", "compile", _REQUIREMENTS, "--constraints", _CONSTRAINTS),
        *("--format", "pylock.toml", "--output-file", OUTPUT, "--no-header"),
        *("--python-platform", PLATFORMS[platform].uv_platform),
        *("--python-version", request.target.python),
        *("--only-binary", ":all:", "--no-sources", "--refresh", "--cache-dir", cache),
        *("--python", sys.executable, "--no-python-downloads", "--no-config"),
        *("--keyring-provider", "disabled", "--quiet", "--no-progress", "--color", "never"),
        *index_arguments(request.index),
    ]


def index_arguments(index: Index) -> list[str]:
    """The indices in the order of asking; the first that knows a name answers for it.

    uv asks each ``--index`` in order and the ``--default-index`` last, whatever the order of the
    flags. So the last index, not the first, is the default one.
    """
    strategy = ["--index-strategy", "first-index"]
    if not index.urls:
        return strategy
    *first, last = index.urls
    return [*strategy, *(f"--index={url}" for url in first), f"--default-index={last}"]


def environment(ours: Mapping[str, str], *, directory: str, timeout: float) -> dict[str, str]:
    """The child's environment: home and temporary files in ``directory``; ``timeout`` in seconds
    for a whole resolution bounds the wait for one answer of the index.
    """
    wait = str(max(1, min(_LONGEST_WAIT, int(timeout / 10))))
    return {
        **{name: value for name, value in ours.items() if name in _KEPT},
        "HOME": directory,
        "TMPDIR": directory,
        "LC_ALL": "C.UTF-8",
        "UV_HTTP_TIMEOUT": wait,
        "UV_HTTP_CONNECT_TIMEOUT": wait,
        "UV_HTTP_RETRIES": str(_RETRIES),
    }
