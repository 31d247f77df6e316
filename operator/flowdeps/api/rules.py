"""What a single text of a set may be: the rules of the resource's CEL, in Python.

The API server refuses with crds/flowdependencysets.yaml what these functions refuse, and
tests/integration/crd holds both to one table. Each takes a text and returns what is wrong
and what to do, or None.
"""

import re

from flowdeps.api.durations import parse_duration
from flowdeps.locks.index import Index, IndexUrlError
from flowdeps.locks.requirements import RequirementError, parse_requirement

KEY_LIMIT = 40
"""A revision's ConfigMap, `flowdeps-<key>-<ten hex digits>`, is also a label value: 63."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_REVISION = re.compile(r".*-[0-9a-f]{10}")


def check_key(text: str) -> str | None:
    """A key: the name under which a pool offers a set."""
    if len(text) > KEY_LIMIT:
        return f"{len(text)} characters; shorten it to at most {KEY_LIMIT}"
    if not _LABEL.fullmatch(text):
        return f"{text!r} is not a key; use lower-case letters, digits and inner '-'"
    if text == "none":
        return "'none' is what a run chooses to get no set; choose another name"
    if _REVISION.fullmatch(text):
        return f"{text!r} looks like a revision ('-' and ten hex digits); choose another ending"
    return None


def check_pool(text: str) -> str | None:
    """The name of a Prefect work pool."""
    if re.search(r"[/%&<>]", text) or text != text.strip():
        return f"{text!r} cannot be a work pool's name; copy it from `prefect work-pool ls`"
    return None


def check_requirement(text: str) -> str | None:
    """A requirement or constraint: a PEP 508 line by name."""
    try:
        parse_requirement(text)
    except RequirementError as error:
        return str(error)
    return None


def check_index_url(text: str) -> str | None:
    """The URL of a package index. The message never shows the URL: it may hold a password."""
    if re.match(r"[^/]*//[^/?#]*@", text):
        return "a user name or password in a URL is not allowed; remove the part before '@'"
    if "?" in text or "#" in text:
        return "an index URL has no '?' or '#'; remove what follows"
    try:
        Index(text)
    except IndexUrlError:
        return "not an index URL; write it such as https://packages.example.com/simple"
    return None


def check_interval(text: str) -> str | None:
    """How often pins are refreshed: `0s`, or a minute and more."""
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        return str(error)
    if 0 < seconds < 60:
        return f"{text!r} is less than a minute; write 1m or more, or 0s for only on change"
    return None
