"""A template that people have made their own: runs keep what it gives them, and it comes back.

Its namespace takes only pods that meet the restricted Pod Security Standard, and its flow container
has a read-only root file system. Volumes and mounts are lists that job variables give. A set is its
default.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.cluster import images
from tests.cluster.prefect_api import FlowRun
from tests.e2e.stage import POOL, RESTRICTED, SECONDS, SITE, TEAM, Stage, team_set
from tests.support import sets

pytestmark = pytest.mark.node

_COMPANY = "/opt/company"
_PACKAGES = ("ours", "layered", "company")
_RESTRICTED: Mapping[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# Puts a distribution named company, and an old one named layered, where PYTHONPATH leads.
_WRITE_COMPANY = f"""
cd {_COMPANY}
for name in company layered; do
  info="$name-1.0.dist-info"
  mkdir "$name" "$info"
  echo 'origin = "the company"' > "$name/__init__.py"
  printf 'Metadata-Version: 2.1\\nName: %s\\nVersion: 1.0\\n' "$name" > "$info/METADATA"
done
"""


@pytest.fixture(scope="module")
def template(stage: Stage) -> Iterator[dict[str, Any]]:
    """The customised template, as the server gave it back before any set was offered."""
    stage.remove_sets()
    plain = stage.api.template(POOL)
    stage.node.kubectl(
        *("create", "secret", "generic", "company", "-n", RESTRICTED),
        "--from-literal=token=not-a-secret",
    )
    stage.api.set_template(POOL, customised(plain))
    yield stage.api.template(POOL)
    stage.api.set_template(POOL, plain)


@pytest.fixture(scope="module")
def runs(stage: Stage, template: dict[str, Any]) -> Iterator[Mapping[str, FlowRun]]:
    """Runs that were started together; their set is gone at the end."""
    assert template
    stage.index.add("ours", "1.0")
    stage.index.add("layered", "2.0")
    default = {"name": POOL, "default": True}
    stage.offer(team_set("default", ["ours", "layered"], pools=[default]))
    yield {
        "uv": stage.start(*_PACKAGES, image=images.FLOW_UV),
        "pip": stage.start(*_PACKAGES, image=images.FLOW_PIP),
        "none": stage.start(*_PACKAGES, choice="none"),
    }
    stage.remove_sets()


def test_a_run_that_chooses_nothing_gets_the_default_set(
    stage: Stage, runs: Mapping[str, FlowRun]
) -> None:
    """``default: true`` is a choice made for those who make none."""
    saw = stage.seen(runs["uv"])
    assert saw["set"] == "default"
    assert saw["packages"]["ours"] == {"version": "1.0", "file": f"{SITE}/ours/__init__.py"}


def test_a_run_that_says_none_gets_the_image_alone(
    stage: Stage, runs: Mapping[str, FlowRun]
) -> None:
    """Also where the pool has a default set."""
    saw = stage.seen(runs["none"])
    assert saw["set"] == "none"
    assert saw["packages"]["ours"]["version"] is None
    assert saw["packages"]["company"]["version"] == "1.0"
    assert _COMPANY in saw["python_path"]
    assert "/opt/flowdeps" not in saw["python_path"]


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_install_container_works_as_non_root_on_a_read_only_root_file_system(
    stage: Stage, runs: Mapping[str, FlowRun], installer: str
) -> None:
    """With an image that has uv, and with one that has only pip; restricted pods are enforced."""
    assert stage.seen(runs[installer])["packages"]["ours"]["version"] == "1.0"
    pod = stage.pod(runs[installer], namespace=RESTRICTED)
    install = pod["spec"]["initContainers"][-1]
    assert install["name"] == "flowdeps-install"
    assert install["securityContext"]["runAsNonRoot"] is True
    assert install["securityContext"]["readOnlyRootFilesystem"] is True
    printed = stage.install_log(runs[installer], namespace=RESTRICTED)
    assert f"with {installer} in" in printed.splitlines()[-1]


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_pythonpath_of_the_template_stays_in_effect_before_the_set(
    stage: Stage, runs: Mapping[str, FlowRun], installer: str
) -> None:
    """What only the set has is found behind it; what both have is the template's."""
    packages = stage.seen(runs[installer])["packages"]
    for name in ("company", "layered"):
        own = {"version": "1.0", "file": f"{_COMPANY}/{name}/__init__.py"}
        assert packages[name] == own
    assert packages["ours"] == {"version": "1.0", "file": f"{SITE}/ours/__init__.py"}


