"""What environments need on a node: a registry, the image that packs them, the chart's policy."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cluster import operator_image
from tests.cluster.node import Node
from tests.cluster.registry import Registry
from tests.integration.chart.helm import RELEASE, Helm, needed
from tests.support import sets


def prepare(node: Node, registry: Registry) -> dict[str, Any]:
    """Apply the policy and load the image; returns what the configuration of an operator outside
    the cluster has to say."""
    node.trust_registry(registry.address)
    node.load_image(operator_image.archive())
    repository = f"{registry.address}/flowdeps"
    with TemporaryDirectory() as home:
        values = needed(config={"environments": {"repository": repository, "admission": "Enabled"}})
        objects = Helm(Path(home)).template(values)
    sets.apply(node, *(one for one in objects if one["kind"].startswith("Mutating")))
    return {
        "repository": repository,
        "image": operator_image.NAME,
        "plainHttp": True,
        "policy": f"{RELEASE}-environments",
    }
