"""A request in one line, indices with any page, and programs that stand in for uv."""

import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from flowdeps.resolver.child import Limits
from flowdeps.resolver.network import Network
from flowdeps.resolver.resolve import Resolver
from tests.cluster import simple_api
from tests.cluster.distributions import Distribution
from tests.cluster.httpserver import NOT_FOUND, Answer, Request, Server

AMD64, ARM64 = "linux/amd64", "linux/arm64"
PLATFORMS = (AMD64, ARM64)

# The parts of a Python program that stands in for uv: what it gets, and what it has to write.
PROLOGUE = f"""#!{sys.executable}
import json, os, pathlib, subprocess, sys, time
output = pathlib.Path(sys.argv[sys.argv.index("--output-file") + 1])
"""
EMPTY_RESOLUTION = """
output.write_text('lock-version = "1.0"\\ncreated-by = "x"\\npackages = []\\n')
"""

LOOPBACK = Network(allowed=("127.0.0.0/8",))
"""Where the indexes of these tests are."""

MakeResolver = Callable[..., Resolver]


def ask(
    *requirements: str,
    index: str | tuple[str, ...],
    constraints: tuple[str, ...] = (),
    python: str = "3.11",
    platforms: tuple[str, ...] = PLATFORMS,
) -> LockRequest:
    """A request to the index, or indices in the order of asking."""
    first, *extra = (index,) if isinstance(index, str) else index
    return LockRequest(
        requirements=requirements,
        constraints=constraints,
        target=Target(python, platforms),
        index=Index(first, tuple(extra)),
    )


async def lock_of(
    resolver: Resolver,
    request: LockRequest,
    *,
    previous: Lock | None,
    access: Access | None = None,
) -> Lock:
    """The lock alone of a resolution."""
    return (await resolver.resolve(request, previous=previous, access=access)).lock


def stand_in(path: Path, program: str) -> Path:
    """A program at ``path`` that runs ``program`` instead of uv's work."""
    path.write_text(PROLOGUE + program)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@contextmanager
def served(pages: Mapping[str, bytes], *, log: list[str] | None = None) -> Iterator[str]:
    """A server of exactly these pages by path; gives its base URL and logs paths."""

    def respond(request: Request) -> Answer:
        if log is not None:
            log.append(request.path)
        body = pages.get(request.path)
        media_type = "text/html" if request.path.endswith("/") else "application/octet-stream"
        return NOT_FOUND if body is None else Answer(body=body, media_type=media_type)

    server = Server(respond, host="127.0.0.1", port=0)
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.close()


@contextmanager
def long_cached(distributions: list[Distribution]) -> Iterator[str]:
    """An index whose pages may be kept for a day, as a proxy's may; gives its URL.

    It lists what stands in ``distributions`` at the moment of asking.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = self.answer(*self.path.strip("/").split("/"))
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.media_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "public, max-age=86400")
            self.end_headers()
            self.wfile.write(answer.body)

        def answer(self, kind: str, name: str) -> Answer:
            if kind == "simple":
                files = [one for one in distributions if one.project == name]
                return simple_api.releases(name, files, accept=self.headers.get("Accept", ""))
            wheel = next(one for one in distributions if name.startswith(one.filename))
            return Answer(body=wheel.metadata or b"" if name != wheel.filename else wheel.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()


def link(wheel: Distribution, *, base: str = "/files", fragment: str = "") -> bytes:
    """A link to a wheel as a page of an index has it."""
    return f'<a href="{base}/{wheel.filename}{fragment}">{wheel.filename}</a>'.encode()


def limits(**changes: float) -> Limits:
    """The limits of these tests: the real ones but for the time."""
    return Limits(**{"timeout": 60, **changes})  # type: ignore[arg-type]
