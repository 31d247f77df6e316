"""Put an environment on a claim of a namespace of runs, from which runs mount it.

A pod of the operator's own image pulls, checks and unpacks it (`flowdeps populate`). Doing so again
is quick where it is there already, so nothing has to be remembered. The pod's name is a digest of
all that matters, so an operator that was killed finds it again.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from math import isfinite

from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.names import POPULATE_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.state.environment import directory_of
from flowdeps.trials.errors import TrialError
from flowdeps.trials.images import labels
from flowdeps.trials.pods import POPULATE_RESULT, populate_pod
from flowdeps.trials.runner import Runner
from flowdeps.trials.verify import last_result

_LAST_LINES = 3


@dataclass(frozen=True, order=True)
class Claim:
    """A claim of a namespace of runs."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"claim {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Population:
    """An environment that is to be on a claim."""

    claim: Claim
    reference: str
    """Where it is in a registry, by its digest."""
    lock: str
    """The digest of the lock that must be in it."""

    def __str__(self) -> str:
        return f"{self.reference} on {self.claim}"


@dataclass(frozen=True)
class Populated:
    """What a claim has by now."""

    directory: str
    slower: float = field(default=0.0, compare=False)
    """How many times longer reading its modules takes than from a local disk; 0: not known."""


async def populate(
    runner: Runner,
    settings: PodsConfig,
    environments: EnvironmentsConfig,
    wanted: Population,
    *,
    keep: Collection[str],
) -> Populated:
    """Put an environment on a claim, and remove from it what nothing names or uses, but not the
    directories `keep`. Raises TrialError."""
    claim, directory = wanted.claim, directory_of(wanted.reference)
    what = repr((wanted, environments))
    body = populate_pod(
        name=f"{POPULATE_CONTAINER}-{hashlib.sha256(what.encode()).hexdigest()[:10]}",
        namespace=claim.namespace,
        labels=labels("populate"),
        claim=claim.name,
        reference=wanted.reference,
        lock=wanted.lock,
        keep={*keep, directory},
        environments=environments,
        settings=settings,
    )
    try:
        ended = await runner.run(body)
    except TrialError as error:
        raise TrialError(
            f"{claim}: {error.message}", reason=Reason.POPULATE_FAILED, retry=error.retry
        ) from error
    found = last_result(ended.log, mark=POPULATE_RESULT)
    if not ended.failed and found.get("ok") is True and found.get("directory") == directory:
        return Populated(directory, _times(found.get("slower")))
    why = found.get("error")
    if found.get("ok") is not False or not isinstance(why, str):
        lines = " | ".join(ended.log.splitlines()[-_LAST_LINES:]) or "it printed nothing"
        why = f"{ended.why or 'it ended without a result'}: {lines}"
    reason = Reason.ENVIRONMENT_GONE if found.get("gone") is True else Reason.POPULATE_FAILED
    raise TrialError(f"{claim}: {why}", reason=reason, retry=found.get("retry") is not False)


def _times(told: object) -> float:
    if isinstance(told, int | float) and not isinstance(told, bool) and told >= 0:
        return float(told) if isfinite(told) else 0.0
    return 0.0
