"""An API server as helm uses it: server-side apply, unknown fields refused, as a dry run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx

from tests.cluster.controlplane import ControlPlane
from tests.support.sets import connect

_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_RELABELINGS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "action": _TEXT,
            "regex": _TEXT,
            "sourceLabels": {"type": "array", "items": _TEXT},
        },
    },
}
_ENDPOINTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            **dict.fromkeys(("port", "path", "interval", "scrapeTimeout"), _TEXT),
            "honorLabels": {"type": "boolean"},
            "relabelings": _RELABELINGS,
            "metricRelabelings": _RELABELINGS,
        },
    },
}
_SELECTOR = {"type": "object", "properties": {"matchLabels": _TEXTS}}
_RULE = {
    "type": "object",
    "required": ["expr"],
    "properties": {
        **dict.fromkeys(("alert", "expr", "for"), _TEXT),
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
}
_GROUP = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": _TEXT, "rules": {"type": "array", "items": _RULE}},
}
# The part of the Prometheus Operator's resources that the chart uses.
_MONITORING = {
    "ServiceMonitor": {"selector": _SELECTOR, "endpoints": _ENDPOINTS},
    "PodMonitor": {"selector": _SELECTOR, "podMetricsEndpoints": _ENDPOINTS},
    "PrometheusRule": {"groups": {"type": "array", "items": _GROUP}},
}


class Refused(Exception):  # noqa: N818
    """The API server refused; the text is its message."""


class Server:
    """What an API server says to objects."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    @contextmanager
    def of(cls, cluster: ControlPlane) -> Iterator[Self]:
        """The server of a cluster, asked as its administrator."""
        with connect(cluster) as client:
            yield cls(client)

    def accept(self, one: dict[str, Any]) -> None:
        """Apply an object without storing it. Raises Refused.

        A pod is asked for with the default account: of a dry run its own is not there.
        """
        if one["kind"] == "Pod":
            one = {**one, "spec": {**one["spec"], "serviceAccountName": "default"}}
        answer = self._client.patch(
            _path(one),
            content=json.dumps(one, ensure_ascii=False),
            headers={"Content-Type": "application/apply-patch+yaml"},
            params={"dryRun": "All", "fieldManager": "helm", "fieldValidation": "Strict"},
        )
        if not answer.is_success:
            name = f"{one['kind']} {one['metadata']['name']}"
            raise Refused(f"{name}: {answer.json().get('message')}\n{json.dumps(one, indent=1)}")


def _path(one: dict[str, Any]) -> str:
    version, metadata = one["apiVersion"], one["metadata"]
    kind = one["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{where}/{plural}/{metadata['name']}"


def monitoring() -> list[dict[str, Any]]:
    """CustomResourceDefinitions of the Prometheus Operator, as far as the chart needs them."""
    return [_definition(kind, spec) for kind, spec in _MONITORING.items()]


def _definition(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    group, plural = "monitoring.coreos.com", f"{kind.lower()}s"
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": spec}},
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }
