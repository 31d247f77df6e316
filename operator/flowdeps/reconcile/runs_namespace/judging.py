"""Judges lines: whether runs may be given an environment now, and why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flowdeps.reconcile.context import Context
from flowdeps.reconcile.runs_namespace.deliveries import FailedPull, Mount
from flowdeps.reconcile.runs_namespace.lines import Line, Told
from flowdeps.scheduling.clock import Backoff
from flowdeps.scheduling.tracking import Failure
from flowdeps.state.store import RunsKey, SetKey


@dataclass(frozen=True)
class _No:
    """Why a line may not be there. `unknown`: it may or not, so one that is there stays, and what
    was reported too."""

    why: str
    unknown: bool = False


_UNKNOWN = _No("", unknown=True)
PAUSES = Backoff(first=60.0, longest=3600.0, jitter=lambda: 0.5)
"""How long after a failed pull a pod tries to mount the environment, by how often it failed."""


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
            no = self._cluster(line) or self._image(line) or self._pull(line) or self._mount(line)
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
        deliveries, settings = self.context.deliveries, self.context.config.pool(line.pool)
        nodes = "" if settings.delivery == "Image" else deliveries.nodes
        for why in (deliveries.admission, nodes, deliveries.events.get(self.scope)):
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

    def _pull(self, line: Line) -> _No | None:
        pull = self.context.deliveries.failed.get((self.key.namespace, line.environment.reference))
        if pull is None or pull.mounted:
            return None
        pause = pull.last + PAUSES(pull.failures) - self.context.queue.time()
        mount = self._question(line, pull)
        if pause > 0:
            self.again = min(pause, self.again or pause)
        elif mount and self._ask(mount) is None:
            pull.mounted = True
            self.context.deliveries.proven |= {one for one in (self._question(line),) if one}
            return None
        self.failed[line.set] = (
            f"a run in namespace {self.key.namespace} could not pull {line.environment.reference}:"
            f" {pull.words}"
        )
        return _No(self.failed[line.set])

    def _mount(self, line: Line) -> _No | None:
        if self.standing.get(line.choice) == line.told:
            return None
        mount = self._question(line)
        return self._ask(mount) if mount else _UNKNOWN

    def _question(self, line: Line, pull: FailedPull | None = None) -> Mount | None:
        if line.image is None:
            return None
        runs, failures = (self.key.namespace, pull.failures) if pull else ("", 0)
        return Mount(line.image, line.environment.reference, runs, failures)

    def _ask(self, mount: Mount) -> _No | None:
        """Return why an environment can't be mounted; None where a pod has mounted it."""
        context = self.context
        if mount in context.deliveries.proven:
            return None
        self.mounts.add(mount)
        answer = context.mounts.get(mount) if mount in context.mounts.needs(self.key) else None
        if isinstance(answer, Failure):
            return _No(answer.message, unknown=not answer.message)
        if answer is None:
            return _UNKNOWN
        context.deliveries.proven.add(mount)
        self.mounts.discard(mount)
        return None
