"""How large a set is: what a run downloads, and what that takes once it is installed.

The index says how large wheels are, unless its pages are HTML alone. What is installed is measured
where the lock is tried.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from flowdeps.locks.lock import MOST_BYTES, Lock

_NAMED = 3
_CUDA = ("nvidia-", "torch", "triton", "jax", "tensorflow")
_LONGEST = 128


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of a lock; 0 where it is not known."""

    download: int = 0
    """Bytes of the wheels, for the platform with most of them."""
    whole: bool = True
    """Whether the index gives the size of each; else there is more to download."""
    installed: int = 0
    """Bytes of the packages on the disk of a run."""
    largest: tuple[str, ...] = ()
    """The packages with the largest wheels, at most three."""

    def __str__(self) -> str:
        """As in "2.4 GB to download, 5.1 GB installed"; empty where nothing is known."""
        least = "" if self.whole else "at least "
        parts = [f"{least}{human(self.download)} to download"] if self.download else []
        parts += [f"{human(self.installed)} installed"] if self.installed else []
        return ", ".join(parts)

    def to_json(self) -> str:
        """Return it as text for an annotation."""
        return json.dumps({**vars(self), "largest": list(self.largest)}, separators=(",", ":"))


def size_of(lock: Lock) -> Size | None:
    """Return the size of a lock as far as its index says it; None: it says nothing."""
    sizes = dict(lock.sizes)
    if not sizes:
        return None
    pins = [lock.on(platform) for platform in lock.target.platforms]
    names = {pin.name for pin in lock.pins}
    return Size(
        download=max(sum(sizes.get(name, 0) for name in one) for one in pins),
        whole=names <= sizes.keys(),
        largest=tuple(sorted(sizes.keys() & names, key=lambda one: (-sizes[one], one))[:_NAMED]),
    )


def with_installed(size: Size | None, measured: "Size | int | None") -> Size | None:
    """Return a size with what was measured where the lock was installed, now or before."""
    installed = measured.installed if isinstance(measured, Size) else measured or 0
    return replace(size or Size(), installed=installed) if installed else size


def read_size(text: str | None) -> Size | None:
    """Return the size that an annotation tells of; None where that makes no sense."""
    try:
        found: Any = json.loads(text or "null")
        size = Size(**{**found, "largest": tuple(found["largest"])})
        numbers = (size.download, size.installed)
        believed = (
            all(type(one) is int and 0 <= one <= MOST_BYTES for one in numbers)
            and type(size.whole) is bool
            and len(size.largest) <= _NAMED
            and all(isinstance(one, str) and len(one) <= _LONGEST for one in size.largest)
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return size if believed else None


def warn_of_size(size: Size | None, *, limit: int, mounted: bool = False) -> str:
    """Return a warning of a set above a limit of bytes, with advice; empty where there is none.

    `mounted`: its runs have it ready, and download nothing.
    """
    if size is None or not limit or max(size.download, size.installed) <= limit:
        return ""
    advice = [] if mounted else ["mount ready environments, so that runs need not install it"]
    if any(one.startswith(_CUDA) for one in size.largest):
        smaller = "take builds for CPUs from an index of their own (index.packages)"
        advice = [f"{smaller} if no GPU is used", *advice]
    most = f" (most of it {', '.join(size.largest)})" if size.largest else ""
    what = f"large: {size}{most}, more than limits.warnAboveSize ({human(limit)})"
    return ": ".join(filter(None, (what, ", or ".join(advice))))


def human(size: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
