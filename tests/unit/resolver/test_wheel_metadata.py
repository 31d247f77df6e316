"""Requires-Python of a wheel that is not read as a whole."""

import io
from collections.abc import Callable
from contextlib import nullcontext
from email.message import Message
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError

import pytest

from flowdeps.resolver.wheel_metadata import requires_python
from tests.cluster import distributions

URL = "https://example.com/app-1.0-py3-none-any.whl"
LARGE = "".join(f"{number}\n" for number in range(40_000))


class _Server:
    """Answers for one file, by ranges or as a whole; counts what it sends."""

    def __init__(self, content: bytes, *, ranges: bool, refuses: int = 0) -> None:
        self.content, self.ranges, self.sent = content, ranges, 0
        self.refuses = refuses

    def open(self, url: str, more: dict[str, str]) -> Any:
        if url != URL:
            raise HTTPError(url, HTTPStatus.NOT_FOUND, "Not Found", Message(), None)
        if self.refuses and "Range" in more:
            raise HTTPError(url, self.refuses, "Not here", Message(), None)
        content, headers = self.content, dict[str, str]()
        if self.ranges and (wanted := more.get("Range")):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            content = content[int(first) : int(last) + 1] if first else content[-int(last) :]
            headers = {"Content-Range": f"bytes x-y/{len(self.content)}"}
        self.sent += len(content)
        answer: Any = io.BytesIO(content)
        answer.headers = headers
        return nullcontext(answer)


def wheel(**more: Any) -> bytes:
    made = distributions.wheel(name="app", version="1.0", **more)
    return made.content


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("modules", [{}, {"app/data.py": LARGE}])
@pytest.mark.parametrize("promised", [True, False])
def test_it_is_found_in_any_wheel(modules: dict[str, str], *, ranges: bool, promised: bool) -> None:
    """Small and large, of servers with ranges and without, and of those that promise too much."""
    content = wheel(requires_python="<3.10", modules=modules)
    server = _Server(content, ranges=ranges)
    assert requires_python(URL, promised=promised, opened=server.open) == "<3.10"


def test_a_large_wheel_is_not_read_as_a_whole() -> None:
    """Its end, and its metadata."""
    server = _Server(wheel(requires_python="<3.10", modules={"app/data.py": LARGE}), ranges=True)
    requires_python(URL, promised=False, opened=server.open)
    assert server.sent < len(server.content) / 2


@pytest.mark.parametrize("status", [400, 416, 501])
def test_a_server_that_refuses_the_end_of_a_file_is_asked_for_the_whole(status: int) -> None:
    """Some know ranges, but none that count from the end."""
    server = _Server(wheel(requires_python="<3.10"), ranges=True, refuses=status)
    assert requires_python(URL, promised=False, opened=server.open) == "<3.10"


def test_a_wheel_that_says_nothing_is_for_any() -> None:
    """No field, no bound."""
    server = _Server(wheel(), ranges=True)
    assert requires_python(URL, promised=False, opened=server.open) == ""


@pytest.mark.parametrize("damage", [lambda one: one[:-30], lambda one: one[:5]])
def test_a_damaged_wheel_is_an_error(damage: Callable[[bytes], bytes]) -> None:
    """For whoever asks to tell."""
    server = _Server(damage(wheel()), ranges=True)
    with pytest.raises(ValueError, match="zip"):
        requires_python(URL, promised=False, opened=server.open)
