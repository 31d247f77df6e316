"""Runs uv once, for one platform of a request, in a directory that exists as long as the child."""

import asyncio
import errno
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import certifi
import packaging
from packaging.utils import NormalizedName, canonicalize_name
from uv import find_uv_bin

import flowdeps
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock
from flowdeps.locks.platforms import Pins, Versions
from flowdeps.locks.pylock import PylockError, Resolved, UnusableWheelsError, read_pylock
from flowdeps.locks.releases import Page
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import requirement_name
from flowdeps.resolver import command
from flowdeps.resolver.advice import advise
from flowdeps.resolver.child import ChildEnd, Limits, run_child
from flowdeps.resolver.directories import WORK, Directories
from flowdeps.resolver.errors import (
    DiskFullError,
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.failures import refusal, to_error, warnings, yanked
from flowdeps.resolver.network import Passage
from flowdeps.resolver.pages import read_pages
from flowdeps.scheduling.off_loop import off_loop

_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/bin", "/proc/self", "/sys/fs/cgroup", "/sys/devices/system/cpu"),
    *("/dev/null", "/dev/random", "/dev/urandom"),
    *("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"),
    *(sys.prefix, sys.base_prefix, str(Path(flowdeps.__file__).parents[1])),
    *(str(Path(one.__file__ or "").parents[1]) for one in (packaging, certifi)),
)
"""What programs, uv and Python among them, read of a machine. Nothing of it is a secret."""


_REFUSED = re.compile(r" can't be read: it answers (40[13]\b[\w ]{0,40})")


def _libraries() -> set[str]:
    """Return where our own libraries are: not all systems have them in /usr."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()  # no Linux, so that nothing is closed
    files = (line.split(maxsplit=5)[-1] for line in lines)
    return {str(Path(one).parent) for one in files if one.startswith("/") and ".so" in one}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request, and what all its runs of uv share."""

    request: LockRequest
    previous: Lock | None
    keep: bool
    """Whether the pins of ``previous`` are preferred."""
    access: Access
    now: datetime
    passage: Passage = field(default_factory=Passage)
    """The way to the indexes."""
    pages: dict[tuple[NormalizedName, str], Page] = field(default_factory=dict)
    """What was read of the index, by name and chosen version."""


