"""Why a condition of a FlowDependencySet is as it is: every reason, as a table.

A row is a name, a kind, what the reason means, and what to do about it (empty where nobody need do
anything). The table in docs/operations.md is made from it.
"""

from enum import Enum, StrEnum
from typing import Self


class ReasonKind(Enum):
    """What follows from a reason."""

    FINE = "fine"
    """All is well, or somebody asked for it: nothing waits for this to end."""
    UNDER_WAY = "under way"
    """The operator is working on it. No event is posted."""
    RETRIED = "retried"
    """It fails, and may work later with the same spec: the operator keeps trying."""
    MISSING = "missing"
    """Somebody has to make or correct something beside the spec: the operator keeps trying, and
    after a quarter of an hour the set is Stalled."""
    STALLED = "stalled"
    """Only a change by a person ends it: the set is Stalled."""


_FINE, _UNDER_WAY, _RETRIED, _MISSING, _STALLED = ReasonKind
_WAIT = "wait; a resolution may take minutes, and so may pulling an image"


class Reason(StrEnum):
    """The reason of a condition."""

    kind: ReasonKind
    """What follows from it."""
    description: str
    """What it means."""
    remedy: str
    """What to do about it; empty where nobody need do anything."""

    def __new__(cls, value: str, kind: ReasonKind, description: str, remedy: str = "") -> Self:
        """Return a row of the table."""
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.kind, reason.description = kind, description
        reason.remedy = _WAIT if kind is _UNDER_WAY and not remedy else remedy
        return reason

    @property
    def is_stalled(self) -> bool:
        """Whether only a change by a person ends it."""
        return self.kind is _STALLED

    @property
    def may_be_missing(self) -> bool:
        """Whether it takes a person to end it, though not a change of the spec."""
        return self.kind is _MISSING

    @property
    def is_under_way(self) -> bool:
        """Whether the operator is working on it."""
        return self.kind is _UNDER_WAY

    @property
    def is_making_lock(self) -> bool:
        """Whether a lock is being made, so that nothing new is known of the set yet.

        A write is news even while it is under way: it may have been refused.
        """
        return self.is_under_way and self not in {Reason.PUBLISHING, Reason.SYNCING}

    @classmethod
    def known(cls, text: str) -> Self | None:
        """Return the reason of that name; None for one that another version has written."""
        return next((reason for reason in cls if reason == text), None)

    # fmt: off

    # All is well.

    READY = ("Ready", _FINE,
        "The lock is published and every pool offers it.")
    RESOLVED = ("Resolved", _FINE,
        "A lock was found for the current spec.")
    VERIFIED = ("Verified", _FINE,
        "The lock was installed, checked and imported in its image.")
    PUBLISHED = ("Published", _FINE,
        "The lock's ConfigMaps are in place.")
    PINNED = ("Pinned", _FINE,
        "spec.revision names the lock in service, and no other replaces it.",
        "remove `spec.revision` to go on")
    SYNCED = ("Synced", _FINE,
        "Every pool's base job template offers the set.")
    NO_POOLS = ("NoPools", _FINE,
        "The set names no work pool: its lock is published, but no run can choose it.",
        "add `spec.workPools`")
    CREDENTIALS_ACCEPTED = ("CredentialsAccepted", _FINE,
        "The index took the set's credentials when they were last tried.")
    NO_VULNERABILITIES = ("NoVulnerabilities", _FINE,
        "No pin of the lock has a known vulnerability.")
    BUILT = ("Built", _FINE,
        "The registry has an environment of the lock: runs may start with its packages in place.")

    # Worth knowing, and nothing waits for it.

    VERIFY_DISABLED = ("VerifyDisabled", _FINE,
        "spec.verify.mode is Disabled: the lock was not verified; a run is the first to use it.")
    NO_IMAGE_TO_VERIFY = ("NoImageToVerify", _FINE,
        "python.version is given: there is no image to verify the lock in.",
        "name `spec.python.image` instead, or set `verify: {mode: Disabled}` if this is intended")
    VULNERABILITIES_FOUND = ("VulnerabilitiesFound", _FINE,
        "Pins have known vulnerabilities.",
        "`status.vulnerabilities` lists them and the versions that fix them: widen the requirement"
        " that keeps the old version, or ask for a refresh")
    VULNERABILITIES_UNKNOWN = ("VulnerabilitiesUnknown", _FINE,
        "spec.vulnerabilities is Block, but no database is configured: no vulnerability is known,"
        " and no lock is held back.",
        "set `vulnerabilities.database` in the operator's configuration")
    DATABASE_UNAVAILABLE = ("DatabaseUnavailable", _FINE,
        "The vulnerability database cannot be read; its last content is still used.",
        "fix the directory or URL in `vulnerabilities.database`; the message says what failed")
    NO_ENVIRONMENTS = ("NoEnvironments", _FINE,
        "No environments are made: runs install the lock when they start.",
        "for faster starts, set `environments.repository` in the operator's configuration")
    NOT_BUILT = ("NotBuilt", _FINE,
        "No environment can be made of this lock: runs install it when they start.",
        "for faster starts, the message says what stands in the way")
    SUSPENDED = ("Suspended", _FINE,
        "spec.suspend is true: what is published stays, and nothing else happens.",
        "remove `spec.suspend` to go on")

    # Under way.

    PENDING = ("Pending", _UNDER_WAY,
        "Waits for an earlier step.")
    GATHERING = ("Gathering", _UNDER_WAY,
        "The ConfigMaps, variables, Secrets and sets that the set names are being read.")
    PROBING = ("Probing", _UNDER_WAY,
        "A pod in the image is finding out what the image has.")
    RESOLVING = ("Resolving", _UNDER_WAY,
        "uv is looking for versions that fit together.")
    VERIFYING = ("Verifying", _UNDER_WAY,
        "A pod in the image is verifying the lock.")
    BUILDING = ("Building", _UNDER_WAY,
        "A pod in the image is making the environment of the lock; runs install it meanwhile.")
    POPULATING = ("Populating", _UNDER_WAY,
        "The environment of the lock is being put on the claims of a pool's runs; the earlier lock"
        " serves meanwhile.")
    PUBLISHING = ("Publishing", _UNDER_WAY,
        "The lock's ConfigMaps are being written; a write that fails is retried.",
        "wait; if the message has an error of the API server, fix that")
    SYNCING = ("Syncing", _UNDER_WAY,
        "A pool's base job template is being updated.")

    # The spec cannot work until somebody changes it, or what it names.

    INVALID_SPEC = ("InvalidSpec", _STALLED,
        "The spec has a mistake that the schema cannot see.",
        "correct the field that the message names")
    SOURCE_INVALID = ("SourceInvalid", _STALLED,
        "A source has a line that cannot be accepted, or is not text.",
        "correct the line that the message names; the source is read again automatically")
    INCLUDE_CYCLE = ("IncludeCycle", _STALLED,
        "Sets include each other.",
        "remove one of the includes that the message names")
    INCLUDE_INVALID = ("IncludeInvalid", _STALLED,
        "An included set has a mistake itself, or is made by lockFrom.",
        "fix that set, or remove it from `spec.includes`")
    LOCK_INVALID = ("LockInvalid", _STALLED,
        "What spec.lockFrom names is not a complete lock with hashes, or not one for the image.",
        "make it for the image with `flowdeps lock`")
    INDEX_NOT_ALLOWED = ("IndexNotAllowed", _STALLED,
        "The operator's configuration does not allow the index, or the address that it leads to.",
        "use an index of `index.allowed`, or have one more allowed in the operator's"
        " configuration; for an address, in `index.allowedNetworks`")
    IMAGE_NOT_ALLOWED = ("ImageNotAllowed", _STALLED,
        "The operator's configuration does not allow the image.",
        "use an image of `images.allowed`, or have one more allowed in the operator's"
        " configuration")
    IMAGE_UNKNOWN = ("ImageUnknown", _STALLED,
        "The set names no image and no Python, and none of its pools has a default image.",
        "set `spec.python.image`, or a default image in the pool")
    IMAGE_UNUSABLE = ("ImageUnusable", _STALLED,
        "The image has no Python that flowdeps can use, or cannot run.",
        "use another image, or fix this one; the tag is checked again automatically")
    UNSATISFIABLE = ("Unsatisfiable", _STALLED,
        "No versions fit together, a package does not exist, or has no wheel for the Python and"
        " platforms; the message has uv's explanation.",
        "uv's explanation says what clashes: widen one side, correct the name, or ask for fewer"
        " platforms; source distributions are never built")
    VERIFY_FAILED = ("VerifyFailed", _STALLED,
        "The lock installs, but does not work in its image; the message has the last lines of the"
        " verification.",
        "often the image lacks a system library: fix the image, or choose another version;"
        " name the modules in `verify.imports` if one has another name or must not be imported; of"
        " two packages with one module, require one, or name one in `shadow`")
    VULNERABLE = ("Vulnerable", _STALLED,
        "spec.vulnerabilities is Block, and the new lock has known vulnerabilities.",
        "widen the requirement that keeps the versions that the message names, or set"
        " `vulnerabilities: Report`")
    LOCK_TOO_LARGE = ("LockTooLarge", _STALLED,
        "The lock does not fit a ConfigMap (1 MiB).",
        "split the set, or name fewer platforms")
    REVISION_NOT_FOUND = ("RevisionNotFound", _STALLED,
        "spec.revision names none of the revisions that are kept.",
        "choose one of `status.revisions`")
    CONFLICT = ("Conflict", _STALLED,
        "Another set serves the same key of the pool, or is the pool's default, until it gives that"
        " up. Of several that wait for it, the oldest gets it.",
        "choose another `key`, or remove `default`, or have the set that the message names do so")
    POOL_FULL = ("PoolFull", _STALLED,
        "The pool's base job template has no room for one more key.",
        "offer the set to another pool, or delete sets that nobody needs")
    TOO_MANY_SETS = ("TooManySets", _STALLED,
        "The namespace has more sets than the operator serves, and this is not one of the oldest:"
        " no lock is made for it. What is in service stays.",
        "delete sets of the namespace, or have `limits.setsPerNamespace` of the operator's"
        " configuration raised")
    NOT_ADMITTED = ("NotAdmitted", _STALLED,
        "The pool does not accept sets from this namespace.",
        "have the namespace added to `workPools[].namespaces` of the operator's configuration; the"
        " message has the line")
    DEFAULT_NOT_ALLOWED = ("DefaultNotAllowed", _STALLED,
        "The pool offers the set, but takes no default from this namespace.",
        "remove `default`, or have the namespace added to `workPools[].defaultNamespaces` of the"
        " operator's configuration; the message has the line")
    ENVIRONMENT_NEEDED = ("EnvironmentNeeded", _STALLED,
        "Runs of a pool mount environments from a claim, and no environment can be made of the"
        " lock.",
        "the message says what stands in the way; or use a pool with another"
        " `workPools[].delivery`")
    CREDENTIALS_NOT_ALLOWED = ("CredentialsNotAllowed", _STALLED,
        "The set has credentials, and only a pool's template names the namespace of its jobs: no"
        " Secret goes there, and no lock that needs it.",
        "have the namespace added to `workPools[].jobNamespaces` of the operator's configuration;"
        " the message has the line")

    # A pool cannot offer the set as it is.

    POOL_NOT_FOUND = ("PoolNotFound", _MISSING,
        "Prefect has no work pool of that name.",
        "create the pool, or correct its name")
    POOL_UNSUPPORTED = ("PoolUnsupported", _STALLED,
        "The pool is not of type kubernetes.",
        "use a Kubernetes pool")
    NO_IMAGE = ("NoImage", _STALLED,
        "Runs of the pool may have no image, and flowdeps can't give them one.",
        "the message says where to name one")
    NOT_MERGEABLE = ("NotMergeable", _STALLED,
        "The base job template leaves no place for the fragment.",
        "the message says what is in the way; `flowdeps template --pool NAME SET.yaml` shows it"
        " without an operator")
    CACHE_UNAVAILABLE = ("CacheUnavailable", _MISSING,
        "Runs of the pool cannot mount the cache that the configuration gives it; its template"
        " stays as it is.",
        "the message says what is missing: the claim, or a namespace whose Pod Security allows"
        " hostPath")
    CONTENDED = ("Contended", _MISSING,
        "Something else overwrote the pool's base job template three times in ten minutes.",
        "let Helm, Terraform or the PrefectWorkPool resource leave the template alone")

    # An outage, or something that is missing.

    SOURCE_NOT_FOUND = ("SourceNotFound", _MISSING,
        "A ConfigMap, its key or a Prefect variable does not exist.",
        "create it, or set `optional: true`")
    INCLUDE_NOT_FOUND = ("IncludeNotFound", _MISSING,
        "A set in spec.includes does not exist.",
        "create the set, or correct its name")
    CREDENTIALS_INVALID = ("CredentialsInvalid", _MISSING,
        "spec.index.credentialsSecretRef names no Secret, or one that cannot be used.",
        "make a Secret in the set's namespace with `username` and `password`, or `netrc`")
    CREDENTIAL_HELPER_FAILED = ("CredentialHelperFailed", _MISSING,
        "A command of index.credentialHelpers in the operator's configuration gives no token. Runs"
        " have the last one.",
        "the operator's log has the last line of what the command says; correct it, or the rights"
        " of the operator's service account in the cloud")
    IMAGE_UNAVAILABLE = ("ImageUnavailable", _MISSING,
        "The image cannot be pulled.",
        "check the image's name, and the pull secrets of the namespace's default service account")
    PODS_FORBIDDEN = ("PodsForbidden", _MISSING,
        "Quota or policy forbids the pods that inspect the image and verify the lock.",
        "make room in the quota, or see `pods` in the operator's configuration; `python.version`"
        " with `verify: {mode: Disabled}` needs no pods")
    PODS_UNSCHEDULABLE = ("PodsUnschedulable", _MISSING,
        "No node accepts the pods that inspect the image and verify the lock.",
        "make room in the cluster, or see `pods` in the operator's configuration: what they ask"
        " for, and which nodes they may use")
    PODS_FAILED = ("PodsFailed", _MISSING,
        "A pod that inspects the image or verifies the lock ended without a result.",
        "the message says why: an installation that failed, an eviction, a lack of memory"
        " (`pods.resources` in the operator's configuration)")
    VERIFY_TIMEOUT = ("VerifyTimeout", _MISSING,
        "The verification of the lock ran out of time.",
        "the message names the step: raise `verify.installTimeout` where it is the installation,"
        " `verify.timeout` where it is the imports, or fix what makes it slow")
    BUILD_FAILED = ("BuildFailed", _RETRIED,
        "The environment of the lock could not be made or pushed; runs install it meanwhile.",
        "the message says why; check `environments` in the operator's configuration, the registry,"
        " and the Secret `environments.pushSecretRef.name` in the set's namespace")
    POPULATE_FAILED = ("PopulateFailed", _RETRIED,
        "The environment of the lock could not be put on the claim of a pool's runs; the earlier"
        " lock goes on.",
        "the message says why; check that the claim `workPools[].volume.claimName` is there and has"
        " room, and that its namespace allows the pod")
    PULL_FAILED = ("PullFailed", _RETRIED,
        "A node could not pull the environment for a run; runs that start now install the lock.",
        "check that nodes reach the registry, and that the namespace of the runs has a pull secret"
        " for it; the run that waits goes on once the pull works, or cancel it")
    RESOLVER_FAILED = ("ResolverFailed", _RETRIED,
        "uv failed, and no other reason fits.",
        "read the message, then the operator's log")
    RESOLVER_LIMIT = ("ResolverLimit", _MISSING,
        "uv ran out of the time, memory or disk that it is allowed.",
        "raise `resolver.timeout` or `resolver.memory`, or narrow the requirements; for a full"
        " disk, make the cache's volume larger, or `resolver.cacheSize` smaller")
    INDEX_UNAVAILABLE = ("IndexUnavailable", _RETRIED,
        "A package index cannot be reached.",
        "check the index, and the proxy to it (`HTTPS_PROXY`)")
    INDEX_UNAUTHORIZED = ("IndexUnauthorized", _MISSING,
        "A package index refuses the credentials, or asks for some. As the reason of `Authorized`:"
        " the lock is in service, but runs that install it now fail.",
        "renew the Secret of `index.credentialsSecretRef`; a change of it is noticed automatically")
    REGISTRY_UNAVAILABLE = ("RegistryUnavailable", _RETRIED,
        "The environment of the lock could not be pushed; runs install the lock meanwhile.",
        "check the registry, `environments.repository` in the operator's configuration, and the"
        " Secret `environments.pushSecretRef.name` in the set's namespace")
    ENVIRONMENT_UNAVAILABLE = ("EnvironmentUnavailable", _RETRIED,
        "Nodes cannot pull the environment of the lock; runs install the lock meanwhile.",
        "check that nodes reach the registry, and that the pods of the work pool have a pull secret"
        " for it (`imagePullSecrets`)")
    ENVIRONMENT_GONE = ("EnvironmentGone", _RETRIED,
        "The environment of the lock is not in its registry any more; runs install the lock until"
        " it was made again.",
        "nothing; if it goes again, let no clean-up of the registry delete what has a tag")
    IMAGE_VOLUMES_UNSUPPORTED = ("ImageVolumesUnsupported", _RETRIED,
        "Pods cannot mount environments; runs install the lock as they start.",
        "the message says what is missing: image volumes need Kubernetes 1.35, or the feature gate"
        " `ImageVolume`, and nodes with containerd 2.1 or CRI-O 1.31")
    PREFECT_UNAVAILABLE = ("PrefectUnavailable", _RETRIED,
        "Prefect's API cannot be reached or is overloaded.",
        "check Prefect; locks and ConfigMaps are still kept, and templates catch up later")
    PREFECT_UNAUTHORIZED = ("PrefectUnauthorized", _MISSING,
        "Prefect's API refuses the operator's credentials.",
        "correct `PREFECT_API_KEY` or `PREFECT_API_AUTH_STRING`, then restart the operator")
    NAMESPACE_NOT_FOUND = ("NamespaceNotFound", _MISSING,
        "A job namespace does not exist.",
        "create the namespace")
    NAME_TAKEN = ("NameTaken", _MISSING,
        "A ConfigMap of the lock's name exists already: somebody else's, or another operator's.",
        "rename one of the two")
    FORBIDDEN = ("Forbidden", _MISSING,
        "The API server refuses a request of the operator: by its role, a policy or a quota.",
        "the message says which; compare the role with `docs/rbac.yaml`")
    INTERNAL_ERROR = ("InternalError", _RETRIED,
        "A mistake in flowdeps; its log has the details.",
        "read the operator's log, and please report it")

    # fmt: on
