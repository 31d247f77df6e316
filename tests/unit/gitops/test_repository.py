"""Workflows, forms and manifests: what can be said of them without running them."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.names import KIND
from flowdeps.api.resource import parse_spec
from scripts.notes import notes

_ROOT = Path(__file__).parents[3]
_WORKFLOWS = sorted(_ROOT.glob(".github/workflows/*.y*ml"))
_ACTIONS = sorted(_ROOT.glob("integrations/*/action.yml"))
_FORMS = [
    path for path in sorted(_ROOT.glob(".github/ISSUE_TEMPLATE/*.yml")) if path.stem != "config"
]
_EXAMPLES = sorted(
    path for tool in ("argocd", "flux") for path in _ROOT.glob(f"examples/{tool}/**/*.yaml")
)


def _name(path: Path) -> str:
    return str(path.relative_to(_ROOT))


def _steps(path: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load(path.read_text())
    runs = document["jobs"].values() if "jobs" in document else [document["runs"]]
    return [step for one in runs for step in one.get("steps", ())]


@pytest.mark.parametrize("path", [*_WORKFLOWS, *_ACTIONS], ids=_name)
def test_actions_are_named_by_a_full_version(path: Path) -> None:
    """Not by a branch, nor by a tag for the newest of many."""
    used = [step["uses"] for step in _steps(path) if "uses" in step]
    assert used
    assert not [one for one in used if not re.search(r"@v\d+\.\d+\.\d+$", one)]


@pytest.mark.parametrize("path", _WORKFLOWS, ids=_name)
def test_a_workflow_can_only_read_unless_a_job_says_more(path: Path) -> None:
    """And what somebody else can name, such as a branch, is never put into a command."""
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    assert not [step for step in _steps(path) if "${{" in step.get("run", "")]


@pytest.mark.parametrize("path", _WORKFLOWS, ids=_name)
def test_what_a_workflow_runs_is_there(path: Path) -> None:
    """Targets of make, scripts and the chart."""
    makefile = (_ROOT / "Makefile").read_text()
    for step in _steps(path):
        words = shlex.split(step.get("run", ""))
        if words[:1] == ["make"]:
            assert f"\n{words[1]}:" in makefile
        for word in words:
            if word.startswith((".ci/", "charts/", "scripts/")):
                assert (_ROOT / word).exists()


@pytest.mark.parametrize("path", _WORKFLOWS, ids=_name)
def test_jobs_wait_for_jobs_that_are_there(path: Path) -> None:
    """Also workflows that a job is another one of; what a job takes of another it waits for."""
    jobs = yaml.safe_load(path.read_text())["jobs"]
    for job in jobs.values():
        needs = job.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        assert set(needs) <= jobs.keys()
        assert set(re.findall(r"needs\.(\w+)\.", str(job))) <= set(needs)
        if "uses" in job:
            assert "workflow_call" in yaml.safe_load((_ROOT / job["uses"]).read_text())[True]


def test_a_chart_is_released_after_its_image_and_after_the_tests() -> None:
    """Else a failed build leaves a release whose chart names an image that is not there."""
    jobs = yaml.safe_load((_ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert jobs["files"]["needs"] == "image"
    assert "test" in jobs["image"]["needs"]


def test_the_notes_of_a_release_are_what_the_changelog_says_of_it() -> None:
    """No more than its section, and an error where there is none or nothing in it."""
    text = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-01-02\n\n### Added\n\n- b\n"
    text += "\n## [1.1.0] - 2026-01-01\n\n- a\n"
    assert notes("1.2.0", text) == "### Added\n\n- b\n"
    assert notes("1.1.0", text) == "- a\n"
    for version in ("1.2", "Unreleased", "2.0.0"):
        with pytest.raises(LookupError, match=re.escape(version)):
            notes(version, text)


@pytest.mark.parametrize("path", _FORMS, ids=_name)
def test_a_form_asks_each_thing_once_and_something_for_sure(path: Path) -> None:
    """A form without a required answer brings empty reports."""
    form = yaml.safe_load(path.read_text())
    asked = [one for one in form["body"] if one["type"] != "markdown"]
    names = [one["id"] for one in asked]
    assert {"name", "description"} <= form.keys()
    assert len(names) == len(set(names))
    assert any(one.get("validations", {}).get("required") for one in asked)


@pytest.mark.parametrize("path", _EXAMPLES, ids=_name)
def test_examples_are_objects_and_their_sets_are_valid(path: Path) -> None:
    """Nothing in them would be refused for its form."""
    for body in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind", "metadata"} <= body.keys()
        if body["kind"] == KIND:
            assert parse_spec(body)


@pytest.mark.parametrize(
    ("path", "kind", "values"),
    [
        ("argocd/application.yaml", "Application", ("spec", "source", "helm", "valuesObject")),
        ("flux/release.yaml", "HelmRelease", ("spec", "values")),
    ],
)
def test_values_in_examples_are_the_charts(path: str, kind: str, values: tuple[str, ...]) -> None:
    """Each value that an example gives is one that values.yaml has."""
    bodies = yaml.safe_load_all((_ROOT / "examples" / path).read_text())
    given: Any = next(one for one in bodies if one["kind"] == kind)
    for step in values:
        given = given[step]
    _known(given, yaml.safe_load((_ROOT / "charts/flowdeps/values.yaml").read_text()))


def _known(given: Any, chart: Any) -> None:
    if isinstance(given, dict):
        assert given.keys() <= chart.keys()
        for name, value in given.items():
            _known(value, chart[name])


def test_kustomizations_depend_on_one_another_in_order() -> None:
    """In the example for Flux: each waits for health, and what it depends on stands before it."""
    bodies = list(yaml.safe_load_all((_ROOT / "examples/flux/flowdeps.yaml").read_text()))
    before: list[str] = []
    for body in (one for one in bodies if one["kind"] == "Kustomization"):
        assert body["spec"]["wait"] is True
        assert [one["name"] for one in body["spec"].get("dependsOn", [])] == before[-1:]
        before.append(body["metadata"]["name"])
    assert len(before) == 3
