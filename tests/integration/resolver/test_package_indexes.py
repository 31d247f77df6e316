"""Packages that come from an index of their own, as builds of torch for CPUs do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flowdeps.locks.access import Access
from flowdeps.locks.image import Distribution
from flowdeps.locks.index import PackageIndex
from flowdeps.locks.request import LockRequest
from flowdeps.resolver.command import PROJECT
from flowdeps.resolver.errors import IndexUnauthorizedError, UnsatisfiableError
from flowdeps.resolver.resolve import Resolver
from tests.cluster.index import Index
from tests.integration.resolver.support import AMD64, ask, lock_of
from tests.integration.resolver.test_images import image


def with_own(*lines: str, index: Index, other: Index, names: tuple[str, ...]) -> LockRequest:
    """A request in which these names come from the other index."""
    request = ask(*lines, index=index.url, platforms=(AMD64,))
    packages = (PackageIndex(other.url, names),)
    return replace(request, index=replace(request.index, packages=packages))


async def chosen(
    resolver: Resolver, request: LockRequest, *, access: Access | None = None
) -> dict[str, str]:
    lock = await lock_of(resolver, request, previous=None, access=access)
    return {pin.name: pin.version for pin in lock.pins}


@pytest.fixture
def torch(index: Index, other_index: Index) -> tuple[Index, Index]:
    """The default index, which has a newer torch, and torch's own, which has more than torch."""
    index.add("torch", "3.0")
    index.add("numpy", "2.0")
    index.add("trainer", "1.0", requires=["torch>=2", "numpy"])
    other_index.add("torch", "2.9.0+cpu", requires=["numpy"])
    other_index.add("numpy", "9.0")
    return index, other_index


@pytest.mark.parametrize("line", ["torch", "torch>=2 ; sys_platform == 'linux'", "trainer"])
async def test_a_package_comes_from_its_index_and_the_rest_does_not(
    torch: tuple[Index, Index], resolver: Resolver, line: str
) -> None:
    """Whether the set names it or another package requires it."""
    index, other = torch
    request = with_own(line, index=index, other=other, names=("torch", "not-needed"))
    found = await chosen(resolver, request)
    trainer = {"trainer": "1.0"} if line == "trainer" else {}
    assert found == {"numpy": "2.0", "torch": "2.9.0+cpu", **trainer}
    assert not any("numpy" in path or "trainer" in path for path in other.requests)


async def test_a_package_that_only_its_own_index_has_may_be_required_by_others(
    torch: tuple[Index, Index], resolver: Resolver
) -> None:
    """uv looks for it in the other indexes first, where it is not."""
    index, other = torch
    index.add("app", "1.0", requires=["kernels>=1", "torch"])
    other.add("kernels", "1.5")
    request = with_own("app", index=index, other=other, names=("kernels", "torch"))
    assert await chosen(resolver, request) == {
        "app": "1.0",
        "kernels": "1.5",
        "numpy": "2.0",
        "torch": "2.9.0+cpu",
    }


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "torch>=3",
            "torch comes from {other} alone, as index.packages says. Because only"
            " torch==2.9.0+cpu is available and you require torch>=3,",
        ),
        ("lost", "lost comes from {other} alone, as index.packages says."),
    ],
)
async def test_a_conflict_names_the_index(
    torch: tuple[Index, Index], resolver: Resolver, line: str, says: str
) -> None:
    """The default index may well have what is asked for, so the message says where uv looked."""
    index, other = torch
    with pytest.raises(UnsatisfiableError) as caught:
        await chosen(resolver, with_own(line, index=index, other=other, names=("torch", "lost")))
    assert says.format(other=other.url) in caught.value.message
    assert PROJECT not in caught.value.message


async def test_what_the_image_has_stays_the_images(
    torch: tuple[Index, Index], resolver: Resolver
) -> None:
    """An image with torch needs none from anywhere; one that may be hidden comes from its index."""
    index, other = torch
    has_torch = image(Distribution("torch", "2.5"))
    request = with_own("trainer", index=index, other=other, names=("torch",))
    request = replace(request, image=has_torch)
    assert await chosen(resolver, request) == {
        "numpy": "2.0",
        "trainer": "1.0",
    }
    assert not other.requests
    over = replace(request, requirements=("torch>2.5", "trainer"), shadow=("torch",))
    assert (await chosen(resolver, over))["torch"] == "2.9.0+cpu"


async def test_a_cooldown_names_the_index_that_tells_no_times(resolver: Resolver) -> None:
    """Indexes of single projects often don't; the advice works."""
    with Index() as index, Index(upload_times=False) as other:
        index.add("numpy", "2.0")
        other.add("torch", "2.9", requires=["numpy"])
        request = with_own("torch", index=index, other=other, names=("torch",))
        request = replace(request, cooldown=timedelta(days=7))
        with pytest.raises(UnsatisfiableError) as caught:
            await chosen(resolver, request)
        assert caught.value.message.startswith(f"The index {other.url} doesn't say when torch-2.9")
        assert "name torch in spec.index.cooldownExempt" in caught.value.message
        exempt = replace(request, cooldown_exempt=("torch",))
        assert await chosen(resolver, exempt) == {"numpy": "2.0", "torch": "2.9"}


async def test_an_index_of_packages_may_want_credentials(resolver: Resolver) -> None:
    """Those of its host in the netrc file of the set's Secret."""
    with Index() as index, Index(username="me", password="secret") as other:
        other.add("torch", "2.9")
        request = with_own("torch", index=index, other=other, names=("torch",))
        with pytest.raises(IndexUnauthorizedError, match="401"):
            await chosen(resolver, request)
        access = Access(netrc=f"machine {other.host} login me password secret\n")
        assert await chosen(resolver, request, access=access) == {"torch": "2.9"}
