"""What is, and what should be. Pure: values in, values out; others make the writes.

`store` is what the cluster and Prefect have. `locations` says where a lock is published and who has
a location, `records` which lock is in service, `config_maps` what should be there, `fragments` what
a pool's template should carry. `reported` is all that may be read from a status.
"""

from flowdeps.state.config_maps import (
    SUMMARY_LIMIT,
    Desired,
    config_maps,
    keep_history,
    manifest_of,
    obsolete,
)
from flowdeps.state.fragments import Signature, pool_fragment, signature_of
from flowdeps.state.locations import (
    Claims,
    Location,
    age,
    locations_of,
    owner_of,
    primary_location,
)
from flowdeps.state.records import (
    LockRecord,
    Served,
    lock_in_service,
    newest_lock,
    pinned_lock,
    proposals_of,
    record_of,
    refresh_after,
    revisions_of,
)

__all__ = [
    "SUMMARY_LIMIT",
    "Claims",
    "Desired",
    "Location",
    "LockRecord",
    "Served",
    "Signature",
    "age",
    "config_maps",
    "keep_history",
    "locations_of",
    "lock_in_service",
    "manifest_of",
    "newest_lock",
    "obsolete",
    "owner_of",
    "pinned_lock",
    "pool_fragment",
    "primary_location",
    "proposals_of",
    "record_of",
    "refresh_after",
    "revisions_of",
    "signature_of",
]
