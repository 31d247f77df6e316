"""The method Install: an init container in the flow's own image installs the lock at each start.

It works everywhere and needs nothing built. Everything follows from the job variable's value, the
key, by placeholder. ``in_image/install.py`` installs from the lock's ConfigMap, with the Secret for
its index, which only the init container sees, into an emptyDir that the flow's container has
read-only. Both objects are optional: a missing one must fail in our container with a clear line,
not leave the pod waiting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowdeps.api import names
from flowdeps.api.trialconfig import SIZE_LIMIT
from flowdeps.delivery.choice import Choice
from flowdeps.delivery.methods.method import HOME, Item, Pieces
from flowdeps.delivery.placeholders import placeholder_of
from flowdeps.delivery.scripts import command

ENV_SET = "FLOWDEPS_SET"
ENV_LOCK = "FLOWDEPS_LOCK"
ENV_NAMESPACE = "FLOWDEPS_NAMESPACE"
ENV_BUILD = "FLOWDEPS_BUILD"
"""In the install container of a pod that builds an environment."""
ENV_TIMEOUT = "FLOWDEPS_TIMEOUT"
"""In a container of a pod of ours: the seconds of its step."""
PYTHON_PATH = (f"{HOME}/boot", f"{HOME}/site")
"""Where an interpreter begins (``in_image/boot.py``); and the packages, for one that does not."""
IMAGE_PATH = tuple(f"{HOME}/image/{number}" for number in range(4))
"""Links to the entries of the image's own PYTHONPATH, which the init container makes."""
SITE_MOUNT: Item = {"name": names.SITE_VOLUME, "mountPath": HOME, "readOnly": True}

NAMESPACE: Item = {"fieldRef": {"fieldPath": "metadata.namespace"}}
"""Where a variable of a container takes the namespace of its pod from."""

RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, kw_only=True)
class Install:
    """Installs the lock in an init container, which is as the configuration says."""

    resources: Mapping[str, Any] | None = None
    """Its resources; None: those of the flow's container. A pod asks for the larger of its init
    container and its containers, so these cost nothing."""
    security_context: Mapping[str, Any] = field(default_factory=dict)
    """Changes of its security context, which is RESTRICTED with the user of the flow's container:
    a mapping is merged, and None takes a default away."""
    size_limit: int = SIZE_LIMIT
    """Bytes of the volume in which it installs; 0: no limit."""
    env: tuple[Mapping[str, Any], ...] = ()
    """More entries of its environment, e.g. a proxy."""
    index_urls: tuple[str, ...] = ()
    """Where extras of a run without a set come from, in order; empty: the installer's default."""

    def pieces(self, choice: Choice) -> Pieces:
        """Return what installs the lock of the chosen key."""
        chosen = placeholder_of(choice.variable)
        name = names.mounted_name(chosen, pool=choice.pool)
        container = installation(
            choice=chosen,
            variable=choice.variable,
            env=[*self._extras_env(choice), *self.env],
            credentials=True,
        )
        if self.resources is not None:
            container["resources"] = self.resources
        context = _merged(RESTRICTED, self.security_context)
        digest = {"name": name, "key": "digest", "optional": True}
        return Pieces(
            volumes=volumes(name, credentials=name, size_limit=self.size_limit),
            init_containers=({**container, "securityContext": context},),
            flow_mounts=(SITE_MOUNT,),
            flow_env=(
                {"name": ENV_SET, "value": chosen},
                {"name": ENV_LOCK, "valueFrom": {"configMapKeyRef": digest}},
            ),
            python_path=PYTHON_PATH,
            image_path=IMAGE_PATH,
            labels={names.SET_LABEL: chosen},
        )

    def _extras_env(self, choice: Choice) -> list[Item]:
        if not choice.extras:  # nor may those that image or envFrom name
            return [{"name": "FLOWDEPS_EXTRAS", "value": ""}]
        # The space makes text of every value: a placeholder alone may become a list, which
        # Kubernetes refuses, where the value leads to a Prefect variable.
        value = " " + placeholder_of(choice.extras_variable)
        return [
            {"name": "FLOWDEPS_EXTRAS", "value": value},
            {"name": "FLOWDEPS_EXTRAS_VARIABLE", "value": choice.extras_variable},
            {"name": "FLOWDEPS_INDEX", "value": " ".join(self.index_urls)},
        ]


def volumes(config_map: str, *, credentials: str | None, size_limit: int) -> tuple[Item, ...]:
    """Return the volumes of a lock, of the Secret for its index, and of what is installed."""
    secret = {"secretName": credentials, "optional": True}
    return (
        {"name": names.LOCK_VOLUME, "configMap": {"name": config_map, "optional": True}},
        *([{"name": names.CREDENTIALS_VOLUME, "secret": secret}] if credentials else []),
        {"name": names.SITE_VOLUME, "emptyDir": empty_dir(size_limit)},
    )


def empty_dir(size_limit: int) -> Item:
    """Return the source of a volume that takes no more than these bytes; 0: no limit."""
    return {"sizeLimit": str(size_limit)} if size_limit else {}


def installation(
    *, choice: str, variable: str, env: Iterable[Item], credentials: bool
) -> dict[str, Any]:
    """Return what a container has that installs the lock of a choice."""
    secret = {"name": names.CREDENTIALS_VOLUME, "mountPath": "/etc/flowdeps-credentials"}
    return {
        "name": names.INSTALL_CONTAINER,
        "command": command("install"),
        "env": [
            {"name": ENV_SET, "value": choice},
            {"name": "FLOWDEPS_VARIABLE", "value": variable},
            {"name": ENV_NAMESPACE, "valueFrom": NAMESPACE},
            *env,
        ],
        "volumeMounts": [
            {"name": names.LOCK_VOLUME, "mountPath": "/etc/flowdeps", "readOnly": True},
            *([{**secret, "readOnly": True}] if credentials else []),
            {"name": names.SITE_VOLUME, "mountPath": HOME},
        ],
    }


def _merged(given: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with changes, as a JSON merge patch makes them."""
    found = dict(given)
    for name, value in changes.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            before = found.get(name)
            found[name] = _merged(before if isinstance(before, Mapping) else {}, value)
        else:
            found[name] = value
    return found
