"""Pushes a layout, fetches and removes what was pushed, with `oras`, as a child process with a
time limit and no more than it needs.

`oras` streams, sends what the registry lacks, tries again what may pass, and knows how registries
differ. What it says is read with the table in `flowdeps.environments.messages`.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from flowdeps.environments.errors import PackError, writing
from flowdeps.environments.messages import PULL, PUSH, Purpose, to_error

PUSH_SECONDS = 900.0
FETCH_SECONDS = 900.0
ASK_SECONDS = 60.0
_PASSED_ON = re.compile(r"(?i:(https?|no)_proxy)|SSL_CERT_(FILE|DIR)")
_FILE = ".dockerconfigjson"
_AUTHORITIES = "ca.crt"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What registries ask for: the content of a Secret of type kubernetes.io/dockerconfigjson."""

    auths: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """By the address of a registry, or of a part of it, as for the kubelet."""
    authorities: bytes = field(default=b"", repr=False)
    """Certificates in PEM to trust beside those that the image knows."""

    def config_for(self, repository: str) -> dict[str, Mapping[str, Mapping[str, str]]]:
        """Return what a client's configuration file says, which knows whole registries only."""
        fitting = [one for one in self.auths if f"{repository}/".startswith(f"{_bare(one)}/")]
        auths = dict(self.auths)
        if fitting:
            auths[repository.partition("/")[0]] = auths[
                max(fitting, key=lambda one: len(_bare(one)))
            ]
        return {"auths": auths}

    def hide(self, text: str) -> str:
        """Return a text without any of the secrets."""
        for one in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(one, "***")
        return re.sub(r"(?<=://)[^@/\s\"]{1,500}@", "***@", text)

    def _secrets(self) -> Iterator[str]:
        for entry in self.auths.values():
            yield from (value for name, value in entry.items() if value and name != "username")
            with contextlib.suppress(ValueError):
                password = base64.b64decode(entry.get("auth", "")).decode().partition(":")[2]
                yield from [password] if password else []


def read_credentials(directory: Path, *, name: str = PUSH.secret) -> Credentials:
    """Return the credentials that are mounted; none without a Secret, which the configuration has
    by this name. Raises `PackError`."""
    authorities = b""
    with contextlib.suppress(FileNotFoundError):
        authorities = (directory / _AUTHORITIES).read_bytes()
    try:
        auths = json.loads((directory / _FILE).read_bytes())["auths"]
        entries = {host: {k: str(v) for k, v in one.items()} for host, one in auths.items()}
    except FileNotFoundError:
        return Credentials(authorities=authorities)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise PackError(
            f"the Secret {name} of this namespace has a {_FILE} without"
            " credentials in it; make it with kubectl create secret docker-registry",
            retry=True,
        ) from None
    return Credentials(auths=entries, authorities=authorities)


async def push(
    layout: Path,
    digest: str,
    *,
    repository: str,
    tag: str,
    credentials: Credentials,
    plain_http: bool = False,
    proxy: str = "",
    seconds: float = PUSH_SECONDS,
) -> None:
    """Push a manifest of a layout with all that it refers to, and what refers to it.

    What the registry has already is not sent. Credentials are written to a directory beside the
    layout. ``proxy`` takes the place of those that variables name. Raises `PackError`.
    """
    target = open_source(
        layout.with_name("home"),
        repository=repository,
        credentials=credentials,
        plain_http=plain_http,
        proxy=proxy,
    )
    # By itself first: what refers to a manifest may be there though that was deleted, and with it
    # all that it refers to counts as there.
    for more in ((), ("--recursive",)):
        await target.ask(
            ("copy", *more, "--no-tty", "--from-oci-layout"),
            *(f"{layout}@{digest}", f"{repository}:{tag}"),
            purpose=PUSH,
            plain="--to-plain-http",
            seconds=seconds,
            answer="take the environment",
        )


