"""Whether a lock works in an image: a pod installs it as a run would, and imports from it.

The pod has the install container of runs and, in place of the flow, a script that lists what is
installed and imports modules. That the requirements of all packages hold, the image's and the
lock's, is worked out here. The lock stands in a ConfigMap of its own as long as the pod does: what
runs mount changes only when a lock is proven.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flowdeps.api.names import VERIFY_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.api.wording import shorten
from flowdeps.clients.kubernetes import Cluster
from flowdeps.locks.image import ImageError, ImageFacts
from flowdeps.locks.inspection import MARK, parse_probe
from flowdeps.locks.lock import Lock
from flowdeps.locks.overlay import unmet_requirements
from flowdeps.state.store import DIGEST_FILE, LOCK_FILE, MANIFEST_FILE
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image
from flowdeps.trials.images import labels, run_as
from flowdeps.trials.pods import VERIFY_RESULT, PodSettings, verify_pod
from flowdeps.trials.runner import Ended, Runner

_LAST_LINES = 8
_LONGEST = 1500


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried: a lock (by its digest) in an image (by its id), with all that matters.

    Equal trials have equal results: sets of one namespace share one. `names`: the requirements'
    packages, whose modules are imported where `imports` names none. `secret`: the Secret with the
    index's credentials.
    """

    namespace: str
    digest: str
    image: str
    image_id: str
    imports: tuple[str, ...]
    names: tuple[str, ...]
    secret: str | None
    timeout: int

    @property
    def short(self) -> str:
        """Ten hex digits that name it in its namespace: not how it is tried, but what."""
        what = (self.digest, self.image, self.image_id, self.imports, self.names)
        return hashlib.sha256(repr(what).encode()).hexdigest()[:10]


class Verifier:
    """Tries locks in images."""

    def __init__(self, cluster: Cluster, runner: Runner, *, settings: PodSettings) -> None:
        self._cluster = cluster
        self._runner = runner
        self._settings = settings

    async def verify(
        self,
        trial: Trial,
        *,
        lock: Lock,
        image: Image,
        manifest: Mapping[str, Any],
        owner: Mapping[str, Any],
        env: Sequence[Mapping[str, str]] = (),
    ) -> str:
        """Try a lock; returns what was seen. Raises TrialError, of reason VerifyFailed only where
        the lock was seen not to work, which another try would not change.

        `manifest` is the lock.json that runs will see, `env` what their install container has, such
        as a proxy.
        """
        name = f"{VERIFY_CONTAINER}-{trial.short}"
        candidate = await self._cluster.apply_config_map(
            _candidate(name, trial.namespace, lock=lock, manifest=manifest, owner=owner)
        )
        meta = candidate["metadata"]
        where = {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
        try:
            body = verify_pod(
                name=name,
                namespace=trial.namespace,
                image=image.ref.image,
                labels=labels("verify"),
                pull_policy=image.ref.pull_policy,
                config_map=candidate["metadata"]["name"],
                secret=trial.secret,
                set_name=manifest["key"],
                imports=trial.imports,
                names=trial.names,
                timeout_seconds=trial.timeout,
                settings=replace(run_as(self._settings, image.ref), env=tuple(env)),
            )
            body["metadata"]["ownerReferences"] = [dict(owner)]
            ended = await self._runner.run(body)
        except TrialError:  # else the pod may live: whoever asks next finds it and its lock
            await self._cluster.delete_config_map(**where)
            raise
        await self._cluster.delete_config_map(**where)
        result = _result(ended.log)
        if ended.failed or not result.get("ok"):
            # What can't be installed now may be installed later; an import fails each time.
            told = result.get("ok") is False
            raise TrialError(
                _why(ended, result),
                reason=Reason.VERIFY_FAILED if told else Reason.PODS_FAILED,
                retry=not told,
            )
        try:
            overlay = parse_probe(ended.log)
        except ImageError as error:
            raise TrialError(str(error), reason=Reason.PODS_FAILED) from None
        if problems := _broken(image.facts, overlay):
            text = shorten("; ".join(problems), _LONGEST)
            raise TrialError(text, reason=Reason.VERIFY_FAILED, retry=False)
        return f"installs, its requirements hold, and it imports in {trial.image}"


def _candidate(
    name: str,
    namespace: str,
    *,
    lock: Lock,
    manifest: Mapping[str, Any],
    owner: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels("verify"),
            "ownerReferences": [dict(owner)],
        },
        "data": {
            LOCK_FILE: lock.render(),
            MANIFEST_FILE: json.dumps(dict(manifest)),
            DIGEST_FILE: lock.digest,
        },
    }


def _broken(image: ImageFacts, overlay: ImageFacts) -> list[str]:
    """The requirements that don't hold with the lock on top, but for those of before."""
    before = set(map(str, unmet_requirements(image)))
    return [
        f"{one}, there is {overlay.versions.get(one.requires, 'none')}"
        for one in unmet_requirements(overlay)
        if str(one) not in before
    ]


def _result(log: str) -> Mapping[str, Any]:
    for line in reversed(log.splitlines()):
        if line.startswith(VERIFY_RESULT):
            try:
                found = json.loads(line.removeprefix(VERIFY_RESULT))
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _why(ended: Ended, result: Mapping[str, Any]) -> str:
    """What failed: the trial's own word, else what ended its container and what that said last."""
    if error := result.get("error"):
        module = result.get("module")
        return shorten(f"import {module}: {error}" if module else f"the check: {error}", _LONGEST)
    lines = [one for one in ended.log.splitlines() if one.strip() and not one.startswith(MARK)]
    said = [one for one in lines if one.startswith("flowdeps:")][-1:] or lines[-_LAST_LINES:]
    why = ended.why or "it ended without a result"
    return shorten(f"{ended.failed or 'the check'}: {' | '.join([why, *said])}", _LONGEST)
