"""`flowdeps validate` across documents: included sets, and the ConfigMaps that sets read."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.target import Target
from tests.unit.cli.test_validate import run, write
from tests.unit.locks.builders import pylock_text

__all__ = ["write"]

Write = Callable[[str, str], str]
Output = pytest.CaptureFixture[str]
LOCK = Lock(
    Target("3.12", ("linux/amd64",)),
    (Pin(canonicalize_name("six"), "1.17.0", (f"sha256:{'0' * 64}",), ("linux/amd64",)),),
).render()


def _set(name: str, spec: dict[str, Any], *, namespace: str | None = "flows") -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    kind = {"apiVersion": "flowdeps.dev/v1alpha1", "kind": "FlowDependencySet"}
    return {**kind, "metadata": metadata, "spec": spec}


def _including(name: str, *others: str, namespace: str | None = "flows") -> dict[str, Any]:
    includes = [{"name": other} for other in others]
    return _set(name, {"requirements": ["six"], "includes": includes}, namespace=namespace)


def _reading(name: str, *, key: str = "a.txt", **more: Any) -> dict[str, Any]:
    source = {"configMapKeyRef": {"name": "files", "key": key, **more}}
    return _set(name, {"requirementsFrom": [source]})


def _locked(name: str) -> dict[str, Any]:
    return _set(name, {"lockFrom": {"configMapKeyRef": {"name": "files", "key": "a.lock"}}})


def _files(data: object, *, namespace: str = "flows") -> dict[str, Any]:
    metadata = {"name": "files", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _text(*documents: dict[str, Any]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False)


def test_a_cycle_is_told_once_with_its_way(write: Write, capsys: Output) -> None:
    """Sets that include each other are one problem, at the first of them, whatever leads there."""
    first = write("a.yaml", _text(_including("top", "a"), _including("a", "b")))
    second = write("b.yaml", _text(_including("b", "c", "other"), _including("c", "a")))
    assert run(first, second) == 1
    captured = capsys.readouterr()
    [line] = captured.out.splitlines()
    assert line.startswith("a.yaml:")
    assert "document 2: spec.includes[0].name: a → b → c → a: a cycle; remove one of" in line
    assert "spec.includes[1].name: 'other' is not in these files; it must be" in captured.err


def test_a_set_may_be_included_by_several_ways(write: Write) -> None:
    """Two sets that include a third, and one that includes both, are no cycle."""
    sets = (_including("a", "b", "c"), _including("b", "d"), _including("c", "d"), _including("d"))
    assert run(write("sets.yaml", _text(*sets))) == 0


def test_two_cycles_are_two_problems(write: Write, capsys: Output) -> None:
    """Each cycle is told, also where they share a set."""
    sets = (_including("a", "b", "c"), _including("b", "a"), _including("c", "a"))
    assert run(write("sets.yaml", _text(*sets))) == 1
    out = capsys.readouterr().out
    assert "a → b → a: a cycle" in out
    assert "a → c → a: a cycle" in out
    assert len(out.splitlines()) == 2


def test_namespaces_keep_sets_apart(write: Write, capsys: Output) -> None:
    """A set of the same name elsewhere is not the included one."""
    sets = (_including("a", "b"), _including("b", "a", namespace="team"))
    assert run(write("sets.yaml", _text(*sets))) == 0
    assert "'b' is not in these files" in capsys.readouterr().err


def test_a_finished_lock_cannot_be_included(write: Write, capsys: Output) -> None:
    """A set with lockFrom has no requirements to resolve together."""
    text = _text(_including("a", "b"), _locked("b"), _files({"a.lock": LOCK}))
    assert run(write("sets.yaml", text)) == 1
    assert "spec.includes[0].name: 'b' has a finished lock" in capsys.readouterr().out


def test_a_source_in_the_same_files_is_read(write: Write, capsys: Output) -> None:
    """Each refused line of a ConfigMap is told where it stands, once for all sets that read it."""
    files = _files({"a.txt": "# ours\npandas>=2\n-r more.txt\n"})
    assert run(write("sets.yaml", _text(_reading("a"), _reading("b"), files))) == 1
    captured = capsys.readouterr()
    [line] = captured.out.splitlines()
    assert ": document 3: data.a.txt: line 3: " in line
    assert "a flag is not allowed; add the file as another item of requirementsFrom" in line
    assert captured.err == ""


def test_constraints_are_read_as_requirements_are(write: Write, capsys: Output) -> None:
    """A key that constraintsFrom names is checked like one of requirementsFrom."""
    spec = {
        "requirements": ["six"],
        "constraintsFrom": [
            {"prefectVariable": {"name": "a"}},
            {"configMapKeyRef": {"name": "files", "key": "limits"}},
        ],
    }
    text = _text(_set("a", spec), _files({"limits": "./six"}))
    assert run(write("sets.yaml", text)) == 1
    assert "data.limits: line 1: " in capsys.readouterr().out


@pytest.mark.parametrize("data", [None, {}, {"a.txt": 5}, "pandas", ["pandas"]])
def test_a_missing_key_is_a_problem_unless_optional(
    data: object, write: Write, capsys: Output
) -> None:
    """Where the ConfigMap is in the files, its key must be too."""
    assert run(write("sets.yaml", _text(_reading("a"), _files(data)))) == 1
    said = "spec.requirementsFrom[0].configMapKeyRef: ConfigMap 'files' has no text under 'a.txt'"
    assert said in capsys.readouterr().out
    assert run(write("sets.yaml", _text(_reading("a", optional=True), _files(data)))) == 0


def test_a_config_map_that_is_not_there_is_a_note(write: Write, capsys: Output) -> None:
    """It may be in the cluster; one of another namespace is another one, and is passed over."""
    text = _text(_reading("a"), _files({"a.txt": "-r b"}, namespace="team"))
    assert run(write("sets.yaml", text)) == 0
    err = capsys.readouterr().err
    assert "ConfigMap 'files' is not in these files; it is not checked" in err
    assert "note: sets.yaml: document 2: a ConfigMap; skipped" in err


def test_a_lock_in_the_same_files_is_checked(write: Write, capsys: Output) -> None:
    """A whole lock passes; without a hash it is told with its line and how to make one."""
    good = _files({"a.lock": LOCK})
    assert run(write("sets.yaml", _text(_locked("a"), good))) == 0
    bare = _files({"a.lock": LOCK.partition(" \\\n")[0]})
    assert run(write("sets.yaml", _text(_locked("a"), bare))) == 1
    out = capsys.readouterr().out
    assert ": document 2: data.a.lock: line 4: six==1.17.0 has no hash; make the lock with" in out


def test_a_pylock_in_the_same_files_is_checked(write: Write, capsys: Output) -> None:
    """As the operator reads it."""
    text = pylock_text("six==1.17.0")
    assert run(write("sets.yaml", _text(_locked("a"), _files({"a.lock": text})))) == 0
    wrong = _files({"a.lock": text.replace("[[packages]]", "[[packages]")})
    assert run(write("sets.yaml", _text(_locked("a"), wrong))) == 1
    assert ": document 2: data.a.lock: not a pylock.toml: " in capsys.readouterr().out


def test_odd_config_maps_are_no_failure(write: Write) -> None:
    """A ConfigMap without a name or with odd metadata is passed over."""
    metadata: tuple[Any, ...] = (None, [], {})
    odd = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": one} for one in metadata]
    assert run(write("sets.yaml", _text(_set("a", {"requirements": ["six"]}), *odd))) == 0


def test_a_source_that_is_no_text_is_told_once(write: Write, capsys: Output) -> None:
    """kubectl puts a file that isn't UTF-8 under binaryData; UTF-16 is read by its mark."""
    files = _files({}) | {"binaryData": {"a.txt": "6Q=="}}
    assert run(write("sets.yaml", _text(_reading("a"), _reading("b"), files))) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert ": document 3: data.a.txt: not a text file in UTF-8; save it as one" in line
    wide = base64.b64encode("six\r\n-r b\r\n".encode("utf-16")).decode()
    files = _files({}) | {"binaryData": {"a.txt": wide}}
    assert run(write("sets.yaml", _text(_reading("a"), files))) == 1
    assert "data.a.txt: line 2: " in capsys.readouterr().out
