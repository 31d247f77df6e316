"""Why a condition is as it is: every reason that a FlowDependencySet can show."""

from enum import StrEnum


class Reason(StrEnum):
    """A reason; `description` says what it means and what a person can do."""

    description: str

    def __new__(cls, value: str, description: str) -> "Reason":
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.description = description
        return reason

    @classmethod
    def named(cls, text: str) -> "Reason":
        """The reason of that name; INTERNAL_ERROR for one that is not ours."""
        return next((reason for reason in cls if reason == text), cls.INTERNAL_ERROR)

    # All is well
    READY = "Ready", "The lock is published and every pool offers it."
    RESOLVED = "Resolved", "A lock was found for the spec as it stands."
    PUBLISHED = "Published", "The lock's ConfigMaps are in place."
    PINNED = "Pinned", "spec.revision names the lock in service; nothing is resolved."
    SYNCED = "Synced", "Every pool's base job template offers the set."
    NO_POOLS = "NoPools", "The set names no work pool: its lock is published, no run can choose it."

    # Under way
    PENDING = "Pending", "Waits for an earlier step."
    RESOLVING = "Resolving", "uv is looking for versions that fit together."
    PUBLISHING = "Publishing", "The lock's ConfigMaps are being written."
    SYNCING = "Syncing", "A pool's base job template is being brought in line."
    SUSPENDED = "Suspended", "spec.suspend is true: what is published stays, nothing else happens."

    # The spec cannot work: Stalled until it changes
    INVALID_SPEC = "InvalidSpec", "The spec has a mistake that the schema cannot see."
    UNSATISFIABLE = "Unsatisfiable", "No versions fit together; the message has uv's explanation."
    LOCK_TOO_LARGE = "LockTooLarge", "The lock does not fit a ConfigMap (1 MiB); split the set."
    REVISION_NOT_FOUND = (
        "RevisionNotFound",
        "spec.revision names none of the revisions kept; choose one of status.revisions.",
    )
    CONFLICT = "Conflict", "An older set claims the key in the same namespace; choose another key."
    NOT_ADMITTED = "NotAdmitted", "The pool does not take sets from this namespace."

    # A pool cannot offer the set as it is
    POOL_NOT_FOUND = "PoolNotFound", "Prefect has no work pool of that name."
    POOL_UNSUPPORTED = "PoolUnsupported", "The pool's type is not supported; use a Kubernetes pool."
    NO_IMAGE = "NoImage", "Runs of the pool may have no image; set one in the pool or in flowdeps."
    NOT_MERGEABLE = "NotMergeable", "The base job template leaves no place for the fragment."
    CONTENDED = "Contended", "Something else keeps overwriting the pool's base job template."

    # An outage: retried
    RESOLVER_FAILED = "ResolverFailed", "uv failed in a way that has no better word."
    RESOLVER_LIMIT = "ResolverLimit", "uv ran out of the time or memory that it is allowed."
    INDEX_UNAVAILABLE = "IndexUnavailable", "A package index cannot be reached, or refuses access."
    PREFECT_UNAVAILABLE = "PrefectUnavailable", "Prefect's API cannot be reached or is overloaded."
    PREFECT_UNAUTHORIZED = (
        "PrefectUnauthorized",
        "Prefect's API refuses the operator's credentials.",
    )
    NAMESPACE_NOT_FOUND = "NamespaceNotFound", "A job namespace does not exist."
    NAME_TAKEN = "NameTaken", "A ConfigMap of the lock's name exists and is not flowdeps'."
    FORBIDDEN = "Forbidden", "The operator's Kubernetes role does not allow a write."
    INTERNAL_ERROR = "InternalError", "A mistake in flowdeps; its log has the details."
