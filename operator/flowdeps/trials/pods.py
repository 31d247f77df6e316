"""Make the bodies of our pods in a flow image: one reports what the image has, one tries a lock.

Both keep to the restricted Pod Security standard, have no service account token, and say what a
namespace with a quota demands. They run as the user of runs, else as nobody: many images
default to root, and then Kubernetes would not start them. Nothing in them is restarted.

The verifying pod installs as a run does: the same script, volumes and search path.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from flowdeps.api.names import PROBE_CONTAINER, VERIFY_CONTAINER
from flowdeps.api.trialconfig import PodsConfig
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
from flowdeps.trials.image import ImageRef

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


def probe_pod(
    *, name: str, ref: ImageRef, labels: Mapping[str, str], settings: PodsConfig
) -> dict[str, Any]:
    """Return the pod whose container prints what its image has (``in_image/probe.py``)."""
    container = {"name": PROBE_CONTAINER, "command": command("probe")}
    mounted = {"volumeMounts": [_TEMPORARY_MOUNT]}
    pod = _pod(name=name, ref=ref, labels=labels, settings=settings)
    pod["spec"] |= {
        "activeDeadlineSeconds": PROBE_SECONDS,
        "containers": [container | mounted | _confined(ref, settings)],
        "volumes": [_TEMPORARY],
    }
    return copy.deepcopy(pod)


def verify_pod(
    *,
    name: str,
    ref: ImageRef,
    labels: Mapping[str, str],
    secret: str | None,
    set_name: str,
    imports: tuple[str, ...],
    names: tuple[str, ...],
    timeout_seconds: int,
    env: Sequence[Mapping[str, Any]] = (),
    settings: PodsConfig,
) -> dict[str, Any]:
    """Return the pod that installs a lock as a run does and imports from it.

    The ConfigMap of its ``name`` holds the lock, ``secret`` the credentials for its index.
    ``imports``: modules; without any, those of the packages ``names``. ``set_name`` is for what the
    pod prints, ``env`` for the install container, as runs have it, e.g. a proxy.
    """
    confined = _confined(ref, settings)
    install = installation(
        choice=set_name, variable="dependency_set", env=env, credentials=bool(secret)
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
    pod = _pod(name=name, ref=ref, labels=labels, settings=settings)
    pod["spec"] |= {
        # The script names a module that hangs, so it has to end first.
        "activeDeadlineSeconds": timeout_seconds + _SLACK_SECONDS,
        "initContainers": [install | confined],
        "containers": [verify | confined],
        "volumes": [*volumes(name, credentials=secret), _TEMPORARY],
    }
    return copy.deepcopy(pod)


def _pod(
    *, name: str, ref: ImageRef, labels: Mapping[str, str], settings: PodsConfig
) -> dict[str, Any]:
    uid, gid = ref.user
    if not uid:
        uid, gid = _NOBODY, gid or _NOBODY
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": uid,
            **({} if gid is None else {"runAsGroup": gid}),
            "seccompProfile": RESTRICTED["seccompProfile"],
        },
    }
    optional = {
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [dict(one) for one in settings.tolerations],
        "imagePullSecrets": [{"name": one} for one in settings.image_pull_secrets],
    }
    metadata = {"name": name, "namespace": ref.namespace, "labels": {**settings.labels, **labels}}
    if settings.annotations:
        metadata["annotations"] = dict(settings.annotations)
    spec |= {key: value for key, value in optional.items() if value}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _confined(ref: ImageRef, settings: PodsConfig) -> dict[str, Any]:
    return {
        "image": ref.image,
        **({"imagePullPolicy": ref.pull_policy} if ref.pull_policy else {}),
        "resources": settings.resources or _RESOURCES,
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
