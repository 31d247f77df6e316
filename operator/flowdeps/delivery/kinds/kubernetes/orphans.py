"""Recognize what ``Install`` left in a template whose marker is gone.

Somebody may take out our variable alone, and the marker goes with it. What is left would be in
the way of every later ``merge``, although it is plain whose it is: nobody else writes the install
container, or a volume of the chosen set's ConfigMap. With one of them there, what has a name of
ours and the content of ours is ours; what has only the name is not, and is refused.
"""

import re
from collections.abc import Iterable
from typing import Any

from flowdeps.api.names import (
    CREDENTIALS_VOLUME,
    INSTALL_CONTAINER,
    LOCK_VOLUME,
    SET_LABEL,
    SITE_VOLUME,
    mounted_name,
)
from flowdeps.delivery.methods.install import ENV_LOCK, ENV_SET
from flowdeps.delivery.methods.method import HOME
from flowdeps.delivery.placeholders import mapping, placeholder

_OBJECT = re.compile(mounted_name(r"\{\{[^{}]+\}\}"))


def are_there(items: Iterable[Any]) -> bool:
    """Whether one of a pod's volumes and init containers is like nothing that others write."""
    return any(_is_install(mapping(item)) or _is_volume(mapping(item)) for item in items)


def is_ours(item: Any) -> bool:
    """Whether an item of a list has, beside its name, the content of the piece of that name."""
    item = mapping(item)
    if item.get("name") == SITE_VOLUME:
        return "emptyDir" in item or item.get("mountPath") == HOME
    source = mapping(mapping(item.get("valueFrom")).get("configMapKeyRef"))
    return (
        _is_install(item)
        or _is_volume(item)
        or _is_choice(item)
        or (item.get("name") == ENV_LOCK and _is_object(source.get("name")))
    )


def is_label(name: str, value: Any) -> bool:
    """Whether a label of a pod is ours."""
    return name == SET_LABEL and placeholder(value) is not None


def _is_install(item: Any) -> bool:
    command, env = item.get("command"), item.get("env")
    return (
        item.get("name") == INSTALL_CONTAINER
        and isinstance(command, list)
        and command[:2] == ["/bin/sh", "-c"]
        and isinstance(env, list)
        and any(_is_choice(mapping(entry)) for entry in env)
    )


def _is_volume(item: Any) -> bool:
    if item.get("name") == CREDENTIALS_VOLUME:
        return _is_object(mapping(item.get("secret")).get("secretName"))
    name = mapping(item.get("configMap")).get("name")
    return item.get("name") == LOCK_VOLUME and _is_object(name)


def _is_choice(item: Any) -> bool:
    return item.get("name") == ENV_SET and placeholder(item.get("value")) is not None


def _is_object(name: Any) -> bool:
    return isinstance(name, str) and _OBJECT.fullmatch(name) is not None
