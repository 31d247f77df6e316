"""Put our fragment into a base job template, and take it out again. Pure.

The template belongs to somebody else, so these hold for every template ``t`` and fragment ``f``:

- nothing outside the fragment changes, and no input is changed
- ``remove(merge(t, f)) == t``, to the letter, with the order of keys
- ``merge(merge(t, f1), f2) == merge(t, f2)``: ``merge`` is ``insert`` after ``remove``
- what others write after us, anywhere, is still there after both; what they take away or alter in
  our fragment is healed by the next ``merge``
- what cannot be merged is refused with a reason and a way out, and nothing is changed

Our pieces are known by their names, the places we had to make by the edits in our marker, the extra
key ``flowdeps.dev`` in our variable's schema; the variable for extras bears a mark of its own.
Without a marker only what has our content as well is ours (see ``strays``).

The install container stands last among the init containers: others may set up the network or
fetch certificates that it needs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowdeps.api.names import (
    CREDENTIALS_VOLUME,
    INSTALL_CONTAINER,
    LOCK_VOLUME,
    MARKER,
    SET_LABEL,
    SITE_VOLUME,
)
from flowdeps.delivery import fragment as pieces
from flowdeps.delivery.fragment import Found, Fragment
from flowdeps.delivery.kinds.kubernetes import defaults
from flowdeps.delivery.kinds.kubernetes import orphans as strays
from flowdeps.delivery.kinds.kubernetes import python_path as pythonpath
from flowdeps.delivery.kinds.kubernetes.draft import Draft, Edit, MergeRefusedError, Path, written

_CONFIGURATION: Path = ("job_configuration",)
_MANIFEST: Path = (*_CONFIGURATION, "job_manifest")
_TEMPLATE: Path = (*_MANIFEST, "spec", "template")
_LABELS: Path = (*_TEMPLATE, "metadata", "labels")
_POD: Path = (*_TEMPLATE, "spec")
_CONTAINERS: Path = (*_POD, "containers")
_FLOW: Path = (*_CONTAINERS, "prefect-job")
_PROPERTIES: Path = ("variables", "properties")

# Names of ours in the pod's and the flow container's lists.
_LISTS: Mapping[Path, tuple[str, ...]] = {
    (*_POD, "volumes"): (
        LOCK_VOLUME,
        CREDENTIALS_VOLUME,
        SITE_VOLUME,
    ),
    (*_POD, "initContainers"): (INSTALL_CONTAINER,),
    (*_FLOW, "volumeMounts"): (SITE_VOLUME,),
    (*_FLOW, "env"): (pieces.ENV_SET, pieces.ENV_LOCK),
}
_ANCHORS = ((*_POD, "volumes"), (*_POD, "initContainers"))


def find(template: Mapping[str, Any]) -> Found | None:
    """The fragment in the template, whoever owns it; None if there is none."""
    return next(_found(template), None)


def merge(template: Mapping[str, Any], fragment: Fragment) -> dict[str, Any]:
    """The template with the fragment in it, in place of an older one.

    Raises MergeRefusedError where the template cannot carry it, or carries another owner's.
    """
    for found in _found(template):
        if found.owner != fragment.owner:
            raise MergeRefusedError(
                "OwnedByAnother",
                f"the fragment in this template belongs to the operator {found.owner}: let one of "
                f"the two leave the pool alone, or take its fragment out first "
                f"(flowdeps template --remove).",
            )
    draft = Draft(remove(template))
    _check_kubernetes(draft)
    _check_names(draft, fragment)
    _insert(draft, fragment)
    return draft.content


def remove(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template without our fragment, whoever owns it; unchanged where there is none."""
    draft = Draft(template)
    found, extras = list(_found(template)), _extras(template)
    if not (found or extras) and not strays.are_there(
        item for path in _ANCHORS for item in _list(draft.get(path))
    ):
        return draft.content
    for name in extras:
        del draft.get(_PROPERTIES)[name]
    own = [draft.get(_PROPERTIES).pop(one.variable) for one in found]
    for path, names in _LISTS.items():
        items = draft.get(path)
        if isinstance(items, list):
            items[:] = [
                item
                for item in items
                if _name(item) not in names or not (found or strays.is_ours(item))
            ]
    env = draft.get((*_FLOW, "env"))
    if isinstance(env, list):
        pythonpath.take_from_container(env)
    for path in _worker_env(draft):
        pythonpath.take_from_worker_env(draft.get(path))
    labels = draft.get(_LABELS)
    if isinstance(labels, dict) and (found or defaults.placeholder(labels.get(SET_LABEL))):
        labels.pop(SET_LABEL, None)
    for schema in own:
        replaced = schema[MARKER].get("replaced")
        edits = map(Edit.from_json, replaced if isinstance(replaced, list) else [])
        draft.undo(edit for edit in edits if edit is not None)
    return draft.content


