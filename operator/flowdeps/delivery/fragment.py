"""What we add to a base job template, as values.

A run chooses a set with a job variable, ``dependency_set`` unless configured otherwise, whose value
is a key. Everything else follows from it by placeholder:

- ``variables.properties.dependency_set``: the choice, and our marker beside it
- ``variables.properties.extra_py_deps``, where the pool allows it: packages for one run beside the
  lock, as text; ours by a mark of its own
- volumes: ``flowdeps-lock``, the ConfigMap ``flowdeps-<key>`` (optional: a missing one must fail in
  our container with a clear line, not leave the pod waiting), ``flowdeps-credentials``, the Secret
  of the same name for the index, and ``flowdeps-site``, an emptyDir
- init container ``flowdeps-install``: installs the lock into the emptyDir (see ``inside.install``);
  it alone sees the credentials
- in the flow's container: the emptyDir, read-only, and ``FLOWDEPS_SET``, ``FLOWDEPS_LOCK`` (the
  digest), ``PYTHONPATH`` (see ``pythonpath``)
- the pod label ``flowdeps.dev/set``

The worker fills in nothing in an init container, so ours takes over what the flow's container has:
image and pull policy, user and group (a namespace may demand non-root of every container), working
directory (relative entries of the image's ``PYTHONPATH``), and, unless configured, its resources:
a pod asks for the larger of its init container and its containers, so this costs nothing.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowdeps.api.names import (
    CREDENTIALS_VOLUME,
    INSTALL_CONTAINER,
    LOCK_VOLUME,
    MARKER,
    SITE_VOLUME,
    mounted_name,
)
from flowdeps.delivery.kinds.kubernetes.python_path import HOME
from flowdeps.delivery.scripts import command

NONE = "none"
EXTRAS = "extras"
ENV_SET = "FLOWDEPS_SET"
ENV_LOCK = "FLOWDEPS_LOCK"
LOCK_PATH = "/etc/flowdeps"
CREDENTIALS_PATH = "/etc/flowdeps-credentials"

RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
USER = ("runAsUser", "runAsGroup", "runAsNonRoot")


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """What one pool should offer.

    ``owner`` is ``namespace/name`` of the operator's release, ``cluster`` the identity of the
    cluster that it runs in (empty: not known). ``descriptions`` says for each key what it stands
    for, e.g. ``team-a/ml: pandas, pyarrow``. ``default_image`` becomes the pool's
    default where its template has none. ``resources`` of None: those of the flow's container.
    ``env`` holds entries for the install container, e.g. a proxy. ``extras``: whether a run may
    have packages beside the lock; ``index_urls``: where they come from for a run without a set, in
    order (none: the default of the image's installer).
    """

    owner: str
    cluster: str = ""
    version: str
    variable: str = "dependency_set"
    keys: tuple[str, ...]
    default: str = NONE
    descriptions: Mapping[str, str] = field(default_factory=dict)
    default_image: str | None = None
    resources: Mapping[str, Any] | None = None
    security_context: Mapping[str, Any] = field(default_factory=lambda: RESTRICTED)
    env: tuple[Mapping[str, Any], ...] = ()
    extras: bool = True
    extras_variable: str = "extra_py_deps"
    index_urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if list(self.keys) != sorted(set(self.keys) - {NONE}):
            raise ValueError(f"keys must be sorted, different, and without {NONE!r}: {self.keys}")
        if self.default not in {NONE, *self.keys}:
            raise ValueError(f"the default {self.default!r} is not one of the keys")
        if self.extras and self.extras_variable == self.variable:
            raise ValueError(f"the variables of set and extras have one name: {self.variable!r}")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a template's marker and variable say."""

    owner: str
    cluster: str
    version: str
    variable: str
    keys: tuple[str, ...]
    default: str


def variable(fragment: Fragment, *, replaced: list[dict[str, Any]]) -> dict[str, Any]:
    lines = [f"{key}: {text}" for key, text in sorted(fragment.descriptions.items())]
    if more := len(fragment.keys) - len(lines):
        lines.append(f"…and {more} more")
    return {
        "title": "Dependency set",
        "description": "\n".join(
            [
                "The Python packages that the flow gets beyond those of its image, pinned and "
                "checked by flowdeps.",
                f"{NONE}: the image alone",
                *lines,
            ]
        ),
        "type": "string",
        "enum": [NONE, *fragment.keys],
        "default": fragment.default,
        MARKER: {
            "owner": fragment.owner,
            **({"cluster": fragment.cluster} if fragment.cluster else {}),
            "version": fragment.version,
            "replaced": replaced,
        },
    }


def extras_variable(fragment: Fragment) -> dict[str, Any]:
    return {
        "title": "Extra Python packages",
        "description": "Packages for one run beside those of its dependency set, separated by "
        "spaces or lines, such as httpx>=0.27 rich. They are not pinned: put into the set what "
        "is needed again.",
        "type": "string",
        "default": "",
        MARKER: {EXTRAS: fragment.owner},
    }


def volumes(name: str, *, credentials: str | None) -> list[dict[str, Any]]:
    """Of a ConfigMap with a lock, of the Secret for its index, and for what is installed."""
    secret = {"secretName": credentials, "optional": True}
    return [
        {"name": LOCK_VOLUME, "configMap": {"name": name, "optional": True}},
        *([{"name": CREDENTIALS_VOLUME, "secret": secret}] if credentials else []),
        {"name": SITE_VOLUME, "emptyDir": {}},
    ]


def fragment_volumes(fragment: Fragment) -> list[dict[str, Any]]:
    return volumes(_object(fragment), credentials=_object(fragment))


def installation(
    *, choice: str, variable: str, env: Iterable[Mapping[str, Any]], credentials: bool
) -> dict[str, Any]:
    """What a container has that installs the lock of a choice."""
    secret = {"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_PATH, "readOnly": True}
    return {
        "name": INSTALL_CONTAINER,
        "command": command("install"),
        "env": [
            {"name": ENV_SET, "value": choice},
            {"name": "FLOWDEPS_VARIABLE", "value": variable},
            {
                "name": "FLOWDEPS_NAMESPACE",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
            },
            *env,
        ],
        "volumeMounts": [
            {"name": LOCK_VOLUME, "mountPath": LOCK_PATH, "readOnly": True},
            *([secret] if credentials else []),
            {"name": SITE_VOLUME, "mountPath": HOME},
        ],
    }


def install_container(
    fragment: Fragment, *, flow: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    """The init container for the flow's container ``flow``, which has this security context."""
    taken = ("image", "imagePullPolicy", "workingDir", "resources")
    built = installation(
        choice=_placeholder(fragment.variable),
        variable=fragment.variable,
        env=[*_extras_env(fragment), *fragment.env],
        credentials=True,
    )
    built |= {key: flow[key] for key in taken if key in flow}
    if fragment.resources is not None:
        built["resources"] = dict(fragment.resources)
    user = {key: context[key] for key in USER if key in context}
    built["securityContext"] = {**user, **fragment.security_context}
    return copy.deepcopy(built)


def flow_mount() -> dict[str, Any]:
    return {"name": SITE_VOLUME, "mountPath": HOME, "readOnly": True}


def flow_env(fragment: Fragment) -> list[dict[str, Any]]:
    digest = {"name": _object(fragment), "key": "digest", "optional": True}
    return [
        {"name": ENV_SET, "value": _placeholder(fragment.variable)},
        {"name": ENV_LOCK, "valueFrom": {"configMapKeyRef": digest}},
    ]


def label(fragment: Fragment) -> str:
    return _placeholder(fragment.variable)


def _extras_env(fragment: Fragment) -> list[dict[str, Any]]:
    if not fragment.extras:
        return []
    # The space makes text of every value: a placeholder alone may become a list, which Kubernetes
    # refuses, where the value leads to a Prefect variable.
    value = " " + _placeholder(fragment.extras_variable)
    return [
        {"name": "FLOWDEPS_EXTRAS", "value": value},
        {"name": "FLOWDEPS_EXTRAS_VARIABLE", "value": fragment.extras_variable},
        {"name": "FLOWDEPS_INDEX", "value": " ".join(fragment.index_urls)},
    ]


def _object(fragment: Fragment) -> str:
    return mounted_name(_placeholder(fragment.variable))


def _placeholder(variable: str) -> str:
    return "{{ " + variable + " }}"
