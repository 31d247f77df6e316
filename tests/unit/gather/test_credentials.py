"""From a Secret to what a resolver and an install container need."""

import base64

import pytest

from flowdeps.gather.credentials import CredentialsError, access_of, secret_data
from flowdeps.locks.index import Index

INDEX = Index("https://packages.example.com:8443/simple", ("https://other.example.com",))
NETRC = "machine other.example.com login me password it\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"


def test_a_login_is_for_the_first_index_and_comes_before_the_netrc_file() -> None:
    """Line ends, which editors add, belong to neither name nor password."""
    data = {"username": "me", "password": "secret\n", "netrc": NETRC, "ca.crt": CERTIFICATE}
    access = access_of(data, name="index", index=INDEX)
    assert access.netrc == f"machine packages.example.com login me password secret\n{NETRC}"
    assert access.ca == CERTIFICATE


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "Secret index has none of the keys username and password, netrc, ca.crt; add them"),
        ({"username": "me"}, 'key "password" is missing; add it'),
        ({"password": "secret"}, 'key "username" is missing; add it'),
        ({"netrc": " \n"}, 'key "netrc" is empty or no text; fill it in'),
        ({"netrc": "x" * 300_000}, 'key "netrc" is longer than 262144 bytes'),
        ({"username": "me", "password": "a secret"}, 'key "password" has a space, quote, "#"'),
        ({"username": "mé", "password": "secret"}, 'key "username" has a space, quote, "#"'),
        ({"ca.crt": "MII"}, 'key "ca.crt" is no certificate in PEM form'),
    ],
)
def test_what_can_not_be_used_is_refused_by_its_key(data: dict[str, str], says: str) -> None:
    """The Secret and its key are named, and nothing of it is quoted."""
    with pytest.raises(CredentialsError) as caught:
        access_of(data, name="index", index=INDEX)
    assert str(caught.value).startswith("Secret index")
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_login_needs_an_index() -> None:
    """Without one nobody knows which host it is for; a netrc file says that itself."""
    login = {"username": "me", "password": "secret"}
    with pytest.raises(CredentialsError, match="no index is named"):
        access_of(login, name="index", index=Index())
    assert access_of({"netrc": NETRC}, name="index", index=Index()).netrc == NETRC


def test_a_secret_is_decoded() -> None:
    """Keys that do not matter here are left out; what is no text is empty, and so refused."""
    text = base64.b64encode(b"me").decode()
    body = {"data": {"username": text, "password": "6Q==", "netrc": "!", "other": text}}
    assert secret_data(body) == {"username": "me", "password": "", "netrc": ""}
    assert secret_data({}) == {}
