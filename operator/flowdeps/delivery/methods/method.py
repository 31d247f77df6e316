"""What a method of delivery is: it says what a run's pod needs beyond what the template has.

A kind of pool puts these pieces into a template, and records their names in the marker, by which
it takes them out again. So neither knows anything of the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flowdeps.api.names import GROUP, PIECE_PREFIX
from flowdeps.delivery.choice import Choice

Item = Mapping[str, Any]

HOME = "/opt/flowdeps"
"""The directory of the flow's container in which everything of ours lies."""
CACHE = f"{HOME}-cache"
"""Where a cache is mounted: beside HOME, in which nothing can be mounted that is read-only."""
ENV_PREFIX = "FLOWDEPS_"
ENV_BEYOND = f"{ENV_PREFIX}BEYOND"
"""In an init container: more than white space where a list of the run does not fit its pod."""
LABEL_PREFIX = f"{GROUP}/"


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What is added to a run's pod. Names begin with a prefix of ours, directories with HOME; a
    cache is mounted beside that.

    An init container takes from the flow's container what it does not say itself: image and pull
    policy, working directory, resources, user and group.
    """

    volumes: tuple[Item, ...] = ()
    init_containers: tuple[Item, ...] = ()
    """Init containers, which run after those of the template."""
    flow_mounts: tuple[Item, ...] = ()
    """Mounts of the flow's container."""
    flow_env: tuple[Item, ...] = ()
    """Variables of the flow's container, except PYTHONPATH."""
    python_path: tuple[str, ...] = ()
    """Directories that go before those of the template on PYTHONPATH."""
    image_path: tuple[str, ...] = ()
    """Directories after these where the template sets no PYTHONPATH: they lead to the image's."""
    path_source: Item | None = None
    """Where PYTHONPATH comes from where the template sets none, in place of all directories: a
    `valueFrom` with the key `pythonPath` of one of our ConfigMaps."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = (*self.volumes, *self.init_containers, *self.flow_mounts)
        _check((item["name"] for item in named), PIECE_PREFIX)
        _check((item["name"] for item in self.flow_env), ENV_PREFIX)
        _check(self.labels, LABEL_PREFIX)
        mounts = [item["mountPath"] for item in self.flow_mounts]
        mounts = [path for path in mounts if path != CACHE]
        paths = (*self.python_path, *self.image_path, *mounts)
        source = self.path_source
        _check([source["configMapKeyRef"]["name"]] if source else (), PIECE_PREFIX)
        _check((f"{path}/" for path in paths), f"{HOME}/")


class Method(Protocol):
    """A way in which the lock that a run chooses reaches it.

    What one needs built beforehand is the business of reconciles: ``Volume`` is given to a pool
    whose keys have their environments on the claim.
    """

    def pieces(self, choice: Choice) -> Pieces:
        """Return what the pods of a pool need where runs have this choice."""


def _check(names: Iterable[str], prefix: str) -> None:
    for name in names:
        if not name.startswith(prefix):
            raise ValueError(f"{name!r} must be ours by its name, which begins with {prefix!r}")
