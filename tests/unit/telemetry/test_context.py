"""What a log line says it is about: the pass in which it was written, wherever that was."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from flowdeps.telemetry.logs import JsonFormatter, about, enter
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, OUTAGE, play

IMAGE = "registry.example.com/flows:2"


class _Lines(logging.Handler):
    """Keeps each line as JsonFormatter writes it, read back."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.seen: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[list[dict[str, str]]]:
    handler, root = _Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler.seen
    root.removeHandler(handler)
    root.setLevel(level)


def test_lines_in_a_block_say_what_it_is_about(lines: list[dict[str, str]]) -> None:
    """A library's lines too, and none after it; what a line says of itself counts more."""
    log = logging.getLogger("some.library")
    with about(set="flows/ml", **{"pass": "1"}):
        log.info("inside")
        log.info("of another", extra={"set": "flows/other"})
    log.info("outside")
    assert [(one.get("set"), one.get("pass")) for one in lines] == [
        ("flows/ml", "1"),
        ("flows/other", "1"),
        (None, None),
    ]


async def test_tasks_keep_what_they_were_started_in(lines: list[dict[str, str]]) -> None:
    """A task that a pass starts goes on with its set and pass; two at once are not mixed up."""
    log = logging.getLogger("flowdeps")

    async def later(name: str) -> None:
        enter(set=name)
        await asyncio.sleep(0)
        await asyncio.create_task(told())

    async def told() -> None:
        await asyncio.sleep(0)
        log.info("told")

    await asyncio.gather(*(asyncio.create_task(later(name)) for name in "ab"))
    log.info("outside")
    assert [one.get("set") for one in lines] == ["a", "b", None]


def test_every_line_of_a_pass_has_its_set_and_its_id(lines: list[dict[str, str]]) -> None:
    """Pods, what is published, what goes wrong: set and pass; a template: its pool. Each pass has
    another id."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"], python={"image": IMAGE})
            await asyncio.sleep(5 * MINUTE)
        assert sim.ready("ml") == ("True", "Ready")

    play(script)
    for text in ("pod flows/flowdeps-probe-", "pod flows/flowdeps-verify-", "flows/ml: LockPubl"):
        found = [one for one in lines if one["message"].startswith(text)]
        assert found, text
        assert {(one.get("set"), len(one.get("pass", ""))) for one in found} == {("flows/ml", 8)}
    ends = [one for one in lines if one.get("outcome")]
    assert {one["outcome"] for one in ends} == {"Succeeded"}
    assert all(one["image"] == IMAGE for one in ends)
    assert all(float(one["seconds"]) > 0 for one in ends)
    [pool] = [one for one in lines if "offers ml" in one["message"]]
    assert (pool["pool"], "set" in pool) == ("k", False)
    about_what = {(one["pass"], one.get("set") or one["pool"]) for one in lines if "pass" in one}
    assert len(about_what) == len({which for which, _ in about_what}) > 2


def test_what_is_read_again_is_of_no_pass(lines: list[dict[str, str]]) -> None:
    """An image that is looked at again, an hour after the pass that asked for it, is nobody's."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"], python={"image": IMAGE})
            await asyncio.sleep(5 * MINUTE)
            lines.clear()
            await asyncio.sleep(2 * HOUR)

    play(script)
    probes = [one for one in lines if "flowdeps-probe-" in one["message"]]
    assert probes
    assert not [one for one in probes if "set" in one or "pass" in one]


def test_passes_that_do_nothing_are_silent(lines: list[dict[str, str]]) -> None:
    """A restart with nothing to do looks at each set and each pool, and logs of neither."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"])
            await asyncio.sleep(MINUTE)
        lines.clear()
        sim.passes.clear()
        async with sim.operator():
            await asyncio.sleep(10 * MINUTE)
        assert sim.passes.keys() == {"flows/ml", "work pool k"}

    play(script)
    assert lines
    assert not [one for one in lines if "pass" in one]


def test_a_failing_pass_is_named_by_all_its_lines(lines: list[dict[str, str]]) -> None:
    """The queue's own line, that a pass failed, has its pool and its id."""

    async def script(sim: Simulation) -> None:
        sim.prefect.make("k")
        async with sim.operator():
            sim.cluster.apply("ml", pools=["k"])
            await asyncio.sleep(MINUTE)
            sim.prefect.outage = OUTAGE
            sim.cluster.apply("ml", pools=[{"name": "k", "key": "other"}])
            await asyncio.sleep(MINUTE)

    play(script)
    failed = [one for one in lines if one["logger"] == "flowdeps.scheduling.queue"]
    assert failed
    assert {(one.get("pool"), len(one.get("pass", ""))) for one in failed} == {("k", 8)}
