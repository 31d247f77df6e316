"""What we add to a base job template, as values.

A run chooses a set with a job variable, ``dependency_set`` unless configured otherwise, whose value
is a key. Everything else follows from it by placeholder:

- ``variables.properties.dependency_set``: the choice, and our marker beside it
- volumes: ``flowdeps-lock``, the ConfigMap ``flowdeps-<key>`` (optional: a missing one must fail in
  our container with a clear line, not leave the pod waiting), and ``flowdeps-site``, an emptyDir
- init container ``flowdeps-install``: installs the lock into the emptyDir (see ``install``)
- in the flow's container: the emptyDir, read-only, and ``FLOWDEPS_SET``, ``FLOWDEPS_LOCK`` (the
  digest), ``PYTHONPATH`` (see ``pythonpath``)
- the pod label ``flowdeps.dev/set``

The worker fills in nothing in an init container, so ours takes over what the flow's container has:
image and pull policy, user and group (a namespace may demand non-root of every container), working
directory (relative entries of the image's ``PYTHONPATH``), and, unless configured, its resources:
a pod asks for the larger of its init container and its containers, so this costs nothing.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from flowdeps.templates.defaults import mapping
from flowdeps.templates.pythonpath import HOME

NONE = "none"
MARKER = "flowdeps.dev"
LABEL = "flowdeps.dev/set"
LOCK_VOLUME = "flowdeps-lock"
SITE_VOLUME = "flowdeps-site"
INSTALL = "flowdeps-install"
ENV_SET = "FLOWDEPS_SET"
ENV_LOCK = "FLOWDEPS_LOCK"
LOCK_PATH = "/etc/flowdeps"

_RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
_USER = ("runAsUser", "runAsGroup", "runAsNonRoot")

# Images may have python3 alone. No "$(": Kubernetes would read it as a reference.
_LAUNCHER = """\
for python in python3 python; do
  if command -v "$python" >/dev/null; then exec "$python" -I -X utf8 -c "$0"; fi
done
echo "flowdeps: the flow's image has no python on its PATH: use an image with Python"
exit 1
"""


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """What one pool should offer.

    ``owner`` is ``namespace/name`` of the operator's release. ``descriptions`` says for each key
    what it stands for, e.g. ``team-a/ml: pandas, pyarrow``. ``default_image`` becomes the pool's
    default where its template has none. ``resources`` of None: those of the flow's container.
    ``env`` holds entries for the install container, e.g. a proxy.
    """

    owner: str
    version: str
    variable: str = "dependency_set"
    keys: tuple[str, ...]
    default: str = NONE
    descriptions: Mapping[str, str] = field(default_factory=dict)
    default_image: str | None = None
    resources: Mapping[str, Any] | None = None
    security_context: Mapping[str, Any] = field(default_factory=lambda: _RESTRICTED)
    env: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if list(self.keys) != sorted(set(self.keys) - {NONE}):
            raise ValueError(f"keys must be sorted, different, and without {NONE!r}: {self.keys}")
        if self.default not in {NONE, *self.keys}:
            raise ValueError(f"the default {self.default!r} is not one of the keys")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a template's marker and variable say."""

    owner: str
    version: str
    variable: str
    keys: tuple[str, ...]
    default: str


def script() -> str:
    """The text of ``install.py``."""
    return resources.files("flowdeps.templates").joinpath("install.py").read_text("utf-8")


def variable(fragment: Fragment, *, replaced: list[dict[str, Any]]) -> dict[str, Any]:
    lines = [f"{key}: {fragment.descriptions.get(key, 'no description')}" for key in fragment.keys]
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
        MARKER: {"owner": fragment.owner, "version": fragment.version, "replaced": replaced},
    }


def volumes(fragment: Fragment) -> list[dict[str, Any]]:
    return [
        {"name": LOCK_VOLUME, "configMap": {"name": _config_map(fragment), "optional": True}},
        {"name": SITE_VOLUME, "emptyDir": {}},
    ]


def install_container(fragment: Fragment, *, flow: Mapping[str, Any]) -> dict[str, Any]:
    """The init container for the flow's container ``flow``."""
    taken = ("image", "imagePullPolicy", "workingDir", "resources")
    built: dict[str, Any] = {
        "name": INSTALL,
        **{key: flow[key] for key in taken if key in flow},
        "command": ["/bin/sh", "-c", _LAUNCHER, script()],
        "env": [
            _choice(fragment),
            {"name": "FLOWDEPS_VARIABLE", "value": fragment.variable},
            {
                "name": "FLOWDEPS_NAMESPACE",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
            },
            *fragment.env,
        ],
        "volumeMounts": [
            {"name": LOCK_VOLUME, "mountPath": LOCK_PATH, "readOnly": True},
            {"name": SITE_VOLUME, "mountPath": HOME},
        ],
    }
    if fragment.resources is not None:
        built["resources"] = dict(fragment.resources)
    context = mapping(flow.get("securityContext"))
    user = {key: context[key] for key in _USER if key in context}
    built["securityContext"] = {**user, **fragment.security_context}
    return copy.deepcopy(built)


def flow_mount() -> dict[str, Any]:
    return {"name": SITE_VOLUME, "mountPath": HOME, "readOnly": True}


def flow_env(fragment: Fragment) -> list[dict[str, Any]]:
    digest = {"name": _config_map(fragment), "key": "digest", "optional": True}
    return [_choice(fragment), {"name": ENV_LOCK, "valueFrom": {"configMapKeyRef": digest}}]


def label(fragment: Fragment) -> str:
    return _placeholder(fragment)


def _choice(fragment: Fragment) -> dict[str, Any]:
    return {"name": ENV_SET, "value": _placeholder(fragment)}


def _config_map(fragment: Fragment) -> str:
    return f"flowdeps-{_placeholder(fragment)}"


def _placeholder(fragment: Fragment) -> str:
    return "{{ " + fragment.variable + " }}"
