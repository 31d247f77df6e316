"""The parts of a set's status as values, and how each is written and read.

What `…_dict` writes is within the bounds of the resource's schema; what `parse_…` reads may be
anything, and is None where the part makes no sense.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flowdeps.api.times import format_time, parse_time
from flowdeps.api.wording import shorten

NAMESPACES_LIMIT = 32
SUMMARY_LIMIT = 1024
POOL_MESSAGE_LIMIT = 1024
IMAGE_LIMIT = 1024
PYTHON_LIMIT = 32
ID_LIMIT = 64
NAME_LIMIT = 128
ABOUT_LIMIT = 256


@dataclass(frozen=True, kw_only=True)
class LockStatus:
    """The lock in service. `revision` is its revision's name, `packages` its number of pins;
    `image` is what it is made for, if not a version of Python alone."""

    digest: str
    revision: str
    packages: int
    python: str
    platforms: tuple[str, ...]
    resolved_at: datetime
    inputs_digest: str
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class RevisionStatus:
    """A published revision; `summary` says in a line what changed from the one before.
    `proposed`: nothing serves it before it is approved."""

    name: str
    digest: str
    created_at: datetime
    summary: str = ""
    proposed: bool = False


@dataclass(frozen=True, kw_only=True)
class ProposedStatus:
    """A refresh that waits for approval."""

    revision: str
    digest: str
    proposed_at: datetime
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageStatus:
    """The image that locks are made for; `id`, `python` and `packages` are what a pod found."""

    name: str
    id: str = ""
    python: str = ""
    packages: int = 0


@dataclass(frozen=True, kw_only=True)
class VulnerabilityStatus:
    """A known vulnerability of a pin; `fixed` is the lowest newer version without it."""

    id: str
    package: str
    version: str
    fixed: str = ""
    summary: str = ""


@dataclass(frozen=True, kw_only=True)
class PoolStatus:
    """How far a pool is; `namespaces` are those where its jobs run and the lock is kept."""

    name: str
    key: str
    synced: bool
    namespaces: tuple[str, ...] = ()
    message: str = ""


def lock_dict(lock: LockStatus) -> dict[str, Any]:
    """A lock as JSON."""
    return {
        "digest": lock.digest,
        "revision": lock.revision,
        "packages": lock.packages,
        "python": lock.python,
        "platforms": list(lock.platforms),
        "resolvedAt": format_time(lock.resolved_at),
        "inputsDigest": lock.inputs_digest,
        **({"image": lock.image[:IMAGE_LIMIT]} if lock.image else {}),
    }


def image_dict(image: ImageStatus) -> dict[str, Any]:
    """An image as JSON."""
    return {
        "name": image.name[:IMAGE_LIMIT],
        "id": image.id[:IMAGE_LIMIT],
        "python": image.python[:PYTHON_LIMIT],
        "packages": image.packages,
    }


def proposed_dict(proposed: ProposedStatus) -> dict[str, Any]:
    """A proposal as JSON."""
    return {
        "revision": proposed.revision,
        "digest": proposed.digest,
        "summary": shorten(proposed.summary, SUMMARY_LIMIT),
        "proposedAt": format_time(proposed.proposed_at),
    }


def vulnerability_dict(found: VulnerabilityStatus) -> dict[str, Any]:
    """A vulnerability as JSON."""
    return {
        "id": shorten(found.id, ID_LIMIT),
        "package": shorten(found.package, NAME_LIMIT),
        "version": shorten(found.version, NAME_LIMIT),
        "fixed": shorten(found.fixed, NAME_LIMIT),
        "summary": shorten(found.summary, ABOUT_LIMIT),
    }


def revision_dict(revision: RevisionStatus) -> dict[str, Any]:
    """A revision as JSON."""
    return {
        "name": revision.name,
        "digest": revision.digest,
        "createdAt": format_time(revision.created_at),
        "summary": shorten(revision.summary, SUMMARY_LIMIT),
        **({"proposed": True} if revision.proposed else {}),
    }


def pool_dict(pool: PoolStatus) -> dict[str, Any]:
    """A pool as JSON."""
    return {
        "name": pool.name,
        "key": pool.key,
        "synced": pool.synced,
        "namespaces": list(pool.namespaces[:NAMESPACES_LIMIT]),
        "message": shorten(pool.message, POOL_MESSAGE_LIMIT),
    }


def parse_lock(value: Mapping[str, Any]) -> LockStatus | None:
    """The lock that JSON holds."""
    digest, revision = text(value, "digest"), text(value, "revision")
    python, inputs = text(value, "python"), text(value, "inputsDigest")
    packages, resolved = value.get("packages"), parse_time(value.get("resolvedAt"))
    if not (digest and revision and python and inputs and resolved):
        return None
    return LockStatus(
        digest=digest,
        revision=revision,
        packages=packages if isinstance(packages, int) else 0,
        python=python,
        platforms=texts(value.get("platforms")),
        resolved_at=resolved,
        inputs_digest=inputs,
        image=text(value, "image") or "",
    )


def parse_image(value: Mapping[str, Any]) -> ImageStatus | None:
    """The image that JSON holds."""
    name, packages = text(value, "name"), value.get("packages")
    if not name:
        return None
    return ImageStatus(
        name=name,
        id=text(value, "id") or "",
        python=text(value, "python") or "",
        packages=packages if isinstance(packages, int) else 0,
    )


def parse_proposed(value: Mapping[str, Any]) -> ProposedStatus | None:
    """The proposal that JSON holds."""
    revision, digest = text(value, "revision"), text(value, "digest")
    proposed = parse_time(value.get("proposedAt"))
    if not (revision and digest and proposed):
        return None
    summary = text(value, "summary") or ""
    return ProposedStatus(revision=revision, digest=digest, proposed_at=proposed, summary=summary)


def parse_vulnerabilities(status: Mapping[str, Any]) -> tuple[VulnerabilityStatus, ...] | None:
    """The vulnerabilities in a whole status; None: no database said."""
    if not isinstance(status.get("vulnerabilityCount"), int):
        return None
    return tuple(
        VulnerabilityStatus(
            id=id_,
            package=package,
            version=version,
            fixed=text(item, "fixed") or "",
            summary=text(item, "summary") or "",
        )
        for item in mappings(status.get("vulnerabilities"))
        if (id_ := text(item, "id"))
        and (package := text(item, "package"))
        and (version := text(item, "version"))
    )


def mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is a mapping, else none of its fields."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The mappings in `value`."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text(value: Mapping[str, Any], name: str) -> str | None:
    """The text in a field, if there is one."""
    found = value.get(name)
    return found if isinstance(found, str) and found else None


def texts(value: object) -> tuple[str, ...]:
    """The texts in `value`."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
