"""Put our fragment into a base job template, and take it out again. Pure.

The template is somebody else's, so these hold for every template ``t`` and fragment ``f``:

- nothing outside the fragment changes, and no input is changed
- ``remove(merge(t, f)) == t``, to the letter, with the order of keys
- ``merge(merge(t, f1), f2) == merge(t, f2)``: ``merge`` is ``insert`` after ``remove``
- what others write after us, anywhere, is still there after both; what they take away or alter in
  our fragment is healed by the next ``merge``
- what cannot be merged is refused with a reason and what to do, and nothing is changed

Our marker has the names of our pieces (``inserted``) and what we had to replace (``draft``), as a
list that a variable gives (``opened``). Without one, only what has our content as well is ours
(``orphans``). Init containers of ours come last: others may set up the network or fetch
certificates that ours need. Our ``env`` goes before that of a variable, which wins.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from flowdeps.delivery.choice import find_all, find_extras, schemas_of
from flowdeps.delivery.kinds.kind import Fragment, MergeRefusedError, Template
from flowdeps.delivery.kinds.kubernetes import orphans, python_path, spliced
from flowdeps.delivery.kinds.kubernetes.draft import Draft, Edit, Path, written
from flowdeps.delivery.kinds.kubernetes.inserted import items_of, names_in, names_of
from flowdeps.delivery.kinds.kubernetes.opened import open_labels, open_list
from flowdeps.delivery.kinds.kubernetes.view import lacks_image
from flowdeps.delivery.methods.method import ENV_BEYOND, Item, Pieces
from flowdeps.delivery.placeholders import filled, mapping, never_missing, placeholder, properties

_CONFIGURATION: Path = ("job_configuration",)
_MANIFEST: Path = (*_CONFIGURATION, "job_manifest")
_TEMPLATE: Path = (*_MANIFEST, "spec", "template")
_LABELS: Path = (*_TEMPLATE, "metadata", "labels")
_LABELS_PLACES: Sequence[Path] = (_LABELS, (*_CONFIGURATION, "labels"))
_POD: Path = (*_TEMPLATE, "spec")
_CONTAINERS: Path = (*_POD, "containers")
_FLOW: Path = (*_CONTAINERS, "prefect-job")
_PROPERTIES: Path = ("variables", "properties")
_LISTS: Mapping[str, Path] = {
    "volumes": (*_POD, "volumes"),
    "initContainers": (*_POD, "initContainers"),
    "volumeMounts": (*_FLOW, "volumeMounts"),
    "env": (*_FLOW, "env"),
}
# Relative entries of PYTHONPATH go by the working directory, and ours hides one from envFrom.
_TAKEN = ("image", "imagePullPolicy", "workingDir", "envFrom", "resources")
# A namespace may demand non-root of every container.
_USER = ("runAsUser", "runAsGroup", "runAsNonRoot")


def merge(template: Template, fragment: Fragment) -> dict[str, Any]:
    """Return the template with the fragment in it, in place of an older one.

    Raises MergeRefusedError where the template cannot carry it, or carries another owner's.
    """
    for live in find_all(template):
        if live.owner != fragment.owner:
            raise MergeRefusedError(
                "OwnedByAnother",
                f"the fragment in this template belongs to the operator {live.owner}: let one of "
                "the two leave the pool alone, or take its fragment out first "
                "(flowdeps template --remove).",
            )
    draft = Draft(remove(template))
    pieces = fragment.method.pieces(fragment)
    _check_job(draft)
    _check_names(draft, fragment, pieces)
    _insert(draft, fragment, pieces)
    return draft.content


def remove(template: Template) -> dict[str, Any]:
    """Return the template without a fragment of any owner; unchanged where there is none."""
    draft = Draft(template)
    live, extras = find_all(draft.content), find_extras(draft.content)
    pod_items = [*_list(draft.get(_LISTS["volumes"])), *_list(draft.get(_LISTS["initContainers"]))]
    if not (live or extras or orphans.are_there(pod_items)):
        return draft.content
    for name in {*extras, *(one.variable for one in live)}:
        del draft.get(_PROPERTIES)[name]
    named = [names_in(one.record) for one in live]
    for path in _worker_env(draft):
        python_path.take_from_worker_env(draft.get(path))
    for place, path in _LISTS.items():
        names = [name for one in named for name in one[place]]
        items = _list(draft.get(path))
        items[:] = [one for one in items if _name(one) not in names and not orphans.is_orphan(one)]
    python_path.take_from_container(draft.get(_LISTS["env"]))
    ours = [name for one in named for name in one["labels"]]
    for labels in (draft.get(path) for path in _LABELS_PLACES):
        for name, value in list(labels.items()) if isinstance(labels, dict) else []:
            if name in ours or orphans.is_orphan_label(name, value):
                del labels[name]
    for one in live:
        replaced = one.record.get("replaced")
        given = map(Edit.from_json, replaced if isinstance(replaced, list) else [])
        edits = [edit for edit in given if edit is not None]
        for edit in edits:
            items = draft.get(edit.path)
            if placeholder(edit.was) and items and all(map(spliced.variable_of, _list(items))):
                items.clear()
        draft.undo(edits)
    return draft.content


def _insert(draft: Draft, fragment: Fragment, pieces: Pieces) -> None:
    _give_image(draft, fragment)
    places = items_of(pieces)
    for place, items in places.items():
        if items or (place == "env" and pieces.python_path):
            open_list(draft, _LISTS[place])
    containers = [
        _completed(draft, one, choice=fragment.variable) for one in pieces.init_containers
    ]
    for place, items in {**places, "initContainers": containers}.items():
        if items:
            there = draft.items(_LISTS[place])
            at = spliced.start(there) if place == "env" else len(there)
            there[at:at] = copy.deepcopy(list(items))
    if pieces.python_path:
        given, path = never_missing(draft.content), _LISTS["env"]
        env = draft.items(path)
        at = spliced.start(env)
        own = env[:at]
        python_path.put_in_container(own, pieces, where=written(path), given=given)
        env[:at] = own
        for path in _worker_env(draft):
            values = draft.get(path)
            python_path.put_in_worker_env(values, pieces, where=written(path), given=given)
    if pieces.labels and (labels := open_labels(draft, _LABELS)) is not None:
        labels.update(pieces.labels)
    draft.mapping(_PROPERTIES[:-1])
    variables = draft.mapping(_PROPERTIES)
    replaced = [edit.as_json() for edit in draft.edits]
    record = {"replaced": replaced, "names": names_of(pieces)}
    variables.update(schemas_of(fragment, record=record))


def _worker_env(draft: Draft) -> list[Path]:
    """Return where there are values for every run which go before the container's own."""
    names = {"env", placeholder(draft.get((*_CONFIGURATION, "env"))), *_spliced_in(draft, "env")}
    return [
        (*_CONFIGURATION, "env"),
        *((*_PROPERTIES, name, "default") for name in sorted(filter(None, names))),
    ]


