"""Asks `flowdeps.resolver.pages_child` what an index says of the packages of a resolution.

It runs in a directory of its own, with the environment and the limits of uv's. An index that fails
for now fails the resolution, so that equal requests have equal answers. What can't be read for
another reason, such as a proxy that only uv knows, is not known.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import NormalizedName
from packaging.version import Version

import flowdeps
from flowdeps.locks.legible import printable
from flowdeps.locks.releases import Page, Release
from flowdeps.locks.request import LockRequest
from flowdeps.resolver import pages_child
from flowdeps.resolver.child import Limits, run_child
from flowdeps.resolver.errors import IndexUnavailableError, LimitExceededError, ResolverError
from flowdeps.resolver.failures import without_secrets
from flowdeps.scheduling.off_loop import off_loop

_COMMAND = (sys.executable, "-P", "-m", pages_child.__name__)
_PACKAGES = str(Path(flowdeps.__file__).parents[1])
_TOO_MUCH = "what the index says of the packages is too much to read"


async def read_pages(
    versions: Mapping[NormalizedName, str],
    request: LockRequest,
    indexes: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    directory: Path,
    limits: Limits,
    reads: Sequence[str] | None = None,
    port: int | None = None,
) -> dict[NormalizedName, Page]:
    """Return the page of each package of ``versions`` (those chosen, by name) in its own index, or
    in the first of ``indexes`` that knows it; ``reads`` and ``port`` as of `run_child`.

    Raises ResolveError.
    """
    question = {
        "packages": versions,
        "indexes": indexes,
        "own": {name: url for name, url in request.index.url_of.items() if name in versions},
        "python": request.target.python,
        "platforms": request.target.platforms,
        "glibc": request.glibc,
        "wait": float(environment["UV_HTTP_TIMEOUT"]),
    }
    (directory / pages_child.QUESTION).write_text(json.dumps(question), encoding="utf-8")
    ended = await run_child(
        _COMMAND,
        environment={**environment, "PYTHONPATH": _PACKAGES, "PYTHONDONTWRITEBYTECODE": "1"},
        directory=directory,
        limits=limits,
        reads=reads,
        port=port,
    )
    if ended.code < 0:
        raise LimitExceededError(_TOO_MUCH)
    return await off_loop(_pages, directory / pages_child.ANSWER, versions, limits.output)


def _pages(
    answer: Path, versions: Mapping[NormalizedName, str], limit: int
) -> dict[NormalizedName, Page]:
    try:
        with answer.open("rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            return {name: Page(error=_TOO_MUCH) for name in versions}
        answers = json.loads(content)
        return {name: _page(answers[name]) for name in versions}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResolverError("what the index says of the packages can't be read") from error


def _page(answer: Mapping[str, Any]) -> Page:
    if error := printable(without_secrets(answer.get("error", ""))):
        if answer["passes"]:
            raise IndexUnavailableError(error)
        return Page(error=error)
    return Page(
        releases=tuple(
            Release(
                version=Version(one["version"]),
                platforms=frozenset(one["platforms"]),
                python=tuple(one["python"]),
                yanked=one["yanked"],
                uploaded=one["uploaded"],
            )
            for one in answer["releases"]
        ),
        hashes=tuple(answer["hashes"]),
    )
