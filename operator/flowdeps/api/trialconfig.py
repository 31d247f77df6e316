"""`images`, `pods` and `vulnerabilities` of the configuration: how often images are checked, the
pods that inspect images and try locks, and the database of known vulnerabilities."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flowdeps.api import rules
from flowdeps.api.fields import Fields

SIZE_LIMIT = 20 * 2**30
"""Bytes of a volume that gets files of a set, where nobody says: many clusters refuse one without
a limit."""
_NO_INTERVAL = "never looks again; write 1m or more"
_check_label = rules.matching(
    r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
    "is no label's value; write letters, digits, '-', '_' and '.', or nothing",
)
_check_database = rules.rule(
    lambda text: text.startswith("/") or rules.PLAIN_URL.fullmatch(text),
    "neither a whole path nor a URL without credentials; write it such as /var/lib/osv or"
    " https://osv.example.com/all.zip",
    hide=True,  # it may hold a password
)


@dataclass(frozen=True, kw_only=True)
class ImagesConfig:
    """Which images sets may name, and how often their names are looked up."""

    recheck: timedelta = timedelta(hours=24)
    """How often a name is looked up again, since it may have moved to another image."""
    allowed: tuple[str, ...] = ()
    """Prefixes of images. Empty: all."""


@dataclass(frozen=True, kw_only=True)
class PodsConfig:
    """The pods that inspect images and try locks; what goes into each is as Kubernetes has it."""

    concurrency: int = 4
    """How many run at once."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Empty: our defaults."""
    size_limit: int = SIZE_LIMIT
    """Bytes of each of their volumes; 0: no limit."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in the namespaces of sets."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VulnerabilitiesConfig:
    """Where the database of known vulnerabilities is, and how often it is read."""

    database: str | None = None
    """A path or a URL of a database in OSV format."""
    interval: timedelta = timedelta(hours=1)


def parse_images(fields: Fields) -> ImagesConfig:
    """Parse `images`."""
    return fields.build(
        ImagesConfig,
        recheck=fields.duration("recheck", check=rules.check_interval, zero=_NO_INTERVAL),
        allowed=fields.texts("allowed", most=100, limit=1024, check=rules.check_image),
    )


def parse_pods(fields: Fields) -> PodsConfig:
    """Parse `pods`."""
    return fields.build(
        PodsConfig,
        concurrency=fields.integer("concurrency", least=1, most=64),
        resources=checked_resources(fields.child("resources")),
        size_limit=fields.memory("sizeLimit"),
        node_selector=fields.named_texts("nodeSelector", limit=63, check=_check_label),
        labels=fields.named_texts("labels", limit=63, check=_check_label),
        annotations=fields.named_texts("annotations", limit=4096),
        image_pull_secrets=tuple(
            _parse_secret(item) for item in fields.children("imagePullSecrets", most=16)
        ),
        tolerations=tuple(
            _checked_toleration(item) for item in fields.children("tolerations", most=32)
        ),
    )


def parse_vulnerabilities(fields: Fields) -> VulnerabilitiesConfig:
    """Parse `vulnerabilities`."""
    return fields.build(
        VulnerabilitiesConfig,
        database=fields.text("database", limit=4096, check=_check_database),
        interval=fields.duration("interval", check=rules.check_interval, zero=_NO_INTERVAL),
    )


def checked_resources(fields: Fields) -> Mapping[str, Any]:
    """Return a container's resources as they are, checked: Kubernetes would refuse the pod."""
    fields.quantities("requests")
    fields.quantities("limits")
    fields.close()
    return fields.values


def _parse_secret(fields: Fields) -> str:
    name = fields.text("name", required=True, limit=253, check=rules.check_object_name)
    fields.close()
    return name or ""


def _checked_toleration(fields: Fields) -> Mapping[str, Any]:
    fields.text("key", limit=317)
    fields.text("operator", check=rules.one_of("Exists", "Equal"))
    fields.text("value", limit=63)
    fields.text("effect", check=rules.one_of("NoSchedule", "PreferNoSchedule", "NoExecute"))
    fields.integer("tolerationSeconds", least=0, most=2**31 - 1)
    fields.close()
    return fields.values
