"""Nothing that others write steers a terminal, forges a line, or can't be written: each border."""

import ast
import asyncio
import dataclasses
import json
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import flowdeps.cli
from flowdeps.api import status
from flowdeps.api.conditions import Condition, ConditionType, merge_conditions
from flowdeps.api.outcome import Outcome
from flowdeps.api.problems import InvalidError
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import parse_spec
from flowdeps.cli.main import main
from flowdeps.cli.terminal import say, say_aside, say_json
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError, refusal
from flowdeps.clients.prefect.errors import PoolsError
from flowdeps.resolver import errors
from flowdeps.resolver.errors import ResolveError
from flowdeps.trials.errors import TrialError

HOSTILE = "a\x1b[31m\x9b1m\u202e\u2066\ud800\x00\x07\r\n\u2028\u200b é b"


def fine(text: str) -> bool:
    """Whether a text is one line that any terminal, log and status takes."""
    return text.isprintable() and "é" in text and bool(text.encode())


def resolve_errors() -> Iterator[type[ResolveError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    taken = (one for one in found if issubclass(one, ResolveError))
    # These quote nobody.
    yield from (one for one in taken if one not in {errors.DiskFullError, errors.FileUrlError})


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClusterError(422, "Invalid", HOSTILE),
        lambda: refusal(422, json.dumps({"message": HOSTILE}).encode(), what="x"),
        lambda: PoolsError(Reason.PREFECT_UNAVAILABLE, HOSTILE),
        lambda: TrialError(HOSTILE, reason=Reason.PODS_FAILED),
        *(lambda kind=kind: kind(HOSTILE) for kind in resolve_errors()),
    ],
)
def test_an_error_of_what_is_outside_can_be_shown(make: Callable[[], Exception]) -> None:
    """The API server, Prefect, pods, uv and indexes: as a text, and as a message."""
    error = make()
    assert fine(str(error))
    assert fine(getattr(error, "message", str(error)))


def test_what_a_step_reports_can_be_shown() -> None:
    """Whatever ended in it: conditions are made of outcomes."""
    for make in (Outcome.done, Outcome.waits, Outcome.failed):
        assert fine(make(Reason.RESOLVED, HOSTILE).message)
    [found] = merge_conditions(
        [],
        [Condition(ConditionType.READY, "False", Reason.RESOLVED, HOSTILE)],
        generation=1,
        now=datetime.now(UTC),
    )
    assert fine(found["message"])


@pytest.mark.parametrize(
    "kind",
    [
        one
        for one in vars(status).values()
        if dataclasses.is_dataclass(one) and one.__module__ == status.__name__
        if one is not status.SetStatus
    ],
)
def test_each_text_of_the_status_can_be_shown(kind: Any) -> None:
    """No part of it quotes anybody as they wrote."""
    values: dict[type, Any] = {
        str: HOSTILE,
        int: 1,
        float: 1.5,
        bool: True,
        datetime: datetime.now(UTC),
    }
    values[tuple] = (HOSTILE,)
    types: dict[str, Any] = {
        one.name: typing.get_origin(one.type) or one.type for one in dataclasses.fields(kind)
    }
    found = status.to_json(kind(**{name: values[type_] for name, type_ in types.items()}))
    texts = [one for one in found.values() if isinstance(one, str)]
    texts += [text for one in found.values() if isinstance(one, list) for text in one]
    assert texts
    for text in texts:
        assert text.isprintable()
        assert text.encode()


@pytest.mark.parametrize(
    "spec",
    [
        {"requirements": [HOSTILE]},
        {"requirements": ["a"], HOSTILE: 1},
        {"requirements": ["a"], "python": {"image": HOSTILE}},
        {"requirements": ["a"], "python": {"version": HOSTILE}},
        {"requirements": ["a"], "workPools": [{"name": HOSTILE, "key": HOSTILE}]},
        {"requirements": ["a"], "index": {"url": HOSTILE, "cooldown": HOSTILE}},
        {"requirementsFrom": [{"configMapKeyRef": {"name": HOSTILE, "key": HOSTILE}}]},
    ],
)
def test_what_is_wrong_with_a_set_can_be_shown(spec: Any) -> None:
    """A message quotes the text that is wrong, and names an unknown field."""
    with pytest.raises(InvalidError) as caught:
        parse_spec({"metadata": {"name": "a"}, "spec": spec})
    for problem in caught.value.problems:
        assert str(problem).isprintable()
        assert str(problem).encode()


def test_an_event_can_be_posted_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its note has what a message has; one that can't be encoded would end the reconcile."""
    sent: list[Any] = []
    cluster = Cluster(None, observe=lambda *_: None)

    async def request(*_: Any, body: Any, **__: Any) -> Any:
        sent.append(body)

    monkeypatch.setattr(cluster._to, "request", request)
    regarding = {"metadata": {"namespace": "flows", "name": "a", "uid": "u"}}
    asyncio.run(
        cluster.create_event(
            regarding=regarding, kind="Normal", reason="X", action="Y", note=HOSTILE
        )
    )
    assert fine(sent[0]["note"])


def test_the_command_line_prints_in_one_place() -> None:
    """So that nothing reaches a terminal as others wrote it."""
    folder = Path(flowdeps.cli.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Name) and node.id == "print"), path
            stream = isinstance(node, ast.Attribute) and node.attr in {"write", "writelines"}
            assert not (stream and ast.unparse(node).startswith("sys.std")), path


def test_no_terminal_is_steered(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer, what is beside it, and JSON, which says the same with escapes."""
    say(HOSTILE)
    say_aside(HOSTILE)
    for text in capsys.readouterr():
        assert all(line.isprintable() for line in text.split("\n"))
        assert text.encode()
    say_json({HOSTILE: HOSTILE})
    text = capsys.readouterr().out
    assert all(line.isprintable() for line in text.split("\n"))
    assert json.loads(text) == {HOSTILE: HOSTILE}


def test_files_with_hostile_names_and_texts_steer_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a command quotes of its arguments and of files."""
    file = tmp_path / "a\x1b[31m.yaml"
    hostile = json.dumps(HOSTILE)
    file.write_text(f'{{"kind": "FlowDependencySet", "apiVersion": {hostile}, {hostile}: 1}}')
    for command in (["validate", str(file)], ["lock", str(file)], ["diff", str(file), str(file)]):
        assert main(command) == 1
        out, err = capsys.readouterr()
        assert out + err
        assert all(line.isprintable() for line in (out + err).split("\n"))
