"""Which files get into a lock, and which never do."""

import asyncio
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flowdeps.locks.target import GLIBCS, OLDEST_GLIBC, PLATFORMS
from flowdeps.resolver.errors import ResolveError, UnsatisfiableError
from flowdeps.resolver.resolve import Resolver
from tests.cluster import distributions, tools
from tests.cluster.index import Index
from tests.integration.resolver.support import (
    AMD64,
    ARM64,
    ask,
    link,
    lock_of,
    served,
)

FITTING = {
    AMD64: (
        "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp38-abi3-manylinux_2_28_x86_64",
    ),
    ARM64: ("cp311-cp311-manylinux_2_17_aarch64",),
}
ANYWHERE = ("py3-none-any",)
ELSEWHERE = (
    "cp311-cp311-musllinux_1_2_x86_64",
    "cp311-cp311-macosx_11_0_arm64",
    "cp311-cp311-win_amd64",
    "cp311-cp311-manylinux_2_31_x86_64",
    "cp311-cp311-manylinux_2_17_i686",
    "cp310-cp310-manylinux_2_17_x86_64",
    "cp312-cp312-manylinux_2_17_aarch64",
    "cp312-abi3-manylinux_2_17_x86_64",
    "pp311-pypy311_pp73-manylinux_2_17_x86_64",
)


def hashes(index: Index, *tags: str) -> tuple[str, ...]:
    return tuple(sorted(f"sha256:{one.sha256}" for one in index.add("app", "1.0", tags=tags)))


async def test_only_hashes_of_wheels_that_fit_are_in_a_lock(
    index: Index, resolver: Resolver
) -> None:
    """Both platforms' own wheels, the stable ABI's and the universal one; nobody else's."""
    wanted = hashes(index, *FITTING[AMD64], *FITTING[ARM64], *ANYWHERE)
    hashes(index, *ELSEWHERE)
    index.add_sdist("app", "1.0")
    lock = await lock_of(resolver, ask("app", index=index.url), previous=None)
    assert [pin.hashes for pin in lock.pins] == [wanted]


def test_each_platform_of_uv_is_used() -> None:
    """Those of uv from the oldest glibc on that locks are made for; a newer uv may know more."""
    done = subprocess.run(
        [tools.uv(), "pip", "compile", "--python-platform", "?", "-"],
        capture_output=True,
        text=True,
        check=False,
    )
    for one in PLATFORMS.values():
        known = {int(n) for n in re.findall(rf"{one.machine}-manylinux_2_(\d+)", done.stderr)}
        assert {minor for minor in known if minor >= OLDEST_GLIBC} == set(GLIBCS)
        assert all(one.uv_platform(minor) in done.stderr for minor in GLIBCS)


async def test_a_lock_for_one_platform_has_no_other_platforms_hashes(
    index: Index, resolver: Resolver
) -> None:
    """A smaller target is a smaller lock."""
    hashes(index, *FITTING[AMD64], *ELSEWHERE)
    wanted = hashes(index, *FITTING[ARM64], *ANYWHERE)
    request = ask("app", index=index.url, platforms=(ARM64,))
    lock = await lock_of(resolver, request, previous=None)
    assert [pin.hashes for pin in lock.pins] == [wanted]


async def test_a_source_distribution_is_never_used(index: Index, resolver: Resolver) -> None:
    """Where a release has none but sources, an older one with wheels is taken; or none at all."""
    index.add("app", "1.0")
    index.add_sdist("app", "2.0")
    lock = await lock_of(resolver, ask("app", index=index.url), previous=None)
    assert [pin.version for pin in lock.pins] == ["1.0"]
    with pytest.raises(UnsatisfiableError, match="Only wheels are used") as caught:
        await lock_of(resolver, ask("app>=2", index=index.url), previous=None)
    assert "--" not in caught.value.message
    assert not any(path.endswith(".tar.gz") for path in index.requests)


async def test_a_wheel_that_requires_a_url_is_refused_and_the_url_not_asked(
    index: Index, other_index: Index, resolver: Resolver
) -> None:
    """Only the index is ever contacted, whatever a package's metadata say."""
    elsewhere = f"x @ {other_index.base_url}/files/x-1.0-py3-none-any.whl"
    other_index.add("x", "1.0")
    index.add("x", "1.0")
    index.add("app", "1.0", requires=[elsewhere])
    for lines in (["app"], ["app", "x"]):
        with pytest.raises(UnsatisfiableError, match=r"`app==1\.0`: it asks for x at a URL, which"):
            await lock_of(resolver, ask(*lines, index=index.url), previous=None)
    assert other_index.requests == []


