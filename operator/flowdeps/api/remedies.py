"""What to do about each reason: the last column of the table in docs/operations.md, and what
`flowdeps explain` says. Empty where nobody need do anything."""

from collections.abc import Mapping

from flowdeps.api.reasons import Reason

_WAIT = "wait; a resolution may take minutes, and so may pulling an image"

REMEDIES: Mapping[Reason, str] = {
    Reason.READY: "",
    Reason.RESOLVED: "",
    Reason.VERIFIED: "",
    Reason.PUBLISHED: "",
    Reason.PINNED: "take `spec.revision` out to go on",
    Reason.SYNCED: "",
    Reason.NO_POOLS: "add `spec.workPools`",
    Reason.NO_VULNERABILITIES: "",
    Reason.VERIFY_DISABLED: "",
    Reason.NO_IMAGE_TO_VERIFY: (
        "name `spec.python.image` instead, or say `verify: {mode: Disabled}` if it is meant"
    ),
    Reason.VULNERABILITIES_FOUND: (
        "`status.vulnerabilities` says which, and what fixes them: widen what keeps them, or ask"
        " for a refresh"
    ),
    Reason.VULNERABILITIES_UNKNOWN: (
        "set `vulnerabilities.database` in the operator's configuration"
    ),
    Reason.DATABASE_UNAVAILABLE: (
        "mend the directory or URL in `vulnerabilities.database`; the message says what failed"
    ),
    Reason.PENDING: _WAIT,
    Reason.GATHERING: _WAIT,
    Reason.PROBING: _WAIT,
    Reason.RESOLVING: _WAIT,
    Reason.VERIFYING: _WAIT,
    Reason.PUBLISHING: "wait; where the message has an error of the API server, mend that",
    Reason.SYNCING: _WAIT,
    Reason.SUSPENDED: "take `spec.suspend` out to go on",
    Reason.INVALID_SPEC: "correct the field that the message names",
    Reason.SOURCE_INVALID: (
        "correct the line that the message names; the source is read again by itself"
    ),
    Reason.INCLUDE_CYCLE: "take one of the includes that the message names out",
    Reason.INCLUDE_INVALID: "mend that set, or take it out of `spec.includes`",
    Reason.LOCK_INVALID: "make it for the image with `flowdeps lock`",
    Reason.INDEX_NOT_ALLOWED: (
        "use an index of `index.allowed`, or have one more allowed in the operator's configuration"
    ),
    Reason.IMAGE_NOT_ALLOWED: (
        "use an image of `images.allowed`, or have one more allowed in the operator's configuration"
    ),
    Reason.IMAGE_UNKNOWN: "set `spec.python.image`, or a default image in the pool",
    Reason.IMAGE_UNUSABLE: (
        "use another image, or mend this one; the tag is looked at again by itself"
    ),
    Reason.UNSATISFIABLE: (
        "uv's explanation says what clashes: widen one side, correct the name, or ask for fewer"
        " platforms; source distributions are never built"
    ),
    Reason.VERIFY_FAILED: (
        "often the image lacks a system library: mend the image, or choose another version;"
        " name the modules in `verify.imports` if one has another name or must not be imported"
    ),
    Reason.VULNERABLE: (
        "widen what keeps the versions that the message names, or set `vulnerabilities: Report`"
    ),
    Reason.LOCK_TOO_LARGE: "split the set, or name fewer platforms",
    Reason.REVISION_NOT_FOUND: "choose one of `status.revisions`",
    Reason.CONFLICT: "choose another `key`, or take `default` out",
    Reason.NOT_ADMITTED: (
        "have the namespace added to `workPools[].namespaces` of the operator's configuration"
    ),
    Reason.POOL_NOT_FOUND: "create the pool, or correct its name",
    Reason.POOL_UNSUPPORTED: "use a Kubernetes pool",
    Reason.NO_IMAGE: (
        "set a default image in the pool, or `workPools[].image` in the operator's configuration"
    ),
    Reason.NOT_MERGEABLE: (
        "the message says what stands in the way; `flowdeps template --pool NAME SET.yaml` shows it"
        " without an operator"
    ),
    Reason.CONTENDED: (
        "let Helm, Terraform or the PrefectWorkPool resource leave the template alone"
    ),
    Reason.SOURCE_NOT_FOUND: "create it, or say `optional: true`",
    Reason.INCLUDE_NOT_FOUND: "create the set, or correct its name",
    Reason.CREDENTIALS_INVALID: (
        "make a Secret in the set's namespace with `username` and `password`, or `netrc`"
    ),
    Reason.IMAGE_UNAVAILABLE: (
        "check the image's name, and the pull secrets of the namespace's default service account"
    ),
    Reason.PODS_FORBIDDEN: (
        "make room in the quota, or see `pods` in the operator's configuration; `python.version`"
        " with `verify: {mode: Disabled}` needs no pods"
    ),
    Reason.PODS_UNSCHEDULABLE: (
        "make room in the cluster, or see `pods` in the operator's configuration: what they ask"
        " for, and which nodes they may use"
    ),
    Reason.PODS_FAILED: (
        "the message says why: an installation that failed, an eviction, a lack of memory"
        " (`pods.resources` in the operator's configuration)"
    ),
    Reason.VERIFY_TIMEOUT: "raise `verify.timeout`, or mend what makes it slow",
    Reason.RESOLVER_FAILED: "read the message, then the operator's log",
    Reason.RESOLVER_LIMIT: (
        "raise `resolver.timeout` or `resolver.memory`, or narrow the requirements"
    ),
    Reason.INDEX_UNAVAILABLE: "look after the index, or the proxy to it (`HTTPS_PROXY`)",
    Reason.INDEX_UNAUTHORIZED: (
        "see `index.credentialsSecretRef`; a change of the Secret is seen by itself"
    ),
    Reason.PREFECT_UNAVAILABLE: (
        "look after Prefect; locks and ConfigMaps go on being kept, templates catch up"
    ),
    Reason.PREFECT_UNAUTHORIZED: (
        "correct `PREFECT_API_KEY` or `PREFECT_API_AUTH_STRING`, then restart the operator"
    ),
    Reason.NAMESPACE_NOT_FOUND: "create the namespace",
    Reason.NAME_TAKEN: "rename one of the two",
    Reason.FORBIDDEN: "give the operator what `docs/rbac.yaml` lists",
    Reason.INTERNAL_ERROR: "its log has the details; please report it",
}
