import pytest

from flowdeps.locks.index import Index, IndexUrlError


def test_the_first_index_is_asked_first() -> None:
    """The order of asking is the URL, then the extra ones as written."""
    index = Index("https://a.example.com/simple", ("https://c.example.com", "http://b.example.com"))
    assert index.urls == (
        "https://a.example.com/simple",
        "https://c.example.com",
        "http://b.example.com",
    )
    assert Index().urls == ()


def test_extra_indices_need_a_first_one() -> None:
    """Without a first index nothing would say which answers for a name."""
    with pytest.raises(IndexUrlError, match="name the index to ask first"):
        Index(extra_urls=("https://example.com/simple",))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/simple",
        "/srv/wheels",
        "file:///srv/wheels",
        "ftp://example.com",
        "https://",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com/?token=x",
        "https://example.com/#x",
        "https://[::1/simple",
        "https://example.com:port/simple",
        "-f",
    ],
)
def test_what_is_not_an_index_url_is_refused(url: str) -> None:
    """Only http and https with a host, and nothing after the path."""
    with pytest.raises(IndexUrlError, match="is not an index URL"):
        Index(url)


def test_credentials_in_an_index_url_are_refused_and_not_repeated() -> None:
    """A password in a URL gets no further, not even into the message."""
    with pytest.raises(IndexUrlError) as caught:
        Index("https://me:secret@example.com/simple")
    assert str(caught.value) == "the index URL of example.com holds credentials; leave them out"
