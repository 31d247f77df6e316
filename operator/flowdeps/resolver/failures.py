"""Turns what uv complains of into errors. Pure.

uv writes an ``error:``, then ``cause:`` and ``hint:`` paragraphs, whose further lines are indented.
From these follow the kind of error and a text for people: what the request has to do with it and
what to do (`flowdeps.resolver.advice`), then uv's explanation without its advice about flags, all
without credentials, and at most `LONGEST` characters long.
"""

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from flowdeps.api.wording import listed
from flowdeps.resolver.advice import advise_on_cooldown
from flowdeps.resolver.command import PROJECT
from flowdeps.resolver.errors import (
    DiskFullError,
    FileUrlError,
    IndexUnauthorizedError,
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.messages import TOO_YOUNG, Says

LONGEST = 1000
_LONGEST_REASON = 200
_MOST_WARNINGS = 10
_MOST_NAMED = 5

_LIMIT_SIGNALS = {
    signal.SIGXCPU: "it took too much time",
    signal.SIGXFSZ: "it wrote too large a file (a quarter of resolver.cacheSize is allowed)",
    signal.SIGKILL: "it was killed, as happens where memory is short",
}


Advise = Callable[[str, str], Sequence[str]]
"""Returns sentences that go before uv's explanation; takes that, and all that uv wrote."""


@dataclass(frozen=True)
class _Complaint:
    error: str
    causes: tuple[str, ...]
    hints: tuple[str, ...]


def to_error(
    messages: str, *, code: int, credentials: bool = False, advise: Advise | None = None
) -> ResolveError:
    """Return the error for uv's ``messages`` and exit ``code`` (negative: the signal that ended
    it); ``credentials``: uv had some."""
    text = without_secrets(messages).replace(f"{PROJECT} depends on", "you require")
    if code < 0:
        return _ended_by(signal.Signals(-code), text)
    complaint = _parse(text)
    if Says.DISK_FULL.search(text):
        return DiskFullError()
    if refused := Says.REFUSED.search(text):
        return refusal(refused[0], text, _unknown(complaint), credentials=credentials)
    if local := Says.FILE_URL.search(text):
        return FileUrlError((local[1], local[2]) if local[1] else None)
    if Says.NO_SOLUTION.search(text):
        return UnsatisfiableError(_conflict(complaint, text, advise))
    if wanted := Says.URL_DEPENDENCY.search(text):
        return UnsatisfiableError(
            cut_middle(
                f"{complaint.error}: it asks for {wanted[1]} at a URL, which is not allowed; "
                f"choose another version, or publish {wanted[1]} to the index"
            )
        )
    if file := Says.LOCAL_FILE.search(text):
        of = f" of {file[1]}" if file[1] else ""
        return UnsatisfiableError(
            f"the index offers a file{of} that is not on the network: "
            "correct the index, or name another in spec.index.url"
        )
    if page := Says.NO_PAGE.search(text):
        url = page[1] or page[2]
        why = ": ".join(complaint.causes[:1]) or "it is neither HTML nor JSON"
        return IndexUnavailableError(
            cut_middle(
                f"{url} is no page of a package index ({why}): correct spec.index.url, "
                "which often ends in /simple, or the index"
            )
        )
    if Says.UNREACHABLE.search(text):
        return IndexUnavailableError(_outage(complaint, text))
    return ResolverError(cut_middle(": ".join((complaint.error, *complaint.causes[:2]))))


def yanked(messages: str) -> dict[tuple[str, str], str]:
    """Return why each yanked release that uv took was yanked (maybe empty), by name and version."""
    return {
        (name, version): cut_middle(why, longest=_LONGEST_REASON)
        for name, version, why in Says.YANKED.findall(without_secrets(messages))
    }


def warnings(messages: str) -> tuple[str, ...]:
    """Return what else uv warned of, as people may read it; the first ones if there are many."""
    found: list[str] = []
    for text in Says.WARNING.findall(without_secrets(messages)):
        if extra := Says.UNKNOWN_EXTRA.search(text):
            name, version, missing = extra.groups()
            found.append(f"{name} {version} has no extra {missing}: correct it, or leave it out")
        elif not Says.NO_NEWS.search(text):
            found.append(cut_middle(text, longest=_LONGEST_REASON))
    return tuple(dict.fromkeys(found))[:_MOST_WARNINGS]


def without_secrets(text: str) -> str:
    """Return the text without the user names, passwords and queries of its URLs."""
    text = re.sub(r"\S+", _without_user, text)
    return re.sub(r"(https?://[^\s?`)]{0,500})\?[^\s`)]*", r"\1", text)


def _without_user(word: re.Match[str]) -> str:
    before, sign, after = word[0].partition("://")
    return f"{before}{sign}{after.rpartition('@')[2]}"


def cut_middle(text: str, *, longest: int = LONGEST) -> str:
    """Return at most ``longest`` characters: the beginning, and the end with its conclusion."""
    if len(text) <= longest:
        return text
    tail = longest // 3
    return f"{text[: longest - tail - 3].rstrip()} … {text[-tail:].lstrip()}"


def _parse(text: str) -> _Complaint:
    found: dict[str, list[str]] = {"error": [], "cause": [], "hint": [], "warning": []}
    current: list[str] = []
    for line in text.splitlines():
        label, separator, rest = line.strip().partition(":")
        if separator and label in found:
            current = found[label]
            current.append(rest.strip())
        elif line.strip() and current:
            # Items of a list are indented further than the text around them.
            comma = "," if line.startswith(" " * 12) else ""
            current[-1] += f" {line.strip()}{comma}"
    error = ": ".join(found["error"]) or " ".join(text.split()) or "uv failed without a word"
    return _Complaint(error, tuple(found["cause"]), tuple(map(cut_middle, found["hint"])))


def _conflict(complaint: _Complaint, text: str, advise: Advise | None) -> str:
    explanation = " ".join(complaint.causes)
    missing = _unknown(complaint)
    parts = [f"There is no package named {' or '.join(missing)} in the index."] if missing else []
    parts += advise_on_cooldown(text)
    parts += advise(explanation, text) if advise else ()
    parts.append(explanation.replace(TOO_YOUNG, "is too young"))
    parts += filter(None, map(_without_flags, complaint.hints))
    if any(Says.ONLY_SDISTS.search(one) for one in (explanation, *complaint.hints)):
        parts.append(
            "Only wheels are used, never source distributions: "
            "choose a version that has wheels, or publish one."
        )
    return cut_middle(" ".join(parts))


def _unknown(complaint: _Complaint) -> list[str]:
    """The packages that no index has, or that one refuses to speak of."""
    return sorted(set(Says.PACKAGE_UNKNOWN.findall(" ".join(complaint.causes))))


def _without_flags(hint: str) -> str:
    if Says.ON_ANOTHER_INDEX.search(hint):
        return ""  # the advice says it
    sentences = re.split(r"(?<=\.)\s+(?=[A-Z])", Says.FLAG_IN_HINT.left_out(hint))
    kept = " ".join(one for one in sentences if not Says.ABOUT_FLAGS.search(one))
    return kept if not kept or kept.endswith(".") else f"{kept}."


def refusal(status: str, text: str, packages: Sequence[str], *, credentials: bool) -> ResolveError:
    """Return the error for an index that answers 401, 403 or 407, whose URL is in a ``text``."""
    what = f" for {listed(packages, most=_MOST_NAMED)}" if packages else ""
    says = f"{_first_url(text)} answers {status}{what}"
    if status.startswith("407"):
        return IndexUnavailableError(f"{says}: the operator's proxy wants credentials")
    lacks = ""
    if packages and status.startswith("403"):
        lacks = (
            ". An index that answers so for a package that it lacks, as object storage does, must"
            " answer 404, or come last in spec.index"
        )
    if credentials:
        return IndexUnauthorizedError(
            f"{says}: the credentials of spec.index.credentialsSecretRef are wrong, have expired, "
            f"or are for another host; renew the Secret{lacks}"
        )
    return IndexUnauthorizedError(
        f"{says}: it asks for credentials; name a Secret in spec.index.credentialsSecretRef, "
        f"or check the index URL{lacks}"
    )


def _outage(complaint: _Complaint, text: str) -> str:
    where = _first_url(text)
    if Says.UNKNOWN_HOST.search(text):
        host = urlsplit(where).hostname
        return f"{where} can't be read: the name {host} can't be resolved; check the index URL"
    if gone := Says.FILE_GONE.search(text):
        url, name, version = gone.groups()
        return cut_middle(
            f"the index lists a file of {name} {version} that is not there ({url} answers 404 Not "
            f"Found): correct the index, or add {canonicalize_name(name)}!={version} to "
            "spec.constraints"
        )
    if Says.UNTRUSTED.search(text):
        return (
            f"{where} can't be read: invalid peer certificate, signed by an authority that is not "
            "known; give the authority's certificate as ca.crt in the Secret of "
            "spec.index.credentialsSecretRef"
        )
    why = complaint.causes[-1] if complaint.causes else complaint.error
    return cut_middle(f"{where} can't be read: {Says.URL_OF_ERROR.left_out(why)}")


def _first_url(text: str) -> str:
    found = Says.URL.search(text)
    return found[0] if found else "the index"


def _ended_by(number: signal.Signals, text: str) -> ResolveError:
    if why := _LIMIT_SIGNALS.get(number):
        return LimitExceededError(f"the resolver was ended: {why}")
    if number == signal.SIGABRT and Says.NO_MEMORY.search(text):
        return LimitExceededError("the resolver was ended: it took too much memory", retry=False)
    return ResolverError(f"the resolver was ended by {number.name}")