async def end(process: asyncio.subprocess.Process) -> None:
    """End a child that nobody waits for any more; nothing is done to one that has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def prepare(
    home: Path, *, repository: str, credentials: Credentials, proxy: str
) -> tuple[str, dict[str, str]]:
    """Make a home for `oras`, with the credentials; return its path and its variables."""
    oras = shutil.which("oras")
    if oras is None:
        raise PackError("oras is not on PATH; build the operator's image from its Containerfile")
    env = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    if proxy:
        env = {name: value for name, value in env.items() if name.startswith("SSL_")}
        env |= {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy}
    env |= {"HOME": str(home), "DOCKER_CONFIG": str(home)}
    with writing():
        home.mkdir(mode=0o700)
        (home / "config.json").write_text(json.dumps(credentials.config_for(repository)))
        if credentials.authorities:
            # Programs in Go read the image's directories of certificates beside this file.
            known = _read(env.get("SSL_CERT_FILE"))
            (home / _AUTHORITIES).write_bytes(known + b"\n" + credentials.authorities)
            env["SSL_CERT_FILE"] = str(home / _AUTHORITIES)
    return oras, env


@dataclass(frozen=True, kw_only=True)
class Source:
    """A repository that is asked, by a client that is prepared."""

    repository: str
    credentials: Credentials
    oras: str
    env: Mapping[str, str] = field(repr=False)
    plain_http: bool = False
    seconds: float = FETCH_SECONDS

    async def ask(
        self,
        command: Sequence[str],
        *names: str,
        purpose: Purpose,
        plain: str = "--plain-http",
        seconds: float = ASK_SECONDS,
        answer: str = "answer",
    ) -> str:
        """Return what a command of `oras` prints that is about these names. Raises `PackError`.

        ``plain``: its option for a registry without TLS; ``answer``: what it may be late to do.
        """
        process = await asyncio.create_subprocess_exec(
            *(self.oras, *command, f"{plain}={str(self.plain_http).lower()}", "--", *names),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.env,
        )
        try:
            async with asyncio.timeout(seconds):
                printed, said = await process.communicate()
        except TimeoutError:
            raise self._late(answer, seconds) from None
        finally:
            await end(process)
        if process.returncode != 0:
            raise self._error(said, purpose=purpose)
        return printed.decode(errors="replace")

    async def fetch(self, what: str, digest: str, read: Callable[[IO[bytes]], T]) -> T:
        """Return what ``read`` makes of a `manifest` or a `blob`, in a thread, as it comes.

        Nothing of what comes was checked. Raises `PackError`.
        """
        ours, theirs = os.pipe()
        stream = os.fdopen(ours, "rb")
        try:
            process = await asyncio.create_subprocess_exec(
                *(self.oras, what, "fetch", f"--plain-http={str(self.plain_http).lower()}"),
                *("--output", "-", "--", f"{self.repository}@{digest}"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=asyncio.subprocess.PIPE,
                env=self.env,
            )
        except BaseException:
            stream.close()
            raise
        finally:
            os.close(theirs)
        reading = asyncio.create_task(asyncio.to_thread(_read_all, read, stream))
        try:
            async with asyncio.timeout(self.seconds):
                _, said = await process.communicate()
                await asyncio.wait({reading})
        except TimeoutError:
            raise self._late("give the environment", self.seconds) from None
        finally:
            await end(process)
            # It ends with the stream, and what it wrote is to be removed.
            await asyncio.wait({reading})
            failed = reading.exception()
        # What is wrong with the content ends the process, by a pipe that nobody reads.
        if process.returncode in {0, -signal.SIGPIPE}:
            if failed is not None:
                raise failed
            return reading.result()
        raise self._error(said, purpose=PULL)

    def _late(self, answer: str, seconds: float) -> PackError:
        return PackError(
            f"the registry {self.repository.partition('/')[0]} did not {answer} within"
            f" {seconds:.0f} s; see whether it, or the network to it, is slow",
            retry=True,
        )

    def _error(self, said: bytes, *, purpose: Purpose) -> PackError:
        text = self.credentials.hide(said.decode(errors="replace"))
        return to_error(text, repository=self.repository, purpose=purpose)


def open_source(
    home: Path, *, repository: str, credentials: Credentials, plain_http: bool, proxy: str
) -> Source:
    """Return a repository that can be asked, by a client at home in a new directory. Raises
    `PackError`."""
    oras, env = prepare(home, repository=repository, credentials=credentials, proxy=proxy)
    return Source(
        repository=repository, credentials=credentials, oras=oras, env=env, plain_http=plain_http
    )


def _read_all(read: Callable[[IO[bytes]], T], stream: IO[bytes]) -> T:
    with stream:
        return read(stream)


def _read(path: str | None) -> bytes:
    """Return the content of a file; nothing where there is none."""
    with contextlib.suppress(OSError):
        return Path(path).read_bytes() if path else b""
    return b""


def _bare(address: str) -> str:
    """Return the address of a registry without its scheme, and without a slash at its end."""
    return address.rpartition("://")[2].rstrip("/")