async def test_hashes_that_an_index_leaves_out_are_computed(resolver: Resolver) -> None:
    """uv reads the files of an index without hashes; the lock has them all the same."""
    wheel = distributions.wheel(name="app", version="1.0")
    pages = {"/simple/app/": link(wheel), f"/files/{wheel.filename}": wheel.content}
    with served(pages) as base:
        lock = await lock_of(resolver, ask("app", index=f"{base}/simple/"), previous=None)
    assert [pin.hashes for pin in lock.pins] == [(f"sha256:{wheel.sha256}",)]


async def test_a_weaker_hash_is_refused(resolver: Resolver) -> None:
    """An index that vouches with md5 alone can't be locked."""
    wheel = distributions.wheel(name="app", version="1.0")
    weak = hashlib.md5(wheel.content, usedforsecurity=False).hexdigest()
    pages = {
        "/simple/app/": link(wheel, fragment=f"#md5={weak}"),
        f"/files/{wheel.filename}": wheel.content,
    }
    with served(pages) as base, pytest.raises(UnsatisfiableError, match="no sha256 for the wheels"):
        await lock_of(resolver, ask("app", index=f"{base}/simple/"), previous=None)


async def test_a_file_of_this_machine_is_refused(resolver: Resolver, tmp_path: Path) -> None:
    """A page of an index can't bring a local file into a lock."""
    wheel = distributions.wheel(name="app", version="1.0")
    (tmp_path / wheel.filename).write_bytes(wheel.content)
    pages = {"/simple/app/": link(wheel, base=f"file://{tmp_path}")}
    with served(pages) as base, pytest.raises(UnsatisfiableError, match="not on the network"):
        await lock_of(resolver, ask("app", index=f"{base}/simple/"), previous=None)


@pytest.mark.parametrize("fragment", ["", f"#sha256={'0' * 64}"])
async def test_nothing_is_told_of_a_file_of_this_machine(
    resolver: Resolver, tmp_path: Path, fragment: str
) -> None:
    """A page that names one is said to be wrong, and asked again by nobody, where there is no such
    file; neither its path nor what it holds is shown where there is."""
    wheel = distributions.wheel(name="app", version="1.0")
    pages = {"/simple/app/": link(wheel, base=f"file://{tmp_path}", fragment=fragment)}
    with served(pages) as base:
        request = ask("app", index=f"{base}/simple/")
        said = r"^the index offers a file of app that is not on the network: correct the index"
        with pytest.raises(UnsatisfiableError, match=said):
            await lock_of(resolver, request, previous=None)
        (tmp_path / wheel.filename).write_bytes(b"root:x:0:0")
        with pytest.raises(ResolveError) as caught:
            await lock_of(resolver, request, previous=None)
    assert str(tmp_path) not in caught.value.message
    assert "root" not in caught.value.message


async def test_a_lock_installs_as_it_stands(
    index: Index, resolver: Resolver, tmp_path: Path
) -> None:
    """An installer that insists on hashes takes the rendered text."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    index.add("app", "1.0", requires=["lib"], modules={"app.py": "import lib"})
    index.add("lib", "1.0", modules={"lib.py": ""})
    index.add("lib", "2.0", modules={"lib.py": ""})
    lock = await lock_of(
        resolver, ask("app", index=index.url, constraints=("lib<2",), python=python), previous=None
    )
    text = tmp_path / "lock.txt"
    text.write_text(lock.render())
    command = [
        tools.uv(),
        "pip",
        "install",
        "--require-hashes",
        "--no-deps",
        "--requirements",
        text,
    ]
    command += ["--only-binary", ":all:", "--target", tmp_path / "site", "--no-config", "--quiet"]
    command += ["--default-index", index.url, "--cache-dir", tmp_path / "uv"]
    command += ["--python", sys.executable]
    installer = await asyncio.create_subprocess_exec(
        *map(str, command), env=tools.environment(without=("UV_", "PIP_"))
    )
    assert await installer.wait() == 0
    assert (tmp_path / "site/lib-1.0.dist-info").is_dir()
    assert (tmp_path / "site/app.py").exists()
