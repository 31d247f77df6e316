import argparse
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowdeps.cli import validate
from tests.unit.api.sets import BAD, GOOD, Bad, changed

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


def run(*files: str | Path) -> int:
    """The exit status of `flowdeps validate FILE…`."""
    parser = argparse.ArgumentParser()
    validate.add_arguments(parser)
    return validate.run(parser.parse_args(list(map(str, files))))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Writes a file in the working directory and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every example passes, with nothing on standard output."""
    assert run(path) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "valid" in captured.err


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.why)
def test_a_bad_set_is_told_in_one_line(
    case: Bad, write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each bad set fails with one line: file, document, field, what is wrong, what to do."""
    text = yaml.safe_dump_all(
        [GOOD, {**case.body, "metadata": {"name": "b"} | case.body["metadata"]}]
    )
    assert run(write("sets.yaml", text)) == 1
    out = capsys.readouterr().out.splitlines()
    [line] = [line for line in out if case.path in line]
    assert line.startswith("sets.yaml:")
    assert f": document 2: {case.path}: " in line
    assert case.says in line


def test_a_problem_names_the_line_of_its_field(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The line after the file is where the field stands, also in a later document."""
    text = """\
apiVersion: v1
kind: ConfigMap
---
apiVersion: flowdeps.dev/v1alpha1
kind: FlowDependencySet
metadata:
  name: a
spec:
  python: {version: "3.12"}
  requirements:
    - pandas
    - ./pyarrow
"""
    assert run(write("sets.yaml", text)) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("sets.yaml:12: document 2: spec.requirements[1]: ")
    assert captured.err == "note: sets.yaml: document 1: a ConfigMap; skipped\n"


def test_stdin_and_lists_of_objects_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`-` reads standard input, and a List (as kubectl get prints) is its items."""
    document = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [GOOD, changed("spec.interval", "1"), {"kind": "Secret"}],
    }
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(document)))
    assert run("-") == 1
    captured = capsys.readouterr()
    assert "stdin:" in captured.out
    assert ": document 1: items[1].spec.interval: " in captured.out
    assert "a Secret; skipped" in captured.err


