"""From a request to a lock: which platforms to ask for, what each should prefer, one lock of all.

A request's platforms are resolved one after the other (`flowdeps.locks.merge` says why), in a
directory that exists as long as its child. At most ``concurrency`` requests have a child at a time;
the others wait for their turn, which no time limit counts. Equal requests give equal locks as long
as the index says the same.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import certifi
from uv import find_uv_bin

from flowdeps.api.names import TEMPORARY
from flowdeps.locks import overlay
from flowdeps.locks.access import Access
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.lock import Lock
from flowdeps.locks.markers import left_out
from flowdeps.locks.merge import Pins, by_platform, disagreements, merge, preferences, toward_others
from flowdeps.locks.pylock import PylockError, Resolved, UnusableWheelsError, read_pylock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver import command
from flowdeps.resolver.advice import Asked, lowered
from flowdeps.resolver.child import Limits, run
from flowdeps.resolver.errors import LimitExceededError, ResolverError, UnsatisfiableError
from flowdeps.resolver.failures import explain, shorten, yanked
from flowdeps.resolver.places import Places


@dataclass(frozen=True)
class Resolution:
    """A lock, and what people should know of it, as in ``foo 1.2 was yanked (broken)``."""

    lock: Lock
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Compiled:
    """What uv resolves one platform to, and the yanked releases in it: the index's words by name
    and version."""

    resolved: Resolved
    yanked: Mapping[tuple[str, str], str]

    @property
    def pins(self) -> Pins:
        return self.resolved.pins


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A request and all that its children share."""

    request: LockRequest
    previous: Lock | None
    keep: bool
    access: Access
    now: datetime


class _BreaksImageError(UnsatisfiableError):
    """The image would break with the pins on top."""

    def __init__(
        self, conflicts: Collection[overlay.Conflict], *, others_moved: bool = False
    ) -> None:
        super().__init__(shorten(overlay.told(conflicts, others_moved=others_moved)))
        self.conflicts = conflicts


