"""The usual recipe in a base job template: packages that are installed when a run starts.

- an init container with `pip install --target`, a volume, and `PYTHONPATH`
- `EXTRA_PIP_PACKAGES`, which the entrypoint of Prefect's images installs, and `EXTRA_PY_DEPS`
- `pip install` in the command of the flow's own container

`installs` finds what runs install that give some job variables; `clean` takes all of it out.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowdeps.cli.pip_words import PipReader
from flowdeps.cli.shell import Script, expand, read_command, read_script, split, targets
from flowdeps.delivery.kinds.kubernetes.python_path import NAME as PYTHON_PATH
from flowdeps.delivery.placeholders import mapping, properties

VARIABLES = ("EXTRA_PIP_PACKAGES", "EXTRA_PY_DEPS")
"""Of the environment, whose words are those of `pip install`."""
JOB_VARIABLE = "extra_py_deps"
_PLACEHOLDER = re.compile(r"{{\s*([\w.-]+)\s*}}")
_PREFECT_VARIABLE = re.compile(r"{{prefect\.variables\.([\w-]+)}}")
_POD = ("job_configuration", "job_manifest", "spec", "template", "spec")


def installs(
    template: Mapping[str, Any], given: Mapping[str, Any], reader: PipReader, *, where: str
) -> None:
    """Read what runs with some job variables install into the reader's draft."""
    defaults = {name: one.get("default") for name, one in properties(template).items()}
    env = {**mapping(defaults.get("env")), **mapping(given.get("env"))}
    values = {**defaults, **given, "env": env}

    def text(value: object) -> str:
        return _rendered(value, values)

    pod = _pod(template)
    for container in _items(pod, "initContainers"):
        script, _ = read_command(_command(container, text))
        environment = _environment(container, text)
        for words in script.installs:
            place = f"{where}: init container {container.get('name')}"
            read_words(words, environment, reader, place)
    flow = next(iter(_items(pod, "containers")), {})
    configured = mapping(template.get("job_configuration")).get("env")
    environment = {
        **_environment(flow, text),
        **{name: text(value) for name, value in mapping(configured).items()},
        **{name: text(value) for name, value in env.items()},
    }
    command = mapping(template.get("job_configuration")).get("command") or ""
    for script, written in (
        (read_command(_command(flow, text))[0], read_command(_command(flow, _plain))[0]),
        (read_script(text(command)), read_script(_plain(command))),
    ):
        for words in script.installs:
            read_words(words, environment, reader, f"{where}: the command")
        if script.installs and not written.installs:
            reader.draft.warn(
                where, "not cleaned: the job variable command still installs; take pip install out"
            )
    for one in _items(flow, "env"):
        if one.get("name") in VARIABLES and "valueFrom" in one:
            reader.draft.warn(
                where,
                f"left out: {one['name']}, whose value comes from elsewhere; it stays as it is",
            )
    for name in VARIABLES:
        if environment.get(name):
            read_words(split(environment[name]), {}, reader, f"{where}: {name}")


def read_words(
    words: list[str], environment: Mapping[str, str], reader: PipReader, where: str
) -> None:
    """Read the words of `pip install`, with variables of the environment."""
    filled, unknown = expand(words, environment)
    for name in unknown:
        reader.draft.warn(where, f"left out: ${name}, whose value is not known here")
    for word in filled:
        if found := _PREFECT_VARIABLE.fullmatch(word):
            reader.draft.variables[found[1]] = None
    reader.words([one for one in filled if not _PREFECT_VARIABLE.fullmatch(one)], where)


