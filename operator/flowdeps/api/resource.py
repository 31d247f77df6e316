"""A FlowDependencySet as Python values.

    apiVersion: flowdeps.dev/v1alpha1
    kind: FlowDependencySet
    metadata: {name: ml-extras, namespace: flows}
    spec:
      requirements: ["pandas>=2,<3", "pyarrow"]
      python: {version: "3.12"}
      workPools: [{name: kubernetes}]

Files that no API server has seen are read too, so the defaults of the resource's schema
(crds/flowdependencysets.yaml) are applied here as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from flowdeps.api.fields import Check, Fields
from flowdeps.api.problems import InvalidError, Problem
from flowdeps.api.rules import (
    check_index_url,
    check_interval,
    check_key,
    check_pool,
    check_requirement,
    check_revision,
)
from flowdeps.locks.index import Index
from flowdeps.locks.target import PLATFORMS, Target

GROUP = "flowdeps.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FlowDependencySet"
PLURAL = "flowdependencysets"

FINALIZER = f"{GROUP}/cleanup"
REFRESH_ANNOTATION = f"{GROUP}/refresh-requested-at"
"""A new value asks for a refresh; status.lastHandledRefreshAt names the last one that was met."""

SET_LABEL = f"{GROUP}/set"
NAMESPACE_LABEL = f"{GROUP}/namespace"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "flowdeps"

PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")

DEFAULT_PLATFORMS = ("linux/amd64",)
DEFAULT_INTERVAL = timedelta(hours=24)
DEFAULT_REVISION_HISTORY_LIMIT = 5


@dataclass(frozen=True)
class WorkPoolRef:
    """A pool that offers a set under `key`; `default`: runs that choose nothing get it."""

    name: str
    key: str
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class SetSpec:
    """What is asked for.

    `interval` None: pins are refreshed only on change. `revision`: serve this one, resolve nothing.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    target: Target
    index: Index
    interval: timedelta | None = DEFAULT_INTERVAL
    suspend: bool = False
    revision: str | None = None
    revision_history_limit: int = DEFAULT_REVISION_HISTORY_LIMIT
    work_pools: tuple[WorkPoolRef, ...] = ()


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
    """The spec of a set, with defaults. Raises InvalidError with all that is wrong."""
    problems: list[Problem] = []
    name = _name(body, problems)
    spec = Fields(body.get("spec") or {}, path="spec", problems=problems)
    requirements = spec.texts("requirements", required=True, most=256, check=check_requirement)
    if requirements == ():
        spec.problem("requirements", "empty; add at least one package, such as pandas>=2,<3")
    constraints = spec.texts("constraints", most=256, check=check_requirement)
    version, platforms = _python(spec.child("python"))
    url, extra_urls = parse_index(spec.child("index"))
    interval = spec.duration("interval", check=check_interval)
    suspend = spec.boolean("suspend")
    revision = spec.text("revision", check=check_revision)
    limit = spec.integer("revisionHistoryLimit", least=0, most=50)
    pools = _work_pools(spec, set_name=name)
    spec.close()
    if problems or version is None:
        raise InvalidError(problems)
    return SetSpec(
        requirements=requirements or (),
        constraints=constraints or (),
        target=Target(version, platforms or DEFAULT_PLATFORMS),
        index=Index(url, extra_urls),
        interval=(DEFAULT_INTERVAL if interval is None else interval) or None,
        suspend=bool(suspend),
        revision=revision,
        revision_history_limit=DEFAULT_REVISION_HISTORY_LIMIT if limit is None else limit,
        work_pools=pools,
    )


def parse_index(fields: Fields) -> tuple[str | None, tuple[str, ...]]:
    """`url` and `extraUrls` of an index."""
    url = fields.text("url", limit=1024, check=check_index_url)
    extra_urls = fields.texts("extraUrls", most=8, limit=1024, check=check_index_url)
    if extra_urls and not fields.has("url"):
        fields.problem("extraUrls", "no url says which index is asked first; add url")
    fields.close()
    return url, extra_urls or ()


def _name(body: Mapping[str, Any], problems: list[Problem]) -> str:
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        problems.append(Problem("metadata.name", "missing; give the set a name"))
        return ""
    wrong = check_key(name)
    if wrong:
        problems.append(Problem("metadata.name", wrong))
    return name


def _python(fields: Fields) -> tuple[str | None, tuple[str, ...] | None]:
    version = fields.text("version", required=True, check=_one_of(PYTHON_VERSIONS))
    platforms = fields.texts("platforms", most=len(PLATFORMS), check=_one_of(tuple(PLATFORMS)))
    if platforms == ():
        fields.problem("platforms", "empty; remove it, or choose " + " and ".join(PLATFORMS))
    fields.close()
    return version, platforms


def _one_of(choices: Sequence[str]) -> Check:
    def check(text: str) -> str | None:
        if text in choices:
            return None
        return f"{text!r} is not supported; choose from " + ", ".join(f'"{one}"' for one in choices)

    return check


def _work_pools(spec: Fields, *, set_name: str) -> tuple[WorkPoolRef, ...]:
    pools: list[WorkPoolRef] = []
    for item in spec.children("workPools", most=32):
        name = item.text("name", required=True, limit=253, check=check_pool)
        key = item.text("key", check=check_key)
        default = item.boolean("default")
        item.close()
        if name is None:
            continue
        if any(pool.name == name for pool in pools):
            item.problem("name", f"{name!r} is named twice; name each pool once")
        pools.append(WorkPoolRef(name, key or set_name, default=bool(default)))
    return tuple(pools)
