"""Make the bodies of our pods in a flow image: one reports what the image has, one tries a lock,
one builds an environment of it, and one mounts that.

All keep to the restricted Pod Security standard, have no service account token, and say what a
namespace with a quota demands. They run as the user of runs, else as nobody: many images
default to root, and then Kubernetes would not start them. Nothing in them is restarted.

The verifying pod installs as a run does: the same script, volumes and search path. The building
one does so too, and packs what it has tried: by a container in the operator's image, which alone
has the credentials of the registry.
"""

import copy
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.names import (
    LOCK_VOLUME,
    MOUNT_CONTAINER,
    PACK_CONTAINER,
    POPULATE_CONTAINER,
    PROBE_CONTAINER,
    PULL_VOLUME,
    REGISTRY_VOLUME,
    SITE_VOLUME,
    VERIFY_CONTAINER,
)
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.delivery.methods.install import (
    ENV_BUILD,
    ENV_LOCK,
    ENV_SET,
    IMAGE_PATH,
    PYTHON_PATH,
    RESTRICTED,
    SITE_MOUNT,
    installation,
    volumes,
)
from flowdeps.delivery.methods.method import HOME
from flowdeps.delivery.scripts import command
from flowdeps.trials.image import ImageRef

VERIFY_RESULT = f"{VERIFY_CONTAINER}:"
"""What the verifying container's last line begins with; JSON follows: ``{"ok": true}``, or
``{"ok": false, "module": "…", "error": "…"}``, where an empty module means the check itself."""

PACK_RESULT = f"{PACK_CONTAINER}:"
"""What the packing container's last line begins with; JSON follows: ``{"ok": true, "digest": "…",
"size": 1, "unpacked": 1, "files": 1}``, or ``{"ok": false, "error": "…", "retry": true}``. Where an
image is derived, the first has ``"image": {"digest": "…", "size": 1}`` or ``"imageError": "…"``."""

POPULATE_RESULT = f"{POPULATE_CONTAINER}:"
"""What the populating container's last line begins with; JSON follows: ``{"ok": true, "directory":
"sha256-…", "files": 1, "bytes": 1, "slower": 1.3}``, or an error as that of the packing one."""

