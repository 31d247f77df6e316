"""Try a lock in an image: a pod installs it as a run would, and imports from it.

The pod has the install container of runs and, in place of the flow, a script that lists what is
installed and imports modules. Whether the requirements of all packages are met, the image's and the
lock's, is worked out here.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowdeps.api.names import INSTALL_CONTAINER, VERIFY_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.api.wording import shorten
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.locks.image import ImageError
from flowdeps.locks.inspection import MARK, parse_probe
from flowdeps.locks.legible import printable
from flowdeps.locks.lock import MOST_BYTES, Lock
from flowdeps.locks.overlay import unmet_requirements
from flowdeps.scheduling.off_loop import off_loop
from flowdeps.trials.candidate import run_with_lock
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image
from flowdeps.trials.images import labels
from flowdeps.trials.pods import VERIFY_RESULT, verify_pod
from flowdeps.trials.runner import Ended, Runner, Watch

_LAST_LINES = 8
_LONGEST = 1500
_LONGEST_NOTES = 800
_MOST = 5
_OUT_OF_TIME = 124
"""The exit code of an installation that had no time left (``in_image/installer.py``)."""
_MORE_TIME = "give them more by spec.verify.timeout, or import less by spec.verify.imports"
_ADVICE = "fix the image, or choose another version; see spec.verify.imports"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is tried, with all that matters: equal trials have equal results, and are one trial."""

    namespace: str
    digest: str
    """Of the lock."""
    image: str
    image_id: str
    imports: tuple[str, ...]
    """The modules to import."""
    names: tuple[str, ...]
    """The packages whose modules are imported where `imports` names none."""
    secret: str | None
    """The Secret with the credentials for the index."""
    install_timeout: int
    """Seconds that the installation may take."""
    timeout: int
    """Seconds that the imports may take."""
    shadow: tuple[str, ...] = ()
    """The packages that may go before others."""

    @property
    def short(self) -> str:
        """Ten hex digits that name it in its namespace: not how it is tried, but what."""
        what = (self.digest, self.image, self.image_id, self.imports, self.names)
        # Without leave, what was tried before there was any stays tried.
        text = repr((*what, self.shadow) if self.shadow else what)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Passed:
    """What was found out by a trial of a lock that works."""

    notes: str = ""
    """What people should know of it."""
    installed: int = 0
    """Bytes that it takes once it is installed; 0: not known."""


@dataclass
class Verifier:
    """Tries locks in images."""

    cluster: Cluster
    runner: Runner
    settings: PodsConfig

    async def verify(
        self,
        trial: Trial,
        *,
        lock: Lock,
        image: Image,
        manifest: Mapping[str, Any],
        owner: Mapping[str, Any],
        env: Sequence[Mapping[str, str]] = (),
        watch: Watch | None = None,
    ) -> Passed:
        """Try a lock; returns what was found out.

        `manifest` is the lock.json that runs will see, `env` what their install container has, such
        as a proxy; `watch` is called with how far the installation is. Raises TrialError; its
        reason is VerifyFailed only where the lock was seen not to work, which another try would not
        change.
        """
        body = verify_pod(
            name=f"{VERIFY_CONTAINER}-{trial.short}",
            ref=image.ref,
            labels=labels("verify"),
            digest=trial.digest,
            secret=trial.secret,
            set_name=manifest["key"],
            imports=trial.imports,
            names=trial.names,
            install_seconds=trial.install_timeout,
            timeout_seconds=trial.timeout,
            env=env,
            settings=self.settings,
        )
        ended = await run_with_lock(
            self.cluster,
            self.runner,
            body,
            lock=lock,
            manifest=manifest,
            owner=owner,
            purpose="verify",
            watch=watch,
        )
        return await off_loop(check_trial, ended, image)


