"""Build an environment of a lock: a pod installs, compiles and tries it, and packs what it tried.

The pod is that of a trial with one container more, which runs the operator's own image, packs the
tree and pushes it. What the trial prints comes from the flow's image and is checked as in a trial;
what the last container prints says what was pushed. The pod's name is a digest of all that matters,
so an operator that was killed finds it again.
"""

import hashlib
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.names import BUILD_POD, PACK_CONTAINER, VERIFY_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.api.wording import shorten
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.locks.lock import Lock
from flowdeps.scheduling.off_loop import off_loop
from flowdeps.state.environment import Environment
from flowdeps.trials.candidate import run_with_lock
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image
from flowdeps.trials.images import labels
from flowdeps.trials.pods import PACK_RESULT, VERIFY_RESULT, build_pod
from flowdeps.trials.runner import Ended, Runner
from flowdeps.trials.verify import Trial, check_trial, last_result

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TEN = re.compile(r"[0-9a-f]{10}")
_LAST_LINES = 3
_LONGEST = 500
_OF_THE_POD = {
    Reason.IMAGE_UNAVAILABLE,
    Reason.PODS_FORBIDDEN,
    Reason.PODS_UNSCHEDULABLE,
    Reason.PODS_FAILED,
    Reason.PROBING,
    Reason.REGISTRY_UNAVAILABLE,
}
"""Reasons that say nothing of the lock."""


@dataclass(frozen=True, kw_only=True)
class Build(Trial):
    """A lock of which an environment is built, with all that matters, as of a trial."""

    lost: int = 0
    """How many times one of it was lost, so that it is built again each time."""

    @property
    def tag(self) -> str:
        """What names the environment in its repository, for people."""
        found = _DIGEST.search(self.image_id)
        image = found[0] if found else hashlib.sha256(self.image_id.encode()).hexdigest()
        return f"{_ten(self.digest)}-{_ten(image)}"


