"""Sets as the operator leaves them, one for each situation that a set can be in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import PoolState
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.reconcile.dependency_set.status import PATIENCE, build_status
from flowdeps.state.records import LockRecord
from tests.unit.reconcile.test_status import CASES, LOCK, NOW, PUBLISHED, VERIFIED, WAITS, Case
from tests.unit.state.builders import ML, entry

Body = dict[str, Any]
Situation = Literal["ready", "under way", "stuck", "suspended", "suspended, no lock"]


@dataclass(frozen=True)
class Told:
    """A set with its status, and what anybody should make of it."""

    name: str
    body: Body
    situation: Situation

    @property
    def ready(self) -> Mapping[str, Any]:
        """The summary."""
        return condition(self.body, "Ready")


def condition(body: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """A condition of the status; KeyError where it is absent."""
    conditions: list[Mapping[str, Any]] = body["status"]["conditions"]
    return {one["type"]: one for one in conditions}[type_]


def all_told() -> list[Told]:
    """A set for each case of the status, for what somebody has to make, and suspended ones."""
    return [
        *(Told(case.name, _set(case), _situation(case.ready)) for case in CASES),
        *_missing(),
        Told("suspended", _suspended(LOCK), "suspended"),
        Told("suspended before its first lock", _suspended(None), "suspended, no lock"),
    ]


def _missing() -> Iterator[Told]:
    """Each reason that a person ends, though not by the spec: as it begins, and when nobody did."""
    for reason in Reason:
        if reason.may_be_missing:
            case = Case(
                name=str(reason),
                resolved=Outcome.failed(reason, "what is missing"),
                published=WAITS,
                ready=("False", reason),
            )
            first = _set(case)
            yield Told(f"{reason} at first", first, "under way")
            late = _set(case, before=first["status"], now=NOW + PATIENCE)
            yield Told(f"{reason} for a quarter of an hour", late, "stuck")


def _situation(ready: tuple[str, Reason]) -> Situation:
    status, reason = ready
    if status == "True":
        return "ready"
    return "stuck" if reason.is_stalled else "under way"


def _suspended(record: LockRecord | None) -> Body:
    return _set(
        Case(
            name="suspended",
            resolved=Outcome.failed(Reason.SUSPENDED, "spec.suspend is true; nothing is refreshed"),
            published=PUBLISHED if record else WAITS,
            record=record,
            ready=("False", Reason.SUSPENDED),
        )
    )


def _set(case: Case, *, before: Body | None = None, now: datetime = NOW) -> Body:
    of = entry(pools=list(case.verdicts), status=before)
    states = {
        name: PoolState(looked=True, verdicts={ML: verdict})
        for name, verdict in case.verdicts.items()
        if verdict
    }
    status = build_status(
        Progress(
            entry=of,
            resolved=case.resolved,
            verified=VERIFIED,
            published=case.published,
            record=case.record,
        ),
        views=(),
        namespaces={name: ["jobs"] for name in states},
        states=states,
        deliveries={},
        now=now,
    )
    return {**of.body, "status": status.to_dict()}