def test_a_run_keeps_what_the_template_gives_it(stage: Stage, runs: Mapping[str, FlowRun]) -> None:
    """Its own init container, volumes and environment stand beside ours, first and unchanged."""
    stage.seen(runs["uv"])
    spec = stage.pod(runs["uv"], namespace=RESTRICTED)["spec"]
    mounts = spec["containers"][0]["volumeMounts"]
    assert [one["name"] for one in mounts[:2]] == ["company", "scratch"]
    assert [one["name"] for one in spec["initContainers"]] == ["company", "flowdeps-install"]
    assert {"company", "scratch"} <= {one["name"] for one in spec["volumes"]}
    secret = {"secretKeyRef": {"name": "company", "key": "token"}}
    assert {"name": "COMPANY_TOKEN", "valueFrom": secret} in spec["containers"][0]["env"]


def test_a_customised_template_comes_back_to_the_letter(
    stage: Stage, template: dict[str, Any], runs: Mapping[str, FlowRun]
) -> None:
    """After the last set is removed, with the order of its keys."""
    for run in runs.values():
        stage.seen(run)
    offered = stage.api.template(POOL)
    assert offered != template
    assert template["variables"]["properties"].items() <= offered["variables"]["properties"].items()
    stage.remove_sets()
    assert json.dumps(stage.api.template(POOL)) == json.dumps(template)
    sets.wait(
        lambda: "flowdeps" not in stage.node.kubectl("get", "cm", "-n", RESTRICTED, "-o", "name"),
        what="the set's ConfigMaps to go",
        seconds=SECONDS,
    )
    assert sets.names(stage.node, "fds", namespace=TEAM) == set()


def customised(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The template with own variables, defaults, volumes, environment and an init container."""
    template = copy.deepcopy(dict(plain))
    properties = template["variables"]["properties"]
    properties["namespace"]["default"] = RESTRICTED
    properties["job_watch_timeout_seconds"]["default"] = 900
    properties["cost_centre"] = {"title": "Cost centre", "type": "string", "default": "flows"}
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]
    pod["metadata"] = {"annotations": {"example.com/cost-centre": "{{ cost_centre }}"}}
    pod["spec"]["volumes"] = "{{ volumes }}"
    volumes = [
        {"name": "company", "emptyDir": {}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    properties["volumes"] = {"title": "Volumes", "type": "array", "default": volumes}
    company = {"name": "company", "mountPath": _COMPANY}
    [flow] = pod["spec"]["containers"]
    flow["securityContext"] = dict(_RESTRICTED)
    flow["volumeMounts"] = "{{ volume_mounts }}"
    mounts = [company, {"name": "scratch", "mountPath": "/tmp"}]
    properties["volume_mounts"] = {"title": "Mounts", "type": "array", "default": mounts}
    flow["env"] = [
        {"name": "PREFECT_HOME", "value": "/tmp/prefect"},
        {
            "name": "COMPANY_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "company", "key": "token"}},
        },
        {"name": "PYTHONPATH", "value": _COMPANY},
    ]
    pod["spec"]["initContainers"] = [
        {
            "name": "company",
            "image": "{{ image }}",
            "imagePullPolicy": "Never",
            "command": ["/bin/sh", "-ec", _WRITE_COMPANY],
            "volumeMounts": [company],
            "securityContext": dict(_RESTRICTED),
        }
    ]
    return template
