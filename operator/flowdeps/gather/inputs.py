"""Gathers everything that goes into a set's lock, for the operator and for `flowdeps lock`.

Nothing waits: what is not known yet is being read, and the set is requeued when it is known.
"""

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from flowdeps.api.helperconfig import HELPERS, HelperRefusedError, helpers_for
from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import ConfigMapSource, SetSpec, Source, VariableSource
from flowdeps.api.wording import listed
from flowdeps.gather import sources
from flowdeps.gather.credentials import CredentialsError, access_of
from flowdeps.gather.external_lock import external_lock
from flowdeps.gather.image import find_image, image_notes
from flowdeps.gather.sources import Lookup
from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import RequirementLine, requirement_name
from flowdeps.locks.target import Target
from flowdeps.scheduling.tracking import Failure
from flowdeps.trials.image import Image

_SHOWN = 5

MOST_SETS = 32
"""Sets that are resolved together: one, and those that it includes."""
MOST_SOURCES = 32
"""Sources that they read."""
MOST_LINES = 4_000
MOST_CHARACTERS = 256 * 1024
"""Of their requirements and constraints, each counted once."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a set's lock is made from."""

    digest: str
    """Equal for equal inputs."""
    index: Index
    wanted: LockRequest | Lock
    """What to ask a resolver, or a lock that was made elsewhere."""
    access: Access | None = None
    image: Image | None = None
    """What the lock builds on; None: it is for no image."""
    names: tuple[str, ...] = ()
    """The packages that the set asks for."""
    notes: tuple[str, ...] = ()


def gather(lookup: Lookup, spec: SetSpec) -> Inputs | Outcome:
    """Return all inputs of a set; an Outcome if something is missing, wrong or not known yet."""
    family = _family(lookup, spec)
    if isinstance(family, Outcome):
        _gather_access(lookup, spec, set())
        return family
    named = {_ref(lookup, source) for one in family.values() for source in one.sources}
    if spec.lock_from:
        named.add(_lock_ref(lookup, spec.lock_from))
    if len(named) > MOST_SOURCES:
        _gather_access(lookup, spec, set())
        return _too_much(f"{len(named)} ConfigMaps and variables", MOST_SOURCES)
    found = _gather_access(lookup, spec, named)
    if isinstance(found, Outcome):
        return found
    index, access = found
    image = find_image(lookup, spec)
    if isinstance(image, Outcome):
        return image
    if spec.lock_from:
        found = _content(lookup, _lock_ref(lookup, spec.lock_from), path="spec.lockFrom")
        if isinstance(found, Outcome):
            return found
        wanted: Lock | LockRequest | Outcome = external_lock(found, image, shadow=spec.shadow)
    else:
        wanted = _request(lookup, family, index=index, image=image)
    match wanted:
        case Outcome():
            return wanted
        case Lock():
            parts = (wanted.digest, image.facts.digest, *spec.shadow) if image else (wanted.digest,)
            digest = f"sha256:{hashlib.sha256('+'.join(parts).encode()).hexdigest()}"
            names = {pin.name for pin in wanted.pins}
        case LockRequest():
            digest = wanted.digest
            names = {requirement_name(line) for line in wanted.requirements}
    return Inputs(
        digest=digest,
        index=index,
        wanted=wanted,
        access=access,
        image=image,
        names=tuple(sorted(names)),
        notes=tuple(image_notes(lookup, spec, image)) if image else (),
    )


def gather_access(lookup: Lookup, spec: SetSpec) -> tuple[Index, Access | None] | Outcome:
    """Return only a set's index, and what opens it; None: nothing has to."""
    lookup.need_image(None)
    return _gather_access(lookup, spec, set())


def known_access(lookup: Lookup, spec: SetSpec) -> tuple[Index, Access | None] | Outcome:
    """Return the same after `gather`, which has found something missing or wrong."""
    index = _index(lookup, spec)
    keys = () if isinstance(index, Outcome) else _keys(lookup, spec, index)
    if isinstance(index, Outcome):
        return index
    if isinstance(keys, Outcome):
        return keys
    access = _access(lookup, index, keys)
    return access if isinstance(access, Outcome) else (index, access)


