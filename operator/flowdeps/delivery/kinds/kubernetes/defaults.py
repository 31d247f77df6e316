"""What a template gives to runs that choose nothing: placeholders, filled as the worker fills them.

A placeholder ``{{ name }}`` that is a whole value becomes the default of ``variables.properties``;
without a default, or with null, the value is absent. Inside a longer text it becomes text.
``{{ prefect.… }}`` is resolved by the worker later, so such a value cannot be known here.
"""

import re
from collections.abc import Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"{{\s*([\w.\-\[\]$]+)\s*}}")
# The worker's own default where job_configuration names no namespace.
_WORKER_NAMESPACE = "default"


def placeholder(value: object) -> str | None:
    """The variable's name when the value is one placeholder and nothing else."""
    if not isinstance(value, str):
        return None
    found = _PLACEHOLDER.fullmatch(value)
    return found[1] if found else None


def properties(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """``variables.properties``; empty where there is none."""
    found = mapping(mapping(template.get("variables")).get("properties"))
    return {name: mapping(schema) for name, schema in found.items()}


def container(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container that runs the flow; empty where there is none."""
    containers = _pod(template).get("containers")
    return mapping(containers[0]) if isinstance(containers, list) and containers else {}


def default_image(template: Mapping[str, Any]) -> str | None:
    """The image of a run that names none; None if it has none or it cannot be known."""
    return _rendered(container(template).get("image"), properties(template))


def pull_policy(template: Mapping[str, Any]) -> str | None:
    """When nodes pull the image of a run; None where Kubernetes decides, or it cannot be known."""
    return _rendered(container(template).get("imagePullPolicy"), properties(template))


def user(template: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The user and group that a run has by its template; None: those of the image."""
    schemas = properties(template)
    found = [
        mapping(_filled(one.get("securityContext"), schemas))
        for one in (container(template), _pod(template))
    ]

    def first(field: str) -> int | None:
        ids = (_filled(context.get(field), schemas) for context in found)
        return next((one for one in ids if isinstance(one, int)), None)

    return first("runAsUser"), first("runAsGroup")


def job_namespace(template: Mapping[str, Any]) -> str | None:
    """The namespace of a run that names none; None if it cannot be known.

    The worker creates the job in ``job_configuration.namespace``; a manifest that says another
    namespace is refused by the API server, so the manifest is asked only where the configuration
    is silent.
    """
    configuration = mapping(template.get("job_configuration"))
    if not configuration:
        return None
    value = configuration.get("namespace")
    if value is None:
        metadata = mapping(mapping(configuration.get("job_manifest")).get("metadata"))
        value = metadata.get("namespace", _WORKER_NAMESPACE)
    name = placeholder(value)
    if name is not None and properties(template).get(name, {}).get("default") is None:
        return _WORKER_NAMESPACE
    return _rendered(value, properties(template))


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _pod(template: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = mapping(template.get("job_configuration")).get("job_manifest")
    for key in ("spec", "template", "spec"):
        node = mapping(node).get(key)
    return mapping(node)


def _filled(value: object, schemas: Mapping[str, Any]) -> object:
    """The value, or of a placeholder its default; None where there is none."""
    name = placeholder(value)
    return value if name is None else schemas.get(name, {}).get("default")


def _rendered(value: object, schemas: Mapping[str, Any]) -> str | None:
    """The text with every default filled in; None where something is missing or comes later."""
    if not isinstance(value, str):
        return None
    for name in _PLACEHOLDER.findall(value):
        default = schemas.get(name, {}).get("default")
        if not isinstance(default, str | int | float):
            return None
    filled = _PLACEHOLDER.sub(lambda found: str(schemas[found[1]]["default"]), value)
    return filled if filled and "{{" not in filled else None
