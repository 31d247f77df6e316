"""Read what a template gives to the jobs of runs that choose nothing."""

from collections.abc import Mapping
from typing import Any

from flowdeps.delivery.kinds.kind import Template, TemplateView
from flowdeps.delivery.placeholders import filled, mapping, placeholder, properties, rendered

# The worker's own default where job_configuration names no namespace.
_WORKER_NAMESPACE = "default"


def view(template: Template) -> TemplateView:
    """Return namespace, image, pull policy and user of the template's jobs."""
    schemas = properties(template)
    pod: Any = mapping(template.get("job_configuration")).get("job_manifest")
    for key in ("spec", "template", "spec"):
        pod = mapping(pod).get(key)
    pod = mapping(pod)
    containers = pod.get("containers")
    flow = mapping(containers[0]) if isinstance(containers, list) and containers else {}
    contexts = [mapping(filled(one.get("securityContext"), schemas)) for one in (flow, pod)]

    def first(field: str) -> int | None:
        ids = (filled(context.get(field), schemas) for context in contexts)
        return next((one for one in ids if isinstance(one, int)), None)

    return TemplateView(
        location=_namespace(template, schemas),
        image=rendered(flow.get("image"), schemas),
        pull_policy=rendered(flow.get("imagePullPolicy"), schemas),
        user=(first("runAsUser"), first("runAsGroup")),
    )


def _namespace(template: Template, schemas: Mapping[str, Any]) -> str | None:
    """Return the namespace that the worker creates the job in.

    That is ``job_configuration.namespace``. The API server refuses a manifest that says another,
    so the manifest counts only where the configuration is silent.
    """
    configuration = mapping(template.get("job_configuration"))
    if not configuration:
        return None
    value = configuration.get("namespace")
    if value is None:
        metadata = mapping(mapping(configuration.get("job_manifest")).get("metadata"))
        value = metadata.get("namespace", _WORKER_NAMESPACE)
    if placeholder(value) and filled(value, schemas) is None:
        return _WORKER_NAMESPACE
    return rendered(value, schemas)