def _gather_access(
    lookup: Lookup, spec: SetSpec, named: Set[sources.SourceRef]
) -> tuple[Index, Access | None] | Outcome:
    """The index and what opens it; ``named``: what else the set needs."""
    index = _index(lookup, spec)
    keys = () if isinstance(index, Outcome) else _keys(lookup, spec, index)
    lookup.need_sources(frozenset(named if isinstance(keys, Outcome) else {*named, *keys}))
    return known_access(lookup, spec)


def _family(lookup: Lookup, spec: SetSpec) -> dict[str, SetSpec] | Outcome:
    """The specs of a set and of those that it includes, by name, the set itself first."""
    family: dict[str, SetSpec] = {}
    waiting: list[tuple[SetSpec, tuple[str, ...]]] = [(spec, (lookup.key.name,))]
    while waiting:
        one, way = waiting.pop()
        if way[-1] in family:
            continue
        family[way[-1]] = one
        if len(family) > MOST_SETS:
            return _too_much("more sets", MOST_SETS)
        for name in one.includes:
            path = f"spec.includes: {' → '.join((*way, name))}"
            if name in way:
                return Outcome.failed(Reason.INCLUDE_CYCLE, f"{path}: a cycle; remove one of them")
            found = lookup.included(name)
            if isinstance(found, sources.Absent):
                return Outcome.failed(Reason.INCLUDE_NOT_FOUND, f"{path}: {found.message}")
            if isinstance(found, sources.Unreadable):
                return Outcome.failed(Reason.INCLUDE_INVALID, f"{path}: {found.message}")
            if found.lock_from:
                return Outcome.failed(
                    Reason.INCLUDE_INVALID,
                    f"{path}: it has a finished lock (lockFrom), which can't be resolved together"
                    " with others; include a set that lists requirements",
                )
            waiting.append((found, (*way, name)))
    return family


def _ref(lookup: Lookup, source: Source) -> sources.SourceRef:
    if isinstance(source, VariableSource):
        return sources.PrefectVariable(source.name)
    return sources.ConfigMapKey(lookup.key.namespace, source.name, source.key)


def _lock_ref(lookup: Lookup, source: ConfigMapSource) -> sources.ConfigMapKey:
    return sources.ConfigMapKey(lookup.key.namespace, source.name, source.key, lock=True)


def _too_much(what: str, most: int) -> Outcome:
    return Outcome.failed(
        Reason.INVALID_SPEC,
        f"spec.requirements, spec.constraints, their sources and spec.includes: {what} in all;"
        f" at most {most:,} fit; divide the set",
    )


def _keys(
    lookup: Lookup, spec: SetSpec, index: Index
) -> tuple[sources.SecretName | sources.IndexToken, ...] | Outcome:
    """What opens a set's index: its Secret, or tokens that the configuration has for it."""
    namespace, helpers = lookup.key.namespace, lookup.config.credential_helpers
    if name := spec.index.credentials:
        return (sources.SecretName(namespace, name),)
    try:
        return tuple(map(sources.IndexToken, helpers_for(helpers, index, namespace=namespace)))
    except HelperRefusedError as error:
        return Outcome.failed(Reason.INDEX_NOT_ALLOWED, f"spec.index: {error}")


def _content(
    lookup: Lookup, ref: sources.SourceRef, *, path: str, missing: Reason = Reason.SOURCE_NOT_FOUND
) -> Any | Outcome:
    """What a source holds; `missing` is the reason if it holds nothing."""
    match lookup.source(ref):
        case None | Failure(message=""):
            return Outcome.waits(Reason.GATHERING, f"{path}: {ref} is being read")
        case Failure(reason=reason, message=message):
            return Outcome.failed(reason, f"{path}: {ref}: {message}")
        case sources.Absent(message=message):
            return Outcome.failed(missing, f"{path}: {message}")
        case sources.Unreadable(message=message):
            return Outcome.failed(Reason.SOURCE_INVALID, f"{path}: {message}")
        case found:
            return found.content


