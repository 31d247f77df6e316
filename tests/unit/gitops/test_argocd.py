"""Argo CD's health check and action, in its own interpreter, on the statuses that we write."""

import copy
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.names import REFRESH_REQUESTED_ANNOTATION
from tests.unit.gitops import lua
from tests.unit.gitops.statuses import Body, Situation, Told, all_told
from tests.unit.state.bodies import set_body

_ROOT = Path(__file__).parents[3]
_SCRIPTS = _ROOT / "integrations" / "argocd"
_HEALTH = (_SCRIPTS / "health.lua").read_text()
_DISCOVERY = (_SCRIPTS / "actions" / "discovery.lua").read_text()
_REFRESH = (_SCRIPTS / "actions" / "refresh" / "action.lua").read_text()
_PAGE = (_ROOT / "docs" / "how-to" / "argocd.md").read_text()

HEALTH: dict[Situation, str] = {
    "ready": "Healthy",
    "under way": "Progressing",
    "stuck": "Degraded",
    "suspended": "Suspended",
    "suspended, no lock": "Suspended",
}


def _health(body: Body) -> Any:
    return lua.run(_HEALTH, body)


@pytest.mark.parametrize("told", all_told(), ids=lambda told: told.name)
def test_health_is_what_the_status_says(told: Told) -> None:
    """Each situation has one health, and the summary's message."""
    assert _health(told.body) == {
        "status": HEALTH[told.situation],
        "message": told.ready["message"],
    }


@pytest.mark.parametrize("told", all_told(), ids=lambda told: told.name)
def test_a_changed_spec_is_progressing_whatever_was_said_before(told: Told) -> None:
    """What is said of another generation says nothing of this one."""
    body = copy.deepcopy(told.body)
    body["metadata"]["generation"] += 1
    assert _health(body)["status"] == "Progressing"


@pytest.mark.parametrize("status", [None, {}, {"observedGeneration": 1}, {"conditions": []}])
def test_a_set_that_nobody_looked_at_is_progressing(status: Body | None) -> None:
    """A sync goes on waiting while the operator is not there yet."""
    assert _health(set_body(status=status))["status"] == "Progressing"


def test_a_refresh_sets_the_annotation_to_now_and_changes_nothing_else() -> None:
    """Argo CD patches what differs between the set and what the action returns."""
    [ready, *_] = all_told()
    before = datetime.now(UTC).replace(microsecond=0)
    changed = lua.run(_REFRESH, ready.body)
    at = changed["metadata"].pop("annotations").pop(REFRESH_REQUESTED_ANNOTATION)
    asked = datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert before <= asked <= before + timedelta(minutes=1)
    assert changed == ready.body


def test_a_refresh_keeps_the_other_annotations() -> None:
    """Also one that was asked for before is only replaced."""
    kept = {"example.com/team": "a"}
    body = set_body(metadata={"annotations": {**kept, REFRESH_REQUESTED_ANNOTATION: "yesterday"}})
    annotations = lua.run(_REFRESH, body)["metadata"]["annotations"]
    assert annotations.pop(REFRESH_REQUESTED_ANNOTATION) != "yesterday"
    assert annotations == kept


@pytest.mark.parametrize(
    ("spec", "disabled"),
    [
        ({}, False),
        ({"suspend": False, "updates": "Manual"}, False),
        ({"suspend": True}, True),
        ({"lockFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}, True),
        ({"revision": "ml-0123456789", "updates": "Automatic"}, True),
        ({"revision": "ml-0123456789", "updates": "Manual"}, False),
    ],
)
def test_a_refresh_is_offered_where_it_does_something(spec: Body, disabled: bool) -> None:
    """A set that is suspended, held or locked elsewhere is not refreshed; an approved one with
    manual updates is, into a proposal."""
    actions = lua.run(_DISCOVERY, set_body(**spec))
    assert {name: action["disabled"] for name, action in actions.items()} == {"refresh": disabled}


def test_the_page_shows_the_scripts_as_they_are() -> None:
    """The ConfigMap in docs/how-to/argocd.md holds the tested files."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    [config] = [one for text in blocks if (one := yaml.safe_load(text))["kind"] == "ConfigMap"]
    kind = "flowdeps.dev_FlowDependencySet"
    assert config["data"][f"resource.customizations.health.{kind}"] == _HEALTH
    actions = yaml.safe_load(config["data"][f"resource.customizations.actions.{kind}"])
    assert actions == {
        "discovery.lua": _DISCOVERY,
        "definitions": [{"name": "refresh", "action.lua": _REFRESH}],
    }
