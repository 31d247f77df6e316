"""Finds the pins of a lock that have known vulnerabilities, and constraints that avoid them.

A version is affected where an advisory lists it or a range holds it, whatever its local part
(``+cu118``): a rebuild has the vulnerabilities of what it was built from. One that isn't PEP 440 is
only looked for in lists. Of several advisories on one vulnerability, linked by aliases, one that
says so is enough, and it is reported once: by its CVE where it has one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name
from packaging.version import Version

from flowdeps.api.wording import listed
from flowdeps.vulnerabilities.osv import (
    Advisory,
    AffectedRange,
    Database,
    normal_version,
    public_version,
)

_FAMILIES = ("CVE-", "GHSA-", "PYSEC-")
_MAX_LISTED = 20
_SHOWN = 5


@dataclass(frozen=True, order=True)
class Vulnerability:
    """A known vulnerability of a pin."""

    package: str
    version: str
    id: str
    fixed: str = ""
    """The lowest fixed version above the pin's; empty where none is known."""
    summary: str = ""
    severity: str = ""
    """Low, moderate, medium, high, critical or empty."""
    aliases: tuple[str, ...] = ()
    forbid: str = ""
    """The condition that rules it out, see `exclusions`."""
    since: str = ""
    """The version with which it came; empty where it was always there."""


def find_vulnerabilities(
    database: Database, pins: Iterable[tuple[str, str]]
) -> tuple[Vulnerability, ...]:
    """Return the vulnerabilities of ``pins`` (names and versions), sorted."""
    found = set[Vulnerability]()
    for name, version in pins:
        package = canonicalize_name(name)
        for advisories in database.vulnerabilities.get(package, ()):
            if any(_affects(one, version) for one in advisories):
                found.add(_vulnerability(package, version, advisories))
    return tuple(sorted(found))


def exclusions(
    vulnerabilities: Iterable[Vulnerability], *, before: bool = False
) -> tuple[str, ...]:
    """Return constraints that lead a resolver to versions without ``vulnerabilities``, sorted.

    All that a condition can say is ruled out, or a resolver would try one affected version after
    the other; a vulnerability of every version gives no line. One that came and was fixed leaves
    versions on both sides, which no condition can say: ``!=`` rules out the pin's alone and, if
    that leads to the next affected one, ``before`` allows only those before it: ``urllib3<2.0.0``.
    """
    lines = {
        f"{one.package}<{one.since}" if before and one.since else f"{one.package}{one.forbid}"
        for one in vulnerabilities
        if one.forbid
    }
    return tuple(sorted(lines))


def fixes(vulnerabilities: Iterable[Vulnerability]) -> dict[str, str]:
    """Return the packages with a known fixed version, which may be younger than the cooldown, each
    with the constraint that keeps it from what came after that: ``urllib3<=2.0.7``."""
    found = sorted((Version(one.fixed), one.package) for one in vulnerabilities if one.fixed)
    return {package: f"{package}<={fixed}" for fixed, package in found}  # the highest comes last


def vulnerabilities_text(found: Sequence[Vulnerability]) -> str:
    """Return vulnerabilities as one line for people."""
    texts = [
        f"{one.package} {one.version} has {one.id}"
        + (f" (fixed in {one.fixed})" if one.fixed else " (no fixed version is known)")
        for one in found[:_SHOWN]
    ]
    return listed(texts, most=_SHOWN, total=len(found))


def _affects(advisory: Advisory, version: str) -> bool:
    listed = normal_version(version) in advisory.versions
    return listed or any(_within(one, version) for one in advisory.ranges)


def _within(affected: AffectedRange, version: str) -> bool:
    own, since, until = map(public_version, (version, affected.since, affected.until))
    if own is None or (since is not None and own < since):
        return False
    return until is None or own < until or (affected.closed and own == until)


def _vulnerability(package: str, version: str, advisories: tuple[Advisory, ...]) -> Vulnerability:
    names = {name for one in advisories for name in (one.id, *one.aliases)}
    best = min(names, key=_preference)
    by_preference = sorted(advisories, key=lambda one: _preference(one.id))
    around = [one for each in advisories for one in each.ranges if _within(one, version)]
    starts = [public_version(one.since) for one in around]
    since = str(min(filter(None, starts))) if starts and all(starts) else ""
    fixed = _fixed(version, advisories)
    return Vulnerability(
        package,
        version,
        best,
        fixed=fixed,
        summary=next((one.summary for one in by_preference if one.summary), ""),
        severity=next((one.severity for one in by_preference if one.severity), ""),
        aliases=tuple(sorted(names - {best})),
        forbid=_forbid(version, since, fixed, around, advisories),
        since=since,
    )


def _fixed(version: str, advisories: tuple[Advisory, ...]) -> str:
    own = public_version(version)
    ends = {one.until for advisory in advisories for one in advisory.ranges if not one.closed}
    above = [end for text in ends if own and (end := public_version(text)) and end > own]
    for end in sorted(above):
        if not any(_affects(one, str(end)) for one in advisories):
            return str(end)
    return ""


def _forbid(
    version: str,
    since: str,
    fixed: str,
    around: list[AffectedRange],
    advisories: tuple[Advisory, ...],
) -> str:
    own = public_version(version)
    if own is None:
        return ""
    if not around:
        versions = {public_version(text) for each in advisories for text in each.versions}
        every = sorted(filter(None, versions))
        return ",".join(f"!={one}" for one in (every if len(every) <= _MAX_LISTED else [own]))
    ends = [end for one in around if (end := public_version(one.until))]
    endless = len(ends) < len(around)
    if since:
        return f"<{since}" if endless else f"!={own}"
    if fixed:
        return f">={fixed}"
    return "" if endless else f">{max(ends)}"


def _preference(name: str) -> tuple[int, str]:
    family = (at for at, start in enumerate(_FAMILIES) if name.startswith(start))
    return (next(family, len(_FAMILIES)), name)
