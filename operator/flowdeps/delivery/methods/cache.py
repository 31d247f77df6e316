"""The method Cache: as Install, but what was installed stays on a volume for the next run.

The template is that of Install with one more volume, which the install container may write and the
flow's container may only read. ``in_image/cache.py`` has what the install container does there, and
is the only one that knows what is in it.
"""

from dataclasses import dataclass, field, replace

from flowdeps.api import names
from flowdeps.delivery.choice import Choice
from flowdeps.delivery.methods.install import ENV_NAMESPACE, Install
from flowdeps.delivery.methods.method import CACHE, Item, Pieces


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Installs the lock in an init container, or takes it from a volume of the namespace."""

    install: Install = field(default_factory=Install)
    """How it is installed."""
    claim: str | None = None
    """The claim in the namespace of the runs; None: a directory of the node."""
    host_path: str = ""
    """That directory, in which each namespace of runs has its own."""
    namespace: str = ""
    """Whose directory flows see there. It is a word and no variable, which runs could set."""
    unused_for: float = 7 * 24 * 3600.0
    """Seconds after which what no run used is removed."""
    most_entries: int = 100
    """How many environments there are at most for each user."""

    def pieces(self, choice: Choice) -> Pieces:
        """Return what installs the lock of the chosen key, or finds it there."""
        pieces = self.install.pieces(choice)
        [container] = pieces.init_containers
        mount: Item = {"name": names.CACHE_VOLUME, "mountPath": CACHE}
        source: Item = {"persistentVolumeClaim": {"claimName": self.claim}}
        seen, env = mount, []
        if self.claim is None:
            source = {"hostPath": {"path": self.host_path, "type": "DirectoryOrCreate"}}
            seen = {**mount, "subPath": self.namespace}
            mount = {**mount, "subPathExpr": f"$({ENV_NAMESPACE})"}  # no run sets what we have
            env = [{"name": "FLOWDEPS_CACHE_NAMESPACE", "value": self.namespace}]
        env += [
            {"name": "FLOWDEPS_CACHE", "value": CACHE},
            {"name": "FLOWDEPS_CACHE_UNUSED", "value": f"{self.unused_for:.0f}"},
            {"name": "FLOWDEPS_CACHE_ENTRIES", "value": str(self.most_entries)},
        ]
        filling = {
            **container,
            "env": [*container["env"], *env],
            "volumeMounts": [*container["volumeMounts"], mount],
        }
        return replace(
            pieces,
            volumes=(*pieces.volumes, {"name": names.CACHE_VOLUME, **source}),
            init_containers=(filling,),
            flow_mounts=(*pieces.flow_mounts, {**seen, "readOnly": True}),
        )
