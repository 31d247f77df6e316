"""Runs credential helpers, and reads the tokens that they write.

A helper writes JSON to its standard output. What the clouds' own tools and endpoints write is
understood as it is:

password, access_token or authorizationToken    the token
username                                        the user that it is the password of; may be absent
expires_in                                      for how many seconds it is valid
expiration                                      or until when: ISO 8601, or seconds since 1970
"""

import asyncio
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.api.names import TEMPORARY
from flowdeps.api.reasons import Reason
from flowdeps.gather.credentials import UNWRITABLE
from flowdeps.locks.legible import printable
from flowdeps.resolver.child import Limits, run_child
from flowdeps.resolver.errors import LimitExceededError, ResolveError
from flowdeps.resolver.failures import without_secrets

log = logging.getLogger(__name__)

_PASSWORDS = ("password", "access_token", "authorizationToken")
_LONGEST = 16 * 1024
_LIMITS = Limits(memory=1024**3, output=64 * 1024, file=16 * 1024**2)
_SHARED = {
    *("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy"),
}
"""Variables that every helper sees: where programs are, and how the network is reached."""
_SHARE_OF_LIFE = 2 / 3
_LONGEST_LIFE = timedelta(days=30)
_LEAST_SECONDS = 60.0
_SHOWN = 300


@dataclass(frozen=True, kw_only=True)
class Token:
    """What opens the indexes of a helper."""

    netrc: str = field(repr=False)
    """A line of a netrc file."""
    expires: datetime = field(compare=False)
    renewed: datetime = field(compare=False)
    """When the helper is asked again."""


class TokenError(ResolveError):
    """Why a helper gives no token. The text quotes nothing that the helper wrote."""

    reason: ClassVar[Reason] = Reason.CREDENTIAL_HELPER_FAILED


async def fetch_token(helper: CredentialHelper) -> str:
    """Run a helper; returns what it wrote. Raises TokenError."""
    program, seconds = helper.command[0], helper.timeout.total_seconds()
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}helper-") as name:
        directory = Path(name)
        # Elsewhere than in its own directory, which it may fill as it likes.
        with tempfile.TemporaryFile() as output:
            try:
                async with asyncio.timeout(seconds):
                    ended = await run_child(
                        helper.command,
                        environment=environment_of(helper, os.environ, home=name),
                        directory=directory,
                        limits=_LIMITS,
                        output=output,
                    )
            except TimeoutError:
                raise TokenError(
                    f"{program} was ended after {seconds:g} s; see why, or raise its timeout"
                ) from None
            except (OSError, LimitExceededError) as error:
                why = getattr(error, "strerror", None) or "it wrote too much"
                raise TokenError(f"{program} can't be run: {why}") from None
            output.seek(0)
            text = output.read(_LIMITS.output + 1)
    if ended.code != 0:
        lines = [one for one in ended.messages.split("\n") if one.strip()]
        last = printable(without_secrets(lines[-1] if lines else "nothing"))[:_SHOWN]
        log.warning("the credential helper %s ends with %d: %s", program, ended.code, last)
        raise TokenError(f"{program} ends with {ended.code}; the operator's log has its last line")
    if len(text) > _LIMITS.output:
        raise TokenError(f"{program} writes more than {_LIMITS.output} bytes")
    return text.decode(errors="replace")


def environment_of(
    helper: CredentialHelper, ours: Mapping[str, str], *, home: str
) -> dict[str, str]:
    """Return what a helper sees of our environment: nothing that is secret, unless it is named."""
    named = {*helper.environment}
    shared = {name: value for name, value in ours.items() if name in _SHARED}
    given = {name: value for name, value in ours.items() if name in named}
    return {**shared, "HOME": home, "TMPDIR": home, "LC_ALL": "C.UTF-8", **given}


def parse_token(text: str, helper: CredentialHelper, *, now: datetime) -> Token:
    """Return the token that a helper wrote. Raises TokenError."""
    program = helper.command[0]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TokenError(f"what {program} writes is no JSON object; see docs/how-to/cloud-indexes")
    password = next((found[one] for one in _PASSWORDS if one in found), None)
    username = found.get("username", helper.username)
    for what, value in (("token", password), ("username", username)):
        if not isinstance(value, str) or not value or len(value) > _LONGEST:
            names = ", ".join(_PASSWORDS) if what == "token" else what
            raise TokenError(f"what {program} writes has no {what} ({names}) that is a text")
        if UNWRITABLE.search(value):
            raise TokenError(
                f'the {what} that {program} writes has a space, quote, "#" or sign outside ASCII,'
                " which a netrc file can't hold"
            )
    left = _left(found, now)
    if left is None or left <= timedelta():
        wrong = "says nothing of its end" if left is None else "has expired"
        raise TokenError(
            f"the token that {program} writes {wrong}; it needs expires_in (seconds) or"
            " expiration (ISO 8601)"
        )
    left = min(left, _LONGEST_LIFE)
    pause = max(timedelta(seconds=_LEAST_SECONDS), left * _SHARE_OF_LIFE)
    return Token(
        netrc=f"machine {helper.host} login {username} password {password}\n",
        expires=now + left,
        renewed=now + pause,
    )


def _left(found: Mapping[str, Any], now: datetime) -> timedelta | None:
    """For how long a token is valid; None where it does not say."""
    try:
        if "expires_in" in found:
            return timedelta(seconds=float(found["expires_in"]))
        until = found.get("expiration")
        if isinstance(until, str) and not re.fullmatch(r"[0-9.]+", until):
            time = datetime.fromisoformat(until)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)) - now
        return datetime.fromtimestamp(float(until), UTC) - now if until is not None else None
    except (ValueError, TypeError, OverflowError, OSError):
        return None