def _spliced_in(draft: Draft, *places: str) -> list[str]:
    """Return the variables whose lists are there item by item."""
    items = (item for place in places for item in _list(draft.get(_LISTS[place])))
    return list(dict.fromkeys(filter(None, map(spliced.variable_of, items))))


def _give_image(draft: Draft, fragment: Fragment) -> None:
    """Make sure that every run has an image: in an init container the worker fills in none."""
    if not lacks_image(draft.content, draft.get(_FLOW)):
        return
    name = placeholder(draft.get((*_FLOW, "image")))
    path: Path = (*_FLOW, "image") if name is None else (*_PROPERTIES, name, "default")
    can_be_given = isinstance(draft.get(path[:-1]), dict)
    if can_be_given and fragment.default_image is not None:
        draft.replace(path, fragment.default_image)
        return
    config = ", or name one in the operator's configuration (workPools[].image)"
    raise MergeRefusedError(
        "NoImage",
        "runs of this pool that name no image get none in an init container: write one to "
        f"{written(path)} in its base job template{config if can_be_given else ''}.",
    )


def _completed(draft: Draft, container: Item, *, choice: str) -> Item:
    """Return an init container with what the flow's has: the worker fills in nothing there."""
    flow, path = draft.get(_FLOW), (*_FLOW, "securityContext")
    ours = container.get("securityContext", {})
    context = draft.get(path)
    if name := placeholder(context):  # runs choose all of it: that of runs that don't
        default: Path = (*_PROPERTIES, name, "default")
        placed, context = context, draft.get(default)
        if not isinstance(context, Mapping) and not set(_USER) & set(ours):
            raise MergeRefusedError(
                "SecurityContextIsPlaceholder",
                f"{written(path)} is {placed!r} without a default, so nobody knows the user of the "
                f"init container, and a namespace may refuse its pods: give {written(default)}, "
                "{} if it is the image's user, or name the user (runAsNonRoot, runAsUser) in the "
                "operator's configuration (workPools[].install.securityContext).",
            )
    user = {key: value for key, value in mapping(context).items() if key in _USER}
    taken = {key: flow[key] for key in _TAKEN if key in flow}
    completed = {**taken, **container, "securityContext": {**user, **ours}}
    if lists := _spliced_in(draft, *_LISTS):
        beyond = {"name": ENV_BEYOND, "value": spliced.beyond(lists, known=choice)}
        completed["env"] = [*container.get("env", []), beyond]
    return completed


