"""From a request to a lock: which platforms to ask for, what each should prefer, one lock of all.

A request's platforms are resolved one after the other (`flowdeps.locks.merge` says why), in a
directory that exists as long as its child. At most ``concurrency`` requests have a child at a time;
the others wait for their turn, which no time limit counts. Equal requests give equal locks as long
as the index says the same.
"""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.merge import Pins, by_platform, disagreements, merge, preferences, toward_others
from flowdeps.locks.pylock import PylockError, UnusableWheelsError, read_pylock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver import command
from flowdeps.resolver.child import Limits, run
from flowdeps.resolver.errors import LimitExceededError, ResolverError, UnsatisfiableError
from flowdeps.resolver.explain import explain


@dataclass(frozen=True)
class Resolution:
    """A lock, and what people should know of it, as in ``foo 1.2 was yanked: broken``."""

    lock: Lock
    notes: tuple[str, ...] = ()


class Resolver:
    """Makes locks with uv.

    ``concurrency``: children at a time. ``cache``: a directory for what the index says, shared by
    the children; losing it costs time only. ``uv``: the program; by default the one that came with
    the package of this name.
    """

    def __init__(
        self, *, limits: Limits, concurrency: int, cache: Path, uv: Path | None = None
    ) -> None:
        self._limits = limits
        self._turn = asyncio.Semaphore(concurrency)
        self._cache = cache.absolute()
        self._uv = str(uv or find_uv_bin())

    async def resolve(
        self, request: LockRequest, *, previous: Lock | None, access: Access | None = None
    ) -> Resolution:
        """The lock for ``request``.

        The pins of ``previous`` are kept where the request still allows them; without it, each pin
        is the newest version that fits. Raises a `ResolveError`; a cancellation ends the child.
        """
        if not request.requirements:
            return Resolution(Lock(request.target))
        async with self._turn:
            try:
                async with asyncio.timeout(self._limits.timeout):
                    return Resolution(await self._resolve(request, previous))
            except TimeoutError:
                raise LimitExceededError(
                    f"no resolution within {self._limits.timeout:g} seconds: "
                    "the index may be slow, or the requirements may need bounds"
                ) from None

    async def _resolve(self, request: LockRequest, previous: Lock | None) -> Lock:
        resolved: dict[str, Pins] = {}
        for platform in request.target.platforms:
            wanted = preferences(platform, resolved=resolved, previous=previous)
            try:
                resolved[platform] = await self._compile(request, platform, wanted)
            except UnsatisfiableError as error:
                if not resolved:
                    raise
                raise UnsatisfiableError(f"On {platform}: {error.message}") from error
        known = disagreements(by_platform(previous)) if previous else frozenset()
        if disagreements(resolved) - known:
            first = request.target.platforms[0]
            others = await self._compile(request, first, toward_others(first, resolved=resolved))
            resolved = min(
                resolved, {**resolved, first: others}, key=lambda r: len(disagreements(r))
            )
        return merge(request.target, resolved)

    async def _compile(
        self, request: LockRequest, platform: str, wanted: Mapping[str, str]
    ) -> dict[str, Pin]:
        """What uv resolves the request to on one platform, by name."""
        with tempfile.TemporaryDirectory(prefix="flowdeps-") as name:
            directory = Path(name)
            for file, text in command.files(request, wanted).items():
                (directory / file).write_text(text)
            arguments = command.arguments(request, platform=platform, cache=str(self._cache))
            environment = command.environment(
                os.environ, directory=name, timeout=self._limits.timeout
            )
            try:
                ended = await run(
                    [self._uv, *arguments],
                    environment=environment,
                    directory=directory,
                    limits=self._limits,
                )
            except OSError as error:
                raise ResolverError(f"uv can't be started: {error.strerror}") from error
            if ended.code != 0:
                raise explain(ended.messages, code=ended.code)
            text = _read(directory / command.OUTPUT, limit=self._limits.output)
        try:
            pins = read_pylock(text, target=request.target, platform=platform)
        except UnusableWheelsError as error:
            raise UnsatisfiableError(str(error)) from error
        except PylockError as error:
            raise ResolverError(str(error)) from error
        return {pin.name: pin for pin in pins}


def _read(path: Path, *, limit: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise ResolverError("uv wrote no resolution") from None
    if len(content) > limit:
        raise LimitExceededError(
            f"the resolution is larger than {limit} bytes; ask for fewer packages", retry=False
        )
    return content.decode(errors="replace")
