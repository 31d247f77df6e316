"""What uv says is what the samples in `tests/unit/resolver/samples` have.

After an upgrade of uv, a failure shows which sentence changed. `FLOWDEPS_WRITE_SAMPLES=1` writes
what uv says now; then tests/unit/resolver/test_messages.py shows which pattern no longer fits.
"""

import json
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from uv import find_uv_bin

from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.request import Prereleases
from flowdeps.resolver.errors import ResolveError
from flowdeps.resolver.resolve import Resolver
from tests.cluster import distributions
from tests.cluster.httpserver import Answer, Server
from tests.cluster.index import Index
from tests.cluster.pki import Authority
from tests.integration.resolver.support import AMD64, ask, limits, link, served, stand_in

SAMPLES = Path(__file__).parents[2] / "unit" / "resolver" / "samples"
NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)


class Scenes:
    """What an index has and what is asked of it, each under the name of its sample."""

    def __init__(self, resolver: Resolver, index: Index, other: Index, folder: Path) -> None:
        self._resolver, self._index, self._other, self._folder = resolver, index, other, folder

    async def _ask(self, *lines: str, index: str | tuple[str, ...] = "", **changes: object) -> None:
        request = ask(*lines, index=index or self._index.url, platforms=(AMD64,))
        with suppress(ResolveError):
            request = replace(request, **changes)  # type: ignore[arg-type]
            await self._resolver.resolve(request, previous=None)

    async def unknown_package(self) -> None:
        await self._ask("pandsa")

    async def local_file(self) -> None:
        await self._of_this_machine()

    async def local_file_with_hash(self) -> None:
        await self._of_this_machine(sha256="0" * 64)

    async def _of_this_machine(self, **hashes: str) -> None:
        file = {"url": "file:///etc/none", "filename": "app-1.0-py3-none-any.whl"}
        page = {
            "meta": {"api-version": "1.1"},
            "name": "app",
            "files": [{**file, "hashes": hashes}],
        }
        body = json.dumps(page).encode()
        answer = Answer(body=body, media_type="application/vnd.pypi.simple.v1+json")
        server = Server(lambda _: answer, host="127.0.0.1", port=0)
        try:
            await self._ask("app", index=f"http://127.0.0.1:{server.server_port}/simple/")
        finally:
            server.close()

    async def url_of_a_file(self) -> None:
        self._index.add("app", "1.0", requires=["evil @ file:///etc/hosts"])
        await self._ask("app")

    async def url_of_no_file(self) -> None:
        self._index.add("app", "1.0", requires=["evil @ file:///etc/none"])
        self._index.add("main", "1.0", requires=["app[x]"])
        await self._ask("main")

    async def disk_full(self) -> None:
        self._index.add("app", "1.0")
        await self._ask("app")

    async def newer_than_offered(self) -> None:
        self._index.add("app", "1.0")
        await self._ask("app>1")

    async def no_such_version(self) -> None:
        self._index.add("app", "1.0")
        await self._ask("app==2.0")

    async def only_pre_releases(self) -> None:
        self._index.add("app", "0.1a1")
        await self._ask("app", prereleases=Prereleases.DISALLOW)

    async def on_another_index(self) -> None:
        self._index.add("app", "1.0")
        self._other.add("app", "2.0")
        await self._ask("app>1", index=(self._index.url, self._other.url))

    async def too_young(self) -> None:
        self._add_young()
        await self._ask("app>1", cooldown=WEEK)

    async def too_young_version(self) -> None:
        self._add_young()
        await self._ask("app==2.0", cooldown=WEEK)

    async def too_young_of_last_lock(self) -> None:
        self._add_young()
        request = ask("app>1", index=self._index.url, platforms=(AMD64,))
        before = await self._resolver.resolve(request, previous=None)
        with suppress(ResolveError):
            await self._resolver.resolve(replace(request, cooldown=WEEK), previous=before.lock)

    def _add_young(self) -> None:
        self._index.add("app", "1.0")
        self._index.add("app", "2.0", upload_time=NOW - timedelta(days=3))

    async def no_upload_time(self) -> None:
        with Index(upload_times=False) as index:
            index.add("app", "1.0")
            await self._ask("app", index=index.url, cooldown=WEEK)

    async def only_sdist(self) -> None:
        self._index.add("app", "1.0")
        self._index.add_sdist("app", "2.0")
        await self._ask("app>=2")

    async def newer_glibc(self) -> None:
        self._index.add("app", "2.0", tags=["cp311-cp311-manylinux_2_39_x86_64"])
        await self._ask("app")

    async def conflict_with_image(self) -> None:
        self._index.add("six", "1.16.0")
        self._index.add("six", "2.0")
        image = ImageFacts(
            python="3.11",
            platform=AMD64,
            markers={"python_version": "3.11"},
            distributions=(Distribution("six", "1.16.0"),),
        )
        await self._ask("six>=2", image=image)

    async def unknown_extra(self) -> None:
        self._index.add("app", "1.0")
        await self._ask("app[fast]")

    async def url_dependency(self) -> None:
        self._index.add(
            "app", "1.0", requires=["x @ http://other.example.com/x-1.0-py3-none-any.whl"]
        )
        await self._ask("app")

    async def local_wheel(self) -> None:
        wheel = distributions.wheel(name="app", version="1.0")
        with served({"/simple/app/": link(wheel, base=f"file://{self._folder}")}) as base:
            await self._ask("app", index=f"{base}/simple/")

    async def yanked(self) -> None:
        self._index.add("app", "1.0", yanked=True)
        await self._ask("app==1.0")

    async def yanked_with_reason(self) -> None:
        self._index.add("app", "1.0", yanked='breaks on "Mondays"')
        await self._ask("app==1.0")

    async def empty_page(self) -> None:
        with served({"/simple/app/": b"<html></html>"}) as base:
            await self._ask("app", index=f"{base}/simple/")

    async def no_html(self) -> None:
        with served({"/simple/app/": b'<a href="app-1.0-py3-none-any.whl#md5=0">x</a>'}) as base:
            await self._ask("app", index=f"{base}/simple/")

    async def no_json(self) -> None:
        await self._answered(b"{}", "application/vnd.pypi.simple.v1+json")

    async def no_page(self) -> None:
        await self._answered(b"hello", "text/plain")

    async def _answered(self, body: bytes, media_type: str) -> None:
        server = Server(
            lambda _: Answer(body=body, media_type=media_type), host="127.0.0.1", port=0
        )
        try:
            await self._ask("app", index=f"http://127.0.0.1:{server.server_port}/simple/")
        finally:
            server.close()

    async def file_gone(self) -> None:
        wheel = distributions.wheel(name="my-app", version="1.0")
        with served({"/simple/my-app/": link(wheel)}) as base:
            await self._ask("my-app", index=f"{base}/simple/")

    async def unknown_authority(self) -> None:
        authority = Authority(self._folder / "authority")
        pair = authority.server("index", names=["localhost"], addresses=["127.0.0.1"])
        with Index(certificate=pair) as index:
            await self._ask("app", index=index.url)

    async def local_version(self) -> None:
        self._index.add("app", "2.1")
        await self._ask("app==2.1+cu121")

    async def unauthorized(self) -> None:
        self._index.fail(401)
        await self._ask("app")

    async def forbidden(self) -> None:
        self._index.fail(403)
        await self._ask("app")

    async def broken_index(self) -> None:
        self._index.fail(503)
        await self._ask("app")

    async def closed_port(self) -> None:
        self._index.down()
        await self._ask("app")

    async def unknown_host(self) -> None:
        await self._ask("app", index="http://index.invalid/simple/")