class Uv:
    """The program, its limits and its directories."""

    def __init__(
        self, program: Path | None, *, limits: Limits, cache: Path, cache_size: int
    ) -> None:
        self._program = str(program or find_uv_bin())
        self._limits = limits
        self._directories = Directories(cache.absolute(), size=cache_size)
        self._libraries = _libraries()
        self._default = ""

    async def clear(self) -> None:
        """Remove all of the caches that isn't used."""
        await asyncio.to_thread(self._directories.tidy, everything=True)

    async def compile(self, job: Job, platform: str, versions: Versions) -> Resolved:
        """Resolve a request for one platform; ``versions`` are preferred. Raises ResolveError."""
        # uv lets a project say where its own requirements come from, not those of others.
        own = {*map(canonicalize_name, command.own_indexes(job.request))}
        left = own - {requirement_name(line) for line in job.request.requirements}
        asked: set[NormalizedName] = set()
        while True:
            try:
                resolved, messages = await self._resolved(job, platform, versions, asked)
                found = left & resolved.pins.keys()
            except UnsatisfiableError as error:
                named = own & {*re.findall(r"[a-z0-9][a-z0-9-]*", error.message)}
                found = left & named
                if not found:
                    await self._raise_refusal(job, named)
                    raise
            if not found:
                break
            asked |= found
            left -= found
        pages = await self._pages(job, resolved.pins)
        pins = {
            name: replace(pin, hashes=(*pin.hashes, *pages[name].hashes))
            for name, pin in resolved.pins.items()
        }
        return replace(
            resolved, pins=pins, pages=pages, yanked=yanked(messages), warnings=warnings(messages)
        )

    async def refusal(self, job: Job, name: NormalizedName) -> str:
        """Return how the job's index refuses the page of a package, as in ``401 Unauthorized``;
        empty: it does not. Raises ResolveError where that is not known."""
        await self._read(job, {name: "0"})
        error = job.pages[name, "0"].error
        if refused := _REFUSED.search(error):
            return refused[1]
        if error:
            raise IndexUnavailableError(error)
        return ""

    async def _resolved(
        self, job: Job, platform: str, versions: Versions, asked: Collection[str]
    ) -> tuple[Resolved, str]:
        """Resolve once; returns uv's messages, too."""
        request, image = job.request, job.request.image
        with tempfile.TemporaryDirectory(prefix=WORK) as name:
            text, messages = await self._resolve(
                job, platform, versions, asked, directory=Path(name)
            )
        try:
            resolved = await off_loop(
                read_pylock,
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
        return resolved, messages

    async def _pages(self, job: Job, pins: Pins) -> dict[NormalizedName, Page]:
        """Return what the index says of each of the ``pins``; what was read already isn't again."""
        await self._read(job, {name: pin.version for name, pin in pins.items()})
        return {name: job.pages[name, pin.version] for name, pin in pins.items()}

    async def _raise_refusal(self, job: Job, names: Collection[NormalizedName]) -> None:
        """Raise IndexUnauthorizedError where an index of single packages wants credentials: uv
        takes it for one that lacks them."""
        unknown = dict.fromkeys(names, "0")
        await self._read(job, unknown)
        for name in sorted(unknown):
            if status := re.search(r"40[13] \w+", job.pages[name, "0"].error):
                url = job.request.index.url_of[name]
                raise refusal(status[0], url, [name], credentials=bool(job.access.netrc))

    async def _read(self, job: Job, versions: Mapping[NormalizedName, str]) -> None:
        """Read what the index says of packages into the job's pages; what is there isn't again."""
        missing = {name: one for name, one in versions.items() if (name, one) not in job.pages}
        if missing:
            with tempfile.TemporaryDirectory(prefix=WORK) as name:
                directory = Path(name)
                urls = job.request.index.urls or (await self._default_index(job, directory),)
                trusted = _trusted() if job.access.ca else ""
                files = command.access_files(job.access, trusted=trusted)
                environment = self._prepare(job, directory, job.access, files)
                if not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & environment.keys():
                    environment["SSL_CERT_FILE"] = certifi.where()  # as uv trusts by itself
                found = await read_pages(
                    missing,
                    job.request,
                    urls,
                    environment=environment,
                    directory=directory,
                    limits=self._limits,
                    reads=self._reads(environment),
                    port=job.passage.port,
                )
            job.pages.update({(name, missing[name]): page for name, page in found.items()})

    async def _default_index(self, job: Job, directory: Path) -> str:
        """Return the URL of the index that uv asks where none is named."""
        if not self._default:
            environment = self._prepare(job, directory, Access(), {command.NOTHING: ""})
            ended = await self._run(job, command.DEFAULT_INDEX, environment, directory)
            if ended.code != 0:
                raise ResolverError(
                    "uv doesn't say which index it asks; name one in spec.index.url"
                )
            said = _read(directory / command.OUTPUT, limit=self._limits.output)
            self._default = said.removeprefix("--index-url").strip()
        return self._default

    async def _resolve(
        self,
        job: Job,
        platform: str,
        versions: Versions,
        asked: Collection[str],
        *,
        directory: Path,
    ) -> tuple[str, str]:
        """Return the resolution that uv writes, and its messages."""
        request, access = job.request, job.access
        trusted = _trusted() if access.ca else ""
        files = await off_loop(
            command.files,
            request,
            versions,
            platform=platform,
            access=access,
            trusted=trusted,
            asked=asked,
        )
        environment = self._prepare(job, directory, access, files)
        try:
            async with self._used(job) as (cache, stubs):
                arguments = await off_loop(
                    command.arguments,
                    request,
                    platform=platform,
                    cache=cache,
                    stubs=stubs,
                    now=job.now,
                )
                places = [str(one) for one in (cache, stubs) if one]
                ended = await self._run(job, arguments, environment, directory, reads=places)
        finally:
            await asyncio.to_thread(self._directories.tidy)
        if ended.code != 0:
            error = await off_loop(
                to_error,
                ended.messages,
                code=ended.code,
                credentials=bool(access.netrc),
                advise=partial(advise, request=request, platform=platform, previous=job.previous),
            )
            raise job.passage.explain(error)
        return _read(directory / command.OUTPUT, limit=self._limits.output), ended.messages

    def _prepare(
        self, job: Job, directory: Path, access: Access, files: Mapping[str, str]
    ) -> dict[str, str]:
        """Write a child's ``files`` into its directory; returns its environment."""
        for file, text in files.items():
            (directory / file).touch(mode=0o600)
            (directory / file).write_text(text)
        return command.child_environment(
            os.environ,
            directory=str(directory),
            timeout=self._limits.timeout,
            access=access,
            proxies=job.passage.environment,
        )

    async def _run(
        self,
        job: Job,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        *,
        reads: Sequence[str] = (),
    ) -> ChildEnd:
        try:
            return await run_child(
                [self._program, *arguments],
                environment=environment,
                directory=directory,
                limits=self._limits,
                reads=[*self._reads(environment), *reads],
                port=job.passage.port,
            )
        except OSError as error:
            raise ResolverError(f"uv can't be started: {error.strerror}") from error

    def _reads(self, environment: Mapping[str, str]) -> list[str]:
        """Return what a child has to read besides what is its own."""
        # Of directories there may be several, as in PATH.
        certificates = environment.get("SSL_CERT_DIR", "").split(os.pathsep)
        certificates.append(environment.get("SSL_CERT_FILE", ""))
        places = (*_SYSTEM, str(Path(self._program).parent), *self._libraries, *certificates)
        return [one for one in places if one]

    @asynccontextmanager
    async def _used(self, job: Job) -> AsyncIterator[tuple[Path, Path | None]]:
        """Give the cache of a job, and the stub wheels of its image, as long as they are used."""
        directories, image = self._directories, job.request.image
        with ExitStack() as stack:
            try:
                cache = stack.enter_context(directories.cache(job.access))
                if image and image.markers:
                    await off_loop(directories.make_stubs, image)
                stubs = stack.enter_context(directories.stubs(image)) if image else None
            except OSError as error:
                raise _unusable(error, directories.root) from error
            yield cache, stubs


def _unusable(error: OSError, root: Path) -> ResolveError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError()
    return ResolverError(
        f"the cache directory {root} can't be used ({error.strerror}); "
        "correct it, or name another in resolver.cacheDirectory of the configuration"
    )


def _trusted() -> str:
    """Return the certificates of the authorities that uv trusts by itself."""
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
