"""Our fragment of a Prefect base job template: merge, remove, find. Pure.

``fragment`` says what we add, ``merge`` puts it in and takes it out, ``pythonpath`` keeps a search
path that the template sets, ``draft`` records what was replaced, ``strays`` knows what is left
where that record is lost, ``defaults`` reads what runs get. ``pods`` makes pods of ours in flow
images. ``inside`` holds no modules of the operator but the scripts that fragment and pods carry
into an image; ``scripts`` makes a text of each.
"""

from flowdeps.delivery.choice import NONE, Found, Fragment
from flowdeps.delivery.kinds.kubernetes.defaults import (
    default_image,
    job_namespace,
    pull_policy,
    user,
)
from flowdeps.delivery.kinds.kubernetes.draft import MergeRefusedError
from flowdeps.delivery.kinds.kubernetes.merge import find, merge, remove

__all__ = [
    "NONE",
    "Found",
    "Fragment",
    "MergeRefusedError",
    "default_image",
    "find",
    "job_namespace",
    "merge",
    "pull_policy",
    "remove",
    "user",
]
