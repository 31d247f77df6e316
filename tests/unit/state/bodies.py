"""Sets and ConfigMaps as an API server sends them."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowdeps.api.names import (
    CONTENT_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NAMESPACE_LABEL,
    SET_LABEL,
)
from flowdeps.state.store import content_hash

Body = dict[str, Any]


def set_body(
    name: str = "ml",
    *,
    namespace: str = "flows",
    version: int = 1,
    uid: str | None = None,
    pools: Sequence[str | Mapping[str, Any]] = (),
    requirements: Sequence[Any] | None = ("pandas",),
    created: str = "2026-01-01T00:00:00Z",
    metadata: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> Body:
    """A set; `pools` are names or items of spec.workPools."""
    body: Body = {
        "apiVersion": "flowdeps.dev/v1alpha1",
        "kind": "FlowDependencySet",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{namespace}-{name}",
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": created,
            **(metadata or {}),
        },
        "spec": {
            **({"requirements": list(requirements)} if requirements is not None else {}),
            "python": {"version": "3.12"},
            "workPools": [{"name": p} if isinstance(p, str) else dict(p) for p in pools],
            **spec,
        },
    }
    if status is not None:
        body["status"] = dict(status)
    return body


def config_map(
    name: str = "flowdeps-ml",
    *,
    namespace: str = "flows",
    version: int = 1,
    uid: str | None = None,
    holder: tuple[str, str] = ("flows", "ml"),
    data: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Body:
    """A ConfigMap that was written for the set `holder` and left alone since."""
    content = dict(data or {"requirements.txt": "", "lock.json": "{}", "digest": "sha256:0"})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{namespace}-{name}",
            "resourceVersion": str(version),
            "labels": {
                MANAGED_BY_LABEL: MANAGED_BY,
                NAMESPACE_LABEL: holder[0],
                SET_LABEL: holder[1],
                **(labels or {}),
            },
            "annotations": {CONTENT_ANNOTATION: content_hash(content)},
        },
        "data": content,
    }