def check_trial(ended: Ended, image: Image) -> Passed:
    """Return what was found out; raises TrialError where the lock was not seen to work."""
    result = last_result(ended.log, mark=VERIFY_RESULT)
    if ended.failed or not result.get("ok"):
        late = result.get("late") is True
        if late or (ended.failed == INSTALL_CONTAINER and ended.code == _OUT_OF_TIME):
            raise TrialError(_why(ended, result, late=late), reason=Reason.VERIFY_TIMEOUT)
        # What can't be installed now may be installed later; an import fails each time.
        seen = result.get("ok") is False
        reason = Reason.VERIFY_FAILED if seen else Reason.PODS_FAILED
        raise TrialError(_why(ended, result), reason=reason, retry=not seen)
    try:
        overlay = parse_probe(ended.log)
    except ImageError as error:
        raise TrialError(str(error), reason=Reason.PODS_FAILED) from None
    before = set(map(str, unmet_requirements(image.facts)))
    broken = [
        f"{one}, there is {overlay.versions.get(one.requires, 'none')}"
        for one in unmet_requirements(overlay)
        if str(one) not in before
    ]
    if broken:
        text = f"{shorten('; '.join(broken), _LONGEST)}; fix the image, or choose another version"
        raise TrialError(text, reason=Reason.VERIFY_FAILED, retry=False)
    notes = [one for one in _items(result, "notes") if isinstance(one, str)]
    said = result.get("installedSize")
    size = said if type(said) is int and 0 <= said <= MOST_BYTES else 0
    return Passed(printable(shorten("; ".join(notes), _LONGEST_NOTES)), size)


def last_result(log: str, *, mark: str) -> Mapping[str, Any]:
    """Return the JSON object of the last line with a mark; empty where there is none."""
    for line in reversed(log.splitlines()):
        if line.startswith(mark):
            try:
                found = json.loads(line.removeprefix(mark))
            except (ValueError, RecursionError):
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _items(result: Mapping[str, Any], key: str) -> list[Any]:
    found = result.get(key)
    return found if isinstance(found, list) else []


def _why(ended: Ended, result: Mapping[str, Any], *, late: bool = False) -> str:
    """What failed: what the trial reports, else what ended its container, which wrote what last."""
    clashes = [one for one in _items(result, "clashes") if isinstance(one, dict)]
    if clashes:
        return shorten("; ".join(map(_clash, clashes[:_MOST])), _LONGEST)
    if error := result.get("error"):
        module = result.get("module")
        what = shorten(f"{f'import {module}' if module else 'the check'}: {error}", _LONGEST)
        advice = _MORE_TIME if late else _ADVICE if module else ""
        return "; ".join(filter(None, (what, advice)))
    lines = [one for one in ended.log.splitlines() if one.strip() and not one.startswith(MARK)]
    last = [one for one in lines if one.startswith("flowdeps:")][-1:] or lines[-_LAST_LINES:]
    why = ended.why or "it ended without a result"
    return shorten(f"{ended.failed or 'the check'}: {' | '.join([why, *last])}", _LONGEST)


def _clash(found: Mapping[str, object]) -> str:
    """Say which module of two packages a run would lack, and what to do (``in_image/clashes``)."""
    module, ours, theirs = (str(found.get(key, "")) for key in ("module", "ours", "theirs"))
    leave = found.get("leave")
    name = str(leave[0]) if isinstance(leave, list) and leave else ours.partition(" ")[0]
    match found.get("kind"):
        case "twice":
            return (
                f"{ours} and {theirs} of the lock have different files for the module {module}, and"
                f" a run gets one of them: require one of the two, or name {name} in spec.shadow if"
                " either will do"
            )
        case "hidden":
            return (
                f"the module {module} of {ours} is not found in a run: the rest of its package is"
                f" in the image ({theirs}), and Python looks in one place for all of it: install"
                f" {name} in the image, or require another version of the rest as well and name"
                " that in spec.shadow"
            )
    return (
        f"{ours} of the lock would hide the module {module} of the image ({theirs}): name {name} in"
        " spec.shadow if that is meant, choose another package or version, or change the image"
    )
