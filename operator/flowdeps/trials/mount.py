"""Mount an environment as runs get it, which proves that registry, API server and nodes let them.

A pod has the environment as an image volume, where runs have it: in their namespace, with their
pull secrets, in the operator's own image. It asks the registry, whatever its node has already. What
is missing shows in how it fails: an API server that does not know such volumes refuses them or
makes an empty volume of them, a runtime that does not know them starts no container, and a pull
says why it fails.
"""

import hashlib
from collections.abc import Mapping, Sequence

from flowdeps.api.names import MOUNT_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import ImageRef
from flowdeps.trials.images import labels
from flowdeps.trials.pods import mount_pod
from flowdeps.trials.runner import Runner

_NEEDED = "image volumes need Kubernetes 1.35, or its feature gate ImageVolume"
_INVALID = {400, 422}


async def mount(
    runner: Runner,
    settings: PodsConfig,
    *,
    ref: ImageRef,
    reference: str,
    pull_secrets: Sequence[str] = (),
    owners: Sequence[Mapping[str, str]] = (),
    group: str = "",
) -> None:
    """Mount an environment in an image and its namespace. Raises TrialError where that fails.

    `reference` has its digest, `pull_secrets` are the names of those that runs have, `owners` whom
    the pod belongs to, and `group` is as for `Runner.run`.
    """
    what = repr((ref.short, reference, tuple(pull_secrets)))
    body = mount_pod(
        name=f"{MOUNT_CONTAINER}-{hashlib.sha256(what.encode()).hexdigest()[:10]}",
        ref=ref,
        labels=labels("mount"),
        reference=reference,
        pull_secrets=pull_secrets,
        settings=settings,
    )
    body["metadata"]["ownerReferences"] = [dict(one) for one in owners]
    try:
        ended = await runner.run(body, group=group)
    except TrialError as error:
        cause = error.__cause__
        if isinstance(cause, ClusterError) and cause.status in _INVALID:
            raise _unsupported(f"the API server refuses the pod: {cause}") from error
        if error.reason is Reason.VERIFY_TIMEOUT:
            raise _unsupported(f"no node mounted {reference} in time: {error}") from error
        raise
    if ended.failed == MOUNT_CONTAINER and "nothing is mounted" in ended.log:
        raise _unsupported("the API server drops image volumes")
    if ended.failed:
        raise TrialError(f"{ended.failed}: {ended.why}", reason=Reason.PODS_FAILED)


def _unsupported(text: str) -> TrialError:
    return TrialError(f"{text}; {_NEEDED}", reason=Reason.IMAGE_VOLUMES_UNSUPPORTED)
