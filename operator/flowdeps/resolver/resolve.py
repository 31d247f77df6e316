"""Makes a lock for a request: which platforms to ask for, what each should prefer, one lock of all.

A request's platforms are resolved one after the other (`flowdeps.locks.platforms` says why). Who
asks takes care that not too many do so at a time. Equal requests give equal locks as long as the
index says the same.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from packaging.utils import NormalizedName, canonicalize_name

from flowdeps.locks import overlay
from flowdeps.locks.access import Access
from flowdeps.locks.differences import differences
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.index import Index
from flowdeps.locks.legible import printable
from flowdeps.locks.lock import Lock
from flowdeps.locks.markers import left_out
from flowdeps.locks.platforms import (
    Pins,
    Versions,
    by_platform,
    disagreements,
    merge_platforms,
    preferred_versions,
    toward_others,
)
from flowdeps.locks.pylock import Resolved
from flowdeps.locks.releases import (
    describe_choices,
    not_for_python,
    others_only,
    python_of,
    unread,
)
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from flowdeps.resolver.advice import describe_differences, lowered_pins
from flowdeps.resolver.child import Limits
from flowdeps.resolver.command import newest_upload
from flowdeps.resolver.errors import (
    DiskFullError,
    FileUrlError,
    IndexUnauthorizedError,
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.failures import cut_middle
from flowdeps.resolver.network import Network, guarded
from flowdeps.resolver.uv import Job, Uv
from flowdeps.scheduling.off_loop import off_loop

T = TypeVar("T")

_TRY_SECONDS = 60.0
"""For which an index may think about whether it takes credentials."""
_ANY_TARGET = Target("3.12", ("linux/amd64",))
_MOST_PASSED_OVER = 50
"""Times that a request is resolved again, since a release is not for its Python."""
_MOST_SIZES = 500


@dataclass(frozen=True)
class Resolution:
    """A lock, and what people should know of it, as in ``foo 1.2 was yanked (broken)``."""

    lock: Lock
    notes: tuple[str, ...] = ()


class _BreaksImageError(UnsatisfiableError):
    """The image would break with the pins on top."""

    def __init__(
        self, conflicts: Collection[overlay.Conflict], *, others_moved: bool = False
    ) -> None:
        text = overlay.describe_conflicts(conflicts, others_moved=others_moved)
        super().__init__(cut_middle(text))
        self.conflicts = conflicts


class Resolver:
    """Makes locks with uv.

    ``cache``: a directory for what the index says, kept apart for those with credentials; losing it
    costs time only, and it stays smaller than ``cache_size`` bytes. ``network``: what the children
    may reach; None: all that we do. ``uv``: the program; by default the one that came with the
    package of this name. ``now``: the clock that cooldowns go by.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        cache: Path,
        cache_size: int = 2 * 1024**3,
        network: Network | None = None,
        uv: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._limits = limits
        self._network = network
        self._uv = Uv(uv, limits=limits, cache=cache, cache_size=cache_size)
        self._now = now

    async def resolve(
        self,
        request: LockRequest,
        *,
        previous: Lock | None,
        keep: bool = True,
        access: Access | None = None,
    ) -> Resolution:
        """Make the lock for ``request``, with ``access`` to its indices.

        With ``keep``, the pins of ``previous`` stay where the request still allows them and the
        index still offers them; else each pin is the newest version that fits. Either way the
        notes name those that were lost. Raises a `ResolveError`; a cancellation ends the child.
        """
        if not request.requirements:
            return Resolution(Lock(request.target))
        if (
            len(different := await off_loop(differences, request)) > 1
        ):  # uv names one, and what leads to it
            raise UnsatisfiableError(await off_loop(describe_differences, different))
        access, now = access or Access(), self._now()
        job = Job(request=request, previous=previous, keep=keep, access=access, now=now)
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await self._within_reach(job, self._keep_whole)
        except TimeoutError:
            raise LimitExceededError(
                f"no resolution within {self._limits.timeout:g} seconds: "
                "the index may be slow, or the requirements may need bounds"
            ) from None
        except DiskFullError:
            await self._uv.clear()
            raise

    async def refusal(self, url: str, package: str, *, access: Access) -> str:
        """Return how the index at ``url`` refuses ``access``, as in ``401 Unauthorized``; empty: it
        does not. It is asked once, for the page of a package. Raises a `ResolveError` where it
        gives no such answer."""
        request = LockRequest(requirements=(package,), target=_ANY_TARGET, index=Index(url))
        job = Job(request=request, previous=None, keep=False, access=access, now=self._now())

        async def ask(job: Job) -> str:
            try:
                status = await self._uv.refusal(job, canonicalize_name(package))
            except ResolveError as error:
                raise job.passage.explain(error) from None
            # What the proxy refuses is no answer of the index.
            cause = job.passage.explain(IndexUnauthorizedError(status))
            if not isinstance(cause, IndexUnauthorizedError):
                raise cause
            return status

        seconds = min(_TRY_SECONDS, self._limits.timeout)
        try:
            async with asyncio.timeout(seconds):
                return await self._within_reach(job, ask)
        except TimeoutError:
            raise IndexUnavailableError(f"{url} gives no answer in {seconds:g} s") from None

    async def _within_reach(self, job: Job, work: Callable[[Job], Awaitable[T]]) -> T:
        """Work through the proxy that keeps the children to the network that they may reach."""
        try:
            async with guarded(
                self._network,
                job.request.index,
                credentials=bool(job.access.netrc),
                limits=self._limits,
            ) as passage:
                return await work(replace(job, passage=passage))
        except OSError as error:  # of a child's directory
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise DiskFullError from error
            raise ResolverError(f"the resolver can't work: {error.strerror}") from error

    async def _keep_whole(self, job: Job) -> Resolution:
        """Resolve without breaking the image; at the first conflict, each alternative request is
        tried once."""
        try:
            return await self._resolve(job)
        except _BreaksImageError as error:
            broken = error
        for other in overlay.alternative_requests(job.request, broken.conflicts):
            try:
                return await self._resolve(replace(job, request=other))
            except _BreaksImageError as error:
                broken = _BreaksImageError(error.conflicts, others_moved=True)
            except UnsatisfiableError:
                continue
        raise broken

    async def _resolve(self, job: Job) -> Resolution:
        """Resolve; where it can be, without releases that say that they are not for this Python."""
        compiled, job = await self._compile_without_files(job)
        notes: dict[NormalizedName, str] = {}
        kept: set[NormalizedName] = set()
        for _ in range(_MOST_PASSED_OVER):
            wrong = await off_loop(_not_for_python, job.request, compiled)
            name = min(wrong.keys() - kept, default=None)
            if name is None:
                break
            says, without = wrong[name]
            request = replace(job.request, exclude=(*job.request.exclude, without))
            if request == job.request:  # there are more releases than one constraint names
                kept.add(name)
                continue
            narrower = replace(job, request=request)
            try:
                compiled, job = await self._compile_without_files(narrower)
                notes.setdefault(name, says)
            except UnsatisfiableError:
                kept.add(name)
        chosen = {pin.name: pin.version for one in compiled.values() for pin in one.pins.values()}
        for name, says in notes.items():
            instead = f"{name} {chosen[name]} was taken" if name in chosen else "it was passed over"
            notes[name] = f"{says}, so {instead}"
        for name, (says, _) in (await off_loop(_not_for_python, job.request, compiled)).items():
            notes[name] = f"{says}, nor any other that fits: an image with pip won't install it"
        base = {package for one in compiled.values() for package in one.base.items()}
        lock = replace(
            merge_platforms(job.request.target, _pins(compiled), base=tuple(base)),
            sizes=_sizes(compiled),
        )
        texts = (*await off_loop(_notes, job, compiled), *notes.values())
        found = (cut_middle(printable(one)) for one in texts)
        return Resolution(lock, tuple(sorted(set(found))))

    async def _compile_without_files(self, job: Job) -> tuple[dict[str, Resolved], Job]:
        """Resolve without releases that require a path of this machine, as uv does by itself where
        that is a file: so what comes of it doesn't tell whether it is one."""
        passed_over: set[tuple[str, str]] = set()
        while True:
            try:
                return await self._compile_all(job), job
            except FileUrlError as error:
                if not error.release or error.release in passed_over:
                    raise FileUrlError from error
                if len(passed_over) == _MOST_PASSED_OVER:
                    raise
                passed_over.add(error.release)
                name, version = error.release
                exclude = (*job.request.exclude, f"{name}!={version}")
                job = replace(job, request=replace(job.request, exclude=exclude))
            except UnsatisfiableError as error:
                if passed_over:
                    raise FileUrlError from error
                raise

    async def _compile_all(self, job: Job) -> dict[str, Resolved]:
        """Resolve for each platform, with versions that agree where they can."""
        request, previous = job.request, job.previous if job.keep else None
        image = request.image.versions if request.image else {}
        compiled: dict[str, Resolved] = {}
        for platform in request.target.platforms:
            pins = _pins(compiled)
            wanted = preferred_versions(platform, resolved=pins, previous=previous, image=image)
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
            await off_loop(_check, request.image, compiled, shadow=request.shadow)
        return compiled

    async def _compile(self, job: Job, platform: str, wanted: Versions) -> Resolved:
        """Resolve the request for one platform, without yanked releases that nothing insists on."""
        found = await self._uv.compile(job, platform, wanted)
        # uv keeps a yanked release that it shall prefer; only a requirement may insist on one.
        kept = {name: v for name, v in wanted.items() if (name, v) not in found.yanked}
        return found if kept == wanted else await self._uv.compile(job, platform, kept)


