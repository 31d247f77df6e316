"""What oras says when a push or a pull fails, and what we say then. Pure.

Tests have what oras printed for each pattern. The first row that fits counts.
"""

import re
from dataclasses import dataclass

from flowdeps.api.wording import shorten
from flowdeps.environments.errors import PackError
from flowdeps.locks.legible import printable

_LONGEST = 400
# What oras puts before the registry's own words.
_BEFORE = re.compile(r'^Error[^\n"]{0,60}"[^"\n]{1,500}": |\b[A-Za-z]{3,5} "http[^"\n]{1,900}": ')


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What the registry is asked for."""

    name: str
    verb: str
    pod: str
    """Whose pod asks."""
    secret: str
    """The credentials for it, in the configuration."""
    rights: str
    """What they have to allow."""


PUSH = Purpose(
    name="push",
    verb="push to",
    pod="the build's pod",
    secret="environments.pushSecretRef",  # noqa: S106 - a name
    rights="read and write",
)
PULL = Purpose(
    name="pull",
    verb="pull from",
    pod="the populator's pod",
    secret="environments.pullSecretRef",  # noqa: S106
    rights="read",
)
DELETE = Purpose(
    name="deletion",
    verb="delete from",
    pod="the build's pod",
    secret="environments.pushSecretRef",  # noqa: S106
    rights="read, write and delete in",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Alternative patterns, and what it means of the registry where one is found."""

    patterns: tuple[str, ...]
    means: str
    """Follows "the registry <host> "; has the names {repository}, {said} and {purpose}."""
    retry: bool = True
    gone: bool = False
    """Whether it no longer has what was pushed."""


ROWS = (
    Row(
        patterns=(r"invalid reference",),
        means="can't be asked: {repository} is no name of a repository; correct"
        " environments.repository of the configuration",
        retry=False,
    ),
    Row(
        patterns=(r"\bErr:28\b", r"status code 507", r"(?i)\bquota\b", r"exceed the configured"),
        means="has no room ({said}): make room there, or raise the quota of {repository}",
    ),
    Row(
        patterns=(r"status code 413",),
        means="takes no upload of this size ({said}): raise the limit of the registry, or of the"
        " proxy before it",
    ),
    Row(
        patterns=(r"(?i)\bimmutable\b",),
        means="keeps the first artifact of each tag ({said}): let tags of {repository} be written"
        " again",
    ),
    Row(
        patterns=(r"server gave HTTP response to HTTPS client",),
        means="has no TLS: give it a certificate, or set environments.plainHttp of the"
        " configuration to true where that is enough",
    ),
    Row(
        patterns=(r'HEAD "http://[^"\n]{1,900}": response status code 400',),
        means="does not understand plain HTTP ({said}): take environments.plainHttp out of the"
        " configuration",
    ),
    Row(
        patterns=(r"\bx509: ",),
        means="has a certificate that is not trusted ({said}): give it one for its name, and its"
        " authority's certificate as ca.crt to the Secret {purpose.secret} of this"
        " namespace",
    ),
    Row(
        patterns=(r"\b(?:dial|read) tcp\b", r"TLS handshake timeout", r"\bEOF\b"),
        means="can't be reached from {purpose.pod} ({said}): see whether it runs, whether"
        " network policies let pods of this namespace reach it, and whether it needs"
        " environments.proxy of the configuration",
    ),
    Row(
        patterns=(r"credential not found",),
        means="wants credentials, and there are none for it: put some into the Secret"
        " {purpose.secret} of this namespace",
    ),
    Row(
        patterns=(r"status code 401", r": unauthorized:"),
        means="refuses the credentials ({said}): correct the Secret {purpose.secret} of"
        " this namespace",
    ),
    Row(
        patterns=(r"status code 403", r": denied:"),
        means="does not allow the {purpose.name} ({said}): let the credentials of the Secret"
        " {purpose.secret} {purpose.rights} {repository}",
    ),
    Row(
        patterns=(r"status code 404", r": name unknown:"),
        means="has no repository {repository} ({said}): create it there, or correct"
        " environments.repository of the configuration",
    ),
    Row(
        patterns=(r"(?m)[0-9a-f]{64}: not found$",),
        means="no longer has what flowdeps has pushed to {repository} ({said})",
        gone=True,
    ),
    Row(
        patterns=(r"status code 405", r": unsupported:"),
        means="does not support the {purpose.name} ({said}): it is read-only, or has this turned"
        " off",
    ),
    Row(
        patterns=(r"status code 429", r": toomanyrequests:"),
        means="asks for fewer requests ({said}): raise its limit for these credentials",
    ),
    Row(
        patterns=(r"status code 5\d\d", r": unknown error:"),
        means="has an error of its own ({said}): see its log",
    ),
)


def legible(said: str) -> str:
    """Return what oras says of an error, in one line."""
    first = next((line for line in said.splitlines() if line.startswith("Error")), said)
    return shorten(printable(_BEFORE.sub("", first)), _LONGEST)


def to_error(said: str, *, repository: str, purpose: Purpose = PUSH) -> PackError:
    """Return the error that oras's words stand for."""
    row = next((one for one in ROWS if any(re.search(p, said) for p in one.patterns)), None)
    short = legible(said)
    if row is None:
        return PackError(
            f"oras can't {purpose.verb} {repository}: {short or 'it said nothing'}", retry=True
        )
    means = row.means.format(repository=repository, said=short, purpose=purpose)
    text = f"the registry {repository.partition('/')[0]} {means}"
    return PackError(text, retry=row.retry, gone=row.gone)
