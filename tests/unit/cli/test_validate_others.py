"""`flowdeps validate --skip-others`, which a hook calls with all files of a repository."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.unit.api.sets import BAD, GOOD, Bad
from tests.unit.cli.test_validate import SET, run, write

__all__ = ["write"]

Write = Callable[[str, str], str]
Output = pytest.CaptureFixture[str]
CHART = "{{- if .Values.sets }}\napiVersion: flowdeps.dev/v1alpha1\nkind: FlowDependencySet\n"


def skipping(*files: str | Path) -> int:
    """The exit status of `flowdeps validate --skip-others FILE…`."""
    return run("--skip-others", *files)


@pytest.mark.parametrize(
    "text",
    [
        "site_name: flowdeps\n",
        "- id: flowdeps-validate\n",
        "just text about a FlowDependencySet",
        "apiVersion: v1\nkind: Secret\n",
        "on: push\njobs: {check: {steps: [{uses: flowdeps.dev/check}]}}\n",
        "plugins: [!!python/name:flowdeps.dev/emoji x]\n",
        "kind: ConfigMap\nname: {{ .Values.name }}\n",
        CHART,
        '{"configMap": 1, // a comment\n}',
        "a: ConfigMap\na: twice\n",
        "kind: DependencySet\napiVersion: example.com/v1\nConfigMap: 1\n",
        f"ConfigMap: {'[' * 3000}",
        "",
    ],
)
def test_what_has_nothing_to_do_with_sets_is_passed_over(
    text: str, write: Write, capsys: Output
) -> None:
    """Other documents and what is no YAML are no problem, and nothing is said of them."""
    file = write("other.yaml", text)
    assert skipping(file) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "0 sets are valid\n")
    assert run(file) == 1 or not text or "Secret" in text


def test_what_is_no_text_is_passed_over_and_what_is_not_there_is_not(
    tmp_path: Path, capsys: Output
) -> None:
    """A file may be of any form, but whoever names one that is missing is told."""
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    assert skipping(tmp_path / "a.json") == 0
    assert skipping(tmp_path / "b.json") == 1
    assert "b.json: No such file" in capsys.readouterr().out


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.why)
def test_a_bad_set_among_others_is_told_as_ever(case: Bad, write: Write, capsys: Output) -> None:
    """Word for word as without the option, in a file with documents that are passed over."""
    alone = yaml.safe_dump(case.body)
    assert run(write("sets.yaml", f"apiVersion: v1\nkind: Secret\n---\n{alone}")) == 1
    said = capsys.readouterr().out
    assert skipping(write("sets.yaml", f"- no object\n\n---\n{alone}")) == 1
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("apiVersion: flowdeps.dev/v1\nkind: FlowDependencySet", "'flowdeps.dev/v1' is not known"),
        ("apiVersion: apps/v1\nkind: FlowDependencySet", "'apps/v1' is not known"),
        ("apiVersion: flowdeps.dev/v1alpha1\nkind: Set", "kind: 'Set' is not known"),
        ("apiVersion: flowdeps.dev/v1alpha1\nspec: {}", "kind: missing"),
        ("apiVersion: v1\nkind: flowdependencyset", "kind: 'flowdependencyset' is not known"),
        ("kind: List\nitems: [{kind: FlowDependencySet}]", "items[0].apiVersion: None is not"),
        (f"{SET}metadata:\n\tname: a", "sets.yaml:4: document 1: not YAML: found character '\\t'"),
        (f'{{"kind": "FlowDependencySet",\n{"[" * 3000}', "nested too deeply"),
        (f"{SET}metadata: {{name: a}}\nmetadata: {{name: b}}", "metadata: written twice"),
    ],
)
def test_what_is_meant_as_a_set_is_not_passed_over(
    text: str, says: str, write: Write, capsys: Output
) -> None:
    """Our group with another kind or version, our kind with another group, and a file that should
    hold a set and can't be parsed."""
    assert skipping(write("sets.yaml", text)) == 1
    assert says in capsys.readouterr().out


def test_what_sets_read_is_read(write: Write, capsys: Output) -> None:
    """ConfigMaps are no others: a line that is refused is told at its place."""
    source = {"configMapKeyRef": {"name": "files", "key": "in"}}
    body = {**GOOD, "spec": {"requirementsFrom": [source]}}
    files = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: files}\ndata: {in: -r other.txt}\n"
    assert skipping(write("a.yaml", yaml.safe_dump(body)), write("b.yaml", files)) == 1
    assert capsys.readouterr().out.startswith("b.yaml:4: document 1: data.in: line 1: ")