def _found(template: Mapping[str, Any]) -> Iterator[Found]:
    for name, schema in defaults.properties(template).items():
        marker = schema.get(MARKER)
        if not isinstance(marker, Mapping) or not isinstance(marker.get("owner"), str):
            continue
        enum = schema.get("enum")
        yield Found(
            owner=marker["owner"],
            cluster=str(marker.get("cluster", "")),
            version=str(marker.get("version", "")),
            variable=name,
            keys=tuple(
                key
                for key in (enum if isinstance(enum, list) else [])
                if isinstance(key, str) and key != pieces.NONE
            ),
            default=str(schema.get("default", pieces.NONE)),
        )


def _extras(template: Mapping[str, Any]) -> list[str]:
    """The variables that offer extras and bear our mark."""
    return [
        name
        for name, schema in defaults.properties(template).items()
        if pieces.EXTRAS in defaults.mapping(schema.get(MARKER))
    ]


def _insert(draft: Draft, fragment: Fragment) -> None:
    _give_image(draft, fragment)
    flow = draft.get(_FLOW)
    context = _security_context(draft, fragment)
    install = pieces.install_container(fragment, flow=flow, context=context)
    draft.items((*_POD, "volumes")).extend(pieces.fragment_volumes(fragment))
    draft.items((*_POD, "initContainers")).append(install)
    draft.items((*_FLOW, "volumeMounts")).append(pieces.flow_mount())

    _open(draft, (*_FLOW, "env"), "env", [])
    env = draft.items((*_FLOW, "env"))
    env.extend(pieces.flow_env(fragment))
    given = _given(draft)
    pythonpath.put_in_container(env, given=given)
    for path in _worker_env(draft):
        pythonpath.put_in_worker_env(draft.get(path), where=written(path), given=given)

    draft.mapping(_LABELS[:-1])
    _open(draft, _LABELS, "labels", {})
    draft.mapping(_LABELS)[SET_LABEL] = pieces.label(fragment)

    draft.mapping(_PROPERTIES[:-1])
    properties = draft.mapping(_PROPERTIES)
    replaced = [edit.as_json() for edit in draft.edits]
    properties[fragment.variable] = pieces.variable(fragment, replaced=replaced)
    if fragment.extras:
        properties[fragment.extras_variable] = pieces.extras_variable(fragment)


def _open(draft: Draft, path: Path, key: str, empty: Any) -> None:
    """Replace a placeholder by an empty place where the worker writes its value in any case.

    It does so for what ``job_configuration.<key>`` gets, and it adds the variable ``env`` to a
    mapping there. Another placeholder's value would be lost.
    """
    name = defaults.placeholder(draft.get(path))
    configured = draft.get((*_CONFIGURATION, key))
    added = name == key == "env" and isinstance(configured, dict)
    if name is not None and (added or name == defaults.placeholder(configured)):
        draft.replace(path, empty)


def _worker_env(draft: Draft) -> list[Path]:
    """Where the values stand that the worker gives to every run, before the container's own."""
    names = {"env", defaults.placeholder(draft.get((*_CONFIGURATION, "env"))) or "env"}
    return [
        (*_CONFIGURATION, "env"),
        *((*_PROPERTIES, name, "default") for name in sorted(names)),
    ]


def _given(draft: Draft) -> set[str]:
    """The variables that no run lacks: they have a default, or the server demands a value."""
    required = _list(draft.get(("variables", "required")))
    schemas = defaults.properties(draft.content)
    with_default = {name for name, schema in schemas.items() if schema.get("default")}
    return with_default | {name for name in required if isinstance(name, str)}


def _give_image(draft: Draft, fragment: Fragment) -> None:
    """Make sure that every run has an image: in an init container the worker fills in none."""
    image = draft.get((*_FLOW, "image"))
    name = defaults.placeholder(image)
    path: Path = (*_FLOW, "image") if name is None else (*_PROPERTIES, name, "default")
    given = bool(image) if name is None else name in _given(draft)
    if given:
        return
    if fragment.default_image is None or not isinstance(draft.get(path[:-1]), dict):
        raise MergeRefusedError(
            "NoImage",
            "runs of this pool that name no image get none in an init container: give the pool a "
            "default (variables.properties.image.default in its base job template), or name one "
            "in the operator's configuration (workPools[].image).",
        )
    draft.replace(path, fragment.default_image)


