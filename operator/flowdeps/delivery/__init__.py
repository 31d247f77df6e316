"""How a lock reaches a run: what we add to the base job template of a Prefect work pool. Pure.

``choice`` is the job variable by which a run chooses, and our marker: the same everywhere.
``methods`` say what a run needs to get what it chose; ``kinds`` put that into a template of their
kind of pool, and take it out again. ``in_image`` holds no modules of the operator but the scripts
that run in a flow's image; ``scripts`` makes a text of each.
"""

from flowdeps.delivery.choice import NONE, Choice, LiveFragment, find
from flowdeps.delivery.kinds import for_type, remove, unsupported
from flowdeps.delivery.kinds.kind import Fragment, Kind, MergeRefusedError
from flowdeps.delivery.methods.install import Install

__all__ = [
    "NONE",
    "Choice",
    "Fragment",
    "Install",
    "Kind",
    "LiveFragment",
    "MergeRefusedError",
    "find",
    "for_type",
    "remove",
    "unsupported",
]
