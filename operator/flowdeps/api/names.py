"""The names that flowdeps gives to things in a cluster, each spelled here and nowhere else.

The scripts in `delivery/in_image` run in flow images and cannot import this module.
"""

import hashlib
import re
from collections.abc import Mapping

# The resource

GROUP = "flowdeps.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FlowDependencySet"
PLURAL = "flowdependencysets"
FINALIZER = f"{GROUP}/cleanup"

# Who writes

FIELD_MANAGER = "flowdeps"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "flowdeps"
OURS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""Selects the objects that an operator has made."""

# Labels

SET_LABEL = f"{GROUP}/set"
NAMESPACE_LABEL = f"{GROUP}/namespace"
"""The namespace of the set, which may be another than the object's."""
REVISION_LABEL = f"{GROUP}/revision"
PURPOSE_LABEL = f"{GROUP}/purpose"
"""On our pods and their ConfigMaps: `probe`, `verify`, `build`, `mount`, `populate` or, on kept
facts, `image`."""

LOCK_LABELS = (MANAGED_BY_LABEL, SET_LABEL, NAMESPACE_LABEL, REVISION_LABEL)
"""Those of ConfigMaps with locks."""

# Annotations of sets

REFRESH_REQUESTED_ANNOTATION = f"{GROUP}/refresh-requested-at"
"""A new value asks for a refresh; status.lastHandledRefreshAt names the last one that was met."""

# Annotations of ConfigMaps with locks

INPUTS_ANNOTATION = f"{GROUP}/inputs"
RESOLVED_AT_ANNOTATION = f"{GROUP}/resolved-at"
REFRESHED_AT_ANNOTATION = f"{GROUP}/refreshed-at"
REFRESH_HANDLED_ANNOTATION = f"{GROUP}/refresh-handled"
PINNED_ANNOTATION = f"{GROUP}/pinned"
VERIFIED_ANNOTATION = f"{GROUP}/verified"
VERIFY_NOTES_ANNOTATION = f"{GROUP}/verify-notes"
NOTES_ANNOTATION = f"{GROUP}/notes"
PROPOSED_ANNOTATION = f"{GROUP}/proposed"
SUMMARY_ANNOTATION = f"{GROUP}/summary"
ENVIRONMENT_ANNOTATION = f"{GROUP}/environment"
"""The environment that was made of the lock, at home only."""
SLOWER_ANNOTATION = f"{GROUP}/slower"
"""How many times longer reading its modules takes from a claim than from a local disk."""
CONTENT_ANNOTATION = f"{GROUP}/content"
LOCK_ANNOTATIONS = (
    INPUTS_ANNOTATION,
    RESOLVED_AT_ANNOTATION,
    REFRESHED_AT_ANNOTATION,
    REFRESH_HANDLED_ANNOTATION,
    PINNED_ANNOTATION,
    VERIFIED_ANNOTATION,
    VERIFY_NOTES_ANNOTATION,
    NOTES_ANNOTATION,
    PROPOSED_ANNOTATION,
    SUMMARY_ANNOTATION,
    ENVIRONMENT_ANNOTATION,
    SLOWER_ANNOTATION,
)
"""All but the one on the content."""

# Annotations of ConfigMaps with what an image has

IMAGE_ANNOTATION = f"{GROUP}/image"
IMAGE_ID_ANNOTATION = f"{GROUP}/image-id"
PROBED_AT_ANNOTATION = f"{GROUP}/probed-at"

# In pods

MARKER = GROUP
"""The key beside a template's job variable that says which operator owns it."""
PIECE_PREFIX = "flowdeps-"
"""How the names of our volumes, mounts and containers in a pod begin."""
LOCK_VOLUME = "flowdeps-lock"
CREDENTIALS_VOLUME = "flowdeps-credentials"
SITE_VOLUME = "flowdeps-site"
CACHE_VOLUME = "flowdeps-cache"
REGISTRY_VOLUME = "flowdeps-registry"
PULL_VOLUME = "flowdeps-pull"
"""Begins the names of those with pull secrets; a number follows."""
INSTALL_CONTAINER = "flowdeps-install"
PROBE_CONTAINER = "flowdeps-probe"
VERIFY_CONTAINER = "flowdeps-verify"
BUILD_POD = "flowdeps-build"
PACK_CONTAINER = "flowdeps-pack"
MOUNT_CONTAINER = "flowdeps-mount"
POPULATE_CONTAINER = "flowdeps-populate"

# In ConfigMaps that runs of a pool with a claim mount

ENVIRONMENT_FILE = "environment"
"""The directory of the lock's environment on the claim."""
PATH_FILE = "pythonPath"
"""What such runs have as PYTHONPATH, where their template sets none."""
NO_ENVIRONMENT = "none"
"""The directory of runs that choose nothing."""

# In namespaces of runs

ENVIRONMENTS_KIND = "RunEnvironments"
ENVIRONMENTS_PLURAL = "runenvironments"
ENVIRONMENTS = "flowdeps-runs"
"""The one by which an admission policy gives runs of its namespace their environments."""
EARLIER_ENVIRONMENTS = "flowdeps-runs.environments"
"""The ConfigMap that earlier versions wrote in its place."""
EARLIER_PURPOSE = "environments"
"""The purpose of that."""
OWNER_ANNOTATION = f"{GROUP}/owner"
"""The owner of the operator that writes it."""

# In a cluster

TRY = "flowdeps-check"
"""A ConfigMap that `flowdeps check` tries to make, and that is never made."""

# On a machine

TEMPORARY = "flowdeps-"
"""How the names of temporary directories begin."""

_MOUNTED = "flowdeps-"
_MOUNTED_NAME = re.compile(rf"{_MOUNTED}(?:[0-9a-f]{{10}}\.)?(.*)", re.DOTALL)


def mounted_name(choice: str, *, pool: str = "") -> str:
    """Name the ConfigMap that a pool's runs of a choice mount, and the Secret for its index.

        flowdeps-<choice>         without `pool`: a set's own, in its namespace
        flowdeps-<pool>.<choice>  <pool> is a hash of the pool's name

    A choice is what the job variable holds: a key, a revision (`revision_choice`) or, in a
    template, the variable's placeholder. As no set, key or revision has a dot, no set can have
    the name of what a pool mounts, and no choice leads to what another pool mounts.
    """
    of_pool = f"{hashlib.sha256(pool.encode()).hexdigest()[:10]}." if pool else ""
    return f"{_MOUNTED}{of_pool}{choice}"


def choice_of(name: str) -> str:
    """Return the choice in the name of a ConfigMap or Secret, whichever pool's; else nothing."""
    found = _MOUNTED_NAME.fullmatch(name)
    return found[1] if found else ""


def revision_choice(key: str, digest: str) -> str:
    """Return what a run chooses to get one revision of a key; `digest` is the short one."""
    return f"{key}-{digest}"


def image_facts_name(digest: str) -> str:
    """Name the ConfigMap that keeps what an image has; the dot sets it apart from locks' names."""
    return f"flowdeps-image.{digest}"


def set_labels(*, namespace: str, name: str) -> dict[str, str]:
    """Return the labels of an object that belongs to a set."""
    return {MANAGED_BY_LABEL: MANAGED_BY, SET_LABEL: name, NAMESPACE_LABEL: namespace}


def is_managed(labels: Mapping[str, str]) -> bool:
    """Tell by its labels whether an operator has made an object."""
    return labels.get(MANAGED_BY_LABEL) == MANAGED_BY
