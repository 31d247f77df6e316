"""`index.credentialHelpers` of the configuration: commands that give sets the tokens of indexes.

A netrc file knows hosts alone. So a set gets a token only if the helper's URL is at or above all of
its indexes on that host, and, with `https`, if none of its indexes is reached in plain text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from flowdeps.api import rules
from flowdeps.api.allowed import allows, is_plain
from flowdeps.api.fields import Fields
from flowdeps.locks.index import Index

HELPERS = "index.credentialHelpers of the operator's configuration"
"""How messages name them."""

_MOST = 32
_check_program = rules.rule(
    lambda text: text.startswith("/"), "is no whole path; write where the program is"
)
_check_variable = rules.matching(
    r"[A-Za-z_][A-Za-z0-9_]*", "is not a variable's name; use letters, digits and '_'"
)
_check_user = rules.matching(
    r"[!$-&(-\[\]-~]+", "has a sign that a netrc file can't hold; write letters and digits"
)
_check_pattern = rules.matching(
    r"[a-z0-9*?\[\]!-]+", "is no namespace or glob of some; write it such as team-*"
)


@dataclass(frozen=True, kw_only=True)
class CredentialHelper:
    """A command that writes a token for the indexes at or below a URL."""

    url: str
    namespaces: tuple[str, ...]
    """Globs of the namespaces whose sets get its token."""
    command: tuple[str, ...]
    username: str = "token"
    """The user that the token is the password of, where the command names none."""
    environment: tuple[str, ...] = ()
    """Variables of the operator that the command sees."""
    timeout: timedelta = timedelta(seconds=30)

    @property
    def host(self) -> str:
        """The host that its token is for."""
        return urlsplit(self.url).hostname or ""

    def serves(self, namespace: str) -> bool:
        """Tell whether sets of `namespace` get its token."""
        return any(fnmatchcase(namespace, one) for one in self.namespaces)


class HelperRefusedError(ValueError):
    """Why a set gets no token for its indexes. The text begins with the index's URL."""


def helpers_for(
    helpers: Sequence[CredentialHelper], index: Index, *, namespace: str
) -> tuple[CredentialHelper, ...]:
    """Return the helpers whose tokens a set gets for its indexes, one a host.

    Raises HelperRefusedError if one is for an index of the set, and for another one on its host, or
    an unprotected one, it may not be.
    """
    found = tuple(_each_helper([one for one in helpers if one.serves(namespace)], index))
    plain = next((url for url in index.all_urls if urlsplit(url).scheme == "http"), None)
    if plain and any(urlsplit(one.url).scheme == "https" for one in found):
        raise HelperRefusedError(
            f"{plain} is reached without TLS, beside an index whose token comes from"
            " index.credentialHelpers of the operator: with such a token, all indexes of a set are"
            " https; use another URL, or leave it out"
        )
    return found


def _each_helper(helpers: Sequence[CredentialHelper], index: Index) -> Iterator[CredentialHelper]:
    hosts: dict[str, list[str]] = {}
    for url in index.all_urls:
        hosts.setdefault(urlsplit(url).hostname or "", []).append(url)
    for host, urls in hosts.items():
        there = [one for one in helpers if one.host == host]
        if not any(allows([one.url], url) for one in there for url in urls):
            continue
        for one in there:
            if all(allows([one.url], url) for url in urls):
                yield one
                break
        else:
            least = min(urls, key=lambda url: sum(allows([one.url], url) for one in there))
            raise HelperRefusedError(
                f"{least} is on the host of an index whose token comes from index.credentialHelpers"
                " of the operator, and not at or below the same helper's URL: one token is for all"
                " indexes of a host; leave it out, or ask those who run flowdeps for a helper that"
                " is for both"
            )


def parse_helpers(fields: Fields) -> tuple[CredentialHelper, ...]:
    """Parse `credentialHelpers`."""
    return tuple(_parse(item) for item in fields.children("credentialHelpers", most=_MOST))


def _parse(fields: Fields) -> CredentialHelper:
    url = fields.text("url", required=True, limit=1024, check=_check_url)
    command = fields.texts("command", most=64, limit=4096)
    if command == () or not fields.has("command"):
        fields.problem("command", "missing; write the program and its arguments")
    elif command and (wrong := _check_program(command[0])):
        fields.problem("command[0]", wrong)
    namespaces = fields.texts("namespaces", most=1000, limit=63, check=_check_pattern)
    if namespaces == () or not fields.has("namespaces"):
        fields.problem("namespaces", 'missing; write whose sets get its token, or "*" for all')
    given: Mapping[str, Any] = {
        "username": fields.text("username", limit=256, check=_check_user),
        "environment": fields.texts("environment", most=64, limit=128, check=_check_variable),
        "timeout": fields.duration("timeout", check=rules.check_helper_timeout),
    }
    return fields.build(
        CredentialHelper,
        url=url or "",
        namespaces=namespaces or (),
        command=command or (),
        **given,
    )


def _check_url(text: str) -> str | None:
    if wrong := rules.check_index_url(text):
        return wrong
    if is_plain(text):
        return None
    return f"{text!r} has a path that a server may read as another; leave out '%', ';' and '..'"
