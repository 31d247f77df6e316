"""Everything that goes into a set's lock, from wherever it stands: the first step of a pass.

Nothing is waited for: what is not known yet is being read, and the set is called when it is.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from flowdeps.api.reasons import Reason
from flowdeps.api.resource import SetSpec, Source, VariableSource
from flowdeps.gather.credentials import CredentialsError, access_of
from flowdeps.gather.sources import (
    Absent,
    ConfigMapKey,
    SecretName,
    SourceRef,
    Unreadable,
    Variable,
)
from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock
from flowdeps.locks.prefect_list import parse_variable
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements_file import RequirementsFile, parse_requirements_file
from flowdeps.locks.target import Target
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.external_lock import finished_lock
from flowdeps.reconcile.dependency_set.image import find_image
from flowdeps.reconcile.dependency_set.status import GatherError
from flowdeps.scheduling.lookups import Failure
from flowdeps.state.store import SetEntry, SetKey
from flowdeps.trials.images import Image

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a lock is made from: a request, or a lock that was made elsewhere.

    `digest` is equal for equal inputs; `notes` are for people.
    """

    digest: str
    index: Index
    wanted: LockRequest | Lock
    access: Access | None = None
    secret: str | None = None
    image: Image | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def gather(context: Context, entry: SetEntry, spec: SetSpec) -> Inputs:
    """All inputs of a set. Raises GatherError where one is missing, wrong or not known yet."""
    family = list(_family(context, entry, spec))
    things = {thing for _, one in family for thing in _things(entry.key.namespace, one)}
    if spec.index.credentials:
        things.add(SecretName(entry.key.namespace, spec.index.credentials))
    context.sources.need(entry.key, frozenset(things))
    index = _index(context, spec)
    access = _access(context, entry, spec, index)
    image, notes = find_image(context, entry, spec)
    if spec.lock_from:
        thing = _thing(entry.key.namespace, spec.lock_from)
        text = str(_content(context, thing, path="spec.lockFrom"))
        lock = finished_lock(text, image, shadow=spec.shadow)
        of_image = (image.facts.digest, *spec.shadow) if image else ()
        return Inputs(
            digest=_digest(lock.digest, *of_image),
            index=index,
            wanted=lock,
            access=access,
            secret=spec.index.credentials,
            image=image,
            names=tuple(sorted({pin.name for pin in lock.pins})),
            notes=notes,
        )
    request = _request(
        context,
        family,
        entry.key.namespace,
        target=_target(spec, image),
        index=index,
        image=image,
    )
    return Inputs(
        digest=request.digest,
        index=index,
        wanted=request,
        access=access,
        secret=spec.index.credentials,
        image=image,
        names=tuple(sorted({requirement_name(line) for line in request.requirements})),
        notes=notes,
    )


def _digest(*parts: str) -> str:
    """``sha256:<64 hex digits>``, as of a request: a status has no room for more."""
    return f"sha256:{hashlib.sha256('+'.join(parts).encode()).hexdigest()}"


def access(context: Context, entry: SetEntry, spec: SetSpec) -> Access | None:
    """What a set's Secret gives access with, where only that is needed. Raises GatherError."""
    things: set[SourceRef] = set()
    if spec.index.credentials:
        things.add(SecretName(entry.key.namespace, spec.index.credentials))
    context.sources.need(entry.key, frozenset(things))
    context.images.need(entry.key, frozenset())
    return _access(context, entry, spec, _index(context, spec))


def _family(context: Context, entry: SetEntry, spec: SetSpec) -> Iterator[tuple[str, SetSpec]]:
    """The specs of a set and of those that it includes, each once, by name."""
    seen: set[str] = set()
    waiting: list[tuple[SetSpec, tuple[str, ...]]] = [(spec, (entry.key.name,))]
    while waiting:
        one, way = waiting.pop()
        if way[-1] in seen:
            continue
        seen.add(way[-1])
        yield way[-1], one
        for name in one.includes:
            path = " → ".join((*way, name))
            if name in way:
                raise GatherError(
                    Reason.INCLUDE_CYCLE, f"spec.includes: {path}: a cycle; remove one of them"
                )
            waiting.append((_included(context, entry.key.namespace, name, path), (*way, name)))


def _included(context: Context, namespace: str, name: str, path: str) -> SetSpec:
    found = context.store.sets.get(SetKey(namespace, name))
    if found is None or found.meta.deleting:
        raise GatherError(
            Reason.INCLUDE_NOT_FOUND,
            f"spec.includes: {path}: there is no set of that name in namespace {namespace};"
            " create it or remove it here",
        )
    if found.spec is None:
        raise GatherError(Reason.INCLUDE_INVALID, f"spec.includes: {path}: {found.problems}")
    if found.spec.lock_from:
        raise GatherError(
            Reason.INCLUDE_INVALID,
            f"spec.includes: {path}: it has a finished lock (lockFrom), which can't be resolved"
            " together with others; include a set that lists requirements",
        )
    return found.spec


