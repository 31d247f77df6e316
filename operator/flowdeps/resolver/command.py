"""Says how uv is called: files, arguments and environment, for one platform of a request. Pure.

Only a project can name an index for a package, and only for one that the project itself asks for.
So where a request has such packages, its requirements are those of a project, and those of the
packages that others need are added to them (``asked``).

uv reads requirements from files in a directory of its own, so no line can become a flag, and keeps
versions that it finds where it is to write its output. Credentials reach it as a file that only it
can read. The image's packages are constraints (`flowdeps.locks.overlay`) and stub wheels in a
directory that uv looks into besides the index: so a package that only the image has is found, and
uv knows what they require. Cooldowns don't hold for that directory.
"""

import json
import sys
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from packaging.version import Version

from flowdeps.locks import overlay
from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.locks.platforms import Versions
from flowdeps.locks.pylock import write_preferences
from flowdeps.locks.releases import python_of
from flowdeps.locks.request import LockRequest, Prereleases
from flowdeps.locks.target import PLATFORMS

OUTPUT = "pylock.toml"
PROJECT = "the-set"
"""How uv calls what it resolves, where it resolves a project."""
_REQUIREMENTS, _CONSTRAINTS, _PROJECT = "requirements.in", "constraints.in", "pyproject.toml"
NOTHING = "nothing.in"
DEFAULT_INDEX = (
    *("pip", "compile", NOTHING, "--emit-index-url", "--no-header", "--output-file", OUTPUT),
    *("--format", "requirements.txt", "--python", sys.executable, "--no-config", "--no-cache"),
)
"""Arguments with which uv writes the URL of the index that it asks where none is named."""
_NETRC, _AUTHORITIES = "netrc", "authorities.pem"

# How to reach an index, and whom to trust: all that uv needs of our environment. A client
# certificate (SSL_CLIENT_CERT) is a credential, so it is not among them.
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
_CERTIFICATES = {"SSL_CERT_FILE", "SSL_CERT_DIR"}
_LONGEST_WAIT = 30

_PRERELEASES = {
    Prereleases.DISALLOW: "disallow",
    Prereleases.IF_NECESSARY: "if-necessary-or-explicit",
    Prereleases.ALLOW: "allow",
}


def files(
    request: LockRequest,
    versions: Versions,
    *,
    platform: str,
    access: Access,
    trusted: str,
    asked: Collection[str] = (),
) -> dict[str, str]:
    """Return texts by name of the files that uv finds in its directory; ``versions`` are preferred.

    ``trusted``: the certificates that are trusted without ``access``. ``asked``: packages that are
    required by other packages, and have an index of their own.
    """
    constraints = [*request.constraints, *request.exclude]
    preferred: list[tuple[str, str]] = [*versions.items()]
    if image := request.image:
        constraints += overlay.constraints(image, shadow=request.shadow, platform=platform)
        preferred += overlay.image_preferences(image, shadow=request.shadow).items()
    own = own_indexes(request)
    found = {
        _REQUIREMENTS: "".join(f"{line}\n" for line in request.requirements),
        **({_PROJECT: _project([*request.requirements, *sorted(asked)], own)} if own else {}),
        _CONSTRAINTS: "".join(f"{line}\n" for line in constraints),
    }
    if preferred:  # else no file: what is there afterwards is uv's
        found[OUTPUT] = write_preferences(preferred)
    return found | access_files(access, trusted=trusted)


def own_indexes(request: LockRequest) -> dict[str, str]:
    """Return the URLs of the packages that have an index of their own, by name.

    What the image has and keeps is among its stub wheels, and on no index.
    """
    image, url_of = request.image, request.index.url_of
    held = {*image.versions} - overlay.shadowed(image, request.shadow) if image else set[str]()
    return {name: url for name, url in url_of.items() if name not in held}


def _project(requirements: Iterable[str], own: Mapping[str, str]) -> str:
    """Return a project with these requirements; packages of ``own`` come from their index alone."""
    names = {url: f"index-{number}" for number, url in enumerate(dict.fromkeys(own.values()))}
    lines = [
        *("[project]", f"name = {json.dumps(PROJECT)}", 'version = "0"'),
        f"dependencies = {json.dumps([*requirements])}",
        "[tool.uv.sources]",
        *(f"{name} = {{ index = {json.dumps(names[url])} }}" for name, url in own.items()),
    ]
    for url, name in names.items():
        lines += ["[[tool.uv.index]]", f"name = {json.dumps(name)}", f"url = {json.dumps(url)}"]
        lines.append("explicit = true")
    return "".join(f"{line}\n" for line in lines)