class Resolver:
    """Makes locks with uv.

    ``concurrency``: children at a time. ``cache``: a directory for what the index says, kept apart
    for those with credentials; losing it costs time only. ``uv``: the program; by default the one
    that came with the package of this name. ``now``: the clock that cooldowns go by.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        concurrency: int,
        cache: Path,
        uv: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._limits = limits
        self._turn = asyncio.Semaphore(concurrency)
        self._places = Places(cache.absolute())
        self._uv = str(uv or find_uv_bin())
        self._now = now

    async def resolve(
        self,
        request: LockRequest,
        *,
        previous: Lock | None,
        keep: bool = True,
        access: Access | None = None,
    ) -> Resolution:
        """The lock for ``request``, made with ``access`` to its indices.

        With ``keep``, the pins of ``previous`` stay where the request still allows them and the
        index still offers them; else each pin is the newest version that fits. Either way it is
        told which of them were lost. Raises a `ResolveError`; a cancellation ends the child.
        """
        if not request.requirements:
            return Resolution(Lock(request.target))
        job = _Job(
            request=request,
            previous=previous,
            keep=keep,
            access=access or Access(),
            now=self._now(),
        )
        async with self._turn:
            try:
                async with asyncio.timeout(self._limits.timeout):
                    return await self._keep_whole(job)
            except TimeoutError:
                raise LimitExceededError(
                    f"no resolution within {self._limits.timeout:g} seconds: "
                    "the index may be slow, or the requirements may need bounds"
                ) from None

    async def _keep_whole(self, job: _Job) -> Resolution:
        """A resolution that breaks nothing of the image; at the first conflict its ways out are
        tried, once each."""
        try:
            return await self._resolve(job)
        except _BreaksImageError as error:
            broken = error
        for other in overlay.ways_out(job.request, broken.conflicts):
            try:
                return await self._resolve(replace(job, request=other))
            except _BreaksImageError as error:
                broken = _BreaksImageError(error.conflicts, others_moved=True)
            except UnsatisfiableError:
                continue
        raise broken

    async def _resolve(self, job: _Job) -> Resolution:
        request, previous = job.request, job.previous if job.keep else None
        image = request.image.versions if request.image else {}
        compiled: dict[str, _Compiled] = {}
        for platform in request.target.platforms:
            wanted = preferences(platform, resolved=_pins(compiled), previous=previous, image=image)
            try:
                compiled[platform] = await self._compile(job, platform, wanted)
            except UnsatisfiableError as error:
                if not compiled:
                    raise
                raise UnsatisfiableError(f"On {platform}: {error.message}") from error
        known = disagreements(by_platform(previous)) if previous else frozenset()
        if disagreements(_pins(compiled)) - known:
            first = request.target.platforms[0]
            wanted = toward_others(first, resolved=_pins(compiled))
            others = {**compiled, first: await self._compile(job, first, wanted)}
            compiled = min(compiled, others, key=lambda one: len(disagreements(_pins(one))))
        if request.image:
            _check(request.image, compiled, shadow=request.shadow)
        base = {package for one in compiled.values() for package in one.resolved.base.items()}
        return Resolution(
            merge(request.target, _pins(compiled), base=tuple(base)), _notes(job, compiled)
        )

    async def _compile(self, job: _Job, platform: str, wanted: Mapping[str, str]) -> _Compiled:
        """What uv resolves the request to on one platform."""
        found = await self._run(job, platform, wanted)
        # uv keeps a yanked release that it is told to prefer; only a requirement may insist on one.
        kept = {name: v for name, v in wanted.items() if (name, v) not in found.yanked}
        return found if kept == wanted else await self._run(job, platform, kept)

    async def _run(self, job: _Job, platform: str, wanted: Mapping[str, str]) -> _Compiled:
        request, image = job.request, job.request.image
        cache, stubs = self._directories(job)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY) as name:
            directory = Path(name)
            files = command.files(
                request,
                wanted,
                platform=platform,
                access=job.access,
                trusted=_trusted() if job.access.ca else "",
            )
            environment = command.environment(
                os.environ, directory=name, timeout=self._limits.timeout, access=job.access
            )
            try:
                for file, text in files.items():
                    (directory / file).touch(mode=0o600)
                    (directory / file).write_text(text)
                arguments = command.arguments(
                    request,
                    platform=platform,
                    cache=cache,
                    stubs=stubs,
                    now=job.now,
                )
                ended = await run(
                    [self._uv, *arguments],
                    environment=environment,
                    directory=directory,
                    limits=self._limits,
                )
            except OSError as error:
                raise ResolverError(f"uv can't be started: {error.strerror}") from error
            if ended.code != 0:
                raise explain(
                    ended.messages,
                    code=ended.code,
                    asked=Asked(
                        request=request,
                        platform=platform,
                        previous=job.previous,
                        credentials=bool(job.access.netrc),
                    ),
                )
            text = _read(directory / command.OUTPUT, limit=self._limits.output)
        try:
            resolved = read_pylock(
                text,
                target=request.target,
                platform=platform,
                glibc=request.glibc,
                image=image.versions if image else None,
            )
        except UnusableWheelsError as error:
            raise UnsatisfiableError(str(error)) from error
        except PylockError as error:
            raise ResolverError(str(error)) from error
        return _Compiled(resolved, yanked(ended.messages))

    def _directories(self, job: _Job) -> tuple[Path, Path | None]:
        """Where uv caches, and the stub wheels of the request's image."""
        image = job.request.image
        try:
            return self._places.cache(job.access), self._places.stubs(image) if image else None
        except OSError as error:
            raise ResolverError(
                f"the cache directory {self._places.root} can't be used ({error.strerror}); "
                "mend it, or name another in resolver.cacheDirectory of the configuration"
            ) from error


def _pins(compiled: Mapping[str, _Compiled]) -> dict[str, Pins]:
    return {platform: one.pins for platform, one in compiled.items()}


def _check(
    image: ImageFacts, compiled: Mapping[str, _Compiled], *, shadow: tuple[str, ...]
) -> None:
    """Raises UnsatisfiableError where the image would break with the pins on top, or may."""
    broken: list[overlay.Conflict] = []
    hidden: dict[str, None] = {}
    for platform, one in compiled.items():
        versions = {pin.name: pin.version for pin in one.pins.values()}
        broken += overlay.conflicts(image, versions, platform=platform)
        hidden |= dict.fromkeys(overlay.hidden(image, versions, shadow=shadow))
    if hidden:
        raise UnsatisfiableError(shorten("; ".join(hidden)))
    if broken:
        raise _BreaksImageError(broken)


def _notes(job: _Job, compiled: Mapping[str, _Compiled]) -> tuple[str, ...]:
    notes = {note} if (note := left_out(job.request)) else set[str]()
    for platform, one in compiled.items():
        if job.previous:
            notes |= lowered(job.request, job.previous, one.pins, platform=platform)
        for name, pin in one.pins.items():
            why = one.yanked.get((name, pin.version))
            if why is not None:
                reason = f" ({why})" if why else ""
                notes.add(f"{name} {pin.version} was yanked{reason}; choose another version")
    return tuple(sorted(notes))


def _trusted() -> str:
    """The certificates of the authorities that uv trusts without being told of others."""
    file = os.environ.get("SSL_CERT_FILE")
    if not file and os.environ.get("SSL_CERT_DIR"):
        return ""  # a directory is trusted besides a file
    path = Path(file or certifi.where())
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ResolverError(
            f"the certificates of authorities in {path} can't be read ({error.strerror}); "
            "correct SSL_CERT_FILE of the operator"
        ) from error


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
