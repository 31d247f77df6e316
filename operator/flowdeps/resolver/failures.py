"""uv's complaints as errors. Pure.

uv writes an ``error:``, then ``cause:`` and ``hint:`` paragraphs, whose further lines are indented.
From these follow the kind of error and a text for people: what the request has to do with it and
the way out (`flowdeps.resolver.advice`), then uv's explanation without its advice about flags, all
without credentials, and at most `LONGEST` characters long.

An index has a say in what uv says, so each pattern here takes linear time on any text: repetitions
are bounded, or start at a sign that they can't contain.
"""

import re
import signal
from dataclasses import dataclass
from urllib.parse import urlsplit

from flowdeps.resolver.advice import TOO_YOUNG, Asked, advise, advise_on_cooldown
from flowdeps.resolver.errors import (
    IndexUnauthorizedError,
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)

LONGEST = 1000
_LONGEST_REASON = 200

_URL = re.compile(r"https?://[^\s)`]+")
_NOT_FOUND = re.compile(r"(?<!\S)(\S{1,200}) was not found in the package registry")
_URL_DEPENDENCY = re.compile(r"`([^`\s]{1,200})` was included as a URL dependency")
# Not of uv's cache, which names no file so.
_LOCAL_WHEEL = re.compile(r" file `/(?:[^`/]*/)*([^`/-]{1,200})-[^`/]{1,200}\.whl`")
_REFUSED = re.compile(r"401 Unauthorized|403 Forbidden|407 Proxy Authentication Required")
_YANKED = re.compile(
    r"warning: `([^`=\s]{1,200})==([^`\s]{1,200})` is yanked(?: \(reason: \"(.{0,500})\"\))?"
)
_UNKNOWN_HOST = ("dns error", "failed to lookup address", "error resolving DNS")
_UNREACHABLE = ("Failed to fetch", "Request failed after", "error sending request", "HTTP status ")
_ONLY_SDISTS = ("building from source is disabled", "has no usable wheels")
# What a hint says about how we call uv, or what we say better.
_OURS = (
    *("--", "By default", "building from source is disabled"),
    *("exclude-newer", "The latest version satisfying", "The requested version, v"),
)
_NO_MEMORY = ("memory allocation of", "spawn", "Cannot allocate memory")
_LIMIT_SIGNALS = {
    signal.SIGXCPU: "it took too much time",
    signal.SIGXFSZ: "it wrote too large a file",
    signal.SIGKILL: "it was killed, as happens where memory is short",
}


@dataclass(frozen=True)
class _Complaint:
    error: str
    causes: tuple[str, ...]
    hints: tuple[str, ...]


def to_error(messages: str, *, code: int, asked: Asked | None = None) -> ResolveError:
    """The error for uv's ``messages`` and exit ``code`` (negative: the signal that ended it)."""
    text = clean(messages)
    if code < 0:
        return _ended_by(signal.Signals(-code), text)
    complaint = _parse(text)
    if refused := _REFUSED.search(text):
        return _refusal(refused[0], text, credentials=asked is not None and asked.credentials)
    if complaint.error.startswith("No solution found"):
        return UnsatisfiableError(_conflict(complaint, text, asked))
    if wanted := _URL_DEPENDENCY.search(text):
        return UnsatisfiableError(
            shorten(
                f"{complaint.error}: it asks for {wanted[1]} at a URL, which is not allowed; "
                f"choose another version, or publish {wanted[1]} to the index"
            )
        )
    if local := _LOCAL_WHEEL.search(text):
        return UnsatisfiableError(
            f"the index offers a file of {local[1]} that is not on the network: "
            "correct the index, or name another in spec.index.url"
        )
    if any(sign in text for sign in _UNREACHABLE):
        return IndexUnavailableError(_outage(complaint, text))
    return ResolverError(shorten(": ".join((complaint.error, *complaint.causes[:2]))))


def yanked(messages: str) -> dict[tuple[str, str], str]:
    """The yanked releases that uv took: why they were yanked (maybe empty) by name and version."""
    return {
        (name, version): shorten(why, longest=_LONGEST_REASON)
        for name, version, why in _YANKED.findall(clean(messages))
    }


def clean(text: str) -> str:
    """The text without the user names, passwords and queries of its URLs."""
    text = re.sub(r"\S+", _without_user, text)
    return re.sub(r"(https?://[^\s?`)]{0,500})\?[^\s`)]*", r"\1", text)


def _without_user(word: re.Match[str]) -> str:
    before, sign, after = word[0].partition("://")
    return f"{before}{sign}{after.rpartition('@')[2]}"


def shorten(text: str, *, longest: int = LONGEST) -> str:
    """At most ``longest`` characters: the beginning, and the end, where the conclusion stands."""
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
    return _Complaint(error, tuple(found["cause"]), tuple(map(shorten, found["hint"])))


def _conflict(complaint: _Complaint, text: str, asked: Asked | None) -> str:
    explanation = " ".join(complaint.causes)
    missing = sorted(set(_NOT_FOUND.findall(explanation)))
    parts = [f"There is no package named {' or '.join(missing)} in the index."] if missing else []
    parts += advise_on_cooldown(text)
    parts += advise(explanation, text, asked) if asked else ()
    parts.append(explanation.replace(TOO_YOUNG, "is too young"))
    parts += filter(None, map(_without_flags, complaint.hints))
    if any(sign in text for sign in _ONLY_SDISTS for text in (explanation, *complaint.hints)):
        parts.append(
            "Only wheels are used, never source distributions: "
            "choose a version that has wheels, or publish one."
        )
    return shorten(" ".join(parts))


def _without_flags(hint: str) -> str:
    hint = re.sub(r"\s*\((?:try|i\.e\.,)[^()]*--[^()]*\)", "", hint)
    sentences = re.split(r"(?<=\.)\s+(?=[A-Z])", hint)
    kept = " ".join(one for one in sentences if not any(sign in one for sign in _OURS))
    return kept if not kept or kept.endswith(".") else f"{kept}."


def _refusal(status: str, text: str, *, credentials: bool) -> ResolveError:
    says = f"{_first_url(text)} answers {status}"
    if status.startswith("407"):
        return IndexUnavailableError(f"{says}: the operator's proxy wants credentials")
    if credentials:
        return IndexUnauthorizedError(
            f"{says}: the credentials of spec.index.credentialsSecretRef are wrong, have expired, "
            "or are for another host; renew the Secret"
        )
    return IndexUnauthorizedError(
        f"{says}: it asks for credentials; name a Secret in spec.index.credentialsSecretRef, "
        "or check the index URL"
    )


def _outage(complaint: _Complaint, text: str) -> str:
    where = _first_url(text)
    if any(sign in text for sign in _UNKNOWN_HOST):
        host = urlsplit(where).hostname
        return f"{where} can't be read: the name {host} can't be resolved; check the index URL"
    why = complaint.causes[-1] if complaint.causes else complaint.error
    why = re.sub(r" for url \([^)]{0,2000}\)| \(os error \d+\)", "", why)
    return shorten(f"{where} can't be read: {why}")


def _first_url(text: str) -> str:
    found = _URL.search(text)
    return found[0] if found else "the index"


def _ended_by(number: signal.Signals, text: str) -> ResolveError:
    if why := _LIMIT_SIGNALS.get(number):
        return LimitExceededError(f"the resolver was ended: {why}")
    if number == signal.SIGABRT and any(sign in text for sign in _NO_MEMORY):
        return LimitExceededError("the resolver was ended: it took too much memory", retry=False)
    return ResolverError(f"the resolver was ended by {number.name}")
