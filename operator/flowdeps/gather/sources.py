"""What sets refer to (keys of ConfigMaps, Prefect variables, Secrets), and how it is looked up.

A missing source is a value, not an error: it may have been deleted on purpose, and its set must
show that.

The `data` of a ConfigMap holds UTF-8. kubectl puts everything else under `binaryData`, such as the
UTF-16 that `pip freeze > requirements.txt` writes in Windows PowerShell. pip reads that too.
"""

import base64
import codecs
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowdeps.api.config import Config
from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import SetSpec
from flowdeps.locks.external_pylock import ExternalPylock, is_pylock, parse_external_pylock
from flowdeps.locks.lock import Lock, LockError, parse_lock
from flowdeps.locks.prefect_variable import parse_variable
from flowdeps.locks.requirements_file import parse_requirements_file
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.store import PoolView, SetKey
from flowdeps.trials.image import Image, ImageRef


@dataclass(frozen=True)
class ConfigMapKey:
    """A key of a ConfigMap."""

    namespace: str
    name: str
    key: str
    lock: bool = False
    """Whether it should hold a finished lock, not requirements."""

    def __str__(self) -> str:
        return f'key "{self.key}" of ConfigMap {self.namespace}/{self.name}'


@dataclass(frozen=True)
class PrefectVariable:
    """A Prefect variable."""

    name: str

    def __str__(self) -> str:
        return f'Prefect variable "{self.name}"'


@dataclass(frozen=True)
class SecretName:
    """A Secret."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}"


@dataclass(frozen=True)
class IndexToken:
    """The token of one of the configuration's credential helpers."""

    helper: CredentialHelper

    def __str__(self) -> str:
        return f"the token for {self.helper.url}"


@dataclass(frozen=True)
class Absent:
    """A source, or an included set, that does not exist."""

    message: str
    """What is missing, and what to do."""


@dataclass(frozen=True)
class Present:
    """What a source holds: requirements (a `RequirementsFile`), a lock (a `Lock` or an
    `ExternalPylock`) or why it is none (a text), a Secret's data or a `Token` (never shown)."""

    content: Any = field(repr=False)
    digest: str = field(default="", compare=False)
    """Of the text that was parsed: the same text is not parsed again."""


@dataclass(frozen=True)
class Unreadable:
    """A source that exists but is no text, or an included set that is not valid."""

    message: str
    """What is wrong, and what to do."""


SourceRef = ConfigMapKey | PrefectVariable | SecretName | IndexToken
Content = Present | Absent | Unreadable


class Lookup(Protocol):
    """Looks up what one set names: in the operator's store and pollers, or in files.

    Nothing is waited for. None means that the answer is not known yet, and that the set is
    requeued when it is.
    """

    @property
    def key(self) -> SetKey:
        """The set's namespace and name."""

    @property
    def config(self) -> Config:
        """The operator's configuration."""

    def need_sources(self, refs: frozenset[SourceRef]) -> None:
        """Start to read these sources for the set; release all that it needed before."""

    def source(self, ref: SourceRef) -> Content | Failure[Reason] | None:
        """What a needed source holds."""

    def included(self, name: str) -> SetSpec | Absent | Unreadable:
        """The spec of another set in the namespace."""

    def image_ref(self, spec: SetSpec) -> ImageRef | Outcome | None:
        """The image that the set is for, as its pools' runs get it; None: nobody names one."""

    def need_image(self, ref: ImageRef | None) -> None:
        """Start to look into this image for the set; release the one that it needed before."""

    def image(self, ref: ImageRef) -> Image | Failure[Reason] | None:
        """What a needed image has."""

    def pools(self) -> Mapping[str, PoolView]:
        """The set's work pools by name, as far as they are known."""


def key_content(
    ref: ConfigMapKey, config_map: Mapping[str, Any], known: Content | None = None
) -> Content:
    """Return what a ConfigMap holds under a key; `known` is what it held before."""
    try:
        text = text_under(config_map, ref.key)
    except TextError as error:
        return Unreadable(f"{ref} is there, but {error}")
    if text is None:
        keys = {*_part(config_map, "data"), *_part(config_map, "binaryData")}
        there = ", ".join(sorted(keys)) or "none"
        return Absent(f"there is no {ref}; its keys: {there}; create it")
    read = _lock_or_problem if ref.lock else parse_requirements_file
    return _parsed(read, text, known, digest=hashlib.sha256(text.encode(errors="replace")))


def variable_content(value: object, known: Content | None = None) -> Content:
    """Return what a Prefect variable holds; `known` is what it held before."""
    digest = hashlib.sha256(type(value).__name__.encode())
    for item in value if isinstance(value, list) else (value,):
        # What is no text is refused by its kind alone.
        text = item if isinstance(item, str) else ""
        digest.update(f"{type(item).__name__} {len(text)} {text}".encode(errors="replace"))
    return _parsed(parse_variable, value, known, digest=digest)


def _parsed(
    read: Callable[[Any], Any], value: object, known: Content | None, *, digest: "hashlib._Hash"
) -> Content:
    name = digest.hexdigest()
    if isinstance(known, Present) and known.digest == name:
        return known
    return Present(read(value), name)


def parse_finished_lock(text: str) -> Lock | ExternalPylock:
    """Parse a lock that was made elsewhere, in either form. Raises LockError."""
    return parse_external_pylock(text) if is_pylock(text) else parse_lock(text)


def _lock_or_problem(text: str) -> Lock | ExternalPylock | str:
    try:
        return parse_finished_lock(text)
    except LockError as error:
        return str(error)


class TextError(ValueError):
    """Why something is no text, and what to do."""


def text_under(config_map: Mapping[str, Any], key: str) -> str | None:
    """Return the text under a key; None if there is none. Raises TextError."""
    text = _part(config_map, "data").get(key)
    if isinstance(text, str):
        return text
    encoded = _part(config_map, "binaryData").get(key)
    if not isinstance(encoded, str):
        return None
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        raise TextError("not in base64; make the ConfigMap with kubectl") from None
    return decode(content)


def decode(content: bytes) -> str:
    """Return the text of a file, by its byte order mark or else in UTF-8. Raises TextError."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        raise TextError("not a text file in UTF-8; save it as one") from None


def _part(config_map: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config_map.get(name)
    return part if isinstance(part, Mapping) else {}
