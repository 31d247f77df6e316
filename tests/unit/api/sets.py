"""Sets that both sides must refuse, the API server and flowdeps.api, and a good one to bend.

A case is the good set with one change. `says` must stand in both messages; where the schema's
own words differ (bounds, types, enumerations), `server` is what stands in the API server's.
"""

import copy
from dataclasses import dataclass
from typing import Any

GOOD: dict[str, Any] = {
    "apiVersion": "flowdeps.dev/v1alpha1",
    "kind": "FlowDependencySet",
    "metadata": {"name": "ml-extras"},
    "spec": {
        "requirements": ["pandas>=2.2,<3", "pyarrow"],
        "python": {"version": "3.12"},
        "workPools": [{"name": "kubernetes"}],
    },
}
MISSING = object()
PUBLISH = "publish the package to an index"
LABEL = "use at most 40 lower-case letters, digits and inner"
REVISION = "choose another ending"
INDEX = "write it such as https://packages.example.com/simple"
LIST = "Invalid value: "


@dataclass(frozen=True)
class Bad:
    """A set that is refused: `path` is flowdeps' path, `value` what stands at `at`."""

    why: str
    at: str
    value: Any
    says: str
    path: str
    server: str = ""
    server_path: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The whole set."""
        return changed(self.at, self.value)


def changed(at: str, value: Any) -> dict[str, Any]:
    """The good set with `value` at the dotted path `at`, or without it for MISSING."""
    body = copy.deepcopy(GOOD)
    *parents, last = at.split(".")
    target = body
    for name in parents:
        target = target.setdefault(name, {})
    if value is MISSING:
        del target[last]
    else:
        target[last] = value
    return body


def _requirement(why: str, text: str, says: str, *, server: str = "", whole: bool = False) -> Bad:
    return Bad(
        why,
        "spec.requirements",
        ["numpy", text],
        says,
        "spec.requirements[1]",
        server,
        "spec.requirements:" if whole else "spec.requirements[1]:",
    )


def _name(why: str, name: str, says: str, server: str = "") -> Bad:
    return Bad(why, "metadata.name", name, says, "metadata.name", server)


def _key(why: str, key: str, says: str, server: str = "") -> Bad:
    pools = [{"name": "kubernetes", "key": key}]
    return Bad(why, "spec.workPools", pools, says, "spec.workPools[0].key", server)


def _pool(why: str, name: str) -> Bad:
    path = "spec.workPools[0].name"
    return Bad(why, "spec.workPools", [{"name": name}], "not a work pool's name", path)


def _index(why: str, index: dict[str, Any], says: str, path: str) -> Bad:
    server_path = path.partition("[")[0]
    return Bad(why, "spec.index", index, says, path, server_path=server_path)


def _interval(why: str, text: str, says: str) -> Bad:
    return Bad(why, "spec.interval", text, says, "spec.interval")


URL = "https://packages.example.com/simple"
BAD: tuple[Bad, ...] = (
    _requirement("url", "pandas @ https://example.com/pandas.whl", PUBLISH),
    _requirement("bare-url", "https://example.com/pandas.whl", PUBLISH),
    _requirement("git-url", "git+https://example.com/pandas.git", PUBLISH),
    _requirement("file-url", "pandas @ file:///tmp/pandas.whl", PUBLISH),
    _requirement(
        "url-with-password", "pandas @ https://me:secret@example.com/p", PUBLISH, whole=True
    ),
    _requirement("relative-path", "./pandas", PUBLISH),
    _requirement("parent-path", "../pandas", PUBLISH),
    _requirement("absolute-path", "/srv/pandas", PUBLISH),
    _requirement("home-path", "~/pandas", PUBLISH),
    _requirement("wheel", "pandas-2.3.0-py3-none-any.whl", PUBLISH),
    _requirement("requirements-file", "requirements.txt", PUBLISH),
    _requirement("flag-r", "-r requirements.txt", "a flag is not allowed; list the packages"),
    _requirement("flag-e", "-e .", "a flag is not allowed; list the packages"),
    _requirement("long-flag", "--index-url x", "a flag is not allowed; list the packages"),
    _requirement("comment", "pandas # for reports", "a comment is not allowed here; leave it out"),
    _requirement("two-words", "pandas pyarrow", "write a package name and versions, as in"),
    _requirement("two-lines", "pandas\npyarrow", "each package", server="write a package name"),
    _requirement("no-name", ">=2", "write a package name and versions, as in"),
    _requirement("operator", "pandas=2", "write a package name and versions, as in"),
    _requirement("open-extras", "dask[dataframe", "write a package name and versions, as in"),
    _requirement("hash", "six==1.16 --hash=sha256:0", "hash", server="write a package name"),
    _requirement("substitution", "pandas==${VERSION}\\", "not allowed", server="Invalid value"),
    _requirement("empty", "", "fill it in", server="at least 1 chars"),
    _requirement("too-long", "a" * 257, "at most 256", server="Too long"),
    _requirement("number", 5, "quotes", server="must be of type string"),  # type: ignore[arg-type]
    Bad("no-requirements", "spec.requirements", MISSING, "add it", "spec.requirements", "Required"),
    Bad("empty-list", "spec.requirements", [], "empty", "spec.requirements", "at least 1 items"),
    Bad("null-list", "spec.requirements", None, "add it", "spec.requirements", "Required"),
    Bad(
        "too-many",
        "spec.requirements",
        [f"p{number}" for number in range(257)],
        "at most 256",
        "spec.requirements",
        "Too many",
    ),
    Bad(
        "text-for-list", "spec.requirements", "pandas", "a list", "spec.requirements", "type array"
    ),
    Bad("constraint-url", "spec.constraints", ["a @ https://b"], PUBLISH, "spec.constraints[0]"),
    Bad("constraint-flag", "spec.constraints", ["-c x"], "a flag is not", "spec.constraints[0]"),
    Bad("old-python", "spec.python.version", "3.9", '"3.10"', "spec.python.version"),
    Bad("python-2", "spec.python.version", "2.7", '"3.10"', "spec.python.version"),
    Bad("micro-version", "spec.python.version", "3.12.1", '"3.12"', "spec.python.version"),
    Bad("float", "spec.python.version", 3.1, '"3.10"', "spec.python.version", "type string"),
    Bad(
        "platform",
        "spec.python.platforms",
        ["windows/amd64"],
        '"linux/amd64"',
        "spec.python.platforms[0]",
    ),
    Bad(
        "no-platforms",
        "spec.python.platforms",
        [],
        "empty",
        "spec.python.platforms",
        "at least 1 items",
    ),
    _index("index-scheme", {"url": "ftp://example.com/simple"}, INDEX, "spec.index.url"),
    _index("index-path", {"url": "/srv/simple"}, INDEX, "spec.index.url"),
    _index("index-query", {"url": f"{URL}?a=b"}, INDEX, "spec.index.url"),
    _index("index-fragment", {"url": f"{URL}#a"}, INDEX, "spec.index.url"),
    _index("index-space", {"url": f"{URL}/a b"}, INDEX, "spec.index.url"),
    _index("index-no-host", {"url": "https:///simple"}, INDEX, "spec.index.url"),
    _index(
        "index-password",
        {"url": "https://me:secret@example.com/simple"},
        "remove the part before '@'",
        "spec.index.url",
    ),
    _index(
        "index-token",
        {"url": "https://secret@example.com/simple"},
        "remove the part before '@'",
        "spec.index.url",
    ),
    _index("extra-scheme", {"url": URL, "extraUrls": ["x"]}, INDEX, "spec.index.extraUrls[0]"),
    _index(
        "extra-password",
        {"url": URL, "extraUrls": ["https://me:secret@example.com/"]},
        "remove the part before '@'",
        "spec.index.extraUrls[0]",
    ),
    _index("extra-alone", {"extraUrls": [URL]}, "add url", "spec.index.extraUrls"),
    _interval("bare-number", "60", "numbers with d, h, m or s"),
    _interval("words", "daily", "numbers with d, h, m or s"),
    _interval("fraction", "1.5h", "numbers with d, h, m or s"),
    _interval("negative", "-1h", "numbers with d, h, m or s"),
    _interval("order", "30m1h", "numbers with d, h, m or s"),
    _interval("seconds", "30s", "write 1m or more, or 0s"),
    _interval("almost-a-minute", "0h0m59s", "write 1m or more, or 0s"),
    Bad("interval-type", "spec.interval", 60, "quotes", "spec.interval", "type string"),
    Bad("suspend", "spec.suspend", "yes", "true or false", "spec.suspend", "type boolean"),
    Bad("revision", "spec.revision", "latest-please", "status.revisions", "spec.revision"),
    Bad("revision-digest", "spec.revision", "ml-3f9a1c20d", "status.revisions", "spec.revision"),
    Bad("history", "spec.revisionHistoryLimit", -1, "0", "spec.revisionHistoryLimit"),
    Bad("long-history", "spec.revisionHistoryLimit", 51, "50", "spec.revisionHistoryLimit"),
    Bad(
        "duplicate-pool",
        "spec.workPools",
        [{"name": "kubernetes"}, {"name": "kubernetes", "key": "other"}],
        "name each pool once",
        "spec.workPools[1].name",
        "Duplicate value",
        "spec.workPools[1]",
    ),
    Bad(
        "nameless-pool",
        "spec.workPools",
        [{"key": "a"}],
        "add it",
        "spec.workPools[0].name",
        "Required",
    ),
    Bad(
        "too-many-pools",
        "spec.workPools",
        [{"name": f"pool-{number}"} for number in range(33)],
        "at most 32",
        "spec.workPools",
        "Too many",
    ),
    _pool("pool-slash", "team/pool"),
    _pool("pool-space", " pool"),
    _key("key-case", "ML", LABEL),
    _key("key-dot", "ml.extras", LABEL),
    _key("key-dash", "ml-", LABEL),
    _key("key-none", "none", "is what a run chooses to get no set"),
    _key("key-revision", "ml-3f9a1c20de", REVISION),
    _key("key-long", "a" * 41, LABEL, server="Too long"),
    _name("name-dot", "ml.extras", LABEL),
    _name("name-none", "none", "is what a run chooses to get no set"),
    _name("name-revision", "ml-3f9a1c20de", REVISION),
    _name("name-long", "a" * 41, LABEL),
    Bad(
        "unknown-field",
        "spec.requirement",
        ["pandas"],
        "did you mean 'requirements'",
        "spec.requirement",
        "unknown field",
        '"spec.requirement"',
    ),
    Bad(
        "unknown-pool-field",
        "spec.workPools",
        [{"name": "kubernetes", "defaults": True}],
        "did you mean 'default'",
        "spec.workPools[0].defaults",
        "unknown field",
    ),
)
