"""uv's complaints, as it writes them, and what becomes of them."""

import signal
import time

import pytest

from flowdeps.resolver.errors import (
    IndexUnauthorizedError,
    IndexUnavailableError,
    LimitExceededError,
    ResolveError,
    ResolverError,
    UnsatisfiableError,
)
from flowdeps.resolver.failures import LONGEST, to_error, without_secrets


def conflict(*lines: str) -> str:
    return "\n".join(("error: No solution found when resolving dependencies", *lines))


def test_an_explanation_is_one_line_without_advice_about_flags() -> None:
    """Lists are joined; hints stay as far as a reader of the resource can follow them."""
    error = to_error(
        conflict(
            "  cause: Because only the following versions of app are available:",
            "             app<=1",
            "             app==2.0",
            "         we can conclude that app>1 cannot be used.",
            "         And because you require app>1, your requirements are unsatisfiable.",
            "",
            "hint: Pre-releases are available for `app` (e.g., 3.0a1) (try: `--prerelease=allow`)",
            "",
            "hint: `app` was found on https://example.com, but not at the requested version. "
            "By default, uv will only consider the first. Use `--index-strategy` to change it.",
        ),
        code=1,
    )
    assert isinstance(error, UnsatisfiableError)
    assert error.message == (
        "Because only the following versions of app are available: app<=1, app==2.0, we can "
        "conclude that app>1 cannot be used. And because you require app>1, your requirements are "
        "unsatisfiable. Pre-releases are available for `app` (e.g., 3.0a1). `app` was found on "
        "https://example.com, but not at the requested version."
    )


def test_a_long_explanation_keeps_its_beginning_and_its_conclusion() -> None:
    """What stands in the middle gives way."""
    error = to_error(conflict("  cause: Because " + "x and " * 5000 + "it is so."), code=1)
    assert len(error.message) <= LONGEST
    assert error.message.startswith("Because x and ")
    assert error.message.endswith("x and it is so.")
    assert " … " in error.message


@pytest.mark.parametrize(
    ("number", "messages", "kind", "text"),
    [
        (signal.SIGABRT, "memory allocation of 616 bytes failed", LimitExceededError, "memory"),
        (signal.SIGABRT, "OS can't spawn worker thread: os error 11", LimitExceededError, "memory"),
        (signal.SIGKILL, "", LimitExceededError, "killed"),
        (signal.SIGXCPU, "", LimitExceededError, "time"),
        (signal.SIGXFSZ, "", LimitExceededError, "file"),
        (signal.SIGABRT, "a bug", ResolverError, "SIGABRT"),
        (signal.SIGSEGV, "", ResolverError, "SIGSEGV"),
    ],
)
def test_a_signal_tells_which_limit_was_passed(
    number: signal.Signals, messages: str, kind: type[ResolveError], text: str
) -> None:
    """A limit's signal is that limit; any other is the resolver's failure."""
    error = to_error(messages, code=-number)
    assert type(error) is kind
    assert text in error.message


@pytest.mark.parametrize(
    ("messages", "kind", "text"),
    [
        ("", ResolverError, "uv failed without a word"),
        ("something else\nbroke", ResolverError, "something else broke"),
        ("error: invalid value\n  cause: why", ResolverError, "invalid value: why"),
        (
            "error: failed to open file `/srv/a-b/my_app-1.0-py3-none-any.whl`: Permission denied",
            UnsatisfiableError,
            "the index offers a file of my_app that is not on the network: "
            "correct the index, or name another in spec.index.url",
        ),
        (
            "error: failed to open file `/cache/uv/simple-v18/index/app.rkyv`: Permission denied",
            ResolverError,
            "failed to open file `/cache/uv/simple-v18/index/app.rkyv`: Permission denied",
        ),
        (
            "error: Failed to fetch: https://example.com/a\n"
            "  cause: HTTP status client error (429 Too Many Requests) for url (https://x/a)",
            IndexUnavailableError,
            "https://example.com/a can't be read: HTTP status client error (429 Too Many Requests)",
        ),
        (
            "error: Failed to fetch: https://example.com/a\n"
            "  cause: HTTP status client error (403 Forbidden) for url (https://example.com/a)",
            IndexUnauthorizedError,
            "https://example.com/a answers 403 Forbidden: it asks for credentials; "
            "name a Secret in spec.index.credentialsSecretRef, or check the index URL",
        ),
    ],
)
def test_any_other_complaint_is_told_briefly(
    messages: str, kind: type[ResolveError], text: str
) -> None:
    """What we know no better word for is passed on."""
    error = to_error(messages, code=2)
    assert type(error) is kind
    assert error.message == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("(https://me:p@ss@example.com/a?x=1)", "(https://example.com/a)"),
        ("http://me:p/ss@example.com/a", "http://example.com/a"),
        ("http://me:p?ss@example.com/a?x=1", "http://example.com/a"),
        ("`git+ssh://git@example.com/a`", "`git+ssh://example.com/a`"),
        (
            "http://a.example.com/?t=1 and http://b.example.com/x?t=2",
            "http://a.example.com/ and http://b.example.com/x",
        ),
        ("is it me@example.com?", "is it me@example.com?"),
    ],
)
def test_urls_lose_what_may_be_secret(text: str, cleaned: str) -> None:
    """User names, passwords and queries go; the rest of a text stays."""
    assert without_secrets(text) == cleaned


@pytest.mark.parametrize(
    "piece",
    [
        "x",
        "http://",
        "x://",
        "` ",
        " (try: ",
        "--",
        "(e.g., ",
        "http://a?",
        "\n  hint: ",
        "@",
        " file `/",
        "only ",
        "only a available ",
        "no version of a==",
        "there are no versions of a",
        "`a` was filtered by `exclude-newer` ",
        "warning: `a==1` is yanked (",
        "/a-b-",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    """Whatever an index makes uv say, saying it again takes no time."""
    flood = piece * (64 * 1024 // len(piece))
    started = time.process_time()
    for before in (
        "error: ",
        "error: No solution found\n  cause: ",
        "error: No solution found\nhint: ",
    ):
        to_error(before + flood, code=1)
    assert time.process_time() - started < 5