def _things(namespace: str, spec: SetSpec) -> Iterator[SourceRef]:
    for source in (*spec.requirements_from, *spec.constraints_from):
        yield _thing(namespace, source)
    if spec.lock_from:
        yield _thing(namespace, spec.lock_from)


def _thing(namespace: str, source: Source) -> SourceRef:
    if isinstance(source, VariableSource):
        return Variable(source.name)
    return ConfigMapKey(namespace, source.name, source.key)


def _content(context: Context, thing: SourceRef, *, path: str, optional: bool = False) -> object:
    """What a source holds; None where it is absent and may be. Raises GatherError."""
    found = context.sources.get(thing)
    if found is None:
        raise GatherError(Reason.GATHERING, f"{path}: {thing} is being read")
    if isinstance(found, Failure):
        raise GatherError(found.reason, f"{path}: {thing}: {found.message}")
    if isinstance(found, Absent):
        if optional:
            return None
        raise GatherError(Reason.SOURCE_NOT_FOUND, f"{path}: {found.message}; create it")
    if isinstance(found, Unreadable):
        raise GatherError(Reason.SOURCE_INVALID, f"{path}: {found.message}")
    content: object = found.content
    return content


def _lines(
    context: Context, namespace: str, sources: tuple[Source, ...], *, field: str
) -> Iterator[str]:
    """The lines of all sources of one field."""
    for number, source in enumerate(sources):
        path = f"{field}[{number}]"
        thing = _thing(namespace, source)
        content = _content(context, thing, path=path, optional=source.optional)
        if content is None:
            continue
        file: RequirementsFile
        if isinstance(source, VariableSource):
            file = parse_variable(content)
        else:
            file = parse_requirements_file(str(content))
        if file.problems:
            more = len(file.problems) - _SHOWN
            text = "; ".join(file.problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
            raise GatherError(Reason.SOURCE_INVALID, f"{path}: {thing}: {text}")
        yield from file.lines


def _request(
    context: Context,
    family: list[tuple[str, SetSpec]],
    namespace: str,
    *,
    target: Target,
    index: Index,
    image: Image | None,
) -> LockRequest:
    requirements: list[str] = []
    constraints: list[str] = []
    for number, (name, one) in enumerate(family):
        spec_of = f"included set {name}: spec" if number else "spec"
        field = f"{spec_of}.requirementsFrom"
        requirements += one.requirements
        requirements += _lines(context, namespace, one.requirements_from, field=field)
        field = f"{spec_of}.constraintsFrom"
        constraints += one.constraints
        constraints += _lines(context, namespace, one.constraints_from, field=field)
    spec = family[0][1]
    cooldown = spec.index.cooldown
    return LockRequest(
        requirements=tuple(requirements),
        constraints=tuple(constraints),
        target=target,
        index=index,
        image=image.facts if image else None,
        shadow=spec.shadow if image else (),
        cooldown=(context.config.cooldown if cooldown is None else cooldown) or None,
        cooldown_exempt=spec.index.cooldown_exempt,
        prereleases=spec.index.prereleases,
    )


def _target(spec: SetSpec, image: Image | None) -> Target:
    if spec.target:
        return spec.target
    if image is None:
        raise LookupError("a set without python.version has an image")
    return Target(image.facts.python, spec.python.platforms or (image.facts.platform,))


def _index(context: Context, spec: SetSpec) -> Index:
    if not spec.index.index.url:
        return context.config.index
    for number, url in enumerate(spec.index.index.urls):
        if not context.config.allows_index(url):
            path = f"spec.index.extraUrls[{number - 1}]" if number else "spec.index.url"
            raise GatherError(
                Reason.INDEX_NOT_ALLOWED,
                f"{path}: {url} is not among the indexes that the operator allows"
                f" ({', '.join(context.config.allowed_indexes)}); use one of them, or ask whoever"
                " runs flowdeps to allow it in index.allowed",
            )
    return spec.index.index


def _access(context: Context, entry: SetEntry, spec: SetSpec, index: Index) -> Access | None:
    name = spec.index.credentials
    if not name:
        return None
    path = "spec.index.credentialsSecretRef"
    thing = SecretName(entry.key.namespace, name)
    found = context.sources.get(thing)
    if isinstance(found, Absent):
        raise GatherError(Reason.CREDENTIALS_INVALID, f"{path}: {found.message}; create it")
    data = cast("Mapping[str, str]", _content(context, thing, path=path))
    try:
        return access_of(data, name=name, index=index)
    except CredentialsError as error:
        raise GatherError(Reason.CREDENTIALS_INVALID, f"{path}: {error}") from None


def requirement_name(line: str) -> str:
    """The canonical name of the package that a normalized requirement is about."""
    for position, sign in enumerate(line):
        if not (sign.isalnum() or sign in "-._"):
            return line[:position]
    return line
