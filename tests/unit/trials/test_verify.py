"""What a trial's end says of the lock, and what it doesn't: pods are ended for reasons of nodes."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from flowdeps.api.names import INSTALL_CONTAINER, VERIFY_CONTAINER
from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.trials.errors import TrialError
from flowdeps.trials.verify import Passed
from tests.unit.reconcile.simulation import MemoryCluster, MemoryImage
from tests.unit.scheduling import virtual
from tests.unit.trials.builders import TRIAL, verify

PROBED = "\n".join(MemoryImage().lines({"pandas": "1.0"}))


def ended(failed: str, code: int, why: str = "Error", /, **pod: str) -> dict[str, Any]:
    """The status of a pod of which a container failed; `pod`: its own reason and message."""
    done = {
        "name": INSTALL_CONTAINER,
        "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
    }
    # Of a container that ran Kubernetes takes the last lines for a message.
    message = "no such file" if why == "StartError" else PROBED[-200:]
    state = {"exitCode": code, "reason": why, "message": message}
    one = {"name": failed, "state": {"terminated": state}}
    init, main = ([one], []) if failed == INSTALL_CONTAINER else ([done], [one])
    return {"phase": "Failed", **pod, "initContainerStatuses": init, "containerStatuses": main}


def result(**what: Any) -> str:
    """The log of a verifying container that came to its end."""
    return f"{PROBED}\nflowdeps-verify: {json.dumps(what)}"


async def tried(status: dict[str, Any], log: str) -> TrialError:
    """What a trial says whose pod ends like this."""
    memory = MemoryCluster()
    memory.pods.instead = (status, log)
    with pytest.raises(TrialError) as caught:
        await verify(memory)
    return caught.value


SHUTDOWN = "Pod was terminated in response to imminent node shutdown."
LOW = "The node was low on resource: memory."
FULL = "Pod was rejected: Node didn't have enough resource: cpu"
LATE = "Pod was active on the node longer than the specified deadline"


@pytest.mark.parametrize(
    ("status", "log", "reason", "says"),
    [
        (ended(VERIFY_CONTAINER, 137, reason="Evicted", message=LOW), PROBED, "PodsFailed", LOW),
        (
            ended(INSTALL_CONTAINER, 143, reason="Terminated", message=SHUTDOWN),
            "",
            "PodsFailed",
            SHUTDOWN,
        ),
        ({"phase": "Failed", "reason": "OutOfcpu", "message": FULL}, "", "PodsFailed", FULL),
        (
            ended(VERIFY_CONTAINER, 137, reason="DeadlineExceeded", message=LATE),
            PROBED,
            "VerifyTimeout",
            LATE,
        ),
        (ended(VERIFY_CONTAINER, 137, "OOMKilled"), PROBED, "PodsFailed", "OOMKilled"),
        (ended(VERIFY_CONTAINER, 137), PROBED, "PodsFailed", "exit code 137"),
        (
            ended(INSTALL_CONTAINER, 1),
            "flowdeps: ml: the index is away",
            "PodsFailed",
            "the index is away",
        ),
    ],
)
def test_what_ends_a_pod_before_it_has_a_result_says_nothing_of_the_lock(
    status: dict[str, Any], log: str, reason: str, says: str
) -> None:
    """It is tried again soon, and told in the node's words."""
    error = virtual.run(tried(status, log))
    assert (error.reason, error.retry) == (reason, True)
    assert says in error.message


@pytest.mark.parametrize(
    ("status", "log", "message"),
    [
        (
            ended(VERIFY_CONTAINER, 137, "OOMKilled"),
            PROBED,
            "flowdeps-verify: out of memory (OOMKilled): give it more by pods.resources in the"
            " operator's configuration",
        ),
        (
            ended(INSTALL_CONTAINER, 1, "OOMKilled"),
            "flowdeps: ml: uv was killed",
            "flowdeps-install: out of memory (OOMKilled): give it more by pods.resources in the"
            " operator's configuration | flowdeps: ml: uv was killed",
        ),
        (ended(VERIFY_CONTAINER, 139), PROBED, "flowdeps-verify: exit code 139"),
        (ended(VERIFY_CONTAINER, 1), f"{PROBED}\nOh.", "flowdeps-verify: exit code 1 | Oh."),
        (
            ended(INSTALL_CONTAINER, 128, "StartError"),
            "",
            "flowdeps-install: no such file",
        ),
        (
            ended(INSTALL_CONTAINER, 1),
            "Resolved\nflowdeps: ml: the index is away",
            "flowdeps-install: exit code 1 | flowdeps: ml: the index is away",
        ),
        (
            {**ended(VERIFY_CONTAINER, 0), "phase": "Succeeded"},
            PROBED,
            "the check: it ended without a result",
        ),
        (
            ended(VERIFY_CONTAINER, 1),
            result(ok=False, module="", error="OSError: no space left"),
            "the check: OSError: no space left",
        ),
    ],
)
def test_what_ended_a_trial_is_told_before_what_it_said(
    status: dict[str, Any], log: str, message: str
) -> None:
    """What the image has, which the pod prints first, is no cause of anything; and of a container
    that ran, Kubernetes' message is but the tail of that."""
    assert virtual.run(tried(status, log)).message == message


