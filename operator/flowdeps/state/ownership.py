"""Whether the fragment in a pool's template is ours to change and remove."""

from flowdeps.delivery.choice import LiveFragment


def is_ours(found: LiveFragment | None, *, owner: str, cluster: str, unnamed: bool) -> bool:
    """Return whether we, of this owner and cluster, may remove a fragment.

    An operator of the same owner in another cluster may have written it, which alone knows its
    sets. An empty `cluster` is not known, and then the owner decides. `unnamed`: whether a
    fragment that names no cluster is ours.
    """
    if found is None or found.owner != owner:
        return False
    if not cluster:
        return True
    return found.cluster == cluster if found.cluster else unnamed
