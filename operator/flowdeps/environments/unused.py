"""Removes from the registry the environments of locks that nothing names any more.

Which these are is the operator's to say, and it has to know first what is there: so each pod that
packs says of which locks it saw environments, and a later one is given those that no ConfigMap of
the namespace names. An environment that is wanted again meanwhile is made again.
"""

import json
import re
from collections.abc import Callable, Sequence, Set

from flowdeps.environments.errors import PackError
from flowdeps.environments.messages import DELETE
from flowdeps.environments.registry import Source

_OURS = re.compile(r"([0-9a-f]{10})-[0-9a-f]{10}-[0-9a-f]{10}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOST_REMOVED, _MOST_LOCKS = 100, 2_000


async def remove_unused(
    source: Source, locks: Set[str], *, say: Callable[[str], None]
) -> Sequence[str]:
    """Remove what was made of `locks`, a hundred at most; return the locks of the rest.

    A lock is named by the first ten hex digits of its digest, as in tags. Raises `PackError`.
    """
    listed = await source.ask(("repo", "tags"), source.repository, purpose=DELETE)
    tags = [found for line in listed.splitlines() if (found := _OURS.fullmatch(line.strip()))]
    unused = [tag[0] for tag in tags if tag[1] in locks][:_MOST_REMOVED]
    for tag in unused:
        # Deleting is by digest: what has another tag too goes with both.
        for reference in (*await _referrers(source, tag), f"{source.repository}:{tag}"):
            await source.ask(("manifest", "delete", "--force"), reference, purpose=DELETE)
        say(f"removed {source.repository}:{tag}, whose lock nothing names any more")
    return sorted({tag[1] for tag in tags} - locks)[:_MOST_LOCKS]


async def _referrers(source: Source, tag: str) -> Sequence[str]:
    """Return what refers to an environment, such as its list of components, and the tag by which
    registries without an API for it find that."""
    command = ("discover", "--format", "json", "--depth", "1")
    said = await source.ask(command, f"{source.repository}:{tag}", purpose=DELETE)
    try:
        found = json.loads(said)
        digests = [one["digest"] for one in (found, *(found["referrers"] or ()))]
        [subject, *others] = filter(_DIGEST.fullmatch, digests)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise PackError("oras says nothing that can be read of what refers to it") from None
    listed = f"{source.repository}:{subject.replace(':', '-')}"
    return [*(f"{source.repository}@{one}" for one in others), listed]
