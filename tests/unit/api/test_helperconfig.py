"""Which credential helpers a set gets tokens of."""

import pytest

from flowdeps.api.helperconfig import CredentialHelper, HelperRefusedError, helpers_for
from flowdeps.locks.index import Index, PackageIndex

HOST = "https://a.example.com"


def helper(url: str, *namespaces: str) -> CredentialHelper:
    """One for all namespaces, unless some are named."""
    return CredentialHelper(url=url, namespaces=namespaces or ("*",), command=(f"/{url}",))


def urls(helpers: list[CredentialHelper], index: Index, *, namespace: str = "flows") -> list[str]:
    """The URLs of the helpers that a set gets tokens of."""
    return [one.url for one in helpers_for(helpers, index, namespace=namespace)]


def test_there_is_one_token_for_each_host() -> None:
    """That of the first helper that is for all indexes of the set there."""
    helpers = [helper(f"{HOST}/x"), helper(HOST), helper("https://b.example.com/y")]
    assert urls(helpers, Index(f"{HOST}/x/simple")) == [f"{HOST}/x"]
    assert urls(helpers, Index(f"{HOST}/x/simple", (f"{HOST}/z",))) == [HOST]
    own = (PackageIndex("https://b.example.com/y/cpu", ("torch",)),)
    assert urls(helpers, Index(f"{HOST}/x", (), own)) == [f"{HOST}/x", "https://b.example.com/y"]
    assert urls(helpers, Index("https://c.example.com")) == []
    assert urls(helpers, Index()) == []


def test_namespaces_are_globs() -> None:
    """The whole name has to fit."""
    helpers = [helper(HOST, "team-*")]
    assert urls(helpers, Index(HOST), namespace="team-a") == [HOST]
    assert urls(helpers, Index(HOST), namespace="my-team-a") == []


def test_a_helper_of_others_is_in_nobodys_way() -> None:
    """A namespace that it does not serve uses indexes on its host as if there were none."""
    helpers = [helper(f"{HOST}/x", "team-a")]
    index = Index(f"{HOST}/x", (f"{HOST}/y",))
    assert urls(helpers, index, namespace="team-b") == []
    with pytest.raises(HelperRefusedError, match=f"^{HOST}/y is on the host"):
        urls(helpers, index, namespace="team-a")


def test_an_index_without_tls_may_have_a_token_of_its_own_helper() -> None:
    """Who configures that knows it; but no other token goes with it."""
    plain, safe = helper("http://p.example.com"), helper(HOST)
    assert urls([plain], Index("http://p.example.com/simple")) == ["http://p.example.com"]
    with pytest.raises(HelperRefusedError, match="without TLS"):
        urls([plain, safe], Index("http://p.example.com/simple", (HOST,)))
