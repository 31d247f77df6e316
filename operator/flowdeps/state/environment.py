"""What is known of an environment: a lock that was installed, compiled and packed for one image."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(r"[a-z0-9][^\s@]*@sha256:[0-9a-f]{64}")
_LONGEST = 1024
"""Characters of an image's name or id: what runs are told of all sets has room in one ConfigMap.
And of what is said of a derived image that is not there."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DIRECTORY = re.compile(r"sha256-[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment in a registry, by its digest."""

    reference: str
    """Where it is: `<repository>@sha256:…`."""
    lock: str
    """The digest of the lock that is installed in it."""
    image: str
    """The image that it was made for, by the name that runs give."""
    image_id: str
    """The id that the image had."""
    size: int
    """Bytes to pull."""
    unpacked: int
    """Bytes of its files."""
    files: int
    import_seconds: float
    """How long the imports of the trial took in it."""
    derived: str = ""
    """The digest of the image that was derived with it, in the same repository; empty: none was."""
    derived_size: int = 0
    """Bytes of all layers of that image."""
    underived: str = ""
    """Why there is no derived image, where there should be one."""

    @property
    def digest(self) -> str:
        """The digest of its manifest: `sha256:…`."""
        return self.reference.rpartition("@")[2]

    @property
    def derived_reference(self) -> str:
        """Where the derived image is; empty where there is none."""
        return f"{self.reference.rpartition('@')[0]}@{self.derived}" if self.derived else ""

    def to_json(self) -> str:
        """Return it as text for an annotation."""
        derived = {"derived", "derived_size", "underived"}
        known = {k: v for k, v in vars(self).items() if v or k not in derived}
        return json.dumps(known, sort_keys=True, separators=(",", ":"))


def directory_of(reference: str) -> str:
    """Return what an environment's directory on a claim is called."""
    return reference.rpartition("@")[2].replace(":", "-")


def known_directory(text: str) -> str:
    """Return a name of such a directory; empty where it is none."""
    return text if _DIRECTORY.fullmatch(text) else ""


def read_environment(text: str | None, *, repository: str) -> Environment | None:
    """Return the environment that an annotation tells of; None where that is not to be believed.

    Those who may write ConfigMaps in a set's namespace can write any text, so an environment has to
    be in `repository`, that of the namespace.
    """
    try:
        found: Any = json.loads(text or "null")
        environment = Environment(**found)
        packed = (environment.size, environment.unpacked, environment.files)
        numbers = (*packed, environment.derived_size)
        believed = (
            environment.reference.startswith(f"{repository}@")
            and _REFERENCE.fullmatch(environment.reference)
            and _DIGEST.fullmatch(environment.lock)
            and all(type(one) is int and one >= 0 for one in numbers)
            and type(environment.import_seconds) in {int, float}
            and math.isfinite(environment.import_seconds)
            and all(_is_word(one) for one in (environment.image, environment.image_id))
            and (environment.derived == "" or _DIGEST.fullmatch(environment.derived))
            and isinstance(environment.underived, str)
            and len(environment.underived) <= _LONGEST
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return environment if believed else None


def _is_word(text: object) -> bool:
    if not isinstance(text, str) or len(text) > _LONGEST:
        return False
    return text.isascii() and text.isprintable() and " " not in text
