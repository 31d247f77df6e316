"""The method Volume: the flow's container mounts the chosen lock's environment from a claim.

The claim is in the namespace of the runs, and the operator has put the environment there before the
lock's ConfigMap names its directory. Nothing is installed, so there is no init container, and no
extras. The kubelet fills in which directory it is. A key that has none keeps the container from
its start; ``none`` leads to a directory with nothing in it, and leaves PYTHONPATH to the image.
"""

from dataclasses import dataclass

from flowdeps.api import names
from flowdeps.delivery.choice import NONE, Choice, LiveFragment
from flowdeps.delivery.methods.install import (
    ENV_LOCK,
    ENV_SET,
    IMAGE_PATH,
    PYTHON_PATH,
    SITE_MOUNT,
)
from flowdeps.delivery.methods.method import ENV_PREFIX, Pieces
from flowdeps.delivery.placeholders import mapping, placeholder_of

ENV_ENVIRONMENT = f"{ENV_PREFIX}ENVIRONMENT_"
"""How the variable begins whose rest is the choice and whose value is the directory."""
FLOW_PATH = ":".join((*PYTHON_PATH, *IMAGE_PATH))
"""What PYTHONPATH is for a run that has an environment, where its template sets none."""


def mounts_claim(live: LiveFragment) -> bool:
    """Return whether a template's fragment is of this method, by its marker."""
    named = mapping(live.record.get("names"))
    env = named.get("env")
    return isinstance(env, list) and f"{ENV_ENVIRONMENT}{NONE}" in env


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Mounts what a claim has for the lock."""

    claim: str
    """Its name, the same in each namespace of runs."""

    def pieces(self, choice: Choice) -> Pieces:
        """Return what mounts the environment of the chosen key."""
        chosen = placeholder_of(choice.variable)
        name = names.mounted_name(chosen, pool=choice.pool)

        def given(key: str) -> dict[str, object]:
            return {"configMapKeyRef": {"name": name, "key": key, "optional": True}}

        variable = f"{ENV_ENVIRONMENT}{chosen}"
        claim = {"claimName": self.claim, "readOnly": True}
        return Pieces(
            volumes=(
                # What a run uses is told by what it mounts.
                {"name": names.LOCK_VOLUME, "configMap": {"name": name, "optional": True}},
                {"name": names.SITE_VOLUME, "persistentVolumeClaim": claim},
            ),
            flow_mounts=({**SITE_MOUNT, "subPathExpr": f"$({variable})"},),
            flow_env=(
                {"name": ENV_SET, "value": chosen},
                {"name": ENV_LOCK, "valueFrom": given("digest")},
                {"name": f"{ENV_ENVIRONMENT}{NONE}", "value": names.NO_ENVIRONMENT},
                {"name": variable, "valueFrom": given(names.ENVIRONMENT_FILE)},
            ),
            python_path=PYTHON_PATH,
            path_source=given(names.PATH_FILE),
            labels={names.SET_LABEL: chosen},
        )
