"""Reads what an index says of packages, as a program of its own, in a child as confined as uv's.

uv says which releases it chose, not what it passed over, and it ignores upper bounds of
Requires-Python. So the pages that it read are read once more. Of files that the index gives no hash
for, those that uv has no use for, but a run on a newer glibc may take, are read whole.

Question and answer are JSON in the current directory (`flowdeps.resolver.pages`). What can't be
read is an ``error`` of its package: the others are read all the same.
"""

import base64
import gzip
import hashlib
import json
import netrc
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Mapping
from contextlib import suppress
from html.parser import HTMLParser
from http import HTTPStatus
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.utils import InvalidSdistFilename, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from flowdeps.api.allowed import origin_of
from flowdeps.locks.target import GLIBCS, LONGEST_NAME, Target
from flowdeps.resolver.wheel_metadata import requires_python

QUESTION, ANSWER = "question.json", "answer.json"
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_OF_PAGE = {"Accept": _ACCEPT, "Accept-Encoding": "gzip"}
_READERS = 8
_TRIES = 3
_CHUNK = 1024 * 1024
_LARGEST_PAGE = 64 * _CHUNK
_LONGEST_TEXT = 1000
# What an index answers for now.
_PASSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
# ValueError: JSON, a URL or a page that is none; the others: the network, what a server says.
_PROBLEMS = (OSError, HTTPException, ValueError, KeyError, TypeError, EOFError, zlib.error)


class _Links(HTMLParser):
    """The links of a page (PEP 503) as the files of one in JSON (PEP 691)."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a" and found.get("href"):
            url, fragment = urldefrag(found["href"] or "")
            kind, sign, value = fragment.partition("=")
            self.files.append(
                {
                    "filename": unquote(urlsplit(url).path.rpartition("/")[2]),
                    "url": url,
                    "hashes": {kind: value} if sign else {},
                    "requires-python": found.get("data-requires-python"),
                    "yanked": "data-yanked" in found,
                    "core-metadata": "data-core-metadata" in found,
                }
            )


class _Netrc(urllib.request.BaseHandler):
    """Gives each host its own credentials, also after a redirection, and no other's.

    On the host of an index they go to that index's port only; elsewhere never in plain text.
    """

    def __init__(self, hosts: netrc.netrc, indexes: list[str]) -> None:
        self._hosts = hosts
        self._origins = {*map(origin_of, indexes)}

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        origin = scheme, host, _ = origin_of(request.full_url)
        others = any(host == one[1] for one in self._origins)
        may = origin in self._origins or (scheme == "https" and not others)
        if may and (found := self._hosts.authenticators(host)):
            token = base64.b64encode(f"{found[0]}:{found[2]}".encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        return request

    https_request = http_request


def main() -> None:
    """Answer the question in the current directory, beside it."""
    question = json.loads(Path(QUESTION).read_text(encoding="utf-8"))
    own = question.pop("own")
    urllib.request.install_opener(_opener([*question["indexes"], *own.values()]))
    left = iter(question.pop("packages").items())
    lock, answers = threading.Lock(), dict[str, dict[str, Any]]()

    def work() -> None:
        while True:
            with lock:
                name, version = next(left, ("", ""))
            if not name:
                return
            try:
                places = {"indexes": [own[name]]} if name in own else {}
                answers[name] = _package(name, Version(version), **{**question, **places})
            except _UnreadableError as error:
                answers[name] = {"error": str(error), "passes": error.passes}
            except Exception as error:  # whatever a page makes of us: others are read all the same
                why = f"what the index says of {name} can't be read: {type(error).__name__}"
                answers[name] = {"error": why, "passes": False}

    threads = [threading.Thread(target=work) for _ in range(_READERS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    Path(ANSWER).write_text(json.dumps(answers), encoding="utf-8")


def _opener(indexes: list[str]) -> urllib.request.OpenerDirector:
    """What opens URLs of http and https alone: a redirection may name others."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        # One context for all: to read the authorities takes long.
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ]
    with suppress(KeyError, netrc.NetrcParseError):  # uv passes over one that it can't read, too
        handlers.append(_Netrc(netrc.netrc(os.environ["NETRC"]), indexes))
    for one in handlers:
        opener.add_handler(one)
    return opener


class _UnreadableError(Exception):
    """Why something of the index can't be read."""

    def __init__(self, url: str, error: Exception) -> None:
        self.passes = False  # uv got there: more likely it goes another way than we do
        why = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            self.passes = _passes(error)
            why = f"it answers {error.code} {error.reason}"
        elif isinstance(error, InvalidURL):  # which it quotes, with what may be a password
            why = "its address is none"
        super().__init__(f"{_shown(url)} can't be read: {str(why)[:200]}")


def _passes(error: urllib.error.HTTPError) -> bool:
    return error.code in _PASSES or (
        error.code >= HTTPStatus.INTERNAL_SERVER_ERROR and error.code != HTTPStatus.NOT_IMPLEMENTED
    )


