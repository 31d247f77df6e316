"""`workPools` of the configuration: who may offer sets to a pool, and how they are installed.

What is refused is said with the line of the configuration that would allow it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from flowdeps.api import rules
from flowdeps.api.fields import Fields
from flowdeps.api.trialconfig import checked_resources
from flowdeps.api.wording import listed

_check_variable = rules.matching(
    r"[A-Za-z_][A-Za-z0-9_]*", "is not a variable's name; use letters, digits and '_'"
)
_check_python = rules.matching(
    r"3\.[0-9]{1,2}", 'is not a minor version of Python; write one such as "3.12", in quotes'
)
_check_directory = rules.matching(
    r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+",
    "is not an absolute path without '..', spaces and hidden directories; write one such as"
    " /var/cache/packages",
)
_SHOWN = 5
_check_literal = rules.rule(
    lambda text: "{{" not in text,
    "'{{' starts a placeholder of Prefect's template; write the value itself",
    hide=True,
)


@dataclass(frozen=True)
class EnvVar:
    """An environment variable of a container."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class InstallConfig:
    """How our init container runs. Empty mappings: our defaults."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    security_context: Mapping[str, Any] = field(default_factory=dict)
    env: tuple[EnvVar, ...] = ()
    """Variables that it gets besides ours."""


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """Where runs keep what they installed. One of `claim` and `host_path` where it is used."""

    claim: str | None = None
    """A PersistentVolumeClaim in the namespace of the runs."""
    host_path: str | None = None
    """A directory of each node; a namespace of runs has one of its own in it."""
    unused_for: timedelta = timedelta(days=7)
    """After which what no run used is removed, when something new is kept."""
    max_entries: int = 100
    """How many environments are kept for each namespace and user."""


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """What applies to the pools whose name matches `name`, exactly or as a glob."""

    name: str = "*"
    namespaces: tuple[str, ...] = ()
    """Globs of the namespaces whose sets the pools may offer. Empty: those in which jobs run."""
    default_namespaces: tuple[str, ...] = ()
    """Globs of the namespaces whose sets may be a pool's default. Empty: none."""
    job_namespaces: tuple[str, ...] = ()
    """Where the runs are, and credentials may go. Empty: what the pools' templates say, and then
    credentials stay in the set's namespace."""
    image: str | None = None
    """Of runs that name none. None: what the pool's template says, or else their worker."""
    worker_python: str = "3.11"
    """The Python of the pools' workers, by which they choose an image; Prefect's charts have it."""
    variable: str = "dependency_set"
    extra_packages: bool = True
    """Whether a run may add packages of its own, unpinned."""
    delivery: str = "Auto"
    """How runs get their packages: `Auto`, `Install`, `Image`, `Volume` or `Cache`."""
    claim: str = ""
    """The claim in each namespace of the pools' runs that has environments; empty: none."""
    cache: CacheConfig = field(default_factory=CacheConfig)
    install: InstallConfig = field(default_factory=InstallConfig)

    @property
    def takes_environments(self) -> bool:
        """Whether runs may get a ready environment, in place of an installation of their own."""
        return self.delivery not in {"Install", "Cache"}

    def admits(self, namespace: str, *, jobs: Sequence[str]) -> bool:
        """Tell whether the pools may offer sets of `namespace`; `jobs`: where their jobs run."""
        return _fits(namespace, self.namespaces) if self.namespaces else namespace in jobs

    def allows_default(self, namespace: str) -> bool:
        """Tell whether a set of `namespace` may be a pool's default."""
        return _fits(namespace, self.default_namespaces)

    def allows_credentials(self, namespace: str, *, job: str) -> bool:
        """Tell whether credentials of a set of `namespace` may go to the namespace `job`."""
        return job == namespace or job in self.job_namespaces

    def why_not_admitted(self, namespace: str, *, jobs: Sequence[str]) -> str:
        """Say why `namespace` is not admitted, and what admits it."""
        admitted = self.namespaces or tuple(jobs)
        return (
            f"the pool takes sets from {listed(admitted, most=_SHOWN) or 'nowhere'}, not from"
            f" namespace {namespace}; to admit it,"
            f" {self._line('namespaces', (*admitted, namespace))}"
        )

    def why_not_default(self, namespace: str) -> str:
        """Say why a set of `namespace` is not the default, and what makes it so."""
        line = self._line("defaultNamespaces", (*self.default_namespaces, namespace))
        return (
            "its key is offered, but runs that choose nothing don't get it, as no set of namespace"
            f" {namespace} may be the pool's default: remove default: true; or, to allow it, {line}"
        )

    def why_no_credentials(self, *, job: str) -> str:
        """Say why credentials do not go to the namespace `job`, and what lets them."""
        return (
            f"the set needs credentials for its index, and only the pool's template says that jobs"
            f" run in namespace {job}: no Secret is copied there. To allow it,"
            f" {self._line('jobNamespaces', (*self.job_namespaces, job))}"
        )

    def refusals(
        self, namespace: str, *, jobs: Sequence[str], default: bool, credentials: bool
    ) -> Iterator[str]:
        """Iterate over what a set of `namespace` is refused; `default`, `credentials`: whether it
        asks for that."""
        if not self.admits(namespace, jobs=jobs):
            yield self.why_not_admitted(namespace, jobs=jobs)
            return
        if default and not self.allows_default(namespace):
            yield self.why_not_default(namespace)
        for job in jobs if credentials else ():
            if not self.allows_credentials(namespace, job=job):
                yield self.why_no_credentials(job=job)

    def _line(self, field: str, values: Sequence[str]) -> str:
        """Say which entry of the configuration should have these values, the last of them new."""
        kept = values[:-1] if len(values) <= _SHOWN else ("…",)
        entry = f"{{name: {json.dumps(self.name)}, {field}: {_yaml(*kept, values[-1])}}}"
        return f"have this written into the operator's configuration: workPools: [{entry}]"


