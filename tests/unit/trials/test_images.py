"""What is said of an image that no pod can look at."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from flowdeps.api.trialconfig import PodsConfig
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.telemetry.metrics import Metrics
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import ImageRef
from flowdeps.trials.images import Images, config_map, labels, sweep
from flowdeps.trials.runner import Ended, Runner
from tests.unit.reconcile.simulation import MemoryCluster, MemoryImage

IMAGE = "registry.example.com/flows:1"
PURPOSES = ("probe", "verify", "build", "mount")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("flowdeps: it can't: do this", "flowdeps: it can't: do this"),
        ("SyntaxError: x", "SyntaxError: x; use an image with Python 3.10 or newer"),
        ("a\x1b[2J", "a\N{REPLACEMENT CHARACTER}[2J; use an image with Python 3.10 or newer"),
        ("", "no such file; use an image with Python 3.10 or newer"),
    ],
)
async def test_a_probe_that_fails_is_told_with_one_way_out(log: str, said: str) -> None:
    """The script's own line has one; what else was printed, or nothing, gets one."""
    runner = Ends(Ended("flowdeps-probe", "no such file", log, ""))
    images = Images(
        cast("Cluster", MemoryCluster()),
        runner,
        settings=PodsConfig(),
        recheck=3600,
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        metrics=Metrics(),
    )
    with pytest.raises(TrialError) as caught:
        await images.read(ImageRef("flows", IMAGE), None)
    assert caught.value.message == f"{IMAGE} can't be looked at: {said}"


@pytest.mark.parametrize(
    ("image", "pods"),
    [(f"registry.example.com/flows@sha256:{'a' * 64}", 1), (IMAGE, 3)],
)
async def test_an_image_that_is_named_by_its_digest_is_looked_at_once(
    image: str, pods: int
) -> None:
    """A tag may have moved after `recheck`: a pod looks again, also after a restart."""
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    runner = Ends(Ended("", "", "\n".join(MemoryImage().lines({})), "sha256:1"))
    images = Images(
        cast("Cluster", MemoryCluster()),
        runner,
        settings=PodsConfig(),
        recheck=3600,
        now=lambda: clock[0],
        metrics=Metrics(),
    )
    ref = ImageRef("flows", image)
    first, _ = await images.read(ref, None)
    for known in (first, None):
        clock[0] += timedelta(days=30)
        assert (await images.read(ref, known))[0] == first
    assert runner.count == pods


async def test_what_a_killed_operator_left_is_swept_up() -> None:
    """Pods of every purpose, and the locks of those that have one; what is waited for stays."""
    memory = MemoryCluster()
    cluster = cast("Cluster", memory)
    made = [f"flowdeps-{purpose}-{digest}" for purpose in PURPOSES for digest in ("old", "new")]
    for name in made:
        purpose = name.split("-")[1]
        meta = {"namespace": "flows", "name": name, "labels": labels(purpose)}
        await cluster.create_pod({"metadata": meta, "spec": {"containers": []}, "status": {}})
        if purpose in {"verify", "build"}:
            where = {"namespace": "flows", "name": name}
            await cluster.apply_config_map(config_map(where, purpose=purpose, data={}))
    running = [("flows", name) for name in made if name.endswith("new")]
    await sweep(cluster, namespaces=[], running=running, images=[])
    assert sorted(memory.pods.pods) == sorted(running)
    assert {name for _, name in memory.maps} == {"flowdeps-verify-new", "flowdeps-build-new"}


class Ends(Runner):
    """Pods whose end is known, counted."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self.count = 0

    async def run(self, body: object, **_: Any) -> Ended:  # noqa: ARG002
        self.count += 1
        return self._ended