def _lines(lookup: Lookup, source: Source, *, path: str) -> Sequence[RequirementLine] | Outcome:
    """The requirements that a source holds."""
    ref = _ref(lookup, source)
    content = _content(lookup, ref, path=path)
    if isinstance(content, Outcome):
        absent = content.reason is Reason.SOURCE_NOT_FOUND
        return () if absent and source.optional else content
    if content.problems:
        text = listed(content.problems, most=_SHOWN, separator="; ")
        return Outcome.failed(Reason.SOURCE_INVALID, f"{path}: {ref}: {text}")
    lines: tuple[RequirementLine, ...] = content.lines
    return lines


def _request(
    lookup: Lookup, family: Mapping[str, SetSpec], *, index: Index, image: Image | None
) -> LockRequest | Outcome:
    """What a resolver is asked for a set and those that it includes."""
    # What is named twice counts once.
    requirements: dict[RequirementLine, None] = {}
    constraints: dict[RequirementLine, None] = {}
    for name, one in family.items():
        of = "spec" if name == lookup.key.name else f"included set {name}: spec"
        for field, lines, own, refs in (
            ("requirementsFrom", requirements, one.own_lines[0], one.requirements_from),
            ("constraintsFrom", constraints, one.own_lines[1], one.constraints_from),
        ):
            lines |= dict.fromkeys(own)
            for number, source in enumerate(refs):
                found = _lines(lookup, source, path=f"{of}.{field}[{number}]")
                if isinstance(found, Outcome):
                    return found
                lines |= dict.fromkeys(found)
    if (count := len(requirements) + len(constraints)) > MOST_LINES:
        return _too_much(f"{count:,} lines", MOST_LINES)
    if (size := sum(map(len, (*requirements, *constraints)))) > MOST_CHARACTERS:
        return _too_much(f"{size:,} characters", MOST_CHARACTERS)
    spec = family[lookup.key.name]
    cooldown = spec.index.cooldown
    return LockRequest(
        requirements=tuple(requirements),
        constraints=tuple(constraints),
        target=_target(spec, image),
        index=index,
        image=image.facts if image else None,
        shadow=spec.shadow if image else (),
        cooldown=(lookup.config.cooldown if cooldown is None else cooldown) or None,
        cooldown_exempt=spec.index.cooldown_exempt,
        prereleases=spec.index.prereleases,
    )


def _target(spec: SetSpec, image: Image | None) -> Target:
    if spec.target:
        return spec.target
    if image is None:
        raise LookupError("a set without python.version has an image")
    return Target(image.facts.python, spec.python.platforms or (image.facts.platform,))


def _index(lookup: Lookup, spec: SetSpec) -> Index | Outcome:
    """The set's index, or the operator's; an Outcome where the operator does not allow it.

    A set that names no index keeps the operator's, but for the packages for which it names one.
    """
    config, own = lookup.config, spec.index.index
    paths = ["spec.index.url", *(f"spec.index.extraUrls[{n}]" for n in range(len(own.extra_urls)))]
    paths = paths if own.url else []
    paths += [f"spec.index.packages[{number}].url" for number in range(len(own.packages))]
    for path, url in zip(paths, own.all_urls, strict=True):
        if not config.allows_index(url):
            return Outcome.failed(
                Reason.INDEX_NOT_ALLOWED,
                f"{path}: {url} is not among the indexes that the operator allows"
                f" ({', '.join(config.index_prefixes)}); use one of them, or ask those who run"
                " flowdeps to allow it in index.allowed",
            )
    return own if own.url else config.index.with_packages(own.packages)


def _access(
    lookup: Lookup,
    index: Index,
    keys: Sequence[sources.SecretName | sources.IndexToken],
) -> Access | Outcome | None:
    """What opens the index; None: nothing has to."""
    lines = []
    for ref in keys:
        if isinstance(ref, sources.SecretName):
            path, missing = "spec.index.credentialsSecretRef", Reason.CREDENTIALS_INVALID
        else:
            path, missing = HELPERS, Reason.CREDENTIAL_HELPER_FAILED
        data = _content(lookup, ref, path=path, missing=missing)
        if isinstance(data, Outcome):
            return data
        if isinstance(ref, sources.SecretName):
            try:
                return access_of(data, name=ref.name, index=index)
            except CredentialsError as error:
                return Outcome.failed(Reason.CREDENTIALS_INVALID, f"{path}: {error}")
        lines.append(data.netrc)
    return Access(netrc="".join(lines), holder=repr(keys)) if any(lines) else None