def parse_pool(fields: Fields) -> PoolConfig:
    """Parse one entry of `workPools`."""
    pool = fields.build(
        PoolConfig,
        name=fields.text("name", required=True, limit=253),
        namespaces=fields.texts("namespaces", most=1000, limit=253),
        default_namespaces=fields.texts("defaultNamespaces", most=1000, limit=253),
        job_namespaces=fields.texts(
            "jobNamespaces", most=32, limit=63, check=rules.check_namespace
        ),
        image=fields.text("image", limit=1024, check=rules.check_image),
        worker_python=fields.text("workerPython", check=_check_python),
        variable=fields.text("variable", limit=63, check=_check_choice),
        extra_packages=fields.text("extraPackages", check=rules.one_of("Allowed", "Forbidden"))
        != "Forbidden",
        delivery=fields.text(
            "delivery", check=rules.one_of("Auto", "Install", "Image", "Volume", "Cache")
        ),
        claim=_parse_volume(fields.child("volume")),
        cache=_parse_cache(fields.child("cache")),
        install=_parse_install(fields.child("install")),
    )
    _check_delivery(fields, pool)
    return pool


def _check_delivery(fields: Fields, pool: PoolConfig) -> None:
    cache = pool.cache
    kept = cache.claim or cache.host_path
    if pool.delivery == "Volume" and not fields.has("volume"):
        fields.problem(
            "volume",
            "missing; write volume: {claimName: …}, the claim in each namespace of the pool's runs,"
            " or another delivery",
        )
    if pool.delivery == "Volume" and fields.values.get("extraPackages") == "Allowed":
        fields.problem(
            "extraPackages",
            "nothing installs packages in runs that mount a claim; write Forbidden, or another"
            " delivery",
        )
    if pool.delivery == "Cache" and not kept:
        fields.problem("cache", "is missing; name a volume, such as {claimName: cache}")
    elif pool.delivery != "Cache" and kept:
        fields.problem("cache", "is used with delivery: Cache alone; set that, or remove this")
    if cache.host_path and len(pool.job_namespaces) != 1:
        fields.problem(
            "jobNamespaces",
            "must be one namespace with cache.hostPath: its flows see the directory of that one;"
            " for runs in several, name a claim (cache.claimName)",
        )


def _yaml(*texts: str) -> str:
    return json.dumps(texts, ensure_ascii=False)


def _fits(namespace: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(namespace, glob) for glob in globs)


def _parse_install(fields: Fields) -> InstallConfig:
    return fields.build(
        InstallConfig,
        resources=checked_resources(fields.child("resources")),
        security_context=_checked_context(fields.child("securityContext")),
        env=tuple(_parse_variable(item) for item in fields.children("env", most=64)),
    )


def _parse_volume(fields: Fields) -> str | None:
    claim = fields.text(
        "claimName", required=fields.given, limit=253, check=rules.check_object_name
    )
    fields.close()
    return claim


def _parse_cache(fields: Fields) -> CacheConfig:
    if fields.has("claimName") and fields.has("hostPath"):
        fields.problem("hostPath", "is one volume too many beside claimName; keep one of the two")
    return fields.build(
        CacheConfig,
        claim=fields.text("claimName", limit=253, check=rules.check_object_name),
        host_path=fields.text("hostPath", limit=1024, check=_check_directory),
        unused_for=fields.duration("unusedFor", check=rules.check_unused),
        max_entries=fields.integer("maxEntries", least=1, most=10_000),
    )


def _parse_variable(fields: Fields) -> EnvVar:
    return fields.build(
        EnvVar,
        name=fields.text("name", required=True, check=_check_variable) or "",
        value=fields.text("value", limit=4096, check=_check_literal) or "",
    )


def _checked_context(fields: Fields) -> Mapping[str, Any]:
    for name in (
        "allowPrivilegeEscalation",
        "privileged",
        "readOnlyRootFilesystem",
        "runAsNonRoot",
    ):
        fields.boolean(name)
    for name in ("runAsUser", "runAsGroup"):
        fields.integer(name, least=0, most=2**31 - 1)
    fields.text("procMount")
    for name in ("appArmorProfile", "capabilities", "seLinuxOptions", "seccompProfile"):
        fields.child(name)
    fields.close()
    return fields.values


def _check_choice(text: str) -> str | None:
    if text == "extra_py_deps":
        return f"{text!r} is the variable for extra packages; choose another name"
    return _check_variable(text)