def _pins(compiled: Mapping[str, Resolved]) -> dict[str, Pins]:
    return {platform: one.pins for platform, one in compiled.items()}


def _sizes(compiled: Mapping[str, Resolved]) -> tuple[tuple[NormalizedName, int], ...]:
    """Return the size of each package on the platform where it is largest: of the largest ones, so
    that what is known of a lock takes no more room in it than a few of its pins."""
    sizes: dict[NormalizedName, int] = {}
    for one in compiled.values():
        for name, size in one.sizes.items():
            sizes[name] = max(size, sizes.get(name, 0))
    largest = sorted(sizes.items(), key=lambda one: (-one[1], one[0]))
    return tuple(largest[:_MOST_SIZES])


def _check(image: ImageFacts, compiled: Mapping[str, Resolved], *, shadow: tuple[str, ...]) -> None:
    """Raise UnsatisfiableError where the image would break with the pins on top, or may."""
    broken: list[overlay.Conflict] = []
    hidden: dict[str, None] = {}
    for platform, one in compiled.items():
        versions: dict[str, str] = {pin.name: pin.version for pin in one.pins.values()}
        broken += overlay.conflicts(image, versions, platform=platform)
        hidden |= dict.fromkeys(overlay.hidden(image, versions, shadow=shadow))
    if hidden:
        raise UnsatisfiableError(cut_middle("; ".join(hidden)))
    if broken:
        raise _BreaksImageError(broken)


