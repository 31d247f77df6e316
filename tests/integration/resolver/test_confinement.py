"""How the child lives and ends. A stand-in for uv where the child itself is what is looked at."""

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from flowdeps.locks.access import Access
from flowdeps.locks.image import Distribution, ImageFacts
from flowdeps.locks.lock import Lock, Pin
from flowdeps.resolver.errors import (
    IndexUnavailableError,
    LimitExceededError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.resolve import Resolver
from tests.cluster.index import Index
from tests.integration.resolver.support import (
    AMD64,
    EMPTY_RESOLUTION,
    MakeResolver,
    ask,
    limits,
    lock_of,
    stand_in,
)

URL = "https://example.com/simple"
REQUEST = ask("app", index=URL, platforms=(AMD64,))
IMAGE = ImageFacts(
    python="3.11",
    platform=AMD64,
    distributions=(Distribution("six", "1.0"),),
    markers={"python_version": "3.11"},
)
MIB = 1024**2

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux's kernel")


def running(pid: int) -> bool:
    """Whether a process exists and isn't just waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def none_running(pids: list[int]) -> bool:
    return not any(map(running, pids))


async def until(found: Callable[[], object]) -> None:
    """Wait until there is something; a stand-in and the real uv can't tell us."""
    async with asyncio.timeout(60):
        while not found():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def process_ids(path: Path) -> list[int]:
    """What a forking program told, when it has told all of it."""
    text = path.read_text() if path.exists() else ""
    return [int(pid) for pid in text.split()] if text.endswith("\n") else []


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def empty(directory: Path) -> bool:
    return not any(directory.iterdir())


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made in this test."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


async def test_the_child_gets_nothing_of_our_environment_but_the_way_to_the_network(
    make_resolver: MakeResolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token, key or setting; certificate authorities, since uv can't do without, and of proxies
    the one that guards the network, for all hosts."""
    ours = {
        "PREFECT_API_KEY": "secret",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "UV_INDEX_URL": "https://example.org/simple",
        "UV_INDEX_PRIVATE_PASSWORD": "secret",
        "PIP_INDEX_URL": "https://example.org/simple",
        "NETRC": "/root/.netrc",
        "SSL_CLIENT_CERT": "/etc/client.pem",
        "PYTHONPATH": "/srv",
        "LD_PRELOAD_OF_NOBODY": "x",
    }
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    kept = {
        "SSL_CERT_FILE": "/etc/ssl/ca.pem",
        "SSL_CERT_DIR": "/etc/ssl/certs",
    }
    for name, value in {**ours, **kept}.items():
        monkeypatch.setenv(name, value)
    seen = tmp_path / "seen"
    uv = stand_in(
        tmp_path / "uv",
        f"pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ)))" + EMPTY_RESOLUTION,
    )
    await make_resolver(uv=uv).resolve(REQUEST, previous=None)
    environment = json.loads(seen.read_text())
    assert kept.items() <= environment.items()
    own = {"HOME", "TMPDIR", "LC_ALL", "UV_HTTP_TIMEOUT", "UV_HTTP_CONNECT_TIMEOUT"}
    upper = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    proxies = {environment.pop(name, "") for name in (*upper, *map(str.lower, upper))}
    [guard] = proxies
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", guard)
    assert environment.keys() == {*kept, *own, "UV_HTTP_RETRIES"}
    assert "secret" not in seen.read_text()


async def test_requirements_are_no_arguments_and_the_index_is_one(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """Lines reach uv as files in a directory of its own; settings, builds and keyrings are off."""
    seen = tmp_path / "seen"
    uv = stand_in(
        tmp_path / "uv",
        f"""
files = {{one.name: one.read_text() for one in pathlib.Path().iterdir()}}
leads = os.getsid(0) == os.getpid()
pathlib.Path({str(seen)!r}).write_text(json.dumps([sys.argv[1:], files, leads]))
"""
        + EMPTY_RESOLUTION,
    )
    request = ask("app>=1", index=(URL, f"{URL}/2"), constraints=("lib<2",), platforms=(AMD64,))
    await make_resolver(uv=uv).resolve(request, previous=None)
    arguments, files, leads = json.loads(seen.read_text())
    assert leads
    assert (files["requirements.in"], files["constraints.in"]) == ("app>=1\n", "lib<2\n")
    assert not any("app" in one or "lib" in one for one in arguments)
    assert arguments[-2:] == [f"--index={URL}", f"--default-index={URL}/2"]
    text = " ".join(arguments)
    for flag in (
        "--only-binary :all:",
        "--no-config",
        "--no-python-downloads",
        "--no-sources",
        "--keyring-provider disabled",
        "--index-strategy first-index",
        f"--python {sys.executable}",
    ):
        assert flag in text


def forking(pids: Path) -> str:
    """A program that starts another, tells both process ids, and never ends."""
    return f"""
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path({str(pids)!r}).write_text(f"{{os.getpid()}} {{child.pid}}\\n")
time.sleep(600)
"""


async def test_a_timeout_ends_the_child_and_all_that_it_started(
    make_resolver: MakeResolver, tmp_path: Path, scratch: Path
) -> None:
    """A resolution without end is ended, said so, and tried again later."""
    uv = stand_in(tmp_path / "uv", forking(tmp_path / "pids"))
    resolver = make_resolver(uv=uv, within=limits(timeout=2))
    with pytest.raises(LimitExceededError, match=r"^no resolution within 2 seconds") as caught:
        await lock_of(resolver, REQUEST, previous=None)
    assert (caught.value.reason, caught.value.retry) == ("ResolverLimit", True)
    await until(partial(none_running, process_ids(tmp_path / "pids")))
    assert empty(scratch)


async def test_a_cancellation_ends_the_child_and_all_that_it_started(
    make_resolver: MakeResolver, tmp_path: Path, scratch: Path
) -> None:
    """Nobody waits for the result, so nothing works for it; the turn is free again."""
    uv = stand_in(tmp_path / "uv", forking(tmp_path / "pids"))
    resolver = make_resolver(uv=uv)
    for _ in range(2):
        task = asyncio.create_task(lock_of(resolver, REQUEST, previous=None))
        await until(lambda: process_ids(tmp_path / "pids"))
        pids = process_ids(tmp_path / "pids")
        assert all(running(pid) for pid in pids)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(partial(none_running, pids))
        assert empty(scratch)
        (tmp_path / "pids").unlink()


async def test_the_real_uv_ends_when_it_is_cancelled(
    index: Index, make_resolver: MakeResolver, scratch: Path
) -> None:
    """Also in the middle of a request to the index."""
    index.slow(60)
    request = ask("app", index=index.url)
    task = asyncio.create_task(make_resolver().resolve(request, previous=None))
    await until(lambda: index.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert empty(scratch)


@linux_only
async def test_the_children_end_with_an_operator_that_is_killed(tmp_path: Path) -> None:
    """uv, and the proxy on its way, which waits for connections without an end of its own."""
    uv = stand_in(tmp_path / "uv", "time.sleep(600)")
    program = f"""
import asyncio, pathlib
from tests.integration.resolver.support import LOOPBACK, limits
from tests.integration.resolver.test_confinement import REQUEST
from flowdeps.resolver.resolve import Resolver
resolver = Resolver(
    limits=limits(), cache=pathlib.Path({str(tmp_path / "cache")!r}), network=LOOPBACK,
    uv=pathlib.Path({str(uv)!r}),
)
asyncio.run(resolver.resolve(REQUEST, previous=None))
"""
    operator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        await until(lambda: len(children(operator.pid)) == 2)
        pids = children(operator.pid)
        assert all(map(running, pids))
    finally:
        operator.kill()
        await operator.wait()
    await until(partial(none_running, pids))


@linux_only
async def test_the_kernel_keeps_the_child_within_its_limits(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """Memory, file size and processor time are bounded, and no core is dumped."""
    seen = tmp_path / "seen"
    uv = stand_in(
        tmp_path / "uv",
        f"""
import resource
deadline = time.monotonic() + 30
# It is set from outside, when the child runs already, and the last of all.
while resource.getrlimit(resource.RLIMIT_CPU)[0] < 0 and time.monotonic() < deadline:
    time.sleep(0.02)
names = ("RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_CPU")
found = {{name: resource.getrlimit(getattr(resource, name)) for name in names}}
pathlib.Path({str(seen)!r}).write_text(json.dumps(found))
"""
        + EMPTY_RESOLUTION,
    )
    within = limits(memory=300 * MIB, file=7 * MIB)
    await make_resolver(uv=uv, within=within).resolve(REQUEST, previous=None)
    assert json.loads(seen.read_text()) == {
        "RLIMIT_DATA": [300 * MIB, 300 * MIB],
        "RLIMIT_FSIZE": [7 * MIB, 7 * MIB],
        "RLIMIT_CORE": [0, 0],
        "RLIMIT_CPU": [within.timeout * (os.cpu_count() or 1)] * 2,
    }


@linux_only
@pytest.mark.parametrize(
    ("change", "message", "retry"),
    [
        ({"memory": 40 * MIB}, "it took too much memory", False),
        ({"file": 100}, "it wrote too large a file", True),
        ({"output": 100}, "the resolution is larger than 100 bytes", False),
    ],
)
async def test_the_real_uv_past_a_limit_says_which(
    index: Index, make_resolver: MakeResolver, change: dict[str, int], message: str, retry: bool
) -> None:
    """What passes a limit fails with the limit's name, and nothing half-made is taken."""
    index.add("app", "1.0")
    index.slow(1)  # or uv may be done before it has its limits
    resolver = make_resolver(within=limits(**change))
    with pytest.raises(LimitExceededError, match=message) as caught:
        await lock_of(resolver, ask("app", index=index.url), previous=None)
    assert caught.value.retry == retry


async def test_the_default_memory_is_far_more_than_uv_needs(
    index: Index, make_resolver: MakeResolver
) -> None:
    """A quarter of it is enough for a resolution of 60 packages."""
    names = [f"lib{number}" for number in range(59)]
    index.add("app", "1.0", requires=names)
    for name in names:
        index.add(name, "1.0")
    resolver = make_resolver(within=limits(memory=512 * MIB))
    lock = await lock_of(resolver, ask("app", index=index.url), previous=None)
    assert len(lock.pins) == 60


async def test_a_flood_of_messages_becomes_a_short_text(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """However much uv says, an error stays readable and keeps the beginning and the end."""
    program = """
sys.stderr.write("error: No solution found when resolving dependencies\\n  cause: Because ")
sys.stderr.write("x" * 3_000_000 + " we can conclude that it is unsatisfiable.\\n")
sys.exit(1)
"""
    uv = stand_in(tmp_path / "uv", program)
    with pytest.raises(UnsatisfiableError) as caught:
        await make_resolver(uv=uv).resolve(REQUEST, previous=None)
    assert len(caught.value.message) <= 1000
    assert caught.value.message.startswith("Because x")
    assert caught.value.message.endswith("x we can conclude that it is unsatisfiable.")


async def test_a_missing_program_is_an_error_of_the_resolver(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """An image without uv shows in a condition, not in a traceback."""
    with pytest.raises(ResolverError, match="uv can't be started: No such file or directory"):
        await make_resolver(uv=tmp_path / "none").resolve(REQUEST, previous=None)


@pytest.mark.parametrize("credentials", [False, True])
@pytest.mark.parametrize("image", [None, IMAGE])
async def test_a_cache_directory_that_can_not_be_made_is_named_with_its_field(
    tmp_path: Path, image: ImageFacts | None, credentials: bool
) -> None:
    """Also where stub wheels or a private cache would be the first in it: uv isn't to blame."""
    file = tmp_path / "file"
    file.touch()
    resolver = Resolver(limits=limits(), cache=file / "cache")
    access = Access(netrc="machine example.com login me password pw") if credentials else None
    with pytest.raises(ResolverError) as caught:
        await resolver.resolve(replace(REQUEST, image=image), previous=None, access=access)
    assert caught.value.message == (
        f"the cache directory {file}/cache can't be used (Not a directory); correct it, or name "
        "another in resolver.cacheDirectory of the configuration"
    )


async def test_a_program_that_writes_nonsense_is_not_believed(
    make_resolver: MakeResolver, tmp_path: Path
) -> None:
    """Success without a resolution is no lock."""
    hashes = (f"sha256:{'0' * 64}",)
    pin = Pin(canonicalize_name("app"), "1.0", hashes, REQUEST.target.platforms)
    previous = Lock(REQUEST.target, (pin,))
    for program in ("", "output.write_text('nonsense')", "output.write_bytes(b'\\xff')"):
        uv = stand_in(tmp_path / "uv", program)
        for before in (None, previous):
            with pytest.raises(ResolverError):
                await make_resolver(uv=uv).resolve(REQUEST, previous=before)


async def test_a_failed_resolution_leaves_nothing_behind(
    index: Index, make_resolver: MakeResolver, scratch: Path
) -> None:
    """After any number of failures the resolver still works, and no file stays."""
    resolver = make_resolver()
    for _ in range(2):
        with pytest.raises(UnsatisfiableError):
            await lock_of(resolver, ask("app", index=index.url), previous=None)
    index.fail(404)
    with pytest.raises((UnsatisfiableError, IndexUnavailableError)):
        await lock_of(resolver, ask("app", index=index.url), previous=None)
    index.fail(None)
    index.add("app", "1.0")
    assert (await lock_of(resolver, ask("app", index=index.url), previous=None)).pins
    assert empty(scratch)
