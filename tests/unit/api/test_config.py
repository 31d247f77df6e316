from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdeps.api.config import Config, PrefectConfig, ResolverConfig, parse_config
from flowdeps.api.poolconfig import EnvVar, InstallConfig, PoolConfig
from flowdeps.api.problems import InvalidError
from flowdeps.locks.index import Index
from tests.unit.api.test_resource import JSON

FULL: dict[str, Any] = {
    "prefect": {"apiUrl": "http://prefect.example.com:4200/api", "pollInterval": "10s"},
    "watchNamespaces": ["flows"],
    "owner": "platform/flowdeps",
    "httpPort": 9000,
    "index": {"url": "https://packages.example.com/simple", "extraUrls": ["https://b.example.com"]},
    "resolver": {
        "concurrency": 4,
        "timeout": "10m",
        "memory": "4Gi",
        "cacheDirectory": "/var/cache/flowdeps",
    },
    "workPools": [
        {
            "name": "kubernetes-*",
            "namespaces": ["team-*"],
            "jobNamespaces": ["jobs"],
            "image": "registry.example.com/flows:1",
            "variable": "packages",
            "install": {
                "resources": {"requests": {"cpu": "100m"}},
                "securityContext": {"runAsNonRoot": True},
                "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}],
            },
        },
        {"name": "kubernetes-a", "image": "never"},
    ],
}


def test_each_field_arrives() -> None:
    """Every field of a configuration that has all of them stands in the parsed one."""
    pool = PoolConfig(
        name="kubernetes-*",
        namespaces=("team-*",),
        job_namespaces=("jobs",),
        image="registry.example.com/flows:1",
        variable="packages",
        install=InstallConfig(
            resources={"requests": {"cpu": "100m"}},
            security_context={"runAsNonRoot": True},
            env=(EnvVar("HTTPS_PROXY", "http://proxy.example.com"),),
        ),
    )
    assert parse_config(FULL) == Config(
        prefect=PrefectConfig(
            api_url="http://prefect.example.com:4200/api", poll_interval=timedelta(seconds=10)
        ),
        watch_namespaces=("flows",),
        owner="platform/flowdeps",
        work_pools=(pool, PoolConfig(name="kubernetes-a", image="never")),
        index=Index("https://packages.example.com/simple", ("https://b.example.com",)),
        resolver=ResolverConfig(
            concurrency=4,
            timeout=timedelta(minutes=10),
            memory=4 * 2**30,
            cache_directory="/var/cache/flowdeps",
        ),
        http_port=9000,
    )


def test_an_empty_file_is_the_default_configuration() -> None:
    """Every field has a default."""
    assert parse_config({}) == Config()


def test_the_first_entry_that_matches_a_pool_holds() -> None:
    """An earlier glob wins over a later exact name; a pool that nothing names has the defaults."""
    config = parse_config(FULL)
    assert config.pool("kubernetes-a").image == "registry.example.com/flows:1"
    assert config.pool("docker") == PoolConfig()


def test_a_name_with_brackets_matches_itself() -> None:
    """A pool whose name reads as a glob is found by its exact name."""
    config = parse_config({"workPools": [{"name": "a[1]", "image": "x"}]})
    assert config.pool("a[1]").image == "x"


def test_a_pool_takes_sets_of_the_namespaces_it_lists() -> None:
    """Globs of namespaces decide who is admitted; none listed admits all."""
    pool = parse_config(FULL).pool("kubernetes-a")
    assert pool.admits("team-a")
    assert not pool.admits("other")
    assert PoolConfig().admits("other")


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"watchNamespace": ["a"]}, "watchNamespace", "did you mean 'watchNamespaces'"),
        ({"prefect": {"apiURL": "http://a"}}, "prefect.apiURL", "did you mean 'apiUrl'"),
        ({"prefect": {"apiUrl": "prefect:4200"}}, "prefect.apiUrl", "http://prefect.example.com"),
        ({"prefect": {"apiUrl": "http://a:secret@b/api"}}, "prefect.apiUrl", "PREFECT_API_KEY"),
        ({"prefect": {"pollInterval": 30}}, "prefect.pollInterval", "quotes"),
        ({"prefect": {"pollInterval": "0s"}}, "prefect.pollInterval", "1s or more"),
        ({"prefect": []}, "prefect", "a list stands where fields are needed"),
        ({"watchNamespaces": ["Flows"]}, "watchNamespaces[0]", "lower-case"),
        ({"owner": "a b"}, "owner", "namespace/name"),
        ({"httpPort": "80"}, "httpPort", "without quotes"),
        ({"httpPort": 0}, "httpPort", "1 to 65535"),
        ({"index": {"url": "https://a:secret@b"}}, "index.url", "remove the part before '@'"),
        ({"resolver": {"concurrency": True}}, "resolver.concurrency", "whole number"),
        ({"resolver": {"timeout": "0s"}}, "resolver.timeout", "1s or more"),
        ({"resolver": {"memory": "2GB"}}, "resolver.memory", "such as 512Mi"),
        ({"resolver": {"memory": "1Mi"}}, "resolver.memory", "256Mi or more"),
        ({"resolver": {"cacheDirectory": "a"}}, "resolver.cacheDirectory", "the whole path"),
        ({"workPools": [{}]}, "workPools[0].name", "add it"),
        ({"workPools": [None]}, "workPools[0]", "an empty item"),
        ({"workPools": [{"name": "a", "variable": "a-b"}]}, "workPools[0].variable", "'_'"),
        ({"workPools": [{"name": "a", "image": "a b"}]}, "workPools[0].image", "registry"),
        (
            {"workPools": [{"name": "a", "install": {"env": [{"name": "A", "value": "{{ b }}"}]}}]},
            "workPools[0].install.env[0].value",
            "placeholder",
        ),
        (
            {"workPools": [{"name": "a", "install": {"securityContext": {"runAsRoot": False}}}]},
            "workPools[0].install.securityContext.runAsRoot",
            "did you mean",
        ),
        (
            {
                "workPools": [
                    {"name": "a", "install": {"resources": {"requests": {"cpu": "1 core"}}}}
                ]
            },
            "workPools[0].install.resources.requests.cpu",
            "such as 100m",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_path(change: dict[str, Any], path: str, says: str) -> None:
    """Each mistake is told with the path of its field and what to do, and no password."""
    with pytest.raises(InvalidError) as caught:
        parse_config(change)
    [problem] = [one for one in caught.value.problems if one.path == path]
    assert says in problem.message
    assert "secret" not in str(caught.value)


@given(st.sampled_from(tuple(FULL)), JSON)
def test_any_json_is_parsed_or_refused(name: str, value: Any) -> None:
    """Whatever JSON stands at a field, the answer is a configuration or InvalidError."""
    with suppress(InvalidError):
        parse_config({**FULL, name: value})