def _not_for_python(
    request: LockRequest, compiled: Mapping[str, Resolved]
) -> dict[NormalizedName, tuple[str, str]]:
    """Return the pins that say that they are not for the request's Python: a text on each, and the
    constraint that rules out all such releases."""
    return {
        name: (
            f"{name} {one.pins[name].version} says that it is not for Python {python_of(request)}"
            f" ({says})",
            others_only(request, name, one.pages[name]),
        )
        for one in compiled.values()
        for name, says in not_for_python(request, one.pins, one.pages).items()
    }


def _notes(job: Job, compiled: Mapping[str, Resolved]) -> set[str]:
    notes = {note} if (note := left_out(job.request)) else set[str]()
    newest = newest_upload(job.request, job.now)
    for platform, one in compiled.items():
        notes.update(one.warnings)
        notes.update(unread(one.pages))
        notes.update(
            describe_choices(job.request, one.pins, one.pages, platform=platform, newest=newest)
        )
        if job.previous:
            notes |= lowered_pins(job.request, job.previous, one.pins, platform=platform)
        for name, pin in one.pins.items():
            why = one.yanked.get((name, pin.version))
            if why is not None:
                reason = f" ({why})" if why else ""
                notes.add(f"{name} {pin.version} was yanked{reason}; choose another version")
    return notes
