"""The table of what uv says, against what it said.

The samples are uv's words, which tests/integration/resolver/test_messages.py compares with those of
the uv in our lock; those on memory and of a proxy were caught by hand, with limits set on uv.
"""

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from flowdeps.resolver.errors import LimitExceededError
from flowdeps.resolver.failures import to_error
from flowdeps.resolver.messages import Says, ranges

_SAMPLES = {path.stem: path.read_text() for path in Path(__file__).parent.glob("samples/*.txt")}
sre_parse: Any = re._parser.parse  # type: ignore[attr-defined]
_PLACES = {re._constants.AT, re._constants.ASSERT, re._constants.ASSERT_NOT}  # type: ignore[attr-defined]
_REPEATS = {re._constants.MAX_REPEAT, re._constants.MIN_REPEAT}  # type: ignore[attr-defined]
_TEXTS = {name: " ".join(text.split()) for name, text in _SAMPLES.items()}


@pytest.mark.parametrize(
    ("says", "alternative"), [(says, one) for says in Says for one in says.value]
)
def test_every_pattern_has_a_sample(says: Says, alternative: str) -> None:
    """A pattern that uv no longer fits, or never did, has no place in the table."""
    texts = _TEXTS if says in (Says.OFFER, Says.NO_SOLUTION) else _SAMPLES
    assert any(re.search(alternative, text) for text in texts.values())


@pytest.mark.parametrize(
    ("says", "sample", "found"),
    [
        (Says.PACKAGE_UNKNOWN, "unknown_package", ["pandsa"]),
        (Says.NO_VERSIONS, "only_pre_releases", ["app"]),
        (Says.NO_SUCH_VERSION, "no_such_version", [("app", "2")]),
        (Says.OFFER, "newer_than_offered", ["app==1.0 is available and "]),
        (Says.WHEELS_FOR_GLIBC, "newer_glibc", ["28", "39"]),
        (Says.RANGE_TOO_YOUNG, "too_young_of_last_lock", [("app", ">1.0")]),
        (Says.RELEASE_TOO_YOUNG, "too_young", [("app", "2.0", "2026-06-12")]),
        (Says.RELEASE_TOO_YOUNG, "too_young_version", [("app", "2.0", "2026-06-12")]),
        (Says.NO_UPLOAD_TIME, "no_upload_time", ["app-1.0-py3-none-any.whl"]),
        (Says.YANKED, "yanked", [("app", "1.0", "")]),
        (Says.YANKED, "yanked_with_reason", [("app", "1.0", 'breaks on "Mondays"')]),
        (Says.UNKNOWN_EXTRA, "unknown_extra", [("app", "1.0", "fast")]),
        (Says.URL_DEPENDENCY, "url_dependency", ["x"]),
        (Says.LOCAL_FILE, "local_wheel", ["app"]),
        (Says.LOCAL_FILE, "local_file", [""]),
        (Says.LOCAL_FILE, "local_file_with_hash", [""]),
        (
            Says.ON_ANOTHER_INDEX,
            "on_another_index",
            [
                (
                    "app",
                    "http://index.example.com/simple/",
                    "app>1",
                    "http://other.example.com/simple/",
                )
            ],
        ),
        (Says.NO_PAGE, "no_html", [("http://index.example.com/simple/app/", "")]),
        (Says.NO_PAGE, "no_page", [("", "http://index.example.com/simple/app/")]),
        (
            Says.FILE_GONE,
            "file_gone",
            [("http://index.example.com/files/my_app-1.0-py3-none-any.whl", "my_app", "1.0")],
        ),
        (Says.REFUSED, "proxy_refused", ["407 Proxy Authentication Required"]),
        (Says.URL, "unknown_host", ["http://index.invalid/simple/app/"] * 2),
    ],
)
def test_patterns_find_names_and_versions(says: Says, sample: str, found: list[Any]) -> None:
    """What the advice to people is made of."""
    assert says.findall(_TEXTS[sample]) == found


@pytest.mark.parametrize("sample", [name for name in _SAMPLES if name.startswith("no_memory")])
def test_too_little_memory_is_a_limit(sample: str) -> None:
    """However uv ends of it: the same request would end so again."""
    error = to_error(_SAMPLES[sample], code=-signal.SIGABRT)
    assert (type(error), error.retry) == (LimitExceededError, False)


def test_ranges_are_found_by_package() -> None:
    """In the order in which uv names them, without the signs of its sentence."""
    assert ranges(_TEXTS["conflict_with_image"]) == {"six": [">=2", "==1.16.0"]}
    assert ranges("Because a.b==1 and x<2,>=1, we …") == {"x": ["<2,>=1"]}


@pytest.mark.parametrize(
    ("says", "alternative"), [(says, one) for says in Says for one in says.value]
)
def test_no_pattern_looks_further_at_each_place_than_a_line(says: Says, alternative: str) -> None:
    """An index has a say in what uv prints: what begins with a repetition without a bound takes
    time with the square of the text's length, as of 64 KiB of line breaks."""
    first = next(iter(one for one in sre_parse(alternative) if one[0] not in _PLACES))
    assert first[0] not in _REPEATS or first[1][1] < 1000, says
