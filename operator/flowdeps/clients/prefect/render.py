"""Fill in a base job template for a run as a worker does, by Prefect's own code."""

from collections.abc import Mapping
from typing import Any

from prefect.utilities.templating import apply_values


def render_job(template: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of the Job of a run with these job variables.

    What a worker adds of the flow run is not in it: command, labels, name and Prefect's variables.
    """
    schemas = (template.get("variables") or {}).get("properties") or {}
    values = {name: one["default"] for name, one in schemas.items() if "default" in one}
    rendered = apply_values(dict(template["job_configuration"]), {**values, **variables})
    manifest: dict[str, Any] = rendered["job_manifest"]
    for container in manifest["spec"]["template"]["spec"]["containers"]:
        if isinstance(env := container.get("env"), Mapping):
            container["env"] = [{"name": name, "value": value} for name, value in env.items()]
    if namespace := rendered.get("namespace"):
        manifest.setdefault("metadata", {})["namespace"] = namespace
    return manifest