EVICTED = 'Usage of EmptyDir volume "flowdeps-site" exceeds the limit "1Gi".'


@pytest.mark.parametrize(
    ("status", "log", "reason", "fields"),
    [
        (
            ended(INSTALL_CONTAINER, 124),
            "flowdeps: installing: 1 of 9\nflowdeps: ml: the installation did not end within 300"
            " seconds (1 of 9 packages): give it more by spec.verify.installTimeout",
            "VerifyTimeout",
            ["300 seconds", "spec.verify.installTimeout"],
        ),
        (
            ended(VERIFY_CONTAINER, 1),
            result(ok=False, module="torch", late=True, error="did not end within 120 seconds"),
            "VerifyTimeout",
            ["import torch", "120 seconds", "spec.verify.timeout"],
        ),
        (
            ended(VERIFY_CONTAINER, 1),
            result(ok=False, module="", late=True, error="did not end within 120 seconds"),
            "VerifyTimeout",
            ["120 seconds", "spec.verify.timeout"],
        ),
        (
            ended(INSTALL_CONTAINER, 137, reason="DeadlineExceeded", message=LATE),
            "",
            "VerifyTimeout",
            [LATE, "spec.verify.installTimeout", "spec.verify.timeout"],
        ),
        (
            ended(INSTALL_CONTAINER, 137, reason="Evicted", message=EVICTED),
            "",
            "PodsFailed",
            [EVICTED, "pods.sizeLimit", "ephemeral-storage in pods.resources"],
        ),
    ],
)
def test_a_step_that_lacks_something_names_it_and_where_to_give_more(
    status: dict[str, Any], log: str, reason: str, fields: list[str]
) -> None:
    """Time or room: nothing is said against the lock, and another try may end otherwise."""
    error = virtual.run(tried(status, log))
    assert (error.reason, error.retry) == (reason, True)
    assert [one for one in fields if one not in error.message] == []
    assert "fix the image" not in error.message


@pytest.mark.parametrize("why", ["Error", "OOMKilled"])
def test_an_import_that_fails_is_the_locks_fault(why: str) -> None:
    """Also where the kernel ended the importing process alone, and the script could name it."""
    log = result(ok=False, module="odd", error="it crashed the interpreter: SIGKILL")
    error = virtual.run(tried(ended(VERIFY_CONTAINER, 1, why), log))
    assert (error.reason, error.retry) == (Reason.VERIFY_FAILED, False)
    assert error.message == (
        "import odd: it crashed the interpreter: SIGKILL; fix the image, or choose another version;"
        " see spec.verify.imports"
    )


@pytest.mark.parametrize(
    ("kind", "theirs", "message"),
    [
        (
            "hides",
            "vision-headless 4.10",
            "vision-full 4.11 of the lock would hide the module cv3 of the image (vision-headless"
            " 4.10): name vision-headless in spec.shadow if that is meant, choose another package"
            " or version, or change the image",
        ),
        (
            "hidden",
            "vision-headless 4.10",
            "the module cv3 of vision-full 4.11 is not found in a run: the rest of its package is"
            " in the image (vision-headless 4.10), and Python looks in one place for all of it:"
            " install vision-full in the image, or require another version of the rest as well and"
            " name that in spec.shadow",
        ),
        (
            "twice",
            "vision-headless 4.10",
            "vision-full 4.11 and vision-headless 4.10 of the lock have different files for the"
            " module cv3, and a run gets one of them: require one of the two, or name vision-full"
            " in spec.shadow if either will do",
        ),
    ],
)
def test_of_two_packages_with_one_module_both_are_named_with_a_way_out(
    kind: str, theirs: str, message: str
) -> None:
    """What a run would lack, and what to write; each time the same."""
    clash = {"kind": kind, "module": "cv3", "ours": "vision-full 4.11", "theirs": theirs}
    leave = {"leave": ["vision-headless"]} if kind == "hides" else {}
    log = result(ok=False, clashes=[{**clash, **leave}, "odd"])
    error = virtual.run(tried(ended(VERIFY_CONTAINER, 1), log))
    assert (error.reason, error.retry) == (Reason.VERIFY_FAILED, False)
    assert error.message == message


def test_clashes_are_told_up_to_a_length() -> None:
    """Of many the first ones; and what is no clash at all is no mistake of ours."""
    clash = {"kind": "hides", "module": "m" * 500, "ours": "a 1", "theirs": "b 1"}
    for clashes in ([clash] * 9, [{"of": "another version"}], 5, {"a": 1}):
        log = result(ok=False, clashes=clashes)
        error = virtual.run(tried(ended(VERIFY_CONTAINER, 1), log))
        assert error.reason is Reason.VERIFY_FAILED
        assert len(error.message) <= 1500


