"""What should be, from what is. Pure: values in, values out; others make the writes.

`places` says where a set's lock belongs, `records` which lock is in service, `config_maps`
what stands there, `fragments` what a pool's template should carry.
"""

from flowdeps.state.config_maps import SUMMARY_LIMIT, Desired, config_maps, keep_history, obsolete
from flowdeps.state.fragments import asked, pool_fragment
from flowdeps.state.locations import Location, age, holder_of, owner_of, places, primary_location
from flowdeps.state.records import (
    LockRecord,
    last_record,
    newest_record,
    pinned_record,
    proposals_of,
    record_of,
    refresh_after,
    revisions_of,
)

__all__ = [
    "SUMMARY_LIMIT",
    "Desired",
    "Location",
    "LockRecord",
    "age",
    "asked",
    "config_maps",
    "holder_of",
    "keep_history",
    "last_record",
    "newest_record",
    "obsolete",
    "owner_of",
    "pinned_record",
    "places",
    "pool_fragment",
    "primary_location",
    "proposals_of",
    "record_of",
    "refresh_after",
    "revisions_of",
]
