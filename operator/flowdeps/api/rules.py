"""What a single text of a set may be: the rules of the resource's CEL, in Python.

The API server refuses with crds/flowdependencysets.yaml what these functions refuse, and
tests/integration/crd holds both to one table. Each takes a text and returns what is wrong
and what to do, or None.
"""

import re
from collections.abc import Callable
from datetime import timedelta

from flowdeps.api.durations import parse_duration
from flowdeps.locks.index import Index, IndexUrlError
from flowdeps.locks.requirements import RequirementError, parse_requirement

KEY_LIMIT = 40
"""A revision's ConfigMap, `flowdeps-<key>-<ten hex digits>`, is also a label value: 63."""

PLAIN_URL = re.compile(r"https?://[^/@?#\s]+(/[^?#\s]*)?")
"""A URL without credentials, query and fragment."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_POOL = re.compile(r"[^/%&<>\s]([^/%&<>]*[^/%&<>\s])?")
_USERINFO = re.compile(r"//[^/?#]*@")
_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-\"$->@-~]*)?")
_REVISION = re.compile(r"-[0-9a-f]{10}$")
_OBJECT = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


def check_key(text: str) -> str | None:
    """A key: the name under which a pool offers a set."""
    if len(text) > KEY_LIMIT or not _LABEL.fullmatch(text):
        return (
            f"{text!r} is not a key; use at most {KEY_LIMIT} lower-case letters, digits"
            " and inner '-'"
        )
    if text == "none":
        return "'none' is what a run chooses to get no set; choose another name"
    if _REVISION.search(text):
        return f"{text!r} ends like a revision ('-' and ten hex digits); choose another ending"
    return None


def check_revision(text: str) -> str | None:
    """The name of a revision: a key, `-` and ten hex digits."""
    if len(text) <= KEY_LIMIT + 11 and re.fullmatch(rf"{_LABEL.pattern}-[0-9a-f]{{10}}", text):
        return None
    return f"{text!r} is not a revision; copy a name from status.revisions"


def check_namespace(text: str) -> str | None:
    """The name of a namespace."""
    if _LABEL.fullmatch(text):
        return None
    return f"{text!r} is not a namespace; use lower-case letters, digits and inner '-'"


def check_pool(text: str) -> str | None:
    """The name of a Prefect work pool."""
    if _POOL.fullmatch(text):
        return None
    return (
        f"{text!r} is not a work pool's name (it has no / % & < > and no space at its ends);"
        " copy it from `prefect work-pool ls`"
    )


def check_requirement(text: str) -> str | None:
    """A requirement or constraint: a PEP 508 line by name."""
    try:
        parse_requirement(text)
    except RequirementError as error:
        return str(error)
    return None


def check_index_url(text: str) -> str | None:
    """The URL of a package index. The message never shows the URL: it may hold a password."""
    if _USERINFO.search(text):
        return "a user name or password in a URL is not allowed; remove the part before '@'"
    try:
        fits = _URL.fullmatch(text) and Index(text)
    except IndexUrlError:
        fits = None
    if not fits:
        return (
            "not an index URL; write it such as https://packages.example.com/simple,"
            " without '?' and '#'"
        )
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


def check_object_name(text: str) -> str | None:
    """The name of a ConfigMap or Secret."""
    if _OBJECT.fullmatch(text):
        return None
    return f"{text!r} is not an object's name; use lower-case letters, digits and inner '-' and '.'"


def check_config_key(text: str) -> str | None:
    """A key of a ConfigMap's data."""
    if re.fullmatch(r"[A-Za-z0-9._-]+", text):
        return None
    return f"{text!r} is not a key of a ConfigMap; use letters, digits, '-', '_' and '.'"


def check_variable(text: str) -> str | None:
    """The name of a Prefect variable."""
    if re.fullmatch(r"[A-Za-z0-9_-]+", text):
        return None
    return f"{text!r} is not a Prefect variable's name; use letters, digits, '_' and '-'"


def check_image(text: str) -> str | None:
    """The reference of an image: printable, without spaces and placeholders of a template."""
    if re.fullmatch(r"[!-z]+", text):
        return None
    return f"{text!r} is not an image; write it such as registry.example.com/flows:1"


def check_package(text: str) -> str | None:
    """The name of a package, without versions."""
    if _PACKAGE.fullmatch(text):
        return None
    return f"{text!r} is not a package's name; write it alone, such as python-dateutil"


def check_shadow(text: str) -> str | None:
    """The name of a package, or `*`."""
    return None if text == "*" or check_package(text) is None else f"{check_package(text)}, or '*'"


def check_module(text: str) -> str | None:
    """What can be imported, such as `google.cloud.storage`."""
    if _MODULE.fullmatch(text):
        return None
    return f"{text!r} is not a module's name; write it as an import does, such as google.cloud"


def one_of(*choices: str) -> Callable[[str], str | None]:
    """Return a rule that accepts these texts only."""

    def check(text: str) -> str | None:
        if text in choices:
            return None
        return f"{text!r} is not known; write {', '.join(choices[:-1])} or {choices[-1]}"

    return check


def check_cooldown(text: str) -> str | None:
    """How old a release must be: up to a year."""
    try:
        fits = parse_duration(text) <= timedelta(days=365)
    except ValueError as error:
        return str(error)
    return None if fits else f"{text!r} is more than a year; write 365d or less"


def check_verify_timeout(text: str) -> str | None:
    """How long a verification may take."""
    try:
        fits = timedelta(seconds=30) <= parse_duration(text) <= timedelta(hours=1)
    except ValueError as error:
        return str(error)
    return None if fits else f"{text!r} is out of range; write 30s to 1h"
