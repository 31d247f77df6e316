"""Our directories on a run's Python search path, before those that the template sets.

Three places can set ``PYTHONPATH`` for the flow, strongest first:

- the worker's variables: ``job_configuration.env`` and the default of ``variables.properties.env``.
  They drop any entry of the same name from the container's list, so ours go before their value.
- the container's own list. A last entry with a value gets ours before it, in place; after one that
  is a reference (``valueFrom``) comes an entry of ours that refers to it, ``<ours>:$(PYTHONPATH)``.
- the image. Kubernetes cannot refer to that one, so the install container, which runs in the same
  image, links its directories under ``/opt/flowdeps/image``, and those stand behind ours.

Values are changed in place where possible because a worker may move plain values to a Secret
(``store_env_as_secret``), where ``$(PYTHONPATH)`` stays text.

Whatever leads a value and lies under ``/opt/flowdeps`` is ours: that alone tells how to take it
out again, whatever else was written to the value since. An entry with nothing left is ours.
"""

from collections.abc import Container
from typing import Any, TypeGuard

from flowdeps.delivery.kinds.kubernetes.defaults import placeholder
from flowdeps.delivery.kinds.kubernetes.draft import MergeRefusedError

NAME = "PYTHONPATH"
HOME = "/opt/flowdeps"
SITE = f"{HOME}/site"
IMAGE_ENTRIES = 4
OWN = ":".join([SITE, *(f"{HOME}/image/{number}" for number in range(IMAGE_ENTRIES))])
_REFERENCE = f"$({NAME})"


def put_in_container(env: list[Any], *, given: Container[str]) -> None:
    """Make the container's list lead to us. ``given``: the variables that no run lacks."""
    entries = _entries(env)
    last = entries[-1] if entries else None
    for entry in entries:
        _refuse_foreign(entry.get("value"))
    if last is None:
        env.append({"name": NAME, "value": OWN})
    elif "valueFrom" in last or last.get("value") == _REFERENCE:
        env.append({"name": NAME, "value": f"{SITE}:{_REFERENCE}"})
    elif isinstance(last.get("value"), str) and last["value"]:
        last["value"] = _with_ours(last["value"], given)
    else:  # set to nothing: the image's own path is not wanted
        env.append({"name": NAME, "value": SITE})


def take_from_container(env: list[Any]) -> None:
    """Undo ``put_in_container``."""
    for entry in _entries(env):
        value = entry.get("value")
        if not _leads_to_us(value):
            continue
        left = _without_ours(value)
        if left in {"", _REFERENCE}:
            env[:] = [other for other in env if other is not entry]
        else:
            entry["value"] = left


def put_in_worker_env(env: Any, *, where: str, given: Container[str]) -> None:
    """Put ours before the value that the worker gives to runs, if it gives one."""
    if isinstance(env, dict):
        _refuse_foreign(env.get(NAME))
        if isinstance(env.get(NAME), str):
            env[NAME] = _with_ours(env[NAME], given)
    elif isinstance(env, list):
        entries = _entries(env)
        if any("valueFrom" in entry for entry in entries):
            raise MergeRefusedError(
                "PythonPathIsReference",
                f"{where} takes {NAME} from a reference, and the worker lets nothing stand before "
                "it: write the value itself, or move the entry to the env list of the container "
                "prefect-job.",
            )
        for entry in entries:
            _refuse_foreign(entry.get("value"))
            if isinstance(entry.get("value"), str):
                entry["value"] = _with_ours(entry["value"], given)


def take_from_worker_env(env: Any) -> None:
    """Undo ``put_in_worker_env``."""
    if isinstance(env, dict):
        if _leads_to_us(env.get(NAME)):
            env[NAME] = _without_ours(env[NAME])
    elif isinstance(env, list):
        for entry in _entries(env):
            if _leads_to_us(entry.get("value")):
                entry["value"] = _without_ours(entry["value"])


def _entries(env: list[Any]) -> list[dict[str, Any]]:
    return [entry for entry in env if isinstance(entry, dict) and entry.get("name") == NAME]


def _is_ours(directory: str) -> bool:
    return directory == HOME or directory.startswith(f"{HOME}/")


def _leads_to_us(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _is_ours(value.partition(":")[0])


def _with_ours(value: str, given: Container[str]) -> str:
    # A path that ends in ":" would put the working directory on it.
    _refuse_empty(value, given)
    return f"{SITE}:{value}" if value else SITE


def _without_ours(value: str) -> str:
    directory, _, rest = value.partition(":")
    return _without_ours(rest) if _is_ours(directory) else value


def _refuse_empty(value: str, given: Container[str]) -> None:
    root = (placeholder(value) or "").partition(".")[0]
    known = root in {"", "prefect"} or root.startswith("$") or root in given
    if not known:
        raise MergeRefusedError(
            "PythonPathMayBeEmpty",
            f"{NAME} is {value!r}, which a run may leave empty: behind ours that would be the "
            "working directory, in place of the image's own path; give "
            f"variables.properties.{root}.default.",
        )


def _refuse_foreign(value: object) -> None:
    if _leads_to_us(value):
        raise MergeRefusedError(
            "NameClash",
            f"{NAME} already begins with {HOME} and no marker says who put it there: take that "
            "out of the template.",
        )