@dataclass
class Builder:
    """Builds environments."""

    cluster: Cluster
    runner: Runner
    settings: PodsConfig
    environments: EnvironmentsConfig
    listed: dict[str, frozenset[str]] = field(default_factory=dict)
    """By namespaces the locks, ten hex digits each, of which the registry had environments."""

    async def build(
        self,
        build: Build,
        *,
        lock: Lock,
        image: Image,
        named: Iterable[str] = (),
        manifest: Mapping[str, Any],
        owner: Mapping[str, Any],
        env: Sequence[Mapping[str, str]] = (),
    ) -> Environment:
        """Build an environment; returns where it is and what was measured.

        `named`: the digests of the locks that are still of use in the namespace. Environments of
        others are deleted, if the configuration has that and an earlier build has seen them there.
        The other arguments are those of a trial (`Verifier.verify`). Raises TrialError. Its reason
        never says that the lock does not work: runs install it in the way that it was tried.
        """
        used = {_ten(one) for one in (*named, build.digest)}
        body = build_pod(
            unused=self.listed.get(build.namespace, frozenset()) - used,
            name=f"{BUILD_POD}-{self._short(build)}",
            tag=build.tag,
            image_id=build.image_id,
            environments=self.environments,
            ref=image.ref,
            labels=labels("build"),
            digest=build.digest,
            secret=build.secret,
            set_name=manifest["key"],
            imports=build.imports,
            names=build.names,
            timeout_seconds=build.timeout,
            env=env,
            settings=self.settings,
        )
        try:
            ended = await run_with_lock(
                self.cluster,
                self.runner,
                body,
                lock=lock,
                manifest=manifest,
                owner=owner,
                purpose="build",
                also=VERIFY_CONTAINER,
            )
            if ended.failed == PACK_CONTAINER:
                raise await self._not_pushed(build, ended)
            return await off_loop(self._environment, build, ended, image)
        except TrialError as error:
            if error.reason in _OF_THE_POD:
                raise
            raise TrialError(
                error.message, reason=Reason.BUILD_FAILED, retry=error.retry
            ) from error

    def _short(self, build: Build) -> str:
        """Ten hex digits that name a build in its namespace: what it is of, and where it goes."""
        text = repr((build.short, build.namespace, self.environments))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def _environment(self, build: Build, ended: Ended, image: Image) -> Environment:
        tried = ended if ended.failed else replace(ended, log=ended.also)
        check_trial(tried, image)
        if ended.image_id != build.image_id:
            raise TrialError(
                f"{build.image} was {build.image_id} when it was looked at, and is"
                f" {ended.image_id or 'unknown'} now: it is looked at again, and then built",
                reason=Reason.BUILD_FAILED,
            )
        seconds = last_result(tried.log, mark=VERIFY_RESULT).get("importSeconds")
        packed = last_result(ended.log, mark=PACK_RESULT)
        self._look(build, packed)
        numbers = [packed.get(name) for name in ("size", "unpacked", "files")]
        digest = packed.get("digest")
        if not (
            packed.get("ok") is True
            and isinstance(digest, str)
            and _DIGEST.fullmatch(digest)
            and all(type(one) is int and one >= 0 for one in numbers)
        ):
            raise TrialError(
                f"{PACK_CONTAINER} ended without a result: {_tail(ended.log)};"
                " environments.image must be the operator's own image",
                reason=Reason.BUILD_FAILED,
            )
        size, unpacked, files = (int(one) for one in numbers if one is not None)
        return Environment(
            **(_derived(packed) if self.environments.images else {}),
            reference=f"{self.environments.repository_of(build.namespace)}@{digest}",
            lock=build.digest,
            image=build.image,
            image_id=build.image_id,
            size=size,
            unpacked=unpacked,
            files=files,
            import_seconds=_seconds(seconds),
        )

    def _look(self, build: Build, packed: Mapping[str, Any]) -> None:
        """Keep what is in the registry, by what the packing container says."""
        locks = packed.get("locks")
        found = [one for one in locks if isinstance(one, str)] if isinstance(locks, list) else []
        self.listed[build.namespace] = frozenset(filter(_TEN.fullmatch, found))
        if why := packed.get("unusedError"):
            log.warning(
                "unused environments stay in %s: %s",
                self.environments.repository_of(build.namespace),
                why,
            )

    async def _not_pushed(self, build: Build, ended: Ended) -> TrialError:
        """Return why nothing was pushed, and what to do."""
        said = last_result(ended.log, mark=PACK_RESULT)
        why = said.get("error")
        repository = self.environments.repository_of(build.namespace)
        if said.get("ok") is not False or not isinstance(why, str):
            return TrialError(
                f"{PACK_CONTAINER}: {ended.why}: {_tail(ended.log)}", reason=Reason.BUILD_FAILED
            )
        about = ""
        if secret := self.environments.push_secret:
            there = await self.cluster.get_secret(build.namespace, secret)
            about = (
                f"; environments.pushSecretRef is the Secret {secret} of namespace"
                f" {build.namespace}{'' if there else ', which is missing: create it'}"
            )
        return TrialError(
            f"nothing was pushed to {repository}: {why}{about}",
            reason=Reason.REGISTRY_UNAVAILABLE,
            retry=said.get("retry") is not False,
        )


def _derived(packed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an environment says of the image that was derived with it."""
    image, why = packed.get("image"), packed.get("imageError")
    if isinstance(image, dict):
        digest, size = image.get("digest"), image.get("size")
        if isinstance(digest, str) and _DIGEST.fullmatch(digest) and type(size) is int and size > 0:
            return {"derived": digest, "derived_size": size}
    text = why if isinstance(why, str) and why else f"{PACK_CONTAINER} says nothing of it"
    return {"underived": shorten(text, _LONGEST)}


def _seconds(told: object) -> float:
    """Return how long the imports took, by what a container of the flow's image says."""
    if isinstance(told, int | float) and not isinstance(told, bool) and told >= 0:
        return float(told) if math.isfinite(told) else 0.0
    return 0.0


def _tail(log: str) -> str:
    return " | ".join(log.splitlines()[-_LAST_LINES:]) or "it printed nothing"


def _ten(digest: str) -> str:
    return digest.removeprefix("sha256:")[:10]
