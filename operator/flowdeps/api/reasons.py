"""Why a condition is as it is: every reason that a FlowDependencySet can show."""

from enum import StrEnum


class Reason(StrEnum):
    """A reason; `description` says what it means. What to do about it: `remedies`."""

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
    VERIFIED = "Verified", "The lock was installed, checked and imported in its image."
    PUBLISHED = "Published", "The lock's ConfigMaps are in place."
    PINNED = "Pinned", "spec.revision names the lock in service, and nothing takes its place."
    SYNCED = "Synced", "Every pool's base job template offers the set."
    NO_POOLS = "NoPools", "The set names no work pool: its lock is published, no run can choose it."
    NO_VULNERABILITIES = "NoVulnerabilities", "No pin of the lock has a known vulnerability."

    # Worth knowing: nothing waits for it
    VERIFY_DISABLED = (
        "VerifyDisabled",
        "spec.verify.mode is Disabled: nobody has tried the lock; a run is the first to.",
    )
    NO_IMAGE_TO_VERIFY = (
        "NoImageToVerify",
        "python.version is given: there is no image to try the lock in.",
    )
    VULNERABILITIES_FOUND = (
        "VulnerabilitiesFound",
        "Pins have known vulnerabilities.",
    )
    VULNERABILITIES_UNKNOWN = (
        "VulnerabilitiesUnknown",
        "spec.vulnerabilities is Block, but no database is configured: nothing is known, and"
        " nothing is held back.",
    )
    DATABASE_UNAVAILABLE = (
        "DatabaseUnavailable",
        "The vulnerability database cannot be read; what it said last holds.",
    )

    # Under way
    PENDING = "Pending", "Waits for an earlier step."
    GATHERING = "Gathering", "The set's ConfigMaps, variables, Secrets and sets are being read."
    PROBING = "Probing", "A pod in the image is finding out what the image has."
    RESOLVING = "Resolving", "uv is looking for versions that fit together."
    VERIFYING = "Verifying", "A pod in the image is trying the lock."
    PUBLISHING = (
        "Publishing",
        "The lock's ConfigMaps are being written; a write that fails is tried again.",
    )
    SYNCING = "Syncing", "A pool's base job template is being brought in line."
    SUSPENDED = "Suspended", "spec.suspend is true: what is published stays, nothing else happens."

    # The spec cannot work: Stalled until it changes
    INVALID_SPEC = "InvalidSpec", "The spec has a mistake that the schema cannot see."
    SOURCE_INVALID = (
        "SourceInvalid",
        "A source has a line that cannot be accepted, or is no text.",
    )
    INCLUDE_CYCLE = "IncludeCycle", "Sets include each other."
    INCLUDE_INVALID = (
        "IncludeInvalid",
        "An included set has a mistake itself, or is made by lockFrom.",
    )
    LOCK_INVALID = (
        "LockInvalid",
        "What spec.lockFrom names is no complete lock with hashes, or not one for the image.",
    )
    INDEX_NOT_ALLOWED = (
        "IndexNotAllowed",
        "The operator's configuration does not allow the index.",
    )
    IMAGE_NOT_ALLOWED = (
        "ImageNotAllowed",
        "The operator's configuration does not allow the image.",
    )
    IMAGE_UNKNOWN = (
        "ImageUnknown",
        "The set names no image and no Python, and none of its pools has a default image.",
    )
    IMAGE_UNUSABLE = (
        "ImageUnusable",
        "The image has no Python that flowdeps can use, or cannot run.",
    )
    UNSATISFIABLE = (
        "Unsatisfiable",
        "No versions fit together, a package does not exist, or has no wheel for the Python and"
        " platforms; the message has uv's explanation.",
    )
    VERIFY_FAILED = (
        "VerifyFailed",
        "The lock installs, but does not work in its image; the message has the last lines of the"
        " trial.",
    )
    VULNERABLE = (
        "Vulnerable",
        "spec.vulnerabilities is Block, and the new lock has known vulnerabilities.",
    )
    LOCK_TOO_LARGE = "LockTooLarge", "The lock does not fit a ConfigMap (1 MiB)."
    REVISION_NOT_FOUND = (
        "RevisionNotFound",
        "spec.revision names none of the revisions that are kept.",
    )
    CONFLICT = (
        "Conflict",
        "An older set serves the key in that namespace, or is the pool's default.",
    )
    NOT_ADMITTED = "NotAdmitted", "The pool does not take sets from this namespace."

    # A pool cannot offer the set as it is
    POOL_NOT_FOUND = "PoolNotFound", "Prefect has no work pool of that name."
    POOL_UNSUPPORTED = "PoolUnsupported", "The pool is not of type kubernetes."
    NO_IMAGE = "NoImage", "Runs of the pool may have no image, and an init container needs one."
    NOT_MERGEABLE = "NotMergeable", "The base job template leaves no place for the fragment."
    CONTENDED = "Contended", "Something else keeps overwriting the pool's base job template."

    # An outage: retried
    SOURCE_NOT_FOUND = (
        "SourceNotFound",
        "A ConfigMap, its key or a Prefect variable does not exist.",
    )
    INCLUDE_NOT_FOUND = "IncludeNotFound", "A set in spec.includes does not exist."
    CREDENTIALS_INVALID = (
        "CredentialsInvalid",
        "spec.index.credentialsSecretRef names no Secret, or one that is of no use.",
    )
    IMAGE_UNAVAILABLE = (
        "ImageUnavailable",
        "The image cannot be pulled.",
    )
    PODS_FORBIDDEN = (
        "PodsForbidden",
        "Quota or policy forbids the pods that look into the image and try the lock.",
    )
    PODS_UNSCHEDULABLE = (
        "PodsUnschedulable",
        "No node takes the pods that look into the image and try the lock.",
    )
    PODS_FAILED = (
        "PodsFailed",
        "A pod that looks into the image or tries the lock ended without a result.",
    )
    VERIFY_TIMEOUT = (
        "VerifyTimeout",
        "The trial of the lock ran out of time.",
    )
    RESOLVER_FAILED = "ResolverFailed", "uv failed in a way that has no better word."
    RESOLVER_LIMIT = "ResolverLimit", "uv ran out of the time or memory that it is allowed."
    INDEX_UNAVAILABLE = "IndexUnavailable", "A package index cannot be reached."
    INDEX_UNAUTHORIZED = (
        "IndexUnauthorized",
        "A package index refuses the credentials, or wants some.",
    )
    PREFECT_UNAVAILABLE = "PrefectUnavailable", "Prefect's API cannot be reached or is overloaded."
    PREFECT_UNAUTHORIZED = (
        "PrefectUnauthorized",
        "Prefect's API refuses the operator's credentials.",
    )
    NAMESPACE_NOT_FOUND = "NamespaceNotFound", "A job namespace does not exist."
    NAME_TAKEN = (
        "NameTaken",
        "A ConfigMap of the lock's name exists and is not flowdeps', or another operator's.",
    )
    FORBIDDEN = "Forbidden", "The operator's Kubernetes role does not allow a write."
    INTERNAL_ERROR = "InternalError", "A mistake in flowdeps; its log has the details."


UNDER_WAY = frozenset(
    {Reason.PENDING, Reason.GATHERING, Reason.PROBING, Reason.RESOLVING, Reason.VERIFYING}
)
"""A lock is being made."""

PASSING = UNDER_WAY | {Reason.PUBLISHING, Reason.SYNCING}
"""A set is being worked on; nobody needs to be told."""
