"""Recognize what a method left in a template whose marker is gone.

Somebody may take out our variable alone, and the marker goes with it. What is left would be in the
way of every later ``merge``. Nobody else writes the install container, or a volume of the chosen
set's ConfigMap: with one of them there, what has a name and the content of ours is ours.
"""

from collections.abc import Iterable
from typing import Any

from flowdeps.api import names
from flowdeps.delivery.choice import NONE
from flowdeps.delivery.methods import install
from flowdeps.delivery.methods.method import CACHE, HOME
from flowdeps.delivery.methods.volume import ENV_ENVIRONMENT
from flowdeps.delivery.placeholders import mapping, placeholder

_UNMISTAKABLE = (names.LOCK_VOLUME, names.CREDENTIALS_VOLUME, names.INSTALL_CONTAINER)


def are_there(items: Iterable[Any]) -> bool:
    """Return whether one of a pod's volumes and init containers is like nothing others write."""
    return any(is_orphan(one) and one["name"] in _UNMISTAKABLE for one in items)


def is_orphan(item: Any) -> bool:
    """Return whether an item of a list has name and content of a piece of ours."""
    one = mapping(item)
    match one.get("name"):
        case names.SITE_VOLUME:
            kinds = {"emptyDir", "persistentVolumeClaim"}
            return bool(kinds & one.keys()) or one.get("mountPath") == HOME
        case names.CACHE_VOLUME:
            made = mapping(one.get("hostPath")).get("type") == "DirectoryOrCreate"
            return made or "persistentVolumeClaim" in one or one.get("mountPath") == CACHE
        case names.LOCK_VOLUME:
            return _is_chosen(mapping(one.get("configMap")).get("name"))
        case names.CREDENTIALS_VOLUME:
            return _is_chosen(mapping(one.get("secret")).get("secretName"))
        case names.INSTALL_CONTAINER:
            command, env = one.get("command"), one.get("env")
            by_shell = isinstance(command, list) and command[:2] == ["/bin/sh", "-c"]
            return by_shell and isinstance(env, list) and any(map(_is_choice, env))
        case install.ENV_LOCK:
            source = mapping(mapping(one.get("valueFrom")).get("configMapKeyRef"))
            return _is_chosen(source.get("name"))
    name = str(one.get("name"))
    if name.startswith(ENV_ENVIRONMENT):
        return (
            placeholder(name.removeprefix(ENV_ENVIRONMENT)) is not None or one.get("value") == NONE
        )
    return _is_choice(one)


def is_orphan_label(name: str, value: Any) -> bool:
    """Return whether a label of a pod is ours."""
    return name == names.SET_LABEL and placeholder(value) is not None


def _is_choice(item: Any) -> bool:
    one = mapping(item)
    return one.get("name") == install.ENV_SET and placeholder(one.get("value")) is not None


def _is_chosen(name: Any) -> bool:
    return isinstance(name, str) and placeholder(names.choice_of(name)) is not None
