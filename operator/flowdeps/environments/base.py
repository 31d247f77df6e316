"""Reads a flow's image in its registry, and puts its layers where the derived image will be.

Both ends have credentials of their own: those of the image are the pull secrets of the namespace.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowdeps.environments.errors import PackError, writing
from flowdeps.environments.messages import legible
from flowdeps.environments.registry import Credentials, end, prepare, read_credentials

COPY_SECONDS = 900.0
_CHUNK = 64 * 1024
_LONGEST = 4 * 1024 * 1024
"""Bytes of a manifest, or of an image's configuration."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """A repository, and how it is asked."""

    repository: str
    credentials: Credentials = field(default_factory=Credentials)
    plain_http: bool = False


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """A flow's image in its registry."""

    digest: str
    """Of the image, which may be for several platforms."""
    source: Access
    target: Access
    """Where the derived image will be."""
    home: Path
    """The directory of oras, with the credentials of the source."""
    oras: str
    env: Mapping[str, str] = field(repr=False)

    async def manifest(self, *, platform: str) -> bytes:
        """Return its manifest for a platform. Raises `PackError`."""
        fetch = ("manifest", "fetch", f"--platform={platform}")
        return await self._run(*fetch, self._plain(self.source, ""), "--", self._name(), to="read")

    async def blob(self, digest: str) -> bytes:
        """Return one of its small blobs. Raises `PackError`."""
        fetch = ("blob", "fetch", "--output=-", self._plain(self.source, ""))
        return await self._run(*fetch, "--", self._name(digest), to="read")

    async def copy(self, manifest: bytes) -> None:
        """Put a manifest and all that it refers to where the derived image will be.

        In the same registry nothing is sent: what it has is made known to the other repository.
        Raises `PackError`.
        """
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        options = (*self._options(self.source, "from-"), *self._options(self.target, "to-"))
        names = (self._name(digest), self.target.repository)
        to = f"copied to {self.target.repository}"
        await self._run("copy", "--no-tty", *options, "--", *names, to=to)

    def _name(self, digest: str = "") -> str:
        return f"{self.source.repository}@{digest or self.digest}"

    def _options(self, side: Access, prefix: str) -> Iterator[str]:
        file = self.home / f"{prefix}config.json"
        with writing():
            file.write_text(json.dumps(side.credentials.config_for(side.repository)))
        yield f"--{prefix}registry-config={file}"
        yield self._plain(side, prefix)

    def _plain(self, side: Access, prefix: str) -> str:
        return f"--{prefix}plain-http={str(side.plain_http).lower()}"

    async def _run(self, *words: str, to: str) -> bytes:
        try:
            async with asyncio.timeout(COPY_SECONDS):
                return await self._output(*words)
        except TimeoutError:
            why = f"it takes more than {COPY_SECONDS:.0f} s"
        except _OrasError as error:
            said = str(error)
            why = legible(self.target.credentials.hide(self.source.credentials.hide(said)))
        raise PackError(
            f"{self._name()} can't be {to}: {why}; if it is private, name its pull secret in"
            " pods.imagePullSecrets of the operator's configuration, and create it in this"
            " namespace",
            retry=True,
        )

    async def _output(self, *words: str) -> bytes:
        """Run oras to its end, and return what it prints. Raises `_OrasError`."""
        process = await asyncio.create_subprocess_exec(
            *(self.oras, *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
        )
        try:
            printed, said = await asyncio.gather(_all_of(process.stdout), _all_of(process.stderr))
            await process.wait()
        finally:
            await end(process)
        if process.returncode != 0:
            raise _OrasError(said.decode(errors="replace"))
        return printed


class _OrasError(Exception):
    """What oras said, which may have secrets in it."""


async def _all_of(stream: asyncio.StreamReader | None) -> bytes:
    """Return all that comes from a stream. Raises `_OrasError` where that is too much."""
    found = bytearray()
    while stream and (data := await stream.read(_CHUNK)):
        found += data
        if len(found) > _LONGEST:
            raise _OrasError(f"Error: more than {_LONGEST:,} bytes came")
    return bytes(found)


def open_base(
    reference: str, *, to: Access, pull_secrets: Path, home: Path, proxy: str = ""
) -> BaseImage:
    """Return an image by its digest. Raises `PackError`.

    ``pull_secrets`` has a directory for each pull secret, which may be empty. What they don't know,
    those of the target may.
    """
    repository, _, digest = reference.partition("@")
    known = [*_pull_secrets(pull_secrets), to.credentials]
    same = repository.partition("/")[0] == to.repository.partition("/")[0]
    source = Access(
        repository=repository,
        credentials=_merge(known),
        plain_http=to.plain_http and same,
    )
    oras, env = prepare(home, repository=repository, credentials=source.credentials, proxy=proxy)
    return BaseImage(digest=digest, source=source, target=to, home=home, oras=oras, env=env)


def _pull_secrets(directory: Path) -> Iterator[Credentials]:
    with contextlib.suppress(FileNotFoundError):
        for one in sorted(directory.iterdir()):
            # Kubernetes passes over one that is damaged, and pulls with the others.
            with contextlib.suppress(PackError):
                yield read_credentials(one)


def _merge(known: Sequence[Credentials]) -> Credentials:
    """Return what several Secrets know; of two entries for one address, the first counts."""
    auths: dict[str, Mapping[str, str]] = {}
    for one in reversed(known):
        auths.update(one.auths)
    return Credentials(
        auths=auths,
        authorities=b"\n".join(one.authorities for one in known if one.authorities),
    )
