"""Which credentials are tried, where, and what an answer means."""

import pytest

from flowdeps.gather.logins import Login, logins_of
from flowdeps.locks.access import Access
from flowdeps.locks.index import Index, PackageIndex

FIRST, SECOND, OWN = (f"https://{name}.example.com/simple" for name in ("a", "b", "own"))
INDEX = Index(FIRST, (SECOND,), (PackageIndex(OWN, ("torch", "torchvision")),))
PINS = ["numpy", "torch"]


def access(*hosts: str) -> Access:
    """Credentials for these hosts."""
    return Access("".join(f"machine {host}.example.com login u password p\n" for host in hosts))


def test_each_index_is_asked_for_a_package_that_it_may_have() -> None:
    """An index of single packages for one of those that are in the lock; no more than once each."""
    found = logins_of(INDEX, access("a", "b", "own"), PINS)
    assert [(one.url, one.package, one.has_all) for one in found] == [
        (FIRST, "numpy", True),
        (SECOND, "numpy", False),
        (OWN, "torch", True),
    ]
    [both] = logins_of(
        Index(FIRST, (), (PackageIndex(FIRST, ("torch",)),)), access("a"), ["numpy", "torch"]
    )
    assert both.package == "numpy"


@pytest.mark.parametrize(
    ("netrc", "urls"),
    [
        (access("b"), [SECOND]),
        (access("c"), []),
        (Access("default login u password p"), [FIRST, SECOND, OWN]),
        (Access(ca="-----BEGIN CERTIFICATE-----"), []),
    ],
)
def test_only_indexes_that_there_are_credentials_for_are_tried(
    netrc: Access, urls: list[str]
) -> None:
    """By their hosts, as a netrc file has them."""
    assert [one.url for one in logins_of(INDEX, netrc, PINS)] == urls


def test_credentials_are_the_same_whatever_set_has_them() -> None:
    """So that sets share a request; other credentials are others, and no text shows them."""
    [one], [other] = (logins_of(Index(FIRST), access("a"), [name]) for name in ("numpy", "torch"))
    assert one == other
    assert logins_of(Index(FIRST), Access("machine a.example.com login u password q"))[0] != one
    assert "password" not in f"{one} {one!r}"


@pytest.mark.parametrize(
    ("status", "has_all", "refused"),
    [
        ("401 Unauthorized", True, True),
        ("401 Unauthorized", False, True),
        ("403 Forbidden", True, True),
        ("403 Forbidden", False, False),
        ("", True, False),
    ],
)
def test_a_403_is_a_refusal_only_where_the_package_must_be(
    status: str, has_all: bool, refused: bool
) -> None:
    """Object storage answers so for what it lacks."""
    login = Login(url=FIRST, access=access("a"), has_all=has_all)
    assert login.is_refusal(status) is refused