def clean(template: Mapping[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the template without the recipe."""
    found: dict[str, Any] = copy.deepcopy(dict(template))
    before = _referenced(found)
    pod = _pod(found)
    directories, volumes = set[str](), set[str]()
    kept = []
    for container in _items(pod, "initContainers"):
        script, place = read_command(_command(container, _plain))
        if not script.installs:
            kept.append(container)
            continue
        into = {one for words in script.installs for one in targets(words)}
        directories |= into
        if not script.harmless:
            warn(
                f"the init container {container.get('name')} does more than install packages; only"
                " that was taken out"
            )
            _put(container, script, place)
            kept.append(container)
            continue
        mounts = _items(container, "volumeMounts")
        volumes |= {str(one.get("name")) for one in mounts}
        directories |= {
            str(one.get("mountPath")).rstrip("/")
            for one in mounts
            if any(f"{d}/".startswith(f"{str(one.get('mountPath')).rstrip('/')}/") for d in into)
        }
    _replace(pod, "initContainers", kept)
    flow = next(iter(_items(pod, "containers")), {})
    used = {
        str(mount.get("name"))
        for one in (*kept, *_items(pod, "containers"))
        for mount in _items(one, "volumeMounts")
        if one is not flow or str(mount.get("mountPath")).rstrip("/") not in directories
    }
    gone = volumes - used
    _replace(
        flow, "volumeMounts", [m for m in _items(flow, "volumeMounts") if m.get("name") not in gone]
    )
    _replace(pod, "volumes", [v for v in _items(pod, "volumes") if v.get("name") not in gone])
    _replace(flow, "env", list(_without_entries(_items(flow, "env"), directories)))
    configuration = found.get("job_configuration")
    for place in (
        configuration,
        mapping(mapping(found.get("variables")).get("properties")).get("env"),
    ):
        field = "env" if place is configuration else "default"
        if isinstance(place, dict) and isinstance(place.get(field), dict):
            place[field] = clean_environment(place[field], directories)
    script, number = read_command(_command(flow, _plain))
    if script.installs:
        _put(flow, script, number)
    if isinstance(configuration, dict) and isinstance(configuration.get("command"), str):
        script = read_script(configuration["command"])
        if script.installs:
            configuration["command"] = script.rest or None
    _drop_variables(found, before - _referenced(found))
    return found


def clean_environment(env: Mapping[str, Any], directories: set[str]) -> dict[str, Any]:
    """Return an environment without the recipe's variables."""
    found = {}
    for name, value in env.items():
        if name == PYTHON_PATH and isinstance(value, str) and value:
            value = _path(value, directories)
            if not value:
                continue
        if name not in VARIABLES:
            found[name] = value
    return found


def directories_of(template: Mapping[str, Any]) -> set[str]:
    """Return the directories in which init containers install."""
    scripts = (
        read_command(_command(one, _plain))[0] for one in _items(_pod(template), "initContainers")
    )
    return {one for script in scripts for words in script.installs for one in targets(words)}


def _without_entries(
    entries: list[dict[str, Any]], directories: set[str]
) -> Iterator[dict[str, Any]]:
    for entry in entries:
        value = entry.get("value")
        if entry.get("name") == PYTHON_PATH and isinstance(value, str):
            value = _path(value, directories)
            if value:
                yield {**entry, "value": value}
        elif entry.get("name") not in VARIABLES or "valueFrom" in entry:
            yield entry


def _path(value: str, directories: set[str]) -> str:
    """Return a search path without some directories; empty if nothing of its own is left."""
    kept = [one for one in value.split(":") if one.rstrip("/") not in directories]
    return (
        "" if set(kept) <= {"$(PYTHONPATH)", "${PYTHONPATH}", "$PYTHONPATH", ""} else ":".join(kept)
    )


def _put(container: dict[str, Any], script: Script, place: int | None) -> None:
    """Write what is left of a container's command."""
    command, arguments = (_list(container.get(one)) for one in ("command", "args"))
    if place is None or not script.rest.strip():
        for one in ("command", "args"):
            container.pop(one, None)
    elif place < len(command):
        container["command"] = [*command[:place], script.rest, *command[place + 1 :]]
    else:
        place -= len(command)
        container["args"] = [*arguments[:place], script.rest, *arguments[place + 1 :]]


def _drop_variables(template: dict[str, Any], names: set[str]) -> None:
    """Take out the job variables that nothing refers to any more."""
    variables = template.get("variables")
    if not isinstance(variables, dict) or not isinstance(variables.get("properties"), dict):
        return
    for name in names - {"env"}:
        variables["properties"].pop(name, None)
    if isinstance(variables.get("required"), list):
        variables["required"] = [one for one in variables["required"] if one not in names]


def _referenced(template: Mapping[str, Any]) -> set[str]:
    """Return the job variables that the configuration refers to."""
    waiting, found = [template.get("job_configuration")], set[str]()
    while waiting:
        match waiting.pop():
            case str() as text:
                found |= set(_PLACEHOLDER.findall(text))
            case dict() as one:
                waiting += [*one.keys(), *one.values()]
            case list() as several:
                waiting += several
    return found


def _pod(template: Mapping[str, Any]) -> Any:
    node: Any = template
    for key in _POD:
        node = mapping(node).get(key)
    return mapping(node)


def _items(node: Any, key: str) -> list[dict[str, Any]]:
    return [one for one in _list(mapping(node).get(key)) if isinstance(one, dict)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _replace(node: Any, key: str, items: list[dict[str, Any]]) -> None:
    """Put a list in the place of one that is longer; an empty one goes."""
    if isinstance(node, dict) and len(items) <= len(_items(node, key)) and items != node.get(key):
        if not isinstance(node.get(key), list):
            return
        others = [one for one in node[key] if not isinstance(one, dict)]
        if items or others:
            node[key] = [*others, *items]
        else:
            del node[key]


def _command(container: Mapping[str, Any], text: Callable[[object], str]) -> list[str]:
    parts = (container.get("command"), container.get("args"))
    return [
        text(one)
        for part in parts
        for one in (part if isinstance(part, list) else split(text(part or "")))
    ]


def _environment(container: Mapping[str, Any], text: Callable[[object], str]) -> dict[str, str]:
    return {
        str(one.get("name")): text(one["value"])
        for one in _items(container, "env")
        if one.get("value") is not None
    }


def _plain(value: object) -> str:
    return value if isinstance(value, str) else ""


def _rendered(value: object, values: Mapping[str, Any]) -> str:
    """Return a text with its placeholders filled in; a list becomes its items."""

    def filled(found: re.Match[str]) -> str:
        if found[1].startswith("prefect."):
            return f"{{{{{found[1]}}}}}"  # one word
        given = values.get(found[1])
        items = given if isinstance(given, list) else [given]
        return " ".join(str(one) for one in items if one is not None)

    text = _PLACEHOLDER.sub(filled, value) if isinstance(value, str) else str(value)
    return _PLACEHOLDER.sub(lambda one: f"{{{{{one[1]}}}}}", text)
