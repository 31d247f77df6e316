"""Templates and fragments that several tests use."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import prefect
from prefect.server.schemas.actions import WorkPoolUpdate
from prefect.utilities.schema_tools import is_valid_schema, validate

from flowdeps.delivery.kinds.kind import Fragment
from flowdeps.delivery.methods.install import Install

Template = dict[str, Any]

_INSTALL = ("resources", "security_context", "env", "index_urls")
_METADATA = "server/api/collections_data/views/aggregate-worker-metadata.json"


def prefect_template(worker: str = "kubernetes") -> Template:
    """The template that the installed Prefect gives to a new pool."""
    for collection in _collections().values():
        if worker in collection:
            found: Template = collection[worker]["default_base_job_configuration"]
            return copy.deepcopy(found)
    raise LookupError(worker)


@cache
def _collections() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(prefect.__file__).parent / _METADATA).read_text())
    return found


def pool(*, image: Any = "registry.example.com/flows:1") -> Template:
    """Prefect's own template for Kubernetes, with a default image."""
    template = prefect_template()
    template["variables"]["properties"]["image"]["default"] = image
    return template


def customised() -> Template:
    """What a team makes of it: everything that they added has to survive."""
    template = pool()
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    template["job_configuration"]["job_manifest"]["spec"]["template"]["metadata"] = {
        "labels": {"team": "a"},
        "annotations": {"sidecar.example.com/inject": "false"},
    }
    pod["initContainers"] = [{"name": "certificates", "image": "registry.example.com/certs:1"}]
    pod["volumes"] = [{"name": "scratch", "emptyDir": {}}]
    flow = pod["containers"][0]
    flow["env"] = [
        {
            "name": "TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "warehouse", "key": "token"}},
        },
        {"name": "REGION", "value": "{{ region }}"},
    ]
    flow["envFrom"] = [{"secretRef": {"name": "more"}}]
    flow["volumeMounts"] = [{"name": "scratch", "mountPath": "/scratch"}]
    properties = template["variables"]["properties"]
    properties["region"] = {"type": "string", "default": "eu-west-1"}
    properties["namespace"]["default"] = "team-a-jobs"
    template["variables"]["required"] = ["region"]
    template["note"] = "kept by team a"
    return template


def fragment(**changes: Any) -> Fragment:
    given: dict[str, Any] = {
        "owner": "flowdeps/flowdeps",
        "version": "0.1.0",
        "pool": "kubernetes",
        "keys": ("etl", "ml"),
        "descriptions": {"etl": "team-a/etl: httpx", "ml": "team-a/ml: pandas, pyarrow"},
    }
    install = {key: changes.pop(key) for key in _INSTALL if key in changes}
    return Fragment(**({"method": Install(**install)} | given | changes))


def pod_of(template: Template) -> Any:
    return template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]


def flow_of(template: Template) -> Any:
    return pod_of(template)["containers"][0]


def with_flow(**changes: Any) -> Template:
    """The pool's template with other keys in the flow's container; None takes one out."""
    template = pool()
    for key, value in changes.items():
        if value is None:
            flow_of(template).pop(key, None)
        else:
            flow_of(template)[key] = copy.deepcopy(value)
    return template


def same(one: Any, other: Any) -> bool:
    """Equal to the letter: values, types and the order of keys."""
    return json.dumps(one) == json.dumps(other)


def accepted_by_the_server(template: Template, **job_variables: Any) -> list[str]:
    """What Prefect's server objects to, in the template or in a deployment's job variables."""
    WorkPoolUpdate(base_job_template=template)
    is_valid_schema(template["variables"], preprocess=False)
    found = validate(
        job_variables, template["variables"], ignore_required=True, allow_none_with_default=True
    )
    return [error.message for error in found]