def test_what_an_image_says_steers_no_terminal() -> None:
    """A package's error, a note and the last lines of a log are shown to people."""
    odd, shown = "a\x1b[2J\tb\udcff", "a\N{REPLACEMENT CHARACTER}[2J b\N{REPLACEMENT CHARACTER}"
    for log in (result(ok=False, module="", error=odd), f"{PROBED}\n{odd}"):
        error = virtual.run(tried(ended(VERIFY_CONTAINER, 1), log))
        assert error.message.endswith(shown)
    memory = MemoryCluster()
    done = {"name": VERIFY_CONTAINER, "state": {"terminated": {"exitCode": 0}}}
    status = {"phase": "Succeeded", "containerStatuses": [done]}
    memory.pods.instead = (status, result(ok=True, notes=[odd]))
    assert virtual.run(verify(memory)).notes == shown


def test_what_a_trial_notes_is_returned() -> None:
    """As one text, and only texts."""
    done = {"name": VERIFY_CONTAINER, "state": {"terminated": {"exitCode": 0}}}
    status = {"phase": "Succeeded", "containerStatuses": [done]}
    for told, notes in ((["a: b", "c", 1], "a: b; c"), (None, ""), (5, ""), ("a", "")):
        memory = MemoryCluster()
        memory.pods.instead = (status, result(ok=True, **({"notes": told} if told else {})))
        assert virtual.run(verify(memory)).notes == notes


@pytest.mark.parametrize(
    ("told", "known"), [(4567, 4567), (0, 0), (-1, 0), (True, 0), (1.5, 0), ("9", 0), (10**15, 0)]
)
def test_what_a_lock_takes_once_it_is_installed_is_returned(told: object, known: int) -> None:
    """Where the flow's image says a number that makes sense; any other fails no trial."""
    memory = MemoryCluster()
    done = {"name": VERIFY_CONTAINER, "state": {"terminated": {"exitCode": 0}}}
    status = {"phase": "Succeeded", "containerStatuses": [done]}
    memory.pods.instead = (status, result(ok=True, installedSize=told))
    assert virtual.run(verify(memory)) == Passed("", known)


def test_leave_makes_another_trial_and_none_the_same_as_ever() -> None:
    """What was tried before there was any leave stays tried."""
    assert replace(TRIAL, shadow=("a",)).short != TRIAL.short
    assert TRIAL.short == "9731e69157"


def test_how_far_an_installation_is_is_told_each_time_that_it_changes() -> None:
    """Not more often than the pod's log is looked at, and in texts that people can be shown."""
    memory, told = MemoryCluster(), list[str]()
    running = {"name": INSTALL_CONTAINER, "state": {"running": {}}}

    async def main() -> None:
        trying = asyncio.create_task(verify(memory, watch=told.append))
        for log in ("Resolved", "flowdeps: installing: 1 of 9\nflowdeps: warning: odd", "\x1b"):
            status = {"phase": "Pending", "initContainerStatuses": [running]}
            memory.pods.instead = (status, log)
            await asyncio.sleep(40)
        memory.pods.instead = (status, "flowdeps: installing: 2 of 9\x1b[2J, under way: torch")
        await asyncio.sleep(40)
        done = {"name": VERIFY_CONTAINER, "state": {"terminated": {"exitCode": 0}}}
        memory.pods.instead = ({"phase": "Succeeded", "containerStatuses": [done]}, result(ok=True))
        await trying

    virtual.run(main())
    assert told == ["1 of 9", "2 of 9\N{REPLACEMENT CHARACTER}[2J, under way: torch"]


def test_a_log_that_cannot_be_read_meanwhile_ends_no_trial() -> None:
    """Progress is for people alone."""
    memory, told = MemoryCluster(), list[str]()
    running = {"name": INSTALL_CONTAINER, "state": {"running": {}}}
    read = memory.pod_log

    async def refuse(*args: Any, lines: int | None = None, **more: Any) -> str:
        if lines:
            raise ClusterError(403, "Forbidden", "no")
        return await read(*args, **more)

    async def main() -> None:
        memory.pods.instead = ({"phase": "Pending", "initContainerStatuses": [running]}, "")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(memory, "pod_log", refuse)
            trying = asyncio.create_task(verify(memory, watch=told.append))
            await asyncio.sleep(40)
            done = {"name": VERIFY_CONTAINER, "state": {"terminated": {"exitCode": 0}}}
            status = {"phase": "Succeeded", "containerStatuses": [done]}
            memory.pods.instead = (status, result(ok=True))
            await trying

    virtual.run(main())
    assert told == []