def _security_context(draft: Draft, fragment: Fragment) -> Mapping[str, Any]:
    """That of the flow's container; where runs choose all of it, that of runs that don't."""
    path: Path = (*_FLOW, "securityContext")
    context = draft.get(path)
    name = defaults.placeholder(context)
    if name is None:
        return defaults.mapping(context)
    default: Path = (*_PROPERTIES, name, "default")
    found = draft.get(default)
    if not isinstance(found, Mapping) and not set(pieces.USER) & set(fragment.security_context):
        raise MergeRefusedError(
            "SecurityContextIsPlaceholder",
            f"{written(path)} is {context!r} without a default, so nobody knows the user of the "
            f"init container, and a namespace may refuse its pods: give {written(default)}, {{}} "
            "if it is the image's user, or name the user (runAsNonRoot, runAsUser) in the "
            "operator's configuration (workPools[].install.securityContext).",
        )
    return defaults.mapping(found)


def _check_kubernetes(draft: Draft) -> None:
    manifest = draft.get(_MANIFEST)
    if manifest is None:
        raise MergeRefusedError(
            "NotKubernetes",
            "the template has no job_configuration.job_manifest: sets can be offered to work pools "
            "of type kubernetes only; where the template is empty, give the pool its default one.",
        )
    for path in (_MANIFEST, _MANIFEST + ("spec",), _TEMPLATE, _POD):  # noqa: RUF005
        if isinstance(draft.get(path), str):
            raise MergeRefusedError(
                "ManifestIsPlaceholder",
                f"{written(path)} is {draft.get(path)!r}, so what a run gets is not in the "
                "template: write the manifest there, with placeholders for the values inside it.",
            )
    if not isinstance(manifest, dict) or manifest.get("kind") != "Job":
        raise MergeRefusedError(
            "NotKubernetes", f"{written(_MANIFEST)} is not the manifest of a Kubernetes Job."
        )
    containers = draft.get(_CONTAINERS)
    if isinstance(containers, str):
        draft.items(_CONTAINERS)
    if not isinstance(containers, list) or not containers or _name(containers[0]) != _FLOW[-1]:
        raise MergeRefusedError(
            "NoPrefectJob",
            f"the first of {written(_CONTAINERS)} must be named {_FLOW[-1]}: it is the one that "
            "the worker runs the flow in.",
        )


def _check_names(draft: Draft, fragment: Fragment) -> None:
    """Refuse what has a name of ours: after ``remove`` it is somebody else's."""
    taken = [
        (path, _name(item))
        for path, names in _LISTS.items()
        for item in _list(draft.get(path))
        if _name(item) in names
    ]
    mounts = _list(draft.get((*_FLOW, "volumeMounts")))
    if any(isinstance(item, dict) and item.get("mountPath") == pythonpath.HOME for item in mounts):
        taken.append(((*_FLOW, "volumeMounts"), pythonpath.HOME))
    if any(_name(item) == INSTALL_CONTAINER for item in draft.get(_CONTAINERS)):
        taken.append((_CONTAINERS, INSTALL_CONTAINER))
    labels = draft.get(_LABELS)
    if isinstance(labels, dict) and SET_LABEL in labels:
        taken.append((_LABELS, SET_LABEL))
    properties = draft.get(_PROPERTIES)
    variables = (fragment.variable, *([fragment.extras_variable] if fragment.extras else []))
    if isinstance(properties, dict):
        taken += [(_PROPERTIES, name) for name in variables if name in properties]
    if taken:
        path, name = taken[0]
        raise MergeRefusedError(
            "NameClash",
            f"{written(path)} already has {name!r} and no marker says that it is ours: rename it, "
            f"or take it out if an earlier flowdeps left it there{_or_forbid(name, fragment)}.",
        )


def _or_forbid(name: Any, fragment: Fragment) -> str:
    if name != fragment.extras_variable:
        return ""
    return ", or do without ours (workPools[].extraPackages: Forbidden in our configuration)"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(item: Any) -> Any:
    return item.get("name") if isinstance(item, dict) else None
