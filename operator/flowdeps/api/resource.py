"""A FlowDependencySet as Python values.

Files that no API server has seen are read too, so the defaults of the resource's schema
(crds/flowdependencysets.yaml) are applied here as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from flowdeps.api import parts, rules
from flowdeps.api.fields import Fields
from flowdeps.api.problems import InvalidError, Problem
from flowdeps.api.spec import OnVulnerable, SetSpec, Updates
from flowdeps.locks.request import Prereleases

_ASKS = ("requirements", "requirementsFrom", "includes", "lockFrom")
_MAKES = ("requirements", "requirementsFrom", "constraints", "constraintsFrom", "includes")


@dataclass(frozen=True, kw_only=True)
class SetMeta:
    """Who a set is, from its metadata."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_at: datetime
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    resource_version: str = ""


def parse_meta(body: Mapping[str, Any]) -> SetMeta:
    """The metadata of an object that an API server sent; it never fails for one."""
    meta = body["metadata"]
    created = meta.get("creationTimestamp")
    return SetMeta(
        namespace=meta.get("namespace") or "default",
        name=meta["name"],
        uid=meta.get("uid") or "",
        generation=meta.get("generation") or 0,
        created_at=datetime.fromisoformat(created) if created else datetime.min.replace(tzinfo=UTC),
        deleting=bool(meta.get("deletionTimestamp")),
        finalizers=tuple(meta.get("finalizers") or ()),
        annotations=dict(meta.get("annotations") or {}),
        resource_version=meta.get("resourceVersion") or "",
    )


def parse_spec(body: Mapping[str, Any]) -> SetSpec:
    """Parse the spec of a set, with defaults. Raises InvalidError with all that is wrong."""
    problems: list[Problem] = []
    name = _name(body, problems)
    fields = Fields(body.get("spec") or {}, path="spec", problems=problems)
    requirements = fields.texts("requirements", most=256, check=rules.check_requirement)
    _check_asked(fields, requirements)
    spec = fields.build(
        SetSpec,
        requirements=requirements,
        requirements_from=parts.parse_sources(fields, "requirementsFrom"),
        constraints=fields.texts("constraints", most=256, check=rules.check_requirement),
        constraints_from=parts.parse_sources(fields, "constraintsFrom"),
        includes=parts.parse_includes(fields, set_name=name),
        lock_from=parts.parse_lock_from(fields.child("lockFrom")),
        python=parts.parse_python(python := fields.child("python")),
        shadow=parts.parse_packages(fields, "shadow", rules.check_shadow),
        index=parts.parse_index(index := fields.child("index")),
        interval=fields.duration("interval", check=rules.check_interval),
        updates=parts.choice(fields, "updates", Updates.AUTOMATIC),
        suspend=fields.boolean("suspend"),
        revision=fields.text("revision", check=rules.check_revision),
        revision_history_limit=fields.integer("revisionHistoryLimit", least=0, most=50),
        verify=parts.parse_verify(fields.child("verify")),
        vulnerabilities=parts.choice(fields, "vulnerabilities", OnVulnerable.REPORT),
        work_pools=parts.parse_work_pools(fields, set_name=name),
    )
    if spec.shadow and spec.python.version:
        fields.problem(
            "shadow", "python.version has no packages to shadow; remove shadow, or name an image"
        )
    _check_finished(spec, fields, python=python, index=index)
    if problems:
        raise InvalidError(problems)
    spec = spec if spec.interval else replace(spec, interval=None)
    spec.own_lines  # noqa: B018 - once for each version of a set, not in each reconcile
    return spec


def _name(body: Mapping[str, Any], problems: list[Problem]) -> str:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str):
        name = ""
    if wrong := rules.check_key(name) if name else "missing; give the set a name":
        problems.append(Problem("metadata.name", wrong))
    return name


def _check_asked(fields: Fields, requirements: tuple[str, ...] | None) -> None:
    """Something must be asked for, here or elsewhere."""
    if requirements == ():
        fields.problem("requirements", "empty; add at least one package, or remove it")
    elif (
        fields.given
        and not fields.has("lockFrom")
        and all(fields.values.get(name) in (None, [], {}) for name in _ASKS)
    ):
        others = f"{', '.join(_ASKS[1:-1])} or {_ASKS[-1]}"
        fields.problem("requirements", f"missing, so the set is empty; add it, or {others}")


def _check_finished(spec: SetSpec, fields: Fields, *, python: Fields, index: Fields) -> None:
    """What says how to make a lock may not be beside one that is finished."""
    makes = [name for name in _MAKES if fields.has(name)]
    makes += [f"python.{name}" for name in ("version", "platforms") if python.has(name)]
    makes += [f"index.{name}" for name in ("cooldown", "cooldownExempt") if index.has(name)]
    makes += ["index.prereleases"] if spec.index.prereleases != Prereleases.IF_NECESSARY else []
    makes += ["updates: Manual"] if spec.updates == Updates.MANUAL else []
    if makes and fields.has("lockFrom"):
        what = ", ".join(makes)
        fields.problem("lockFrom", f"a finished lock is not resolved; remove {what}, or lockFrom")
