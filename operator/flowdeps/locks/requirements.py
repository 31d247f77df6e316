"""Parses requirements: what a set asks for, one package name and its conditions a line.

A line is a dependency specifier without a direct reference: name, extras, conditions and marker.

Nothing else passes: a requirement is written into a resolver's input file, where a URL, a path or a
flag would fetch from, or read, any place. What `parse_requirement` accepts is one line, without a
comment or a character that such a file gives a meaning to.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name, canonicalize_version

PUBLISH = "publish the package to an index and name it with a version"
_FLAG = re.compile(r"-{1,2}[A-Za-z]")
_PATH = re.compile(r"[.~]|[^;]*/|[A-Za-z]:\\")
_FILE = re.compile(r"\.(whl|zip|tar\.gz|tgz|txt|toml)$", re.IGNORECASE)
_URL = re.compile(r"://|@")
_NAME = re.compile(r"[\w.-]+(\[[\w., -]*\])?\s*@")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SHOWN = 120
MOST_PARENTHESES = 16
"""Parsers of markers call themselves for each."""


class RequirementError(ValueError):
    """A requirement that can't be accepted; the text quotes it, but no URL, and says what
    to do instead."""


class RequirementLine(str):
    """A requirement as `normalize` writes it: one that nobody has to parse again."""

    __slots__ = ()


def parse_requirement(text: str) -> Requirement:
    """Parse the requirement in ``text``.

    Raises `RequirementError` for all that isn't a package name with optional extras, version
    conditions and marker.
    """
    line = text.strip()
    if reason := _refusal(line):
        raise RequirementError(f"{_quoted(line)}: {reason}")
    try:
        requirement = _parsed(line)
    except InvalidRequirement as error:
        why = str(error).partition("\n")[0].rstrip(".")
        raise RequirementError(
            f"{_quoted(line)}: {why}; write a package name and versions, as in pandas>=2.2,<3"
        ) from None
    if requirement.url is not None:
        raise RequirementError(f"{_quoted(line)}: a URL is not allowed; {PUBLISH}")
    return requirement


@lru_cache(maxsize=1024)  # what a set asks for is checked, then brought into its normal form
def _parsed(line: str) -> Requirement:
    return Requirement(line)


def requirement_name(line: str) -> NormalizedName:
    """Return the name of the package that a requirement is about."""
    return canonicalize_name(re.split(r"[^\w.-]", line, maxsplit=1)[0])


def limits(*lines: Iterable[str]) -> dict[NormalizedName, SpecifierSet]:
    """Return the conditions that requirements set on versions, by the package's name."""
    found: dict[NormalizedName, SpecifierSet] = {}
    for one in (Requirement(line) for several in lines for line in several):
        name = canonicalize_name(one.name)
        found[name] = found.get(name, SpecifierSet()) & one.specifier
    return found


def normalize(requirement: Requirement) -> RequirementLine:
    """Return the one text that all requirements equal to ``requirement`` share."""
    name = canonicalize_name(requirement.name)
    extras = ",".join(sorted({canonicalize_name(extra) for extra in requirement.extras}))
    conditions = ",".join(
        sorted({_condition(one.operator, one.version) for one in requirement.specifier})
    )
    marker = f" ; {requirement.marker}" if requirement.marker else ""
    return RequirementLine(f"{name}{f'[{extras}]' if extras else ''}{conditions}{marker}")


def normal_lines(texts: Iterable[str]) -> tuple[RequirementLine, ...]:
    """Return requirements in their normal form, sorted and each once; those that are in it already
    cost nothing. Raises `RequirementError`."""
    found = (
        one if isinstance(one, RequirementLine) else normalize(parse_requirement(one))
        for one in texts
    )
    return tuple(sorted(set(found)))


def _condition(operator: str, version: str) -> str:
    # 1.0 and 1 are one version, but ~=1.0 and ~=1 differ, and === compares texts.
    if operator == "===" or version.endswith(".*"):
        return f"{operator}{version}"
    return f"{operator}{canonicalize_version(version, strip_trailing_zero=operator != '~=')}"


def _refusal(line: str) -> str | None:
    """Return why a line can't be a requirement, where we can say it better than a parser."""
    if not line:
        return "a requirement can't be empty; remove the line"
    if len(line.splitlines()) > 1:
        return "a requirement is one line; make it one entry for each package"
    if _FLAG.match(line):
        return "a flag is not allowed; list the packages themselves"
    if line.startswith("#") or " #" in line:
        return "a comment is not allowed here; leave it out"
    if _URL.search(line):
        return f"a URL is not allowed; {PUBLISH}"
    if _PATH.match(line) or _FILE.search(line):
        return f"a path is not allowed; {PUBLISH}"
    if "--hash" in line:
        return "a hash is not allowed; the lock records the hashes"
    if line.count("(") > MOST_PARENTHESES:
        return f"it has more than {MOST_PARENTHESES} parentheses; write the marker with fewer"
    if found := next((one for one in line if not " " <= one <= "~" or one in "\\$#`"), None):
        return f"the character {found!r} is not allowed; write a package name and versions"
    return None


def _quoted(line: str) -> str:
    shown = " ".join(line.split())
    if _URL.search(shown):
        shown = f"{before_url(shown)}…"
    return f'"{shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"}"'


def before_url(text: str) -> str:
    """Return what may be shown of a text with a URL, whose parts may hold a password or a token."""
    found = _NAME.match(text) or _SCHEME.match(text)
    return found[0] if found and len(found[0]) < 80 else ""