PROBE_SECONDS = 900
_MOUNT_SECONDS = 900
_COMPILE_SECONDS = 300
_PUSH_SECONDS = 900
_POPULATE_SECONDS = 1800
_MOST_KEPT, _KEPT_DIGITS = 10_000, 10
_SLACK_SECONDS = 900
"""Kubernetes counts from the pod's acceptance, so the pull of a large image is in it."""
_NOBODY = 65534
_TREE = "/environment"
"""Where the packing container has what the others have at HOME."""
_CLAIM = "/mnt/environments"
_REGISTRY_MOUNT = {
    "name": REGISTRY_VOLUME,
    "mountPath": "/etc/flowdeps-registry",
    "readOnly": True,
}
_RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"cpu": "2", "memory": "2Gi"},
}
# An API server that does not know image volumes makes an empty volume of one.
_LOOK = f"""\
if [ -f {HOME}/manifest.json ]; then exit 0; fi
echo "flowdeps: nothing is mounted at {HOME}"
exit 1
"""
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
    digest: str,
    secret: str | None,
    set_name: str,
    imports: tuple[str, ...],
    names: tuple[str, ...],
    timeout_seconds: int,
    env: Sequence[Mapping[str, Any]] = (),
    settings: PodsConfig,
) -> dict[str, Any]:
    """Return the pod that installs a lock as a run does and imports from it.

    The ConfigMap of its ``name`` holds the lock of this ``digest``: what others write into it
    meanwhile is not tried. ``secret`` holds the credentials for its index.
    ``imports``: modules; without any, those of the packages ``names``. ``set_name`` is for what the
    pod prints, ``env`` for the install container, as runs have it, e.g. a proxy.
    """
    confined = _confined(ref, settings)
    install = installation(
        choice=set_name,
        variable="dependency_set",
        env=[*env, {"name": ENV_LOCK, "value": digest}],
        credentials=bool(secret),
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


def build_pod(
    *,
    tag: str,
    image_id: str,
    unused: Collection[str],
    environments: EnvironmentsConfig,
    ref: ImageRef,
    timeout_seconds: int,
    settings: PodsConfig,
    **given: Any,
) -> dict[str, Any]:
    """Return the pod that installs and compiles a lock, tries it as it then is, and pushes it.

    ``tag`` names the environment in the repository of the pod's namespace; ``unused``: the locks,
    ten hex digits each, whose environments are deleted there, where the configuration has that;
    ``given`` is as for `verify_pod`.
    """
    timeout_seconds += _COMPILE_SECONDS
    pod = verify_pod(ref=ref, timeout_seconds=timeout_seconds, settings=settings, **given)
    spec = pod["spec"]
    [install], [verify] = spec["initContainers"], spec["containers"]
    install["env"] += [{"name": ENV_BUILD, "value": "1"}]
    about = {
        "REPOSITORY": environments.repository_of(ref.namespace),
        "TAG": tag,
        "IMAGE": ref.image,
        "IMAGE_ID": image_id,
        "PLAIN_HTTP": "1" if environments.plain_http else "",
        "PROXY": environments.proxy,
        "IMAGES": "1" if environments.images else "",
        "DELETES": "1" if environments.delete_unused else "",
        "UNUSED": ",".join(sorted(unused)),
    }
    # Nothing that was in the flow's image takes the place of our program, which is at HOME in our
    # image, or of what it works with.
    temporary = {"name": f"{PACK_CONTAINER}-tmp", "emptyDir": {}}
    spec["volumes"] += [temporary]
    mounts = [
        {**SITE_MOUNT, "mountPath": _TREE},
        {"name": LOCK_VOLUME, "mountPath": "/etc/flowdeps", "readOnly": True},
        {**_TEMPORARY_MOUNT, "name": temporary["name"]},
    ]
    if environments.push_secret:
        spec["volumes"] += [_secret_volume(REGISTRY_VOLUME, environments.push_secret)]
        mounts += [_REGISTRY_MOUNT]
    if environments.images:
        # The kubelet has others too, of a service account, which we may not see.
        for number, name in enumerate(settings.image_pull_secrets):
            volume = f"{PULL_VOLUME}-{number}"
            spec["volumes"] += [_secret_volume(volume, name)]
            path = f"/etc/flowdeps-pull/{number}"
            mounts += [{"name": volume, "mountPath": path, "readOnly": True}]
    pack = {
        "name": PACK_CONTAINER,
        "image": environments.image,
        "args": ["pack", f"--tree={_TREE}"],
        "env": _told(about),
        "volumeMounts": mounts,
    }
    spec |= {
        "activeDeadlineSeconds": spec["activeDeadlineSeconds"]
        + _PUSH_SECONDS * (1 + 2 * environments.images),
        "initContainers": [install, verify],
        "containers": [pack | _limited(settings)],
    }
    return copy.deepcopy(pod)


def mount_pod(
    *,
    name: str,
    ref: ImageRef,
    labels: Mapping[str, str],
    reference: str,
    pull_secrets: Sequence[str],
    settings: PodsConfig,
) -> dict[str, Any]:
    """Return the pod that ends well where it gets an environment as a run would.

    ``pull_secrets``: the names of those that runs have.
    """
    # What another pod has pulled to this node says nothing of other nodes.
    source = {"reference": reference, "pullPolicy": "Always"}
    container = {
        "name": MOUNT_CONTAINER,
        "command": ["/bin/sh", "-c", _LOOK],
        "volumeMounts": [SITE_MOUNT],
    }
    settings = replace(settings, image_pull_secrets=tuple(pull_secrets))
    pod = _pod(name=name, ref=ref, labels=labels, settings=settings)
    pod["spec"] |= {
        "activeDeadlineSeconds": _MOUNT_SECONDS,
        "containers": [container | _confined(ref, settings)],
        "volumes": [{"name": SITE_VOLUME, "image": source}],
    }
    return copy.deepcopy(pod)


def populate_pod(
    *,
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    claim: str,
    reference: str,
    lock: str,
    keep: Collection[str],
    environments: EnvironmentsConfig,
    settings: PodsConfig,
) -> dict[str, Any]:
    """Return the pod that puts an environment on a claim of a namespace of runs, where the
    directories `keep` stay.

    It runs in the operator's image, for a flow's image could put anything there.
    """
    begin = {one.removeprefix("sha256-")[:_KEPT_DIGITS] for one in keep}
    about = {
        "REFERENCE": reference,
        "LOCK": lock,
        # Linux takes no variable above 128 KiB; without it, all stay. Two that begin alike stay.
        "KEEP": ",".join(sorted(begin)) if len(begin) <= _MOST_KEPT else "",
        "PLAIN_HTTP": "1" if environments.plain_http else "",
        "PROXY": environments.proxy,
    }
    there: list[dict[str, Any]] = [
        {"name": SITE_VOLUME, "persistentVolumeClaim": {"claimName": claim}},
        _TEMPORARY,
    ]
    mounts: list[Mapping[str, object]] = [
        {"name": SITE_VOLUME, "mountPath": _CLAIM},
        _TEMPORARY_MOUNT,
    ]
    if environments.pull_secret:
        there += [_secret_volume(REGISTRY_VOLUME, environments.pull_secret)]
        mounts += [_REGISTRY_MOUNT]
    container = {
        "name": POPULATE_CONTAINER,
        "args": ["populate"],
        "env": _told(about),
        "volumeMounts": mounts,
    }
    ref = ImageRef(namespace, environments.image)
    pod = _pod(name=name, ref=ref, labels=labels, settings=settings)
    pod["spec"]["securityContext"] |= {
        "fsGroup": _NOBODY,
        # A claim has many files, and changing each takes minutes.
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    pod["spec"] |= {
        "activeDeadlineSeconds": _POPULATE_SECONDS,
        "containers": [container | _confined(ref, settings)],
        "volumes": there,
    }
    return copy.deepcopy(pod)


def _secret_volume(name: str, secret: str) -> dict[str, Any]:
    # A missing one must fail in our container, not leave the pod waiting.
    return {"name": name, "secret": {"secretName": secret, "optional": True}}


def _told(about: Mapping[str, str]) -> list[dict[str, str]]:
    # A name in "$(...)" would be filled in.
    return [
        {"name": f"FLOWDEPS_{name}", "value": value.replace("$", "$$")}
        for name, value in about.items()
    ]


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
    policy = {"imagePullPolicy": ref.pull_policy} if ref.pull_policy else {}
    return {"image": ref.image, **policy, **_limited(settings)}


def _limited(settings: PodsConfig) -> dict[str, Any]:
    return {
        "resources": settings.resources or _RESOURCES,
        "securityContext": RESTRICTED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