def _check_job(draft: Draft) -> None:
    manifest = draft.get(_MANIFEST)
    if manifest is None:
        raise MergeRefusedError(
            "NotKubernetes",
            "the template has no job_configuration.job_manifest: sets can be offered to work pools "
            "of type kubernetes only; where the template is empty, give the pool its default one.",
        )
    for path in (_MANIFEST, (*_MANIFEST, "spec"), _TEMPLATE, _POD):
        if isinstance(draft.get(path), str):
            raise MergeRefusedError(
                "ManifestIsPlaceholder",
                f"{written(path)} is {draft.get(path)!r}, so what a run gets is not in the "
                "template: write the manifest there, with placeholders for the values inside it.",
            )
    if not isinstance(manifest, dict) or manifest.get("kind") != "Job":
        raise MergeRefusedError(
            "NotKubernetes",
            f"{written(_MANIFEST)} must be the manifest of a Kubernetes Job (kind: Job): give the "
            "pool the base job template of type kubernetes.",
        )
    containers = draft.get(_CONTAINERS)
    if isinstance(containers, str):
        raise MergeRefusedError(
            "ListIsPlaceholder",
            f"{written(_CONTAINERS)} is {containers!r}, so the container of the flow is not in the "
            f"template: write a list there that begins with the container {_FLOW[-1]}, with "
            "placeholders for the values inside it.",
        )
    if not isinstance(containers, list) or not containers or _name(containers[0]) != _FLOW[-1]:
        raise MergeRefusedError(
            "NoPrefectJob",
            f"the first of {written(_CONTAINERS)} must be named {_FLOW[-1]}: the worker runs the "
            "flow in that one. Rename it, or put that container first.",
        )


def _check_names(draft: Draft, fragment: Fragment, pieces: Pieces) -> None:
    """Refuse what has a name of ours: after ``remove`` it is somebody else's."""
    names = names_of(pieces)
    given = {place: _items_by_default(draft, path) for place, path in _LISTS.items()}
    taken = [
        (path, _name(item))
        for place, path in _LISTS.items()
        for item in given[place]
        if _name(item) in names[place]
    ]
    paths = [one["mountPath"] for one in pieces.flow_mounts]
    mounted = [mapping(item).get("mountPath") for item in given["volumeMounts"]]
    taken += [(_LISTS["volumeMounts"], path) for path in mounted if path in paths]
    containers = [_name(item) for item in draft.get(_CONTAINERS)]
    taken += [(_CONTAINERS, name) for name in containers if name in names["initContainers"]]
    variables = mapping(draft.get(_PROPERTIES))
    for path in _LABELS_PLACES:
        labels = mapping(draft.get(path))
        taken += [(path, name) for name in names["labels"] if name in labels]
    taken += [(_PROPERTIES, name) for name in fragment.variables if name in variables]
    if taken:
        path, name = taken[0]
        forbid = ""
        if name == fragment.extras_variable:
            forbid = ", or do without ours (workPools[].extraPackages: Forbidden)"
        raise MergeRefusedError(
            "NameClash",
            f"{written(path)} already has {name!r} and no marker says that it is ours: rename it, "
            f"or remove it if an earlier flowdeps left it there{forbid}.",
        )
    python_path.refuse_foreign(given["env"], where=written(_LISTS["env"]))
    for path in _worker_env(draft):
        python_path.refuse_foreign(draft.get(path), where=written(path))


def _items_by_default(draft: Draft, path: Path) -> list[Any]:
    """Return the items of a list, or those that its variable has by default."""
    return _list(filled(draft.get(path), properties(draft.content)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(item: Any) -> Any:
    return item.get("name") if isinstance(item, dict) else None
