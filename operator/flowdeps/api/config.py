"""The operator's configuration file.

    prefect:
      apiUrl: http://prefect-server.prefect.svc:4200/api   # default: PREFECT_API_URL
      pollInterval: 30s
    watchNamespaces: [flows]                               # default: all
    owner: flowdeps/flowdeps        # who owns the fragments of this operator in templates
    httpPort: 8080                  # /metrics, /healthz, /readyz
    index: {url: https://packages.example.com/simple}      # for sets that name none
    resolver: {concurrency: 2, timeout: 5m, memory: 2Gi, cacheDirectory: /var/cache/flowdeps}
    workPools:                      # the first entry whose name matches a pool holds for it
      - name: kubernetes-*
        namespaces: [team-*]        # whose sets the pool may offer; default: all watched
        jobNamespaces: [jobs]       # default: the namespace in the pool's template
        image: registry.example.com/flows:1
        variable: dependency_set
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

from flowdeps.api.fields import Fields
from flowdeps.api.problems import InvalidError, Problem
from flowdeps.api.resource import parse_index
from flowdeps.locks.index import Index


@dataclass(frozen=True, kw_only=True)
class PrefectConfig:
    """Where Prefect is. `api_url` None: PREFECT_API_URL of the environment."""

    api_url: str | None = None
    poll_interval: timedelta = timedelta(seconds=30)


@dataclass(frozen=True)
class EnvVar:
    """An environment variable of a container."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class InstallConfig:
    """Our init container's resources and security context (empty: ours), and added variables."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    security_context: Mapping[str, Any] = field(default_factory=dict)
    env: tuple[EnvVar, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """What holds for the pools whose name matches `name` (exact, or a glob).

    `namespaces`: globs of the namespaces that may offer sets to them; empty: all watched.
    `job_namespaces`: where their runs are; empty: what their templates say.
    """

    name: str = "*"
    namespaces: tuple[str, ...] = ()
    job_namespaces: tuple[str, ...] = ()
    image: str | None = None
    variable: str = "dependency_set"
    install: InstallConfig = field(default_factory=InstallConfig)

    def admits(self, namespace: str) -> bool:
        """Whether sets of `namespace` may be offered."""
        return not self.namespaces or any(fnmatchcase(namespace, glob) for glob in self.namespaces)


@dataclass(frozen=True, kw_only=True)
class ResolverConfig:
    """Limits of resolving: uv processes at once, time and bytes of memory of each."""

    concurrency: int = 2
    timeout: timedelta = timedelta(seconds=300)
    memory: int = 2 * 2**30
    cache_directory: str | None = None


@dataclass(frozen=True, kw_only=True)
class Config:
    """The operator's configuration. `watch_namespaces` empty: all."""

    prefect: PrefectConfig = field(default_factory=PrefectConfig)
    watch_namespaces: tuple[str, ...] = ()
    owner: str = "flowdeps/flowdeps"
    work_pools: tuple[PoolConfig, ...] = ()
    index: Index = field(default_factory=lambda: Index(None, ()))
    resolver: ResolverConfig = field(default_factory=ResolverConfig)
    http_port: int = 8080

    def pool(self, name: str) -> PoolConfig:
        """What holds for the pool `name`: the first entry that matches, else the defaults."""
        for pool in self.work_pools:
            if pool.name == name or fnmatchcase(name, pool.name):
                return pool
        return PoolConfig()


def parse_config(document: Mapping[str, Any]) -> Config:
    """The configuration that a document holds. Raises InvalidError with all that is wrong."""
    problems: list[Problem] = []
    fields = Fields(document, path="", problems=problems)
    prefect = _prefect(fields.child("prefect"))
    namespaces = fields.texts("watchNamespaces", most=1000, limit=63, check=_check_namespace)
    owner = fields.text("owner", limit=128, check=_check_owner)
    pools = tuple(_pool(item) for item in fields.children("workPools", most=1000))
    url, extra_urls = parse_index(fields.child("index"))
    resolver = _resolver(fields.child("resolver"))
    port = fields.integer("httpPort", least=1, most=65535)
    fields.close()
    if problems:
        raise InvalidError(problems)
    default = Config()
    return Config(
        prefect=prefect,
        watch_namespaces=namespaces or (),
        owner=owner or default.owner,
        work_pools=pools,
        index=Index(url, extra_urls),
        resolver=resolver,
        http_port=port or default.http_port,
    )


