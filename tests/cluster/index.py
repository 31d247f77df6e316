"""A local package index: the simple API over packages that the tests make.

``/simple/`` lists projects and releases, ``/files/`` serves distributions and their metadata
(PEP 658). Faults are switches: a closed port (``down``), a pause before each answer (``slow``), an
error status (``fail``), other bytes under a known name (``corrupt``).
"""

import base64
import threading
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

from tests.cluster import distributions, simple_api
from tests.cluster.distributions import LONG_AGO, REFUSING_BACKEND, Distribution, normalized
from tests.cluster.httpserver import NOT_FOUND, Answer, Request, Server
from tests.cluster.lifecycle import Startable
from tests.cluster.pki import Pair


class Index(Startable):
    """A package index on ``host``; a context manager, or ``start``/``stop``.

    With a user name it answers those who say it and the password; with a certificate over TLS.
    ``upload_times`` False: it doesn't say when a file was uploaded.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        username: str | None = None,
        password: str | None = None,
        certificate: Pair | None = None,
        upload_times: bool = True,
    ) -> None:
        self.certificate = certificate
        self.upload_times = upload_times
        self.host = host
        self.port = port
        self.log: list[Request] = []
        self._authorization: str | None = None
        if username is not None:
            self.protect(username, password or "")
        self._files: dict[str, Distribution] = {}
        self._corrupted: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._delay = 0.0
        self._status: int | None = None
        self._cache_control = "no-cache"
        self._server: Server | None = None

    @property
    def base_url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The index URL: never with credentials in it."""
        return f"{self.base_url}/simple/"

    @property
    def requests(self) -> list[str]:
        """The paths asked for since the start or the last ``forget``, in order."""
        return [request.path for request in self.log]

    def forget(self) -> None:
        self.log.clear()

    # What it holds

    def add(
        self,
        name: str,
        version: str,
        *,
        requires: Sequence[str] = (),
        extras: Mapping[str, Sequence[str]] | None = None,
        tags: Sequence[str] = ("py3-none-any",),
        modules: Mapping[str, str | bytes] | None = None,
        requires_python: str | None = None,
        upload_time: datetime = LONG_AGO,
        yanked: bool | str = False,
    ) -> list[Distribution]:
        """Publish a wheel for each of ``tags``; the same names again replace the files."""
        return [
            self._publish(
                distributions.wheel(
                    name=name,
                    version=version,
                    tag=tag,
                    requires=requires,
                    extras=extras,
                    modules=modules,
                    requires_python=requires_python,
                    upload_time=upload_time,
                    yanked=yanked,
                )
            )
            for tag in tags
        ]

    def add_sdist(
        self,
        name: str,
        version: str,
        *,
        requires: Sequence[str] = (),
        requires_python: str | None = None,
        backend: str = REFUSING_BACKEND,
        upload_time: datetime = LONG_AGO,
    ) -> Distribution:
        """Publish a source distribution; by default building it is an error."""
        return self._publish(
            distributions.sdist(
                name=name,
                version=version,
                requires=requires,
                requires_python=requires_python,
                backend=backend,
                upload_time=upload_time,
            )
        )

    def add_wheel(self, path: Path, *, upload_time: datetime = LONG_AGO) -> Distribution:
        """Publish a wheel that exists as a file."""
        return self._publish(
            distributions.from_wheel(path.name, path.read_bytes(), upload_time=upload_time)
        )

    def remove(self, name: str, version: str | None = None) -> None:
        """Take a release, or all of a project's, out of the index."""
        with self._lock:
            for filename in self._matching(name, version):
                del self._files[filename]
                self._corrupted.pop(filename, None)

    def yank(self, name: str, version: str, reason: bool | str = True) -> None:
        with self._lock:
            for filename in self._matching(name, version):
                self._files[filename] = replace(self._files[filename], yanked=reason)

    # Faults

    def protect(self, username: str, password: str) -> None:
        """Answer only those who say these."""
        credentials = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._authorization = f"Basic {credentials}"

    def down(self) -> None:
        """Refuse connections until ``up``."""
        self.stop()

    def up(self) -> None:
        self.start()

    def slow(self, seconds: float) -> None:
        """Wait before each answer; 0 ends it."""
        self._delay = seconds

    def let_keep(self) -> None:
        """Let a client keep answers for a day without asking again, as a proxy may."""
        self._cache_control = "max-age=86400"

    def fail(self, status: int | None) -> None:
        """Answer everything with this HTTP status; None ends it."""
        self._status = status

    def corrupt(self, name: str, version: str) -> None:
        """Serve other bytes under the same names; the listing keeps the right hashes."""
        with self._lock:
            for filename in self._matching(name, version):
                one = self._files[filename]
                other = distributions.wheel(
                    name=name,
                    version=version,
                    modules={"corrupted.py": f"# not what {filename} was published with\n"},
                )
                self._corrupted[one.filename] = other.content

    def heal(self) -> None:
        """End every fault."""
        with self._lock:
            self._corrupted.clear()
        self._delay, self._status = 0.0, None
        self.start()

    # Serving

    def start(self) -> None:
        """Listen; port 0 takes a free port at first and keeps it."""
        if self._server is None:
            self._server = Server(
                self._respond, host=self.host, port=self.port, certificate=self.certificate
            )
            self.port = self._server.server_port

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _publish(self, distribution: Distribution) -> Distribution:
        with self._lock:
            self._files[distribution.filename] = distribution
            self._corrupted.pop(distribution.filename, None)
        return distribution

    def _matching(self, name: str, version: str | None) -> list[str]:
        found = [
            one.filename
            for one in self._files.values()
            if one.project == normalized(name) and version in {None, one.version}
        ]
        if not found:
            raise KeyError(f"{name} {version or ''} is not in the index".replace("  ", " "))
        return found

    def _respond(self, request: Request) -> Answer:
        self.log.append(request)
        if self._status is not None:
            answer = Answer(status=self._status, body=b"a fault\n")
        elif request.authorization != self._authorization and self._authorization is not None:
            answer = Answer(status=HTTPStatus.UNAUTHORIZED, body=b"unauthorized\n")
        else:
            answer = self._answer(request.path, accept=request.accept)
        return replace(answer, delay=self._delay, cache_control=self._cache_control)

    def _answer(self, path: str, *, accept: str) -> Answer:
        """What stands under a path; the decision only, no I/O."""
        match urllib.parse.unquote(path.partition("?")[0]).strip("/").split("/"):
            case ["simple"]:
                return simple_api.projects(
                    sorted({one.project for one in self._listing()}), accept=accept
                )
            case ["simple", project]:
                files = [one for one in self._listing() if one.project == normalized(project)]
                return simple_api.releases(
                    normalized(project), files, accept=accept, times=self.upload_times
                )
            case ["files", filename]:
                return self._file(filename)
            case _:
                return NOT_FOUND

    def _listing(self) -> list[Distribution]:
        with self._lock:
            return list(self._files.values())

    def _file(self, filename: str) -> Answer:
        with self._lock:
            wanted = self._files.get(filename.removesuffix(".metadata"))
            corrupted = self._corrupted.get(filename)
        if wanted is None:
            return NOT_FOUND
        if filename == wanted.filename:
            return Answer(body=corrupted or wanted.content, media_type="application/octet-stream")
        if wanted.metadata is None:
            return NOT_FOUND
        return Answer(body=wanted.metadata)
