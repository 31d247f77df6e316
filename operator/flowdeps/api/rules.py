"""What a single text of a set may be: the rules of the resource's CEL, in Python.

The API server refuses with crds/flowdependencysets.yaml what these rules refuse, and
tests/integration/crd holds both to one table. Each takes a text and returns what is wrong
and what to do, or None.
"""

import re
from collections.abc import Callable

from flowdeps.api.durations import parse_duration
from flowdeps.api.fields import Check
from flowdeps.locks.index import Index, IndexUrlError
from flowdeps.locks.requirements import RequirementError, parse_requirement

KEY_LIMIT = 40
"""A revision's ConfigMap, `flowdeps-<key>-<ten hex digits>`, is also a label value: 63."""

PLAIN_URL = re.compile(r"https?://[^/@?#\s]+(/[^?#\s]*)?")
"""A URL without credentials, query and fragment."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_USERINFO = re.compile(r"//[^/?#]*@")
_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-\"$->@-~]*)?")
_ENDING = r"-[0-9a-f]{10}"
_REVISION = re.compile(_LABEL.pattern + _ENDING)


def rule(fits: Callable[[str], object], wrong: str, *, hide: bool = False) -> Check:
    """Return a rule that says what is wrong with a text that does not fit; `hide`: unquoted."""
    return lambda text: None if fits(text) else wrong if hide else f"{text!r} {wrong}"


def matching(pattern: str, wrong: str) -> Check:
    """Return a rule that accepts what a regular expression matches."""
    return rule(re.compile(pattern).fullmatch, wrong)


def one_of(*choices: str) -> Check:
    """Return a rule that accepts these texts only."""
    known = f"{', '.join(choices[:-1])} or {choices[-1]}"
    return rule(choices.__contains__, f"is not known; write {known}")


def _lasting(fits: Callable[[float], bool], wrong: str) -> Check:
    """Return a rule for durations; `fits` is given their seconds."""

    def check(text: str) -> str | None:
        try:
            seconds = parse_duration(text).total_seconds()
        except ValueError as error:
            return str(error)
        return None if fits(seconds) else f"{text!r} {wrong}"

    return check


def check_key(text: str) -> str | None:
    """A key: the name under which a pool offers a set."""
    if len(text) > KEY_LIMIT or not _LABEL.fullmatch(text):
        return (
            f"{text!r} is not a key; use at most {KEY_LIMIT} lower-case letters, digits"
            " and inner '-'"
        )
    if text == "none":
        return "'none' is what a run chooses to get no set; choose another name"
    if re.search(rf"{_ENDING}$", text):
        return f"{text!r} ends like a revision ('-' and ten hex digits); choose another ending"
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
    if _USERINFO.search(text):
        return "a user name or password in a URL is not allowed; remove the part before '@'"
    try:
        if _URL.fullmatch(text) and Index(text):
            return None
    except IndexUrlError:
        pass
    return (
        "not an index URL; write it such as https://packages.example.com/simple,"
        " without '?' and '#'"
    )


def check_shadow(text: str) -> str | None:
    """The name of a package, or `*`."""
    return None if text == "*" or check_package(text) is None else f"{check_package(text)}, or '*'"


check_revision = rule(
    lambda text: len(text) <= KEY_LIMIT + 11 and _REVISION.fullmatch(text),
    "is not a revision; copy a name from status.revisions",
)
check_namespace = matching(
    _LABEL.pattern, "is not a namespace; use lower-case letters, digits and inner '-'"
)
check_object_name = matching(
    rf"{_LABEL.pattern}(\.{_LABEL.pattern})*",
    "is not an object's name; use lower-case letters, digits and inner '-' and '.'",
)
check_config_key = matching(
    r"[A-Za-z0-9._-]+", "is not a key of a ConfigMap; use letters, digits, '-', '_' and '.'"
)
check_pool = matching(
    r"[^/%&<>\s]([^/%&<>]*[^/%&<>\s])?",
    "is not a work pool's name (it has no / % & < > and no space at its ends);"
    " copy it from `prefect work-pool ls`",
)
check_variable = matching(
    r"[A-Za-z0-9_-]+", "is not a Prefect variable's name; use letters, digits, '_' and '-'"
)
check_image = matching(r"[!-z]+", "is not an image; write it such as registry.example.com/flows:1")
check_package = matching(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?",
    "is not a package's name; write it alone, such as python-dateutil",
)
check_module = matching(
    r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*",
    "is not a module's name; write it as an import does, such as google.cloud",
)
check_interval = _lasting(
    lambda seconds: not 0 < seconds < 60,
    "is less than a minute; write 1m or more, or 0s for only on change",
)
check_credentials = _lasting(
    lambda seconds: not 0 < seconds < 10,
    "is less than ten seconds; write 10s or more, or 0s for never",
)
check_cooldown = _lasting(
    lambda seconds: seconds <= 365 * 86400, "is more than a year; write 365d or less"
)
check_unused = _lasting(
    lambda seconds: 3600 <= seconds <= 365 * 86400, "is out of range; write 1h to 365d"
)
check_helper_timeout = _lasting(
    lambda seconds: 1 <= seconds <= 300, "is out of range; write 1s to 5m"
)
check_verify_timeout = _lasting(
    lambda seconds: 30 <= seconds <= 3600, "is out of range; write 30s to 1h"
)
