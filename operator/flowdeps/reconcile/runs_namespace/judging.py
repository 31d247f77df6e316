"""Judges lines: whether runs may be given an environment now, and why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowdeps.api.reasons import Reason
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.runs_namespace.deliveries import Mount
from flowdeps.reconcile.runs_namespace.lines import Line, Told
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.store import RunsKey, SetKey
from flowdeps.trials.image import ImageRef


@dataclass(frozen=True)
class _No:
    """Why a line may not be there. `unknown`: it may or not, so one that is there stays, and what
    was reported too."""

    why: str
    unknown: bool = False
    reason: Reason | None = None


_UNKNOWN = _No("", unknown=True)
_PAUSES = (60.0, 3600.0, 6 * 3600.0, 86400.0)
"""How long after a failed pull a pod tries to mount the environment, by how often it failed: after
the second time, what a pod could mount was none that runs could."""
_ELSEWHERE = {Reason.PODS_FORBIDDEN, Reason.PODS_UNSCHEDULABLE, Reason.IMAGE_UNAVAILABLE}
"""Why no pod of ours can run where runs are, which says nothing of the environment."""


@dataclass
class Judging:
    """One namespace's lines, judged one after the other, and what is to be found out for them."""

    context: Context
    key: RunsKey
    standing: Mapping[str, Told]
    """What runs are told: a pod has mounted it."""
    scope: str
    """Where failed pulls are watched for."""
    why: dict[tuple[SetKey, str], str] = field(default_factory=dict)
    failed: dict[SetKey, str] = field(default_factory=dict)
    mounts: set[Mount] = field(default_factory=set)
    again: float | None = None
    """In how many seconds a pull that failed is to be tried again."""

    def kept(self, lines: Sequence[Line]) -> list[Line]:
        """Return the lines that may be there; asks for what is not known."""
        context = self.context
        images = frozenset(line.image for line in lines if line.image)
        context.images.need(self.key, images)
        asked = context.mounts.needs(self.key)
        kept: list[Line] = []
        for line in lines:
            no = (
                self._cluster(line)
                or self._image(line)
                or self._gone(line)
                or self._pull(line)
                or self._mount(line)
            )
            stays = no and no.unknown and self.standing.get(line.choice) == line.told
            if no is None or stays:
                self.why[line.set, line.choice] = ""
                kept.append(line)
            elif not no.unknown:
                self.why[line.set, line.choice] = no.why
        context.mounts.need(self.key, frozenset(self.mounts))
        if any(context.mounts.get(one) is not None for one in self.mounts - asked):
            self.again = 0.0  # another namespace has found it out
        return kept

    def _cluster(self, line: Line) -> _No | None:
        deliveries = self.context.deliveries
        problem = deliveries.problem(self.context.config.pool(line.pool))
        for why in (problem, deliveries.events.get(self.scope)):
            if why is None:
                return _UNKNOWN
            if why:
                return _No(why)
        return None

    def _image(self, line: Line) -> _No | None:
        image = self.context.images.get(line.image) if line.image else None
        if image is None or isinstance(image, Failure):
            return _UNKNOWN
        if image.id != line.environment.image_id:
            text = "is another image than the environment was made for; one is made for it"
            return _No(f"{line.environment.image} {text}")
        return None

    def _gone(self, line: Line) -> _No | None:
        if line.environment.reference not in self.context.deliveries.gone or not self._serves(line):
            return None
        return _No(
            f"{line.environment.reference} is not in its registry any more; it is made again"
        )

    def _serves(self, line: Line) -> bool:
        """Return whether a line is of the lock in service: others are not made again."""
        entry = self.context.store.sets.get(line.set)
        lock = entry.status.lock if entry else None
        return lock is not None and lock.digest == line.environment.lock

    def _lose(self, line: Line) -> None:
        """Have an environment made again that is not in its registry any more."""
        context, reference = self.context, line.environment.reference
        if pause := context.deliveries.lose(reference, now=context.queue.time()):
            self._come_back(pause)
        else:
            context.requeue([line.set, *context.deliveries.namespaces_of(line.set)])

    def _pull(self, line: Line) -> _No | None:
        pull = self.context.deliveries.failed.get((self.key.namespace, line.environment.reference))
        if pull is None or pull.mounted:
            return None
        pause = pull.last + _PAUSES[min(pull.failures, len(_PAUSES)) - 1]
        pause -= self.context.queue.time()
        still = ""
        if pause > 0:
            self._come_back(pause)
        elif line.image:
            mount = self._question(line, line.image)
            if pull.pull_secrets is not None:
                mount = replace(mount, pull_secrets=pull.pull_secrets)
            no = self._ask(line, mount)
            if no is None:
                pull.mounted = True
                self.context.deliveries.proven.add(self._question(line, line.image))
                return None
            still = f"; nor can a pod there: {no.why}" if no.why else ""
        self.failed[line.set] = (
            f"a run in namespace {self.key.namespace} could not pull {line.environment.reference}:"
            f" {pull.words}{still}"
        )
        return _No(self.failed[line.set])

    def _mount(self, line: Line) -> _No | None:
        if self.standing.get(line.choice) == line.told:
            return None
        if line.image is None:
            return _UNKNOWN
        mount = self._question(line, line.image)
        no = self._ask(line, mount)
        if no and no.reason in _ELSEWHERE:
            # The next best: a pod beside the set, which runs in the flow's image.
            own = self.context.config.pods.image_pull_secrets
            no = self._ask(line, replace(mount, image=line.image, pull_secrets=own))
        return no

    def _question(self, line: Line, image: ImageRef) -> Mount:
        """What to ask a pod beside those of runs, for what is known of them."""
        context, reference = self.context, line.environment.reference
        where, pool = (self.key.namespace, reference), context.store.pools.get(line.pool)
        pull = context.deliveries.failed.get(where)
        lost, _ = context.deliveries.lost.get(reference, (0, 0.0))
        return Mount(
            ImageRef(self.key.namespace, context.config.environments.image, user=image.user),
            reference,
            line.set.namespace,
            pool.pull_secrets if pool else (),
            (lost, pull.failures if pull else 0),
        )

    def _come_back(self, seconds: float) -> None:
        self.again = min(seconds, seconds if self.again is None else self.again)

    def _ask(self, line: Line, mount: Mount) -> _No | None:
        """Return why an environment can't be mounted; None where a pod has mounted it."""
        context = self.context
        if mount in context.deliveries.proven:
            return None
        self.mounts.add(mount)
        answer = context.mounts.get(mount) if mount in context.mounts.needs(self.key) else None
        if isinstance(answer, Failure):
            if answer.reason is Reason.ENVIRONMENT_GONE and self._serves(line):
                self._lose(line)
            return _No(answer.message, unknown=not answer.message, reason=answer.reason)
        if answer is None:
            return _UNKNOWN
        context.deliveries.proven.add(mount)
        self.mounts.discard(mount)
        return None
