"""What keeps a pod from running, by its status."""

import pytest

from flowdeps.api.reasons import Reason
from flowdeps.trials.pod_status import stuck

_MISSING = '0/1 nodes are available: persistentvolumeclaim "ready" not found. not found'
_UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."


@pytest.mark.parametrize(
    ("message", "waited", "words"),
    [
        (_MISSING, 10.0, None),  # somebody may be making it
        (_MISSING, 30.0, 'the namespace has no PersistentVolumeClaim "ready": create it'),
        (_UNBOUND, 30.0, None),  # its volume may have to be made
        (_UNBOUND, 200.0, f"no node took the pod within 180 s: {_UNBOUND}"),
    ],
)
def test_a_claim_that_is_missing_is_said_within_a_minute(
    message: str, waited: float, words: str | None
) -> None:
    """Whatever a cluster may still make for a pod has more time."""
    scheduled = {"type": "PodScheduled", "status": "False", "message": message}
    pod = {"status": {"phase": "Pending", "conditions": [scheduled]}}
    problem = stuck(pod, waited=waited)
    if words is None:
        assert problem is None
        return
    assert problem is not None
    assert problem.message.startswith(words)
    assert problem.reason is Reason.PODS_UNSCHEDULABLE
