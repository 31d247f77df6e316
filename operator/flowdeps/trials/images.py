"""Find out what a flow image has, by a pod in it, once for all sets of a namespace.

What was found is kept in the ConfigMap `flowdeps-image.<digest of image and pull policy>` of the
namespace, so that a restart needs no pod. It is kept per namespace: whoever may write there could
forge it for others, and the packages of a private image are no business of those who can't pull it.
A tag may move, which only a pod can tell, so after `recheck` seconds the image is probed again; one
that is named by its digest never is.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flowdeps.api import names
from flowdeps.api.reasons import Reason
from flowdeps.api.times import format_time, parse_time
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.locks.image import ImageError, ImageFacts
from flowdeps.locks.inspection import parse_probe
from flowdeps.locks.legible import printable
from flowdeps.scheduling.limiter import Limiter
from flowdeps.scheduling.off_loop import off_loop
from flowdeps.telemetry.metrics import Metrics, measured
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.pods import probe_pod
from flowdeps.trials.runner import Runner

_FACTS_FILE = "facts.json"
_LAST_LINES = 3
_READS = 64
_NEVER = 365 * 86400.0
"""A pause that no operator lives to see the end of."""


@dataclass
class Images:
    """Reads images, from what is kept or by a pod."""

    cluster: Cluster
    runner: Runner
    settings: PodsConfig
    recheck: float
    now: Callable[[], datetime]
    metrics: Metrics
    reads: Limiter = field(default_factory=lambda: Limiter(_READS))
    """Of what is kept; the runner limits the pods."""

    async def read(self, ref: ImageRef, known: Image | None) -> tuple[Image, float]:
        """Return what an image has, and in how many seconds to read it again.

        What is kept is used where it is recent and nothing is known yet. Raises TrialError where
        no pod can tell.
        """
        recheck = _NEVER if ref.is_fixed else self.recheck
        if known and ref.is_fixed:
            return known, recheck
        if known is None:
            async with self.reads.turn(ref.namespace):
                kept = await self.cluster.get_config_map(ref.namespace, ref.facts_name)
            if kept and (found := await off_loop(_kept, ref, kept)):
                image, probed_at = found
                age = (self.now() - probed_at).total_seconds()
                if 0 <= age < recheck:
                    return image, recheck - age
        with measured(self.metrics.probes, well="Probed"):
            image = await self._probe(ref)
        annotations = {
            names.IMAGE_ANNOTATION: ref.image,
            names.IMAGE_ID_ANNOTATION: image.id,
            names.PROBED_AT_ANNOTATION: format_time(self.now()),
        }
        data = {_FACTS_FILE: image.facts.to_json()}
        where = {"namespace": ref.namespace, "name": ref.facts_name}
        there = await self.cluster.get_config_map(**where)
        if there is None or is_of(there, purpose="image"):  # else it is found out again each time
            body = config_map({**where, "annotations": annotations}, purpose="image", data=data)
            await self.cluster.apply_config_map(body)
        return image, recheck

    async def _probe(self, ref: ImageRef) -> Image:
        name = f"{names.PROBE_CONTAINER}-{ref.short}"
        pod = probe_pod(name=name, ref=ref, labels=labels("probe"), settings=self.settings)
        ended = await self.runner.run(pod)
        if ended.failed:
            lines = printable(" ".join(ended.log.split("\n")[-_LAST_LINES:]).strip())
            advice = "" if "flowdeps:" in lines else "; use an image with Python 3.10 or newer"
            raise TrialError(
                f"{ref.image} can't be looked at: {lines or ended.why}{advice}",
                reason=Reason.IMAGE_UNUSABLE,
            )
        try:
            return Image(ref, ended.image_id, await off_loop(parse_probe, ended.log))
        except ImageError as error:
            raise TrialError(f"{ref.image}: {error}", reason=Reason.IMAGE_UNUSABLE) from None


async def sweep(
    cluster: Cluster,
    *,
    namespaces: Sequence[str],
    running: Collection[tuple[str, str]],
    images: Iterable[ImageRef],
) -> None:
    """Delete pods and ConfigMaps that trials of a killed operator left, and facts of unused images.

    Those that are `running`, and the facts of `images`, stay. Raises ClusterError.
    """
    purpose = f"{names.OURS},{names.PURPOSE_LABEL} in"
    used = {*running, *((ref.namespace, ref.facts_name) for ref in images)}
    pods = await cluster.list_pods(
        namespaces=namespaces, selector=f"{purpose} (probe, verify, build, mount, populate)"
    )
    config_maps = cluster.each_config_map(
        namespaces=namespaces, selector=f"{purpose} (probe, verify, build, image)"
    )
    left = [_identity(body) async for body in config_maps]
    for delete, found in (
        (cluster.delete_pod, map(_identity, pods)),
        (cluster.delete_config_map, left),
    ):
        for namespace, name, uid in found:
            if (namespace, name) not in used and name.startswith(names.PIECE_PREFIX):
                await delete(namespace=namespace, name=name, uid=uid)


def _identity(body: Mapping[str, Any]) -> tuple[str, str, str]:
    meta = body["metadata"]
    return meta["namespace"], meta["name"], meta["uid"]


def labels(purpose: str) -> dict[str, str]:
    """Return the labels of what a trial makes."""
    return {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.PURPOSE_LABEL: purpose}


def is_of(body: Mapping[str, Any], *, purpose: str) -> bool:
    """Return whether a trial has made an object for a purpose."""
    return labels(purpose).items() <= (body["metadata"].get("labels") or {}).items()


def config_map(meta: Mapping[str, Any], *, purpose: str, data: Mapping[str, str]) -> dict[str, Any]:
    """Return a ConfigMap for a trial."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**meta, "labels": labels(purpose)},
        "data": dict(data),
    }


def _kept(ref: ImageRef, body: Mapping[str, Any]) -> tuple[Image, datetime] | None:
    """What a ConfigMap says of an image, and since when; None where it is damaged."""
    annotations = body["metadata"].get("annotations") or {}
    probed_at = parse_time(annotations.get(names.PROBED_AT_ANNOTATION))
    try:
        facts = ImageFacts.from_json((body.get("data") or {}).get(_FACTS_FILE, ""))
    except ImageError:
        return None
    if probed_at is None or annotations.get(names.IMAGE_ANNOTATION) != ref.image:
        return None
    return Image(ref, annotations.get(names.IMAGE_ID_ANNOTATION, ""), facts), probed_at
