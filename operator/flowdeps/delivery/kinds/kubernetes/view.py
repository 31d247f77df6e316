"""Read what a template gives to the jobs of runs that choose nothing."""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from flowdeps.delivery.kinds.kind import Template, TemplateView
from flowdeps.delivery.placeholders import (
    filled,
    mapping,
    never_missing,
    placeholder,
    properties,
    rendered,
)

# The worker's own default where job_configuration names no namespace.
_WORKER_NAMESPACE = "default"
_PYTHON = re.compile(r"python[\d.]*t?")


def view(template: Template) -> TemplateView:
    """Return what the template's jobs are like."""
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

    secrets = filled(pod.get("imagePullSecrets"), schemas)
    names = (
        rendered(mapping(one).get("name"), schemas)
        for one in (secrets if isinstance(secrets, list) else ())
    )
    return TemplateView(
        location=_namespace(template, schemas),
        image=rendered(flow.get("image"), schemas),
        pull_policy=rendered(flow.get("imagePullPolicy"), schemas),
        user=(first("runAsUser"), first("runAsGroup")),
        pull_secrets=tuple(filter(None, names)),
        worker_chooses=bool(flow) and lacks_image(template, flow),
        notes=tuple(_notes(template, flow)),
    )


def lacks_image(template: Template, flow: Mapping[str, Any]) -> bool:
    """Tell whether the container of the flow gets no image in runs that name none."""
    image = flow.get("image")
    name = placeholder(image)
    return not image if name is None else name not in never_missing(template)


def _notes(template: Template, flow: Mapping[str, Any]) -> Iterator[str]:
    schemas = properties(template)
    configured = mapping(template.get("job_configuration")).get("command")
    commands = [filled(one, schemas) for one in (flow.get("command"), flow.get("args"), configured)]
    if option := next(filter(None, map(_isolation, commands)), None):
        yield (
            f"its command starts Python with {option}, so that its runs see no set: take that"
            " option out of the base job template"
        )


def _isolation(command: object) -> str | None:
    """Return the option by which a command's Python ignores what its environment says."""
    words: list[str] = []
    for part in command if isinstance(command, list) else [command]:
        try:
            words += shlex.split(part) if isinstance(part, str) else []
        except ValueError:  # a script with a quote that does not end
            words += str(part).split()
    ours = takes = False  # whether a word is an option of Python's, or what one takes
    for word in words:
        if takes or not (ours and word.startswith("-")):
            ours, takes = takes or _PYTHON.fullmatch(word.rpartition("/")[2]) is not None, False
            continue
        letters = re.sub("[cmWX].*", "", word[1:])
        if any(letter in letters for letter in "IES"):
            return word
        ours = not re.match("[cm-]", word[1 + len(letters) :])
        takes = word[1 + len(letters) :] in {"W", "X"}
    return None


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