def access_files(access: Access, *, trusted: str) -> dict[str, str]:
    """Return those of the files that open an index."""
    found = {}
    if access.netrc:
        found[_NETRC] = access.netrc
    if access.ca:
        found[_AUTHORITIES] = f"{access.ca}\n{trusted}"
    return found


def arguments(
    request: LockRequest, *, platform: str, cache: Path, stubs: Path | None, now: datetime
) -> list[str]:
    """Return what follows the name of uv's program; ``stubs``: the directory of stub wheels.

    A page of the index is asked for again each time (``--refresh``; an unchanged one costs a short
    answer), since a release that is a second old must be found. Metadata of wheels never change and
    stay cached.
    """
    return [
        *("pip", "compile", _PROJECT if own_indexes(request) else _REQUIREMENTS),
        *("--constraints", _CONSTRAINTS),
        *("--format", "pylock.toml", "--output-file", OUTPUT, "--no-header"),
        *("--python-platform", PLATFORMS[platform].uv_platform(request.glibc)),
        *("--python-version", python_of(request)),
        *(() if own_indexes(request) else ("--no-sources",)),
        *("--only-binary", ":all:", "--refresh", "--cache-dir", str(cache)),
        *("--python", sys.executable, "--no-python-downloads", "--no-config"),
        *("--keyring-provider", "disabled", "--no-progress", "--color", "never"),
        *_prerelease_arguments(request),
        *_cooldown_arguments(request, now),
        *(("--find-links", str(stubs)) if stubs else ()),
        *index_arguments(request.index),
    ]


def _prerelease_arguments(request: LockRequest) -> list[str]:
    found = ["--prerelease", _PRERELEASES[request.prereleases]]
    if image := request.image:
        free = overlay.shadowed(image, request.shadow)
        for name, version in image.versions.items():
            # The image has it, so it may be.
            if name not in free and Version(version).is_prerelease:
                found.append(f"--prerelease-package={name}=allow")
    return found


def _cooldown_arguments(request: LockRequest, now: datetime) -> list[str]:
    if not request.cooldown:
        return []
    exempt = [f"--exclude-newer-package={name}=false" for name in request.cooldown_exempt]
    return [f"--exclude-newer={newest_upload(request, now)}", *exempt]


def newest_upload(request: LockRequest, now: datetime) -> str:
    """Return when the youngest releases that may be chosen were uploaded (ISO 8601)."""
    # To the minute, so that equal requests at about the same time have equal answers.
    newest = now.astimezone(UTC).replace(second=0, microsecond=0)
    return f"{newest - (request.cooldown or timedelta()):%Y-%m-%dT%H:%M:%SZ}"


def index_arguments(index: Index) -> list[str]:
    """Return the indices in the order of asking; the first that knows a name answers for it.

    uv asks each ``--index`` in order and the ``--default-index`` last, whatever the order of the
    flags. So the last index, not the first, is the default one.
    """
    strategy = ["--index-strategy", "first-index"]
    if not index.urls:
        return strategy
    *first, last = index.urls
    return [*strategy, *(f"--index={url}" for url in first), f"--default-index={last}"]


def child_environment(
    ours: Mapping[str, str],
    *,
    directory: str,
    timeout: float,
    access: Access,
    proxies: Mapping[str, str],
) -> dict[str, str]:
    """Return the child's environment: home and temporary files are in ``directory``. A tenth of the
    ``timeout`` (seconds for a whole resolution) bounds the wait for one answer of the index.
    ``proxies``, if there are any, take the place of ours."""
    private = {}
    if access.netrc:
        private["NETRC"] = f"{directory}/{_NETRC}"
    if access.ca:
        private["SSL_CERT_FILE"] = f"{directory}/{_AUTHORITIES}"
    wait = str(max(1, min(_LONGEST_WAIT, int(timeout / 10))))
    kept = _CERTIFICATES if proxies else _CERTIFICATES | _PROXIES | {*map(str.lower, _PROXIES)}
    return {
        **{name: value for name, value in ours.items() if name in kept},
        **proxies,
        **private,
        "HOME": directory,
        "TMPDIR": directory,
        "LC_ALL": "C.UTF-8",
        "UV_HTTP_TIMEOUT": wait,
        "UV_HTTP_CONNECT_TIMEOUT": wait,
        "UV_HTTP_RETRIES": "2",
    }
