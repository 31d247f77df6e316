"""Pods of ours in a flow image, as bodies: one tells what the image has, one tries a lock in it.

Both keep to the restricted Pod Security standard, have no service account token, and say what a
namespace with a quota demands. They run as the user that is configured, else as nobody: many images
default to root, and then Kubernetes would not start them. Nothing of theirs is restarted.

The verifying pod installs as a run does: the same script, volumes and search path. How a pod ended
stands in the state of its container rather than in its phase, which a sidecar may hold up.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowdeps.api.names import PROBE_CONTAINER, VERIFY_CONTAINER
from flowdeps.delivery.methods.install import (
    ENV_SET,
    IMAGE_PATH,
    PYTHON_PATH,
    RESTRICTED,
    SITE_MOUNT,
    installation,
    volumes,
)
from flowdeps.delivery.scripts import command

VERIFY_RESULT = f"{VERIFY_CONTAINER}:"
"""What the verifying container's last line begins with; JSON follows: ``{"ok": true}``, or
``{"ok": false, "module": "…", "error": "…"}``, where an empty module means the check itself."""

PROBE_SECONDS = 900
_SLACK_SECONDS = 900
"""Kubernetes counts from the pod's acceptance, so the pull of a large image is in it."""
_NOBODY = 65534
_RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"cpu": "2", "memory": "2Gi"},
}
_TEMPORARY = {"name": "tmp", "emptyDir": {}}
_TEMPORARY_MOUNT = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108


@dataclass(frozen=True, kw_only=True)
class PodSettings:
    """What the configuration says about our pods; empty: our defaults.

    ``user`` and ``group`` of None: nobody. ``env``: entries for the install container, as runs
    have them, e.g. a proxy.
    """

    resources: Mapping[str, Any] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    group: int | None = None
    env: tuple[Mapping[str, Any], ...] = ()


def probe_pod(
    *,
    name: str,
    namespace: str,
    image: str,
    labels: Mapping[str, str],
    pull_policy: str | None,
    settings: PodSettings,
) -> dict[str, Any]:
    """The pod whose container prints what its image has (see ``inside.seen``)."""
    container = {
        "name": PROBE_CONTAINER,
        "command": command("probe"),
        "volumeMounts": [_TEMPORARY_MOUNT],
    }
    pod = _pod(name=name, namespace=namespace, labels=labels, settings=settings)
    pod["spec"] |= {
        "activeDeadlineSeconds": PROBE_SECONDS,
        "containers": [container | _confined(image, pull_policy, settings)],
        "volumes": [_TEMPORARY],
    }
    return copy.deepcopy(pod)


def verify_pod(
    *,
    name: str,
    namespace: str,
    image: str,
    labels: Mapping[str, str],
    pull_policy: str | None,
    config_map: str,
    secret: str | None,
    set_name: str,
    imports: tuple[str, ...],
    names: tuple[str, ...],
    timeout_seconds: int,
    settings: PodSettings,
) -> dict[str, Any]:
    """The pod that installs a lock as a run does and imports from it (see ``inside.verify``).

    ``config_map`` holds the lock, ``secret`` the credentials for its index. ``imports``: modules;
    without any, those of the packages ``names``. ``set_name`` is for what the pod says.
    """
    confined = _confined(image, pull_policy, settings)
    install = installation(
        choice=set_name, variable="dependency_set", env=settings.env, credentials=bool(secret)
    )
    verify = {
        "name": VERIFY_CONTAINER,
        "command": command("verify"),
        "env": [
            {"name": ENV_SET, "value": set_name},
            {"name": "PYTHONPATH", "value": ":".join((*PYTHON_PATH, *IMAGE_PATH))},
            {"name": "FLOWDEPS_IMPORTS", "value": json.dumps(list(imports))},
            {"name": "FLOWDEPS_NAMES", "value": json.dumps([] if imports else list(names))},
            {"name": "FLOWDEPS_TIMEOUT", "value": str(timeout_seconds)},
        ],
        "volumeMounts": [SITE_MOUNT, _TEMPORARY_MOUNT],
    }
    pod = _pod(name=name, namespace=namespace, labels=labels, settings=settings)
    pod["spec"] |= {
        # A module that hangs is named by the script, which therefore ends first.
        "activeDeadlineSeconds": timeout_seconds + _SLACK_SECONDS,
        "initContainers": [install | confined],
        "containers": [verify | confined],
        "volumes": [*volumes(config_map, credentials=secret), _TEMPORARY],
    }
    return copy.deepcopy(pod)


def _pod(
    *, name: str, namespace: str, labels: Mapping[str, str], settings: PodSettings
) -> dict[str, Any]:
    user = {"runAsUser": _NOBODY if settings.user is None else settings.user}
    group = _NOBODY if settings.user is None and settings.group is None else settings.group
    if group is not None:
        user["runAsGroup"] = group
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            **user,
            "seccompProfile": RESTRICTED["seccompProfile"],
        },
    }
    if settings.node_selector:
        spec["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        spec["tolerations"] = [dict(one) for one in settings.tolerations]
    if settings.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": one} for one in settings.image_pull_secrets]
    metadata = {"name": name, "namespace": namespace, "labels": {**settings.labels, **labels}}
    if settings.annotations:
        metadata["annotations"] = dict(settings.annotations)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _confined(image: str, pull_policy: str | None, settings: PodSettings) -> dict[str, Any]:
    return {
        "image": image,
        **({"imagePullPolicy": pull_policy} if pull_policy else {}),
        "resources": settings.resources or _RESOURCES,
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
