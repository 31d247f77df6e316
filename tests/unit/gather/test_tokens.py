"""Credential helpers as real processes, and what is made of what they write."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.gather.tokens import Token, TokenError, fetch_token, parse_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "https://index.example.com/team/simple"


def helper(program: str = "", **changes: Any) -> CredentialHelper:
    """One that is a program in Python."""
    command = (sys.executable, "-c", program)
    return CredentialHelper(url=URL, namespaces=("*",), command=command, **changes)


def parsed(found: object, **changes: Any) -> Token:
    """The token in what a helper writes."""
    text = found if isinstance(found, str) else json.dumps(found)
    return parse_token(text, helper(**changes), now=NOW)


@pytest.mark.parametrize(
    ("found", "minutes"),
    [
        ({"password": "t", "expires_in": 3600}, 40),
        ({"access_token": "t", "expires_in": "3599", "token_type": "Bearer"}, 40),
        ({"authorizationToken": "t", "expiration": "2026-01-01T12:00:00+00:00"}, 480),
        ({"authorizationToken": "t", "expiration": "2026-01-01T14:00:00+02:00"}, 480),
        ({"authorizationToken": "t", "expiration": NOW.timestamp() + 43200}, 480),
        ({"password": "t", "expires_in": 30}, 1),
        ({"password": "t", "expires_in": 1e9}, 20 * 24 * 60),
    ],
)
def test_what_the_clouds_write_is_understood(found: object, minutes: int) -> None:
    """The token, and that it is renewed when two thirds of its life are over; after a minute at
    the least."""
    token = parsed(found, username="aws")
    assert token.netrc == "machine index.example.com login aws password t\n"
    assert round((token.renewed - NOW) / timedelta(minutes=1)) == minutes
    assert token.expires > NOW


def test_a_helper_may_name_the_user() -> None:
    """As one that makes both."""
    found = {"username": "u", "password": "t", "expires_in": 60}
    assert " login u " in parsed(found, username="aws").netrc
    assert " login token " in parsed({"password": "t", "expires_in": 60}).netrc


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("", "is no JSON object"),
        ("[" * 100_000, "is no JSON object"),
        ('"s3cret"', "is no JSON object"),
        ({"expires_in": 60}, "has no token (password, access_token, authorizationToken)"),
        ({"password": 5, "expires_in": 60}, "has no token"),
        ({"password": "", "expires_in": 60}, "has no token"),
        ({"password": "s3cret" * 5000, "expires_in": 60}, "has no token"),
        ({"password": "s3cret x", "expires_in": 60}, "netrc file can't hold"),
        ({"password": "s3cret\nmachine evil.example.com", "expires_in": 60}, "netrc file"),
        ({"username": "s3cret\tx", "password": "t", "expires_in": 60}, "the username"),
        ({"username": None, "password": "t", "expires_in": 60}, "has no username"),
        ({"password": "s3cret"}, "says nothing of its end"),
        ({"password": "s3cret", "expires_in": "soon"}, "says nothing of its end"),
        ({"password": "s3cret", "expires_in": float("nan")}, "says nothing of its end"),
        ({"password": "s3cret", "expires_in": 1e300}, "says nothing of its end"),
        ({"password": "s3cret", "expires_in": 0}, "has expired"),
        ({"password": "s3cret", "expiration": "2025-12-31T23:59:59Z"}, "has expired"),
        ({"password": "s3cret", "expiration": []}, "says nothing of its end"),
    ],
)
def test_what_is_no_token_is_refused_and_not_quoted(found: object, says: str) -> None:
    """By the program's name, and what is missing."""
    with pytest.raises(TokenError) as caught:
        parsed(found)
    assert says in caught.value.message
    assert sys.executable in caught.value.message
    assert "s3cret" not in caught.value.message
    assert caught.value.reason == "CredentialHelperFailed"


def test_a_helper_sees_what_is_named_and_no_secret_of_the_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Programs, proxies and certificates; a home of its own, which goes with it."""
    for name in ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "AWS_ROLE_ARN", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"of {name}")
    program = "import json, os; print(json.dumps([dict(os.environ), os.getcwd()]))"
    text = asyncio.run(fetch_token(helper(program, environment=("AWS_ROLE_ARN", "NOT_THERE"))))
    seen, directory = json.loads(text)
    assert seen.pop("HOME") == seen.pop("TMPDIR") == directory
    assert not Path(directory).exists()
    shared = {"PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "NO_PROXY", "LC_CTYPE"}
    assert {name.upper() for name in seen} - shared == {"AWS_ROLE_ARN", "HTTPS_PROXY", "LC_ALL"}
    assert seen["AWS_ROLE_ARN"] == "of AWS_ROLE_ARN"


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import sys; print('s3cret'); sys.exit('no role')", "ends with 1; the operator's log"),
        ("print('s3cret' * 20_000)", "writes more than 65536 bytes"),
        ("import time; time.sleep(600)", "was ended after 1 s"),
        ("import os, time; os.fork() or time.sleep(600); time.sleep(600)", "was ended after 1 s"),
    ],
)
def test_a_helper_that_fails_is_named_and_what_it_writes_is_not_quoted(
    program: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends in time with all that it started."""
    with pytest.raises(TokenError) as caught:
        asyncio.run(fetch_token(helper(program, timeout=timedelta(seconds=1))))
    assert says in caught.value.message
    assert "s3cret" not in f"{caught.value.message} {caplog.text}"
    assert ("no role" in caplog.text) == ("no role" in program)


def test_a_program_that_is_not_there_is_named() -> None:
    """With what the system says."""
    missing = CredentialHelper(url=URL, namespaces=("*",), command=("/not/there",))
    with pytest.raises(TokenError, match="/not/there can't be run: No such file or directory"):
        asyncio.run(fetch_token(missing))
