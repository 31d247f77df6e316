"""What one namespace's pods and sources say stops neither its own set for good nor another's."""

import asyncio
import json

import pytest

from tests.unit.locks.test_image import HEAD, SIX, printed
from tests.unit.reconcile.simulation import MemoryImage, Simulation
from tests.unit.reconcile.test_life import HOUR, MINUTE, play, settled
from tests.unit.reconcile.test_locks import IMAGE, conditions, image

_ESCAPES = "\x1b[31m\x9b\u202e\ud800"
_ENDED = {"phase": "Succeeded", "containerStatuses": []}
_FAILED = {"ok": False, "module": "six", "error": _ESCAPES, "clashes": [_ESCAPES]}


@pytest.mark.parametrize(
    "log",
    [
        _ESCAPES,
        "[" * 100_000,
        printed({**HEAD, "libc": _ESCAPES}, {**SIX, "requires": [f"a; os_name == '{_ESCAPES}'"]}),
        printed(HEAD, {**SIX, "requires": ["a; " + "(" * 500]}),
        printed(HEAD, *[{**SIX, "name": f"p{number}"} for number in range(5001)]),
        f"flowdeps-verify: {json.dumps(_FAILED)}",
        "flowdeps-verify: " + "[" * 100_000,
    ],
    ids=range(7),
)
def test_whatever_pods_print_is_said_in_a_condition(log: str) -> None:
    """It can be shown, no reconcile ends in an error, and the set goes on once they are well."""

    async def script(sim: Simulation) -> None:
        sim.cluster.pods.images[IMAGE] = MemoryImage()
        sim.cluster.apply("other")
        async with sim.operator():
            sim.cluster.pods.instead = (_ENDED, log)
            sim.cluster.apply("ml", **image())
            await asyncio.sleep(10 * MINUTE)
            said = conditions(sim)
            assert said["Ready"][:2] != ("True", "Ready")
            for _, reason, message in said.values():
                assert reason != "InternalError"
                assert message.isprintable()
            assert sim.ready("other") == ("True", "Ready")
            sim.cluster.pods.instead = None
            await asyncio.sleep(3 * HOUR)
            assert sim.ready("ml") == ("True", "Ready")
        await settled(sim)

    play(script)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a; " + "(" * 120 + "os_name=='b'" + ")" * 120, "more than 16 parentheses"),
        (f"a{_ESCAPES}", "is not allowed"),
        ("a\n" * 2001, "2,000 are allowed; divide it"),
    ],
)
def test_whatever_a_source_holds_is_said_in_a_condition(text: str, says: str) -> None:
    """With the line and what to do, until it is corrected."""

    async def script(sim: Simulation) -> None:
        named = [{"configMapKeyRef": {"name": "files", "key": "in"}}]
        sim.cluster.put_foreign_map("flows", "files", {"in": text})
        sim.cluster.apply("ml", requirements=["alpha"], requirementsFrom=named)
        async with sim.operator():
            await asyncio.sleep(MINUTE)
            assert conditions(sim)["Ready"][1] == "SourceInvalid"
            message = conditions(sim)["Ready"][2]
            assert says in message
            assert message.isprintable()
            sim.cluster.put_foreign_map("flows", "files", {"in": "beta"})
            await asyncio.sleep(2 * MINUTE)
            assert sim.ready("ml") == ("True", "Ready")

    play(script)
