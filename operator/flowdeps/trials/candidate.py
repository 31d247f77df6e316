"""Run a pod that installs a lock: as long as it lives, the lock is in a ConfigMap of its name.

What runs mount changes only when a lock is proven.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flowdeps.api.reasons import Reason
from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.clients.kubernetes.errors import ClusterError
from flowdeps.locks.lock import Lock
from flowdeps.locks.size import size_of
from flowdeps.state.store import DIGEST_FILE, LOCK_FILE, MANIFEST_FILE
from flowdeps.trials.errors import TrialError
from flowdeps.trials.images import config_map, is_of
from flowdeps.trials.room import give_room
from flowdeps.trials.runner import Ended, Runner, Watch


async def run_with_lock(
    cluster: Cluster,
    runner: Runner,
    body: dict[str, Any],
    *,
    lock: Lock,
    manifest: Mapping[str, Any],
    owner: Mapping[str, Any],
    purpose: str,
    also: str = "",
    watch: Watch | None = None,
) -> Ended:
    """Run a pod to its end and delete it, and the ConfigMap with it; `owner` has both.

    `manifest` is the lock.json that runs will see; `also` and `watch` are as for `Runner.run`.
    Raises TrialError where the pod could not run.
    """
    meta = body["metadata"]
    where = {"namespace": meta["namespace"], "name": meta["name"]}
    meta["ownerReferences"] = [dict(owner)]
    give_room(body, size_of(lock))
    candidate = config_map(
        {**where, "ownerReferences": [dict(owner)]},
        purpose=purpose,
        data={
            LOCK_FILE: lock.render(),
            MANIFEST_FILE: json.dumps(dict(manifest)),
            DIGEST_FILE: lock.digest,
        },
    )
    there = await cluster.get_config_map(**where)
    if there and not is_of(there, purpose=purpose):
        raise TrialError(
            f"ConfigMap {where['namespace']}/{where['name']} exists and is not flowdeps';"
            " delete it",
            reason=Reason.PODS_FAILED,
        )
    uid = (await cluster.apply_config_map(candidate))["metadata"]["uid"]
    try:
        ended = await runner.run(body, also=also, watch=watch)
    except TrialError:  # other errors may leave the pod to the next one who asks: with its lock
        await cluster.delete_config_map(**where, uid=uid)
        raise
    except asyncio.CancelledError:
        if not runner.closed:
            with suppress(ClusterError):  # then the sweep does so
                await cluster.delete_config_map(**where, uid=uid)
        raise
    await cluster.delete_config_map(**where, uid=uid)
    return ended
