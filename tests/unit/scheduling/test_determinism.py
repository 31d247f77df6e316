"""Two runs with the same chance and the same clock are the same."""

import ast
import asyncio
import random
from contextlib import suppress
from pathlib import Path

import flowdeps
from flowdeps.scheduling.clock import Backoff
from flowdeps.scheduling.queue import Queue
from tests.unit.scheduling import virtual

PACKAGE = Path(flowdeps.__file__).parent


def trace(seed: int) -> list[tuple[float, str, str]]:
    """What a queue does in an hour whose handlers take, ask for and fail by chance."""
    found: list[tuple[float, str, str]] = []
    chance, jitter = random.Random(1), random.Random(seed).random

    async def handle(key: str) -> float | None:
        found.append((virtual.now(), key, "begins"))
        await asyncio.sleep(chance.uniform(0, 20))
        found.append((virtual.now(), key, "ends"))
        if chance.random() < 0.5:
            raise ValueError(key)
        return chance.choice([None, 30.0, 300.0])

    async def main() -> None:
        queue = Queue(handle, workers=2, backoff=Backoff(jitter=jitter))
        running = asyncio.create_task(queue.run())
        for key in "abcdefgh" * 10:
            queue.add(key, after=chance.uniform(0, 10))
            await asyncio.sleep(45)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    virtual.run(main())
    return found


def test_two_runs_of_a_queue_with_the_same_seed_give_the_same_trace() -> None:
    """With another seed other pauses follow failures: the seed is all that differs."""
    assert len(trace(1)) > 200
    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_chance_and_the_loops_clock_are_given_never_taken() -> None:
    """Code names random.random or loop_time as a default, and calls what it was given. Not so the
    fence, since asyncio takes deadlines by the loop's clock, and what runs in images."""
    exempt = {PACKAGE / "scheduling/clock.py", PACKAGE / "clients/fence.py"}
    exempt |= set(PACKAGE.rglob("in_image/*.py"))
    found = []
    for path in set(PACKAGE.rglob("*.py")) - exempt:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case (
                    ast.Call(func=ast.Attribute(value=ast.Name(id="random" | "loop"), attr=_))
                    | ast.Call(func=ast.Name(id="loop_time"))
                    | ast.Attribute(
                        value=ast.Call(func=ast.Attribute(attr="get_running_loop")), attr="time"
                    )
                ):
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert found == []