SET = "apiVersion: flowdeps.dev/v1alpha1\nkind: FlowDependencySet\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c", "sets.yaml:1: document 1: not YAML: mapping values are not allowed here"),
        ("a:\n\t- b", "sets.yaml:2: document 1: not YAML: found character '\\t'"),
        ("{{ if .Values.sets }}\na: b", "sets.yaml:1: document 1: not YAML"),
        ("a: &a [*b]", "not YAML: found undefined alias"),
        ("a: !!python/object:os.system {}", "not YAML: could not determine a constructor"),
        ("kind: a\n---\na: 2026-13-45", "document 2: not YAML: month must be in 1..12"),
        ("? [a]\n: b", "not YAML: found unhashable key"),
        ("a: \x07", "not YAML"),
        ("[" * 3000, "nested too deeply"),
        ("- a", "not an object of Kubernetes"),
        ("just text", "not an object of Kubernetes"),
        ("kind: FlowDependencySet", "apiVersion: None is not known; write flowdeps.dev/v1alpha1"),
        (
            "apiVersion: flowdeps.dev/v1\nkind: FlowDependencySet",
            "sets.yaml:1: document 1: apiVersion: 'flowdeps.dev/v1' is not known",
        ),
        ("apiVersion: flowdeps.dev/v1alpha1\nkind: DependencySet", "kind: 'DependencySet' is not"),
        ("apiVersion: v1\nkind: flowdependencyset", "kind: 'flowdependencyset' is not known"),
        ("spec: {}", "kind: missing; write `kind: FlowDependencySet`"),
        (SET, "metadata.name: missing; give the set a name"),
        (f"{SET}metadata: []\nspec: []", "metadata.name: missing"),
        (f"{SET}metadata: {{name: a}}\nspec: x", "spec: a text is given where fields are needed"),
        (
            f"{SET}metadata: {{name: a}}\nspec:\n  suspend: true\n  suspend: false",
            "sets.yaml:6: document 1: spec.suspend: written twice",
        ),
    ],
)
def test_what_is_no_set_is_told_plainly(
    text: str,
    says: str,
    write: Callable[[str, str], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Broken YAML, other documents and misspelt sets fail with a line that says why."""
    assert run(write("sets.yaml", text)) == 1
    assert says in capsys.readouterr().out


def _aliased(value: str, *, item: str, levels: int = 6) -> str:
    """YAML in which `value` stands 10 ** `levels` times, for each level ten aliases of the last."""
    ten = [", ".join([f"*l{level}"] * 10) for level in range(levels)]
    lines = [f"l{level}: &l{level} {item.format(names)}" for level, names in enumerate(ten, 1)]
    return "\n".join([f"l0: &l0 {value}", *lines])


@pytest.mark.parametrize(
    "text",
    [
        f"{_aliased('x', item='[{}]')}\n{SET}metadata: {{name: a}}\nspec: {{suspend: *l6}}",
        f"{_aliased('x', item='[{}]')}\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: *l6}}",
        f"{_aliased('x', item='[{}]')}\napiVersion: v1\nkind: *l6",
        f"{_aliased('x', item='[{}]')}\nkind: FlowDependencySet\napiVersion: *l6",
        _aliased("{x: 1}", item="{{<<: [{}]}}"),
    ],
    ids=["field", "name", "kind", "version", "merge"],
)
def test_aliases_that_stand_for_more_than_memory_holds_are_told_in_a_line(
    text: str, write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A pull request of somebody else is checked too; what it repeats is never written out."""
    assert run(write("sets.yaml", text)) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert line == (
        "sets.yaml:1: document 1: its aliases make it too large; write out what they stand for"
    )


def test_what_is_wrong_is_quoted_in_short(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that has parts is written out, and no number of very many digits."""
    number = f"0x{'f' * 5000}"
    text = f"""\
{SET}metadata: {{name: a}}
spec:
  requirements: [six, {number}]
  suspend: {["x"] * 5000}
  interval: {{x: {"y" * 5000}}}
  revisionHistoryLimit: {number}
  ? {number}
  : 1
"""
    assert run(write("sets.yaml", text)) == 1
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 5
    assert len(out) < 2000
    assert "spec.suspend: a list is given; write true or false without quotes\n" in out


def test_an_anchor_that_holds_itself_is_no_endless_loop(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A document that refers to itself ends with a problem."""
    text = f"{SET}metadata: {{name: a}}\nspec: &a\n  requirements: [a]\n  python: *a\n"
    assert run(write("sets.yaml", text)) == 1
    assert "spec.python" in capsys.readouterr().out


def test_unreadable_files_are_told_and_the_others_checked(
    write: Callable[[str, str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file, a directory and a binary file are one line each; the rest is checked."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    bad = write("bad.yaml", yaml.safe_dump(changed("spec.interval", "1")))
    assert run("missing.yaml", "folder", "binary.yaml", bad) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("missing.yaml: No such file or directory; ")
    assert out[1].startswith("folder: Is a directory; ")
    assert out[2].startswith("binary.yaml: not a text file in UTF-8; ")
    assert "spec.interval" in out[3]
    assert len(out) == 4


def _set(name: str, *pools: dict[str, object], namespace: str = "flows") -> str:
    body = changed("spec.workPools", list(pools))
    body["metadata"] = {"name": name, "namespace": namespace}
    return yaml.safe_dump(body)


def test_one_key_twice_in_a_pool_is_a_problem_across_files(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sets that a pool would offer under one name are told, with where the other one is."""
    first = write("a.yaml", _set("ml", {"name": "k"}))
    second = write("b.yaml", _set("other", {"name": "x"}, {"name": "k", "key": "ml"}))
    assert run(first, second) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("b.yaml:")
    assert "spec.workPools[1].key: 'ml'" in line
    assert "flows/ml (a.yaml, document 1)" in line


def test_two_defaults_of_a_pool_are_a_problem(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Only one set can be what runs of a pool get when they choose nothing."""
    first = write("a.yaml", _set("a", {"name": "k", "default": True}))
    second = write("b.yaml", _set("b", {"name": "k", "default": True}))
    assert run(first, second) == 1
    assert "spec.workPools[0].default: flows/a" in capsys.readouterr().out


def test_the_same_set_twice_is_a_problem_once(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two sets with one name in one namespace, kubectl would keep the last in silence."""
    text = _set("a", {"name": "k"})
    assert run(write("a.yaml", text), write("b.yaml", text)) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert "metadata.name: flows/a (a.yaml, document 1) is the same set" in line


def test_equal_names_in_other_pools_or_namespaces_are_fine(
    write: Callable[[str, str], str],
) -> None:
    """A key may be offered once by each pool, and a name used once in each namespace."""
    first = _set("a", {"name": "k"}, {"name": "l"})
    second = _set("a", {"name": "m"}, {"name": "k", "key": "b"}, namespace="team")
    assert run(write("sets.yaml", f"{first}---\n{second}")) == 0


def test_files_without_a_set_pass_with_a_count(
    write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to check is no failure, and is said."""
    assert run(write("a.yaml", "---\n---\n"), write("b.yaml", "apiVersion: v1\nkind: Secret")) == 0
    assert "0 sets are valid" in capsys.readouterr().err


def test_no_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a file, argparse explains and exits with 2."""
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    assert "FILE" in capsys.readouterr().err


@given(
    text=st.text()
    | st.lists(st.sampled_from(list("{}[]&*:-!|>'\"#%@` \n\ta1?,~.")), max_size=40).map("".join)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_makes_a_traceback(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a file holds, the answer is an exit status."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert run("-") in (0, 1)
