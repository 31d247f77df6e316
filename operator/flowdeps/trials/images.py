"""What a flow image has installed: found out by a pod in it, kept for all sets of a namespace.

Facts stand in the ConfigMap `flowdeps-image.<digest of image and pull policy>` of the namespace,
so that a restart asks nobody. They are per namespace, because whoever may write there could forge
them for others, and because a private image's packages are no business of those who can't pull it.
A tag may move, which only a pod can tell: after `recheck` seconds the image is looked at again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from flowdeps.api.names import (
    IMAGE_ANNOTATION,
    IMAGE_ID_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PROBE_CONTAINER,
    PROBED_AT_ANNOTATION,
    PURPOSE_LABEL,
)
from flowdeps.api.reasons import Reason
from flowdeps.api.times import format_time, parse_time
from flowdeps.clients.kubernetes import Cluster
from flowdeps.locks.image import ImageError, ImageFacts
from flowdeps.locks.inspection import parse_probe
from flowdeps.telemetry.metrics import Metrics, measured
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.pods import PodSettings, probe_pod
from flowdeps.trials.runner import Runner

_FACTS_FILE = "facts.json"
_LAST_LINES = 3


class Images:
    """Reads images, from kept facts or by a pod."""

    def __init__(
        self,
        cluster: Cluster,
        runner: Runner,
        *,
        settings: PodSettings,
        recheck: float,
        now: Callable[[], datetime],
        metrics: Metrics,
    ) -> None:
        self._cluster = cluster
        self._runner = runner
        self._settings = settings
        self._recheck = recheck
        self._now = now
        self._metrics = metrics

    async def read(self, ref: ImageRef, known: Image | None) -> tuple[Image, float]:
        """What an image has; the kept facts where they are fresh and nobody has asked yet.

        Raises TrialError where no pod can tell.
        """
        if known is None:
            kept = await self._cluster.get_config_map(ref.namespace, ref.facts_name)
            if kept and (found := _kept(ref, kept)):
                image, probed_at = found
                age = (self._now() - probed_at).total_seconds()
                if 0 <= age < self._recheck:
                    return image, self._recheck - age
        with measured(self._metrics.probes, well="Probed"):
            image = await self._probe(ref)
        await self._cluster.apply_config_map(_body(image, self._now()))
        return image, self._recheck

    async def _probe(self, ref: ImageRef) -> Image:
        name = f"{PROBE_CONTAINER}-{ref.short}"
        ended = await self._runner.run(
            probe_pod(
                name=name,
                namespace=ref.namespace,
                image=ref.image,
                labels=labels("probe"),
                pull_policy=ref.pull_policy,
                settings=run_as(self._settings, ref),
            )
        )
        if ended.failed:
            lines = " ".join(ended.log.split("\n")[-_LAST_LINES:]).strip()
            way_out = "" if "flowdeps:" in lines else "; use an image with Python 3.10 or newer"
            raise TrialError(
                f"{ref.image} can't be looked at: {lines or ended.why}{way_out}",
                reason=Reason.IMAGE_UNUSABLE,
            )
        try:
            return Image(ref, ended.image_id, parse_probe(ended.log))
        except ImageError as error:
            raise TrialError(f"{ref.image}: {error}", reason=Reason.IMAGE_UNUSABLE) from None


def run_as(settings: PodSettings, ref: ImageRef) -> PodSettings:
    """The settings for pods that run as runs do."""
    uid, gid = ref.user
    return replace(settings, user=uid or settings.user, group=gid or settings.group)


def labels(purpose: str) -> dict[str, str]:
    """The labels of what a trial makes."""
    return {MANAGED_BY_LABEL: MANAGED_BY, PURPOSE_LABEL: purpose}


def _body(image: Image, now: datetime) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": image.ref.facts_name,
            "namespace": image.ref.namespace,
            "labels": labels("image"),
            "annotations": {
                IMAGE_ANNOTATION: image.ref.image,
                IMAGE_ID_ANNOTATION: image.id,
                PROBED_AT_ANNOTATION: format_time(now),
            },
        },
        "data": {_FACTS_FILE: image.facts.to_json()},
    }


def _kept(ref: ImageRef, body: Mapping[str, Any]) -> tuple[Image, datetime] | None:
    """The facts of a ConfigMap and when they were found; None where it is damaged."""
    annotations = body["metadata"].get("annotations") or {}
    probed_at = parse_time(annotations.get(PROBED_AT_ANNOTATION))
    text = (body.get("data") or {}).get(_FACTS_FILE, "")
    try:
        facts = ImageFacts.from_json(text)
    except ImageError:
        return None
    if probed_at is None or annotations.get(IMAGE_ANNOTATION) != ref.image:
        return None
    return Image(ref, annotations.get(IMAGE_ID_ANNOTATION, ""), facts), probed_at