@pytest.mark.parametrize(
    "name", [name for name in vars(Scenes) if not name.startswith("_")], ids=str
)
async def test_uv_says_what_the_samples_have(
    name: str, index: Index, other_index: Index, tmp_path: Path
) -> None:
    """Word for word, but for ports, times and paths."""
    said = tmp_path / "said"
    program = f"""
if {name == Scenes.disk_full.__name__}:
    output.symlink_to("/dev/full")
done = subprocess.run(["{find_uv_bin()}", *sys.argv[1:]], stderr=subprocess.PIPE)
if {name != Scenes.url_of_no_file.__name__} or not os.path.exists("{said}"):
    pathlib.Path("{said}").write_bytes(done.stderr)
sys.stderr.buffer.write(done.stderr)
sys.exit(done.returncode)
"""
    uv = stand_in(tmp_path / "uv", program)
    resolver = Resolver(limits=limits(), cache=tmp_path / "cache", uv=uv, now=lambda: NOW)
    scene: Callable[[], Awaitable[None]] = getattr(
        Scenes(resolver, index, other_index, tmp_path), name
    )
    await scene()
    text = said.read_text()
    for changing, fixed in (
        (re.escape(other_index.base_url), "http://other.example.com"),
        (r"(https?)://127\.0\.0\.1:\d+", r"\1://index.example.com"),
        (r" in [\d.]+m?s\b", " in 1s"),
        (r"(address information): .*", r"\1: Name or service not known"),
        (re.escape(str(tmp_path)), "/srv"),
    ):
        text = re.sub(changing, fixed, text)
    sample = SAMPLES / f"{name}.txt"
    if os.environ.get("FLOWDEPS_WRITE_SAMPLES"):
        sample.write_text(text)
    assert text == sample.read_text()
