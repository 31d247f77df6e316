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


def _requirement(why: str, text: str, says: str, *, server: str = "") -> Bad:
    path = "spec.requirements[1]"
    return Bad(why, "spec.requirements", ["numpy", text], says, path, server, f"{path}:")


def _url(why: str, text: str) -> Bad:
    """What the API server forbids, so that it doesn't show it."""
    path = "spec.requirements[1]"
    server_path = f"{path}: Forbidden: a URL is not allowed"
    return Bad(why, "spec.requirements", ["numpy", text], PUBLISH, path, server_path=server_path)


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


def _spec(why: str, spec: dict[str, Any], says: str, path: str, server: str = "") -> Bad:
    """A whole spec."""
    return Bad(why, "spec", spec, says, path, server)


def _source(why: str, source: dict[str, Any], says: str, path: str = "", server: str = "") -> Bad:
    where = f"spec.requirementsFrom[0]{path}"
    return Bad(why, "spec.requirementsFrom", [source], says, where, server)


def _config_map(why: str, reference: dict[str, Any], says: str, path: str, server: str = "") -> Bad:
    return _source(why, {"configMapKeyRef": reference}, says, f".configMapKeyRef.{path}", server)


def _variable(why: str, reference: dict[str, Any], says: str, path: str, server: str = "") -> Bad:
    return _source(why, {"prefectVariable": reference}, says, f".prefectVariable.{path}", server)


def _include(why: str, name: str, says: str, server: str = "") -> Bad:
    return Bad(why, "spec.includes", [{"name": name}], says, "spec.includes[0].name", server)


def _beside(why: str, spec: dict[str, Any]) -> Bad:
    """What may not stand beside lockFrom."""
    return _spec(
        f"lock-and-{why}", {"lockFrom": LOCK, **spec}, f"remove {why}, or lockFrom", "spec.lockFrom"
    )


def _cooldown(why: str, text: str, says: str) -> Bad:
    return Bad(why, "spec.index.cooldown", text, says, "spec.index.cooldown")


def _timeout(why: str, text: str, says: str) -> Bad:
    return Bad(why, "spec.verify.timeout", text, says, "spec.verify.timeout")


def _install_timeout(why: str, text: str, says: str) -> Bad:
    return Bad(why, "spec.verify.installTimeout", text, says, "spec.verify.installTimeout")


def _image(why: str, text: str, says: str = "not an image", server: str = "") -> Bad:
    return _spec(why, {**ASKS, "python": {"image": text}}, says, "spec.python.image", server)


def _shadow(why: str, name: str) -> Bad:
    return _spec(why, {**ASKS, "shadow": ["six", name]}, "not a package's name", "spec.shadow[1]")


def _module(why: str, name: str) -> Bad:
    says, path = "not a module's name", "spec.verify.imports[1]"
    return Bad(why, "spec.verify.imports", ["six", name], says, path)


