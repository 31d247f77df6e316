"""A trial of one lock in one image."""

from typing import cast

from flowdeps.api.trialconfig import PodsConfig
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.locks.image import ImageFacts
from flowdeps.scheduling.limiter import Limiter
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.runner import Runner, Watch
from flowdeps.trials.verify import Passed, Trial, Verifier
from tests.unit.locks.builders import lock, pin
from tests.unit.reconcile.simulation import MemoryCluster

IMAGE = "registry.example.com/flows:1"
TRIAL = Trial(
    namespace="flows",
    digest="sha256:1",
    image=IMAGE,
    image_id="sha256:2",
    imports=(),
    names=("pandas",),
    secret=None,
    install_timeout=900,
    timeout=300,
)


async def verify(memory: MemoryCluster, *, watch: Watch | None = None) -> Passed:
    """Try a lock, by a verifier that has tried nothing yet."""
    cluster = cast("Cluster", memory)
    facts = ImageFacts(python="3.11", platform="linux/amd64")
    return await Verifier(
        cluster, Runner(cluster, limiter=Limiter(1)), settings=PodsConfig()
    ).verify(
        TRIAL,
        lock=lock(pin("pandas", "1.0")),
        image=Image(ImageRef("flows", IMAGE), TRIAL.image_id, facts),
        manifest={"key": "ml"},
        owner={"uid": "u"},
        watch=watch,
    )