def _prefect(fields: Fields) -> PrefectConfig:
    default = PrefectConfig()
    url = fields.text("apiUrl", limit=1024, check=_check_api_url)
    interval = fields.duration("pollInterval", check=None)
    if interval is not None and not interval:
        fields.problem("pollInterval", "0s never polls; write 1s or more")
    fields.close()
    return PrefectConfig(api_url=url, poll_interval=interval or default.poll_interval)


def _resolver(fields: Fields) -> ResolverConfig:
    default = ResolverConfig()
    concurrency = fields.integer("concurrency", least=1, most=64)
    timeout = fields.duration("timeout")
    if timeout is not None and not timeout:
        fields.problem("timeout", "0s leaves no time to resolve; write 1s or more")
    memory = fields.memory("memory")
    if memory is not None and memory < 2**28:
        fields.problem("memory", "too little for uv; write 256Mi or more")
    cache = fields.text("cacheDirectory", limit=4096, check=_check_directory)
    fields.close()
    return ResolverConfig(
        concurrency=concurrency or default.concurrency,
        timeout=timeout or default.timeout,
        memory=memory or default.memory,
        cache_directory=cache,
    )


def _pool(fields: Fields) -> PoolConfig:
    default = PoolConfig()
    name = fields.text("name", required=True, limit=253)
    namespaces = fields.texts("namespaces", most=1000, limit=253)
    job_namespaces = fields.texts("jobNamespaces", most=32, limit=63, check=_check_namespace)
    image = fields.text("image", limit=1024, check=_check_image)
    variable = fields.text("variable", limit=63, check=_check_variable)
    install = _install(fields.child("install"))
    fields.close()
    return PoolConfig(
        name=name or default.name,
        namespaces=namespaces or (),
        job_namespaces=job_namespaces or (),
        image=image,
        variable=variable or default.variable,
        install=install,
    )


def _install(fields: Fields) -> InstallConfig:
    resources = fields.mapping("resources")
    context = fields.mapping("securityContext")
    env = []
    for item in fields.children("env", most=64):
        name = item.text("name", required=True, check=_check_env_name)
        value = item.text("value", limit=4096, check=_check_literal)
        item.close()
        env.append(EnvVar(name or "", value or ""))
    fields.close()
    return InstallConfig(resources=resources or {}, security_context=context or {}, env=tuple(env))


def _check_namespace(text: str) -> str | None:
    if re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text):
        return None
    return f"{text!r} is not a namespace; use lower-case letters, digits and inner '-'"


def _check_owner(text: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9._/-]+", text):
        return None
    return f"{text!r} is not an owner; write it such as namespace/name"


def _check_api_url(text: str) -> str | None:
    # The URL is not shown: it may hold a password.
    if re.fullmatch(r"https?://[^/@?#\s]+(/[^?#\s]*)?", text):
        return None
    return (
        "not a Prefect API URL; write it such as http://prefect.example.com:4200/api,"
        " with credentials in PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
    )


def _check_directory(text: str) -> str | None:
    return None if text.startswith("/") else f"{text!r} is relative; write the whole path"


def _check_image(text: str) -> str | None:
    if re.search(r"\s|\{\{", text):
        return f"{text!r} is not an image; write it such as registry.example.com/flows:1"
    return None


def _check_variable(text: str) -> str | None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        return None
    return f"{text!r} is not a job variable's name; use letters, digits and '_'"


def _check_env_name(text: str) -> str | None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        return None
    return f"{text!r} is not a variable's name; use letters, digits and '_'"


def _check_literal(text: str) -> str | None:
    if "{{" in text:
        return "'{{' starts a placeholder of Prefect's template; write the value itself"
    return None
