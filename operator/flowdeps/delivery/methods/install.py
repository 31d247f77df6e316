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
from typing import Any

from flowdeps.delivery.choice import Fragment, placeholder_of
from flowdeps.delivery.kinds.kubernetes.python_path import HOME
from flowdeps.delivery.scripts import command

LABEL = "flowdeps.dev/set"
LOCK_VOLUME = "flowdeps-lock"
CREDENTIALS_VOLUME = "flowdeps-credentials"
SITE_VOLUME = "flowdeps-site"
INSTALL = "flowdeps-install"
ENV_SET = "FLOWDEPS_SET"
ENV_LOCK = "FLOWDEPS_LOCK"
LOCK_PATH = "/etc/flowdeps"
CREDENTIALS_PATH = "/etc/flowdeps-credentials"

USER = ("runAsUser", "runAsGroup", "runAsNonRoot")


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
        "name": INSTALL,
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
        choice=placeholder_of(fragment.variable),
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
        {"name": ENV_SET, "value": placeholder_of(fragment.variable)},
        {"name": ENV_LOCK, "valueFrom": {"configMapKeyRef": digest}},
    ]


def label(fragment: Fragment) -> str:
    return placeholder_of(fragment.variable)


def _extras_env(fragment: Fragment) -> list[dict[str, Any]]:
    if not fragment.extras:
        return []
    # The space makes text of every value: a placeholder alone may become a list, which Kubernetes
    # refuses, where the value leads to a Prefect variable.
    value = " " + placeholder_of(fragment.extras_variable)
    return [
        {"name": "FLOWDEPS_EXTRAS", "value": value},
        {"name": "FLOWDEPS_EXTRAS_VARIABLE", "value": fragment.extras_variable},
        {"name": "FLOWDEPS_INDEX", "value": " ".join(fragment.index_urls)},
    ]


def _object(fragment: Fragment) -> str:
    return f"flowdeps-{placeholder_of(fragment.variable)}"
