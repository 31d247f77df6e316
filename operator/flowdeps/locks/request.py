"""Describes a request for a lock: everything that decides what a resolver is asked."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from packaging.utils import canonicalize_name

from flowdeps.locks.image import ImageFacts
from flowdeps.locks.index import Index
from flowdeps.locks.requirements import normal_lines
from flowdeps.locks.target import OLDEST_GLIBC, Target

ANY = "*"


class Prereleases(StrEnum):
    """Which pre-releases may be in a lock. IfNecessary: those that a requirement names, and those
    of packages that have nothing else."""

    DISALLOW = "Disallow"
    IF_NECESSARY = "IfNecessary"
    ALLOW = "Allow"


@dataclass(frozen=True, kw_only=True)
class LockRequest:
    """Requirements for a target, and how they are resolved.

    Lines (as in `flowdeps.locks.requirements`) and names are checked, sorted and without
    repetition, so neither the resolution nor the digest depends on the order in which they were
    written. Raises `RequirementError`.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    target: Target
    index: Index = field(default_factory=Index)
    image: ImageFacts | None = None
    """What is installed already; the lock is what comes on top."""
    shadow: tuple[str, ...] = ()
    """Names of image packages that the lock may put before the image's own (`ANY`: all)."""
    cooldown: timedelta | None = None
    """Younger releases are passed over."""
    cooldown_exempt: tuple[str, ...] = ()
    """Names of packages without cooldown."""
    prereleases: Prereleases = Prereleases.IF_NECESSARY
    exclude: tuple[str, ...] = ()
    """Further constraints, for versions that must not be chosen."""

    def __post_init__(self) -> None:
        for name in ("requirements", "constraints", "exclude"):
            object.__setattr__(self, name, normal_lines(getattr(self, name)))
        for name in ("shadow", "cooldown_exempt"):
            names = {canonicalize_name(text) for text in getattr(self, name)}
            object.__setattr__(self, name, tuple(sorted(names)))

    @property
    def glibc(self) -> int:
        """The glibc that wheels may need, on each platform: all of an image have the same one."""
        return self.image.glibc if self.image else OLDEST_GLIBC

    @property
    def digest(self) -> str:
        """The inputs digest, ``sha256:<64 hex digits>``: equal for equal requests."""
        inputs: dict[str, object] = {
            "requirements": self.requirements,
            "constraints": self.constraints,
            "python": self.target.python,
            "platforms": self.target.platforms,
            "indices": self.index.urls,
        }
        # Clusters hold digests: a request that uses none of these keeps the one that it had.
        if self.index.packages:
            inputs["packages"] = sorted(self.index.url_of.items())
        if self.image:
            inputs["image"] = self.image.digest
        if self.image and self.shadow:
            inputs["shadow"] = self.shadow
        if self.cooldown:
            inputs["cooldown"] = self.cooldown.total_seconds()
        if self.cooldown and self.cooldown_exempt:
            inputs["cooldownExempt"] = self.cooldown_exempt
        if self.prereleases is not Prereleases.IF_NECESSARY:
            inputs["prereleases"] = self.prereleases.value
        if self.exclude:
            inputs["exclude"] = self.exclude
        text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