def _shown(url: str) -> str:
    """A URL as people may see it: an index has a say in those of its files."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, sign, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{sign}{host.rpartition('@')[2]}{slash}{path}"[:_LONGEST_TEXT]


def _package(
    name: str,
    version: Version,
    *,
    indexes: list[str],
    python: str,
    platforms: list[str],
    glibc: int,
    wait: float,
) -> dict[str, Any]:
    """What the first index that knows a package says of it; and hashes of files of ``version``."""
    target, releases, hashes = Target(python, tuple(platforms)), dict[Version, _Release](), set()
    base, files = _first_page(name, indexes, wait=wait)
    if not any(file.get("requires-python") for file in files):
        _add_python(files, version, target, base, wait=wait)
    for file in files:
        found = _version(file["filename"])
        if found is None:
            continue
        fits = _fitting(file, target, glibc=glibc)
        releases.setdefault(found, _Release()).add(file, fits)
        unknown = found == version and not file.get("hashes")
        if unknown and _fitting(file, target, glibc=GLIBCS[-1]) > fits:
            hashes.add(_sha256(urljoin(base, file["url"]), wait=wait))
    rows = [{"version": str(one), **releases[one].row()} for one in sorted(releases)]
    return {"releases": rows, "hashes": sorted(hashes)}


def _fitting(file: Mapping[str, Any], target: Target, *, glibc: int) -> set[str]:
    """The platforms that a file fits."""
    return {one for one in target.platforms if target.fits(file["filename"], one, glibc=glibc)}


def _add_python(
    files: list[dict[str, Any]], version: Version, target: Target, base: str, *, wait: float
) -> None:
    """Add the Requires-Python of ``version``, from a wheel, to a page that doesn't have any."""
    chosen = [
        file
        for file in files
        if _version(file["filename"]) == version and _fitting(file, target, glibc=GLIBCS[-1])
    ]
    if chosen:
        url = urljoin(base, chosen[0]["url"])
        try:
            found = requires_python(
                url,
                promised=bool(chosen[0].get("core-metadata")),
                opened=lambda url, more: _opened(url, more, wait=wait),
            )
        except _PROBLEMS as error:
            raise _UnreadableError(url, error) from error
        for file in chosen:
            file["requires-python"] = found


class _Release:
    """What a page says of a release, by its files."""

    def __init__(self) -> None:
        self._python: dict[bool, set[str]] = {True: set(), False: set()}
        self._platforms: set[str] = set()
        self._yanked = True
        self._uploaded: list[str] = []

    def add(self, file: Mapping[str, Any], platforms: set[str]) -> None:
        """Add a file, which fits ``platforms``."""
        self._python[bool(platforms)].add(_text(file.get("requires-python")))
        self._platforms |= platforms
        self._yanked &= file.get("yanked", False) is not False
        self._uploaded += filter(None, [_text(file.get("upload-time"))])

    def row(self) -> dict[str, Any]:
        """Return what is known; of Requires-Python what those say that fit, if there are any."""
        return {
            "platforms": sorted(self._platforms),
            "python": sorted(self._python[True] or self._python[False]),
            "yanked": self._yanked,
            "uploaded": min(self._uploaded, default=""),
        }


def _text(value: object) -> str:
    """What a page has; what is no text, or a long one, says nothing."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_TEXT else ""


def _first_page(name: str, indexes: list[str], *, wait: float) -> tuple[str, list[dict[str, Any]]]:
    """The page of the first index that knows a package: its URL, and its files."""
    for index in indexes:
        url = f"{index.rstrip('/')}/{name}/"
        try:
            return _page(url, wait=wait)
        except _PROBLEMS as error:
            if getattr(error, "code", None) != HTTPStatus.NOT_FOUND:
                raise _UnreadableError(url, error) from error
    return "", []


def _version(filename: str) -> Version | None:
    """The version of a file; None where it is no release."""
    if len(filename) > LONGEST_NAME:
        return None
    with suppress(InvalidSdistFilename, InvalidVersion, IndexError):
        if filename.endswith(".whl"):
            return Version(filename.split("-")[1])  # to look at all tags takes long
        return parse_sdist_filename(filename)[1]
    return None


def _page(url: str, *, wait: float) -> tuple[str, list[dict[str, Any]]]:
    """A page's own URL, and its files."""
    with _opened(url, _OF_PAGE, wait=wait) as answer:
        raw: IO[bytes] = answer
        if answer.headers.get("Content-Encoding") == "gzip":
            raw = gzip.GzipFile(fileobj=answer)  # type: ignore[assignment]
        content, own = raw.read(_LARGEST_PAGE + 1), answer.url
        if len(content) > _LARGEST_PAGE:
            raise ValueError(f"its page is larger than {_LARGEST_PAGE} bytes")
        if "json" in answer.headers.get_content_type():
            return own, json.loads(content)["files"]
    page = content.decode(errors="replace")
    links = _Links()
    links.feed(page)
    base = re.search(r"<base\s[^>]{0,200}?href=[\"']([^\"'>]{1,1000})", page[:10_000])
    return urljoin(own, base[1]) if base else own, links.files


def _sha256(url: str, *, wait: float) -> str:
    digest = hashlib.sha256()
    try:
        with _opened(url, {}, wait=wait) as answer:
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
    except _PROBLEMS as error:
        raise _UnreadableError(url, error) from error
    return f"sha256:{digest.hexdigest()}"


def _opened(url: str, more: Mapping[str, str], *, wait: float) -> Any:
    """An answer of the network. Raises what `urllib.request` does."""
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError("it names a file that is not on the network")
    headers = {"Accept-Encoding": "identity", "User-Agent": "flowdeps", **more}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    for again in range(_TRIES):
        try:
            return urllib.request.urlopen(request, timeout=wait)  # noqa: S310
        except urllib.error.HTTPError as error:
            if not _passes(error) or again == _TRIES - 1:
                raise
        except OSError:
            if again == _TRIES - 1:
                raise
        time.sleep(0.2 * 2**again)
    raise ValueError("no answer")


if __name__ == "__main__":
    main()