ASKS: dict[str, Any] = {"requirements": ["pandas"]}
KEY_REFERENCE = {"name": "files", "key": "requirements.txt"}
LOCK: dict[str, Any] = {"configMapKeyRef": KEY_REFERENCE}
OBJECT = "use lower-case letters, digits and inner '-' and '.'"
RANGE = "write 30s to 1h"
YEAR = "write 365d or less"
FORM = "numbers with d, h, m or s"
URL = "https://packages.example.com/simple"
BAD: tuple[Bad, ...] = (
    _url("url", "pandas @ https://example.com/pandas.whl"),
    _url("bare-url", "https://example.com/pandas.whl"),
    _url("git-url", "git+https://example.com/pandas.git"),
    _url("file-url", "pandas @ file:///tmp/pandas.whl"),
    _url("url-with-password", "pandas @ https://me:secret@example.com/p"),
    _url("url-with-slash", "pandas @ https://me:se/secret@example.com/p"),
    _url("url-with-token", "pandas @ https://example.com/p.whl?token=secret"),
    _url("url-without-scheme", "//me:se/secret@example.com/p"),
    _url("reference", "pandas @ ./secret"),
    _url("marker-with-at", "pandas; platform_version == 'secret@x'"),
    _requirement("long-url", f"https://secret@{'a' * 256}", "at most 256", server="Too long"),
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
    Bad(
        "no-requirements",
        "spec.requirements",
        MISSING,
        "add it, or requirementsFrom, includes or lockFrom",
        "spec.requirements",
    ),
    Bad("empty-list", "spec.requirements", [], "empty", "spec.requirements", "at least 1 items"),
    Bad("null-list", "spec.requirements", None, "the set is empty", "spec.requirements"),
    _spec("empty-sources", {"requirementsFrom": []}, "the set is empty", "spec.requirements"),
    _spec("empty-includes", {"includes": []}, "the set is empty", "spec.requirements"),
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
    Bad(
        "constraint-url",
        "spec.constraints",
        ["numpy", "a @ https://b?secret"],
        PUBLISH,
        "spec.constraints[1]",
        server_path="spec.constraints[1]: Forbidden: a URL is not allowed",
    ),
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
    _index(
        "packages-scheme",
        {"packages": [{"names": ["torch"], "url": "torch.example.com"}]},
        INDEX,
        "spec.index.packages[0].url",
    ),
    _index(
        "packages-password",
        {"packages": [{"names": ["torch"], "url": "https://me:secret@example.com/"}]},
        "remove the part before '@'",
        "spec.index.packages[0].url",
    ),
    _index("extra-alone", {"extraUrls": [URL]}, "add url", "spec.index.extraUrls"),
    Bad(
        "secret-nameless",
        "spec.index.credentialsSecretRef",
        {},
        "add it",
        "spec.index.credentialsSecretRef.name",
        "Required",
    ),
    Bad(
        "secret-name",
        "spec.index.credentialsSecretRef",
        {"name": "My_Secret"},
        OBJECT,
        "spec.index.credentialsSecretRef.name",
    ),
    _cooldown("cooldown-number", "7", FORM),
    _cooldown("cooldown-words", "a week", FORM),
    _cooldown("cooldown-long", "366d", YEAR),
    _cooldown("cooldown-sum", "364d24h1s", YEAR),
    Bad("exempt", "spec.index.cooldownExempt", ["a>1"], "alone", "spec.index.cooldownExempt[0]"),
    Bad("prereleases", "spec.index.prereleases", "Never", '"Disallow"', "spec.index.prereleases"),
    _interval("bare-number", "60", "numbers with d, h, m or s"),
    _interval("words", "daily", "numbers with d, h, m or s"),
    _interval("fraction", "1.5h", "numbers with d, h, m or s"),
    _interval("negative", "-1h", "numbers with d, h, m or s"),
    _interval("order", "30m1h", "numbers with d, h, m or s"),
    _interval("seconds", "30s", "write 1m or more, or 0s"),
    _interval("almost-a-minute", "0h0m59s", "write 1m or more, or 0s"),
    Bad("interval-type", "spec.interval", 60, "quotes", "spec.interval", "type string"),
    Bad("updates", "spec.updates", "Propose", '"Manual"', "spec.updates"),
    Bad("vulnerabilities", "spec.vulnerabilities", "Ignore", '"Report"', "spec.vulnerabilities"),
    Bad("verify-mode", "spec.verify.mode", "Off", '"Disabled"', "spec.verify.mode"),
    _timeout("timeout-words", "soon", FORM),
    _timeout("timeout-zero", "0s", RANGE),
    _timeout("timeout-short", "29s", RANGE),
    _timeout("timeout-long", "1h1s", RANGE),
    _timeout("timeout-days", "1d", RANGE),
    _install_timeout("install-timeout-words", "soon", FORM),
    _install_timeout("install-timeout-short", "29s", RANGE),
    _install_timeout("install-timeout-long", "1h1s", RANGE),
    _module("module-dash", "python-dateutil"),
    _module("module-dot", "google..cloud"),
    _module("module-digit", "3d"),
    _module("module-code", "os; import sys"),
    Bad(
        "many-modules",
        "spec.verify.imports",
        [f"m{number}" for number in range(65)],
        "at most 64",
        "spec.verify.imports",
        "Too many",
    ),
    _image("image-space", "registry.example.com/flows: 1"),
    _image("image-placeholder", "{{image}}"),
    _image("image-long", "a" * 1025, "at most 1024", server="Too long"),
    _spec(
        "image-and-version",
        {**ASKS, "python": {"image": "registry.example.com/flows:1", "version": "3.12"}},
        "remove version, or image",
        "spec.python.version",
    ),
    _shadow("shadow-version", "six>=1"),
    _shadow("shadow-glob", "six*"),
    Bad("shadow-and-version", "spec.shadow", ["six"], "name an image", "spec.shadow"),
    _source("no-place", {}, "write one of configMapKeyRef and prefectVariable"),
    _source(
        "two-places",
        {"configMapKeyRef": KEY_REFERENCE, "prefectVariable": {"name": "a"}},
        "two places to read from; write one of",
    ),
    _config_map("config-map-nameless", {"key": "a"}, "add it", "name", "Required"),
    _config_map("config-map-keyless", {"name": "a"}, "add it", "key", "Required"),
    _config_map("config-map-case", {"name": "Files", "key": "a"}, OBJECT, "name"),
    _config_map("config-map-dots", {"name": "a..b", "key": "a"}, OBJECT, "name"),
    _config_map("config-map-key", {"name": "a", "key": "a/b"}, "not a key of a ConfigMap", "key"),
    _config_map(
        "config-map-optional",
        {"name": "a", "key": "b", "optional": "yes"},
        "true or false",
        "optional",
        "type boolean",
    ),
    _variable("variable-nameless", {}, "add it", "name", "Required"),
    _variable("variable-space", {"name": "my packages"}, "letters, digits, '_' and '-'", "name"),
    _variable("variable-dot", {"name": "my.packages"}, "letters, digits, '_' and '-'", "name"),
    Bad(
        "constraints-source",
        "spec.constraintsFrom",
        [{"prefectVariable": {"name": "limits"}}, {}],
        "write one of configMapKeyRef and prefectVariable",
        "spec.constraintsFrom[1]",
    ),
    Bad(
        "too-many-sources",
        "spec.requirementsFrom",
        [{"prefectVariable": {"name": "a"}}] * 17,
        "at most 16",
        "spec.requirementsFrom",
        "Too many",
    ),
    _include("include-case", "ML", LABEL),
    _include("include-none", "none", "is what a run chooses to get no set"),
    _include("include-revision", "ml-3f9a1c20de", REVISION),
    Bad(
        "include-itself",
        "spec.includes",
        [{"name": "other"}, {"name": "ml-extras"}],
        "is this set itself; remove it",
        "spec.includes[1].name",
        server_path="spec.includes",
    ),
    Bad(
        "include-twice",
        "spec.includes",
        [{"name": "other"}, {"name": "other"}],
        "name each set once",
        "spec.includes[1].name",
        "Duplicate value",
        "spec.includes[1]",
    ),
    _spec(
        "empty-lock",
        {"lockFrom": {}},
        "add it",
        "spec.lockFrom.configMapKeyRef",
        "Required",
    ),
    _spec(
        "lock-optional",
        {"lockFrom": {"configMapKeyRef": {**KEY_REFERENCE, "optional": True}}},
        "unknown field",
        "spec.lockFrom.configMapKeyRef.optional",
    ),
    _beside("requirements", ASKS),
    _beside("requirementsFrom", {"requirementsFrom": [LOCK]}),
    _beside("constraints", {"constraints": ["numpy<2"]}),
    _beside("constraintsFrom", {"constraintsFrom": [LOCK]}),
    _beside("includes", {"includes": [{"name": "other"}]}),
    _beside("python.version", {"python": {"version": "3.12"}}),
    _beside("python.platforms", {"python": {"platforms": ["linux/amd64"]}}),
    _beside("index.cooldown", {"index": {"cooldown": "7d"}}),
    _beside("index.cooldownExempt", {"index": {"cooldownExempt": ["six"]}}),
    _beside("index.prereleases", {"index": {"prereleases": "Allow"}}),
    _beside("updates: Manual", {"updates": "Manual"}),
    _beside(
        "constraints, updates: Manual",
        {"constraints": ["numpy<2"], "shadow": ["*"], "updates": "Manual"},
    ),
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

FINE: dict[str, dict[str, Any]] = {
    "sources alone": {
        "requirementsFrom": [
            {"configMapKeyRef": {**KEY_REFERENCE, "optional": True}},
            {"prefectVariable": {"name": "my_packages-2"}},
        ]
    },
    "a set of others": {"includes": [{"name": "base"}, {"name": "plots"}]},
    "a lock": {
        "lockFrom": LOCK,
        "python": {"image": "registry.example.com/flows:1"},
        "shadow": ["six"],
        "index": {"url": URL, "credentialsSecretRef": {"name": "packages.example.com"}},
        "updates": "Automatic",
        "interval": "0s",
    },
    "no python": ASKS,
    "platforms alone": {**ASKS, "python": {"platforms": ["linux/arm64"]}},
    "an image by digest": {
        **ASKS,
        "python": {
            "image": f"[::1]:5000/flows@sha256:{'0' * 64}",
            "platforms": ["linux/amd64", "linux/arm64"],
        },
        "shadow": ["Zope.Interface", "*"],
    },
    "no cooldown": {**ASKS, "index": {"cooldown": "0s", "cooldownExempt": ["a_B"]}},
    "a year's cooldown": {**ASKS, "index": {"cooldown": "365d"}},
    "the longest trial": {**ASKS, "verify": {"timeout": "60m", "imports": []}},
    "the longest installation of a trial": {**ASKS, "verify": {"installTimeout": "60m"}},
    "the shortest installation of a trial": {**ASKS, "verify": {"installTimeout": "30s"}},
    "the shortest trial": {**ASKS, "verify": {"timeout": "30s", "imports": ["google.cloud", "_a"]}},
    "no trial": {**ASKS, "verify": {"mode": "Disabled"}, "vulnerabilities": "Block"},
}
"""Specs that both sides take."""
