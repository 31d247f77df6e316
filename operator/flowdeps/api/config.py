"""The operator's configuration file; docs/configuration.md has an example with every field.

Every field may be left out; an unknown one is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from ipaddress import ip_network
from typing import Any

from flowdeps.api import poolconfig, rules, trialconfig
from flowdeps.api.allowed import ANY, allows, allows_image, is_plain
from flowdeps.api.environmentconfig import EnvironmentsConfig, parse_environments
from flowdeps.api.fields import Fields
from flowdeps.api.helperconfig import CredentialHelper, parse_helpers
from flowdeps.api.parts import parse_index_urls
from flowdeps.api.poolconfig import PoolConfig
from flowdeps.api.problems import InvalidError, Problem
from flowdeps.api.trialconfig import ImagesConfig, PodsConfig, VulnerabilitiesConfig
from flowdeps.locks.index import Index

_NO_TIME = "is no time; write 1s or more"
_check_owner = rules.matching(
    r"[A-Za-z0-9._/-]+", "is not an owner; write it such as namespace/name"
)
_check_api_url = rules.rule(
    rules.PLAIN_URL.fullmatch,
    "not a Prefect API URL; write it such as http://prefect.example.com:4200/api,"
    " with credentials in PREFECT_API_KEY or PREFECT_API_AUTH_STRING",
    hide=True,  # it may hold a password
)
_check_directory = rules.rule(
    lambda text: text.startswith("/"), "is relative; write the whole path"
)


def _check_allowed_index(text: str) -> str | None:
    if text == ANY:
        return None
    if wrong := rules.check_index_url(text):
        return f"{wrong}; '*' allows all"
    if is_plain(text):
        return None
    return f"{text!r} has a path that a server may read as another; leave out '%', ';' and '..'"


def _check_network(text: str) -> str | None:
    try:
        ip_network(text)
    except ValueError:
        return f"{text!r} is not a network; write it such as 10.96.0.0/12 or fd00::/8"
    return None


@dataclass(frozen=True, kw_only=True)
class PrefectConfig:
    """Where Prefect is, and how often it is asked."""

    api_url: str | None = None
    """None: PREFECT_API_URL of the environment."""
    poll_interval: timedelta = timedelta(seconds=30)
    artifacts: bool = True
    """Whether each key of a pool has a page with its lock in Prefect."""
    events: bool = True
    """Whether what becomes of locks is sent to Prefect as events."""


@dataclass(frozen=True, kw_only=True)
class ResolverConfig:
    """The limits of resolving."""

    concurrency: int = 2
    """How many uv processes run at once."""
    timeout: timedelta = timedelta(seconds=300)
    memory: int = 2 * 2**30
    """Bytes of memory for each process."""
    cache_directory: str | None = None
    cache_size: int = 2 * 2**30
    """Bytes that all caches take together."""


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """How much is served for one namespace, and what is large."""

    sets_per_namespace: int = 500
    warn_above_size: int = 2 * 2**30
    """Bytes to download or installed above which a set is warned of; 0: none is."""


@dataclass(frozen=True, kw_only=True)
class ElectionConfig:
    """The Lease that the active operator holds."""

    enabled: bool = False
    namespace: str = ""
    name: str = "flowdeps"
    lease_duration: timedelta = timedelta(seconds=15)
    """Another operator may take over this long after the last renewal."""
    renew_deadline: timedelta = timedelta(seconds=10)
    """The holder stops writing this long after its last renewal."""
    retry_period: timedelta = timedelta(seconds=2)
    """How often the holder renews, and the others try to take over."""

    @property
    def lease(self) -> str:
        """The Lease, as messages name it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The operator's configuration."""

    prefect: PrefectConfig = field(default_factory=PrefectConfig)
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all."""
    owner: str = "flowdeps/flowdeps"
    work_pools: tuple[PoolConfig, ...] = ()
    index: Index = field(default_factory=Index)
    allowed_indexes: tuple[str, ...] = ()
    """Empty: those of `index`, or all where it names none."""
    allowed_networks: tuple[str, ...] = ()
    """Networks (CIDR) in which indexes that sets name may be, whatever else holds."""
    denied_networks: tuple[str, ...] | None = None
    """Networks in which they may not be. None: that of the cluster's Services, as far as known."""
    cooldown: timedelta | None = None
    credentials_interval: timedelta = timedelta(minutes=15)
    """How often credentials are tried. Zero: never."""
    credential_helpers: tuple[CredentialHelper, ...] = ()
    resolver: ResolverConfig = field(default_factory=ResolverConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    pods: PodsConfig = field(default_factory=PodsConfig)
    environments: EnvironmentsConfig = field(default_factory=EnvironmentsConfig)
    vulnerabilities: VulnerabilitiesConfig = field(default_factory=VulnerabilitiesConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    http_port: int = 8080
    election: ElectionConfig = field(default_factory=ElectionConfig)

    @property
    def index_prefixes(self) -> tuple[str, ...]:
        """The indexes that sets may name, by prefixes. Empty: all."""
        return self.allowed_indexes or (self.index.all_urls if self.index.url else ())

    @property
    def pod_namespaces(self) -> tuple[str, ...]:
        """Where the operator's pods may be. Empty: anywhere."""
        if not self.watch_namespaces:
            return ()
        claims = (name for pool in self.work_pools if pool.claim for name in pool.job_namespaces)
        return tuple(dict.fromkeys((*self.watch_namespaces, *claims)))

    def allows_index(self, url: str) -> bool:
        """Tell whether a set may name the index at `url`."""
        prefixes = self.index_prefixes
        return not prefixes or url in self.index.all_urls or allows(prefixes, url)

    def allows_image(self, image: str) -> bool:
        """Tell whether a set may name `image`."""
        return not self.images.allowed or allows_image(self.images.allowed, image)

    def labels_in(self, namespace: str) -> str:
        """Return the pool whose sets pods of a namespace get by their label alone; empty: none."""
        pools = (one for one in self.work_pools if one.labels and self.pool(one.name) is one)
        return next((one.name for one in pools if namespace in one.job_namespaces), "")

    @property
    def labels_namespaces(self) -> frozenset[str]:
        """The namespaces in which pods get sets by their label alone."""
        return frozenset(n for one in self.work_pools if one.labels for n in one.job_namespaces)

    def pool(self, name: str) -> PoolConfig:
        """Return the first entry of `workPools` that matches the pool `name`, else one of its own
        with the defaults."""
        fitting = (
            one for one in self.work_pools if name == one.name or fnmatchcase(name, one.name)
        )
        return next(fitting, PoolConfig(name=name))


def parse_config(document: Mapping[str, Any]) -> Config:
    """Parse the configuration in `document`. Raises InvalidError with all that is wrong."""
    problems: list[Problem] = []
    fields = Fields(document, path="", problems=problems)
    config = fields.build(
        Config,
        prefect=_parse_prefect(fields.child("prefect")),
        watch_namespaces=fields.texts(
            "watchNamespaces", most=1000, limit=63, check=rules.check_namespace
        ),
        owner=fields.text("owner", limit=128, check=_check_owner),
        work_pools=tuple(
            poolconfig.parse_pool(item) for item in fields.children("workPools", most=1000)
        ),
        **_parse_index(fields.child("index")),
        resolver=_parse_resolver(fields.child("resolver")),
        images=trialconfig.parse_images(fields.child("images")),
        pods=trialconfig.parse_pods(fields.child("pods")),
        environments=parse_environments(fields.child("environments")),
        vulnerabilities=trialconfig.parse_vulnerabilities(fields.child("vulnerabilities")),
        limits=_parse_limits(fields.child("limits")),
        http_port=fields.integer("httpPort", least=1, most=65535),
        election=_parse_election(fields.child("leaderElection")),
    )
    for number, pool in enumerate(config.work_pools):
        if pool.claim and not config.environments.repository:
            fields.problem(
                f"workPools[{number}].volume",
                "environments on a claim come from a registry; write environments.repository",
            )
    _check_labels(fields, config)
    if problems:
        raise InvalidError(problems)
    return config


def _check_labels(fields: Fields, config: Config) -> None:
    known: dict[str, str] = {}
    for number, pool in enumerate(config.work_pools):
        if not pool.labels:
            continue
        where = f"workPools[{number}]"
        if not config.environments.repository:
            text = "such pods get ready environments; write environments.repository"
            fields.problem(f"{where}.labels", text)
        for namespace in pool.job_namespaces:
            if known.setdefault(namespace, pool.name) != pool.name:
                fields.problem(
                    f"{where}.jobNamespaces",
                    f'pods of namespace {namespace} get sets of work pool "{known[namespace]}" by'
                    " their label, which names no pool: write another namespace, or offer all sets"
                    " to one of the two",
                )


def _parse_prefect(fields: Fields) -> PrefectConfig:
    return fields.build(
        PrefectConfig,
        api_url=fields.text("apiUrl", limit=1024, check=_check_api_url),
        poll_interval=fields.duration("pollInterval", zero="never polls; write 1s or more"),
        artifacts=fields.boolean("artifacts"),
        events=fields.boolean("events"),
    )


def _parse_index(fields: Fields) -> dict[str, Any]:
    return fields.build(
        dict,
        index=parse_index_urls(fields),
        allowed_indexes=fields.texts("allowed", most=64, limit=1024, check=_check_allowed_index),
        allowed_networks=fields.texts("allowedNetworks", most=64, limit=64, check=_check_network),
        denied_networks=fields.texts("deniedNetworks", most=64, limit=64, check=_check_network),
        cooldown=fields.duration("cooldown", check=rules.check_cooldown),
        credentials_interval=fields.duration("credentialsInterval", check=rules.check_credentials),
        credential_helpers=parse_helpers(fields),
    )


def _parse_resolver(fields: Fields) -> ResolverConfig:
    memory = fields.memory("memory")
    if memory is not None and memory < 2**28:
        fields.problem("memory", "too little for uv; write 256Mi or more")
    size = fields.memory("cacheSize")
    if size is not None and size < 2**26:
        fields.problem("cacheSize", "too little to be of use; write 64Mi or more")
    return fields.build(
        ResolverConfig,
        concurrency=fields.integer("concurrency", least=1, most=64),
        timeout=fields.duration("timeout", zero="leaves no time to resolve; write 1s or more"),
        memory=memory,
        cache_directory=fields.text("cacheDirectory", limit=4096, check=_check_directory),
        cache_size=size,
    )


def _parse_limits(fields: Fields) -> LimitsConfig:
    return fields.build(
        LimitsConfig,
        sets_per_namespace=fields.integer("setsPerNamespace", least=1, most=100_000),
        warn_above_size=fields.memory("warnAboveSize"),
    )


def _parse_election(fields: Fields) -> ElectionConfig:
    namespace = fields.text("namespace", limit=63, check=rules.check_namespace)
    if fields.values.get("enabled") is True and not fields.has("namespace"):
        fields.problem("namespace", "missing; write the namespace that the operator runs in")
    found = fields.build(
        ElectionConfig,
        enabled=fields.boolean("enabled"),
        namespace=namespace,
        name=fields.text("name", limit=253, check=rules.check_object_name),
        lease_duration=fields.duration("leaseDuration", zero=_NO_TIME),
        renew_deadline=fields.duration("renewDeadline", zero=_NO_TIME),
        retry_period=fields.duration("retryPeriod", zero=_NO_TIME),
    )
    lease, renew = _seconds(found.lease_duration), _seconds(found.renew_deadline)
    if found.lease_duration > timedelta(hours=1):
        fields.problem("leaseDuration", "so long would nobody take over; write 1h or less")
    if found.renew_deadline >= found.lease_duration:
        fields.problem(
            "renewDeadline",
            f"{renew} is not less than leaseDuration ({lease}); an operator that cannot renew must"
            " have stopped before another takes over",
        )
    if found.retry_period >= found.renew_deadline:
        fields.problem(
            "retryPeriod",
            f"{_seconds(found.retry_period)} is not less than renewDeadline ({renew}), so that one"
            " failure would end the operator; write a fifth of it",
        )
    return found


def _seconds(time: timedelta) -> str:
    return f"{time.total_seconds():.0f}s"
