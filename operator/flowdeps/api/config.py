"""The operator's configuration file.

    prefect:
      apiUrl: http://prefect-server.prefect.svc:4200/api   # default: PREFECT_API_URL
      pollInterval: 30s
    watchNamespaces: [flows]                               # default: all
    owner: flowdeps/flowdeps        # who owns the fragments of this operator in templates
    httpPort: 8080                  # /metrics, /healthz, /readyz
    leaderElection: {enabled: true, namespace: flowdeps}     # several operators, one of them active
    index:
      url: https://packages.example.com/simple             # for sets that name none
      allowed: [https://packages.example.com]              # which sets may name; default: all
      cooldown: 7d                                         # default: none
    resolver: {concurrency: 2, timeout: 5m, memory: 2Gi, cacheDirectory: /var/cache/flowdeps}
    images: {recheck: 1h}           # how often a tag is checked again
    pods: {concurrency: 4}          # pods that inspect images and try locks
    vulnerabilities: {database: /var/lib/osv, interval: 1h}
    workPools:                      # the first entry whose name matches a pool holds for it
      - name: kubernetes-*
        namespaces: [team-*]        # whose sets the pool may offer; default: all watched
        jobNamespaces: [jobs]       # default: the namespace in the pool's template
        image: registry.example.com/flows:1
        variable: dependency_set
        extraPackages: Allowed
        install:
          resources: {requests: {cpu: 100m}}
          securityContext: {runAsNonRoot: true}
          env: [{name: HTTPS_PROXY, value: http://proxy.example.com}]

Every field may be left out; an unknown one is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from flowdeps.api.allowed import allows, allows_image
from flowdeps.api.electionconfig import ElectionConfig, parse_election
from flowdeps.api.fields import Fields
from flowdeps.api.parts import parse_index_urls
from flowdeps.api.poolconfig import PoolConfig, parse_pool
from flowdeps.api.problems import InvalidError, Problem
from flowdeps.api.rules import PLAIN_URL, check_cooldown, check_index_url, check_namespace
from flowdeps.api.trialconfig import (
    ImagesConfig,
    PodsConfig,
    VulnerabilitiesConfig,
    parse_images,
    parse_pods,
    parse_vulnerabilities,
)
from flowdeps.locks.index import Index


@dataclass(frozen=True, kw_only=True)
class PrefectConfig:
    """Where Prefect is, and how often it is asked."""

    api_url: str | None = None
    """None: PREFECT_API_URL of the environment."""
    poll_interval: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class ResolverConfig:
    """The limits of resolving."""

    concurrency: int = 2
    """How many uv processes run at once."""
    timeout: timedelta = timedelta(seconds=300)
    memory: int = 2 * 2**30
    """Bytes of memory for each process."""
    cache_directory: str | None = None


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
    """Empty: all."""
    cooldown: timedelta | None = None
    resolver: ResolverConfig = field(default_factory=ResolverConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    pods: PodsConfig = field(default_factory=PodsConfig)
    vulnerabilities: VulnerabilitiesConfig = field(default_factory=VulnerabilitiesConfig)
    http_port: int = 8080
    election: ElectionConfig = field(default_factory=ElectionConfig)

    def allows_index(self, url: str) -> bool:
        """Tell whether a set may name the index at `url`."""
        own = url in self.index.urls
        return own or not self.allowed_indexes or allows(self.allowed_indexes, url)

    def allows_image(self, image: str) -> bool:
        """Tell whether a set may name `image`."""
        return not self.images.allowed or allows_image(self.images.allowed, image)

    def pool(self, name: str) -> PoolConfig:
        """Return the first entry of `workPools` that matches the pool `name`, else the defaults."""
        for pool in self.work_pools:
            if pool.name == name or fnmatchcase(name, pool.name):
                return pool
        return PoolConfig()


def parse_config(document: Mapping[str, Any]) -> Config:
    """Parse the configuration in `document`. Raises InvalidError with all that is wrong."""
    problems: list[Problem] = []
    fields = Fields(document, path="", problems=problems)
    config = fields.build(
        Config,
        prefect=_parse_prefect(fields.child("prefect")),
        watch_namespaces=fields.texts(
            "watchNamespaces", most=1000, limit=63, check=check_namespace
        ),
        owner=fields.text("owner", limit=128, check=_check_owner),
        work_pools=tuple(parse_pool(item) for item in fields.children("workPools", most=1000)),
        **_parse_index(fields.child("index")),
        resolver=_parse_resolver(fields.child("resolver")),
        images=parse_images(fields.child("images")),
        pods=parse_pods(fields.child("pods")),
        vulnerabilities=parse_vulnerabilities(fields.child("vulnerabilities")),
        http_port=fields.integer("httpPort", least=1, most=65535),
        election=parse_election(fields.child("leaderElection")),
    )
    if problems:
        raise InvalidError(problems)
    return config


def _parse_prefect(fields: Fields) -> PrefectConfig:
    return fields.build(
        PrefectConfig,
        api_url=fields.text("apiUrl", limit=1024, check=_check_api_url),
        poll_interval=fields.duration("pollInterval", zero="never polls; write 1s or more"),
    )


def _parse_index(fields: Fields) -> dict[str, Any]:
    return fields.build(
        dict,
        index=parse_index_urls(fields),
        allowed_indexes=fields.texts("allowed", most=64, limit=1024, check=check_index_url),
        cooldown=fields.duration("cooldown", check=check_cooldown),
    )


def _parse_resolver(fields: Fields) -> ResolverConfig:
    memory = fields.memory("memory")
    if memory is not None and memory < 2**28:
        fields.problem("memory", "too little for uv; write 256Mi or more")
    return fields.build(
        ResolverConfig,
        concurrency=fields.integer("concurrency", least=1, most=64),
        timeout=fields.duration("timeout", zero="leaves no time to resolve; write 1s or more"),
        memory=memory,
        cache_directory=fields.text("cacheDirectory", limit=4096, check=_check_directory),
    )


def _check_owner(text: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9._/-]+", text):
        return None
    return f"{text!r} is not an owner; write it such as namespace/name"


def _check_api_url(text: str) -> str | None:
    # The URL is not shown: it may hold a password.
    if PLAIN_URL.fullmatch(text):
        return None
    return (
        "not a Prefect API URL; write it such as http://prefect.example.com:4200/api,"
        " with credentials in PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
    )


def _check_directory(text: str) -> str | None:
    return None if text.startswith("/") else f"{text!r} is relative; write the whole path"
