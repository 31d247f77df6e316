"""What the operator's configuration says about trust: how often images are looked at, the pods that
look into them and try locks, and the database of known vulnerabilities."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flowdeps.api.fields import Fields
from flowdeps.api.rules import check_image, check_interval, check_object_name

_MINUTE = timedelta(minutes=1)
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, kw_only=True)
class ImagesConfig:
    """`recheck`: how often an image's name is looked at again, for it may mean another image;
    `allowed`: prefixes of the images that sets may name (empty: all)."""

    recheck: timedelta = timedelta(hours=1)
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PodsConfig:
    """The pods that look into images and try locks: how many at once, and what goes into each
    (as Kubernetes has it; empty: our resources, any node). `image_pull_secrets`: names of Secrets
    in the namespaces of sets."""

    concurrency: int = 4
    resources: Mapping[str, Any] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VulnerabilitiesConfig:
    """A database in OSV format, a path or an URL (None: none), and how often it is read again."""

    database: str | None = None
    interval: timedelta = timedelta(hours=1)


def parse_images(fields: Fields) -> ImagesConfig:
    """`images`."""
    recheck = _at_least_a_minute(fields, "recheck")
    allowed = fields.texts("allowed", most=100, limit=1024, check=check_image)
    fields.close()
    return ImagesConfig(recheck=recheck or ImagesConfig().recheck, allowed=allowed or ())


def parse_pods(fields: Fields) -> PodsConfig:
    """`pods`."""
    concurrency = fields.integer("concurrency", least=1, most=64)
    resources = fields.mapping("resources")
    check_resources(fields.child("resources"))
    selector = _labels(fields, "nodeSelector")
    labels = _labels(fields, "labels")
    annotations = fields.mapping("annotations")
    texts = fields.child("annotations")
    for name in texts.names():
        texts.text(name, empty=True, limit=4096)
    secrets = []
    for item in fields.children("imagePullSecrets", most=16):
        secrets.append(item.text("name", required=True, limit=253, check=check_object_name))
        item.close()
    tolerations = fields.mappings("tolerations", most=32)
    for item in fields.children("tolerations", most=32):
        _check_toleration(item)
    fields.close()
    return PodsConfig(
        concurrency=concurrency or PodsConfig().concurrency,
        resources=resources or {},
        node_selector=selector,
        tolerations=tolerations,
        image_pull_secrets=tuple(filter(None, secrets)),
        labels=labels,
        annotations=annotations or {},
    )


def parse_vulnerabilities(fields: Fields) -> VulnerabilitiesConfig:
    """`vulnerabilities`."""
    database = fields.text("database", limit=4096, check=_check_database)
    interval = _at_least_a_minute(fields, "interval")
    fields.close()
    return VulnerabilitiesConfig(
        database=database, interval=interval or VulnerabilitiesConfig().interval
    )


def check_resources(fields: Fields) -> None:
    """Find what would make Kubernetes refuse a pod: such a mistake must end here."""
    for part in ("requests", "limits"):
        amounts = fields.child(part)
        for name in amounts.names():
            amounts.quantity(name)
    fields.close()


def _labels(fields: Fields, name: str) -> Mapping[str, str]:
    values = fields.child(name)
    for label in values.names():
        values.text(label, empty=True, limit=63, check=_check_label)
    return fields.mapping(name) or {}


def _at_least_a_minute(fields: Fields, name: str) -> timedelta | None:
    found = fields.duration(name, check=check_interval)
    if found is not None and not found:
        fields.problem(name, "0s never looks again; write 1m or more")
    return found


def _check_toleration(fields: Fields) -> None:
    fields.text("key", limit=317)
    operator = fields.text("operator")
    fields.text("value", limit=63)
    effect = fields.text("effect")
    fields.integer("tolerationSeconds", least=0, most=2**31 - 1)
    if operator not in (None, "Exists", "Equal"):
        fields.problem("operator", f"{operator!r} is not known; write Exists or Equal")
    if effect not in (None, *_EFFECTS):
        fields.problem("effect", f"{effect!r} is not known; write one of {', '.join(_EFFECTS)}")
    fields.close()


def _check_label(text: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", text):
        return None
    return f"{text!r} is no label's value; write letters, digits, '-', '_' and '.', or nothing"


def _check_database(text: str) -> str | None:
    # The URL is not shown: it may hold a password.
    if text.startswith("/") or re.fullmatch(r"https?://[^/@?#\s]+(/[^?#\s]*)?", text):
        return None
    return (
        "neither a whole path nor a URL without credentials; write it such as /var/lib/osv or"
        " https://osv.example.com/all.zip"
    )
