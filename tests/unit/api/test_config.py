from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flowdeps.api.config import (
    Config,
    ElectionConfig,
    LimitsConfig,
    PrefectConfig,
    ResolverConfig,
    parse_config,
)
from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.helperconfig import CredentialHelper
from flowdeps.api.poolconfig import CacheConfig, EnvVar, InstallConfig, PoolConfig
from flowdeps.api.problems import InvalidError
from flowdeps.api.trialconfig import ImagesConfig, PodsConfig, VulnerabilitiesConfig
from flowdeps.locks.index import Index, PackageIndex
from tests.unit.api.test_resource import JSON

HELPER = {
    "url": "https://packages.example.com/simple",
    "namespaces": ["team-*"],
    "command": ["/helpers/token", "--domain", "flows"],
    "username": "aws",
    "environment": ["AWS_ROLE_ARN"],
    "timeout": "10s",
}
TORCH = {"names": ["torch"], "url": "https://torch.example.com/cpu"}
FULL: dict[str, Any] = {
    "prefect": {
        "apiUrl": "http://prefect.example.com:4200/api",
        "pollInterval": "10s",
        "artifacts": False,
        "events": False,
    },
    "watchNamespaces": ["flows"],
    "owner": "platform/flowdeps",
    "httpPort": 9000,
    "leaderElection": {
        "enabled": True,
        "namespace": "flowdeps",
        "name": "one",
        "leaseDuration": "1m",
        "renewDeadline": "40s",
        "retryPeriod": "10s",
    },
    "index": {
        "url": "https://packages.example.com/simple",
        "extraUrls": ["https://b.example.com"],
        "packages": [TORCH],
        "allowed": ["https://packages.example.com/simple", "https://b.example.com:8443/"],
        "allowedNetworks": ["10.1.0.0/16"],
        "deniedNetworks": ["10.96.0.0/12", "fd00::/8"],
        "cooldown": "7d",
        "credentialsInterval": "5m",
        "credentialHelpers": [HELPER],
    },
    "limits": {"setsPerNamespace": 100, "warnAboveSize": "4Gi"},
    "images": {"recheck": "10m"},
    "pods": {
        "concurrency": 2,
        "resources": {"limits": {"memory": "1Gi"}},
        "sizeLimit": "30Gi",
        "nodeSelector": {"kubernetes.io/os": "linux", "node-role.kubernetes.io/flows": ""},
        "tolerations": [{"key": "flows", "operator": "Exists", "effect": "NoSchedule"}],
        "imagePullSecrets": [{"name": "registry"}],
        "labels": {"team": "platform"},
        "annotations": {"sidecar.istio.io/inject": "false"},
    },
    "environments": {
        "repository": "registry.example.com:5000/flowdeps",
        "image": "registry.example.com/flowdeps:1",
        "pushSecretRef": {"name": "push"},
        "pullSecretRef": {"name": "pull"},
        "plainHttp": True,
        "proxy": "http://proxy.example.com:3128",
        "images": True,
        "deleteUnused": True,
        "admission": "Enabled",
        "policy": "flowdeps-environments",
    },
    "vulnerabilities": {"database": "/var/lib/osv", "interval": "12h"},
    "resolver": {
        "concurrency": 4,
        "timeout": "10m",
        "memory": "4Gi",
        "cacheDirectory": "/var/cache/flowdeps",
        "cacheSize": "1Gi",
    },
    "workPools": [
        {
            "name": "kubernetes-*",
            "namespaces": ["team-*"],
            "defaultNamespaces": ["team-a"],
            "jobNamespaces": ["jobs"],
            "image": "registry.example.com/flows:1",
            "workerPython": "3.12",
            "variable": "packages",
            "extraPackages": "Forbidden",
            "delivery": "Volume",
            "volume": {"claimName": "environments"},
            "install": {
                "resources": {"requests": {"cpu": "100m"}},
                "securityContext": {"runAsNonRoot": True, "seccompProfile": None},
                "sizeLimit": "0",
                "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com"}],
            },
        },
        {
            "name": "kubernetes-a",
            "image": "never",
            "delivery": "Cache",
            "cache": {"claimName": "cache", "unusedFor": "1d", "maxEntries": 5},
        },
        {"name": "dask", "image": "flows:1", "jobNamespaces": ["dask"], "labels": True},
    ],
}
_LABELLED = {"name": "dask", "image": "flows:1", "jobNamespaces": ["dask"], "labels": True}


def test_each_field_arrives() -> None:
    """Every field of a configuration that has all of them stands in the parsed one."""
    pool = PoolConfig(
        name="kubernetes-*",
        namespaces=("team-*",),
        default_namespaces=("team-a",),
        job_namespaces=("jobs",),
        image="registry.example.com/flows:1",
        worker_python="3.12",
        variable="packages",
        extra_packages=False,
        delivery="Volume",
        claim="environments",
        install=InstallConfig(
            resources={"requests": {"cpu": "100m"}},
            security_context={"runAsNonRoot": True, "seccompProfile": None},
            size_limit=0,
            env=(EnvVar("HTTPS_PROXY", "http://proxy.example.com"),),
        ),
    )
    other = PoolConfig(
        name="kubernetes-a",
        image="never",
        delivery="Cache",
        cache=CacheConfig(claim="cache", unused_for=timedelta(days=1), max_entries=5),
    )
    labelled = PoolConfig(name="dask", image="flows:1", job_namespaces=("dask",), labels=True)
    assert parse_config(FULL) == Config(
        prefect=PrefectConfig(
            api_url="http://prefect.example.com:4200/api",
            poll_interval=timedelta(seconds=10),
            artifacts=False,
            events=False,
        ),
        watch_namespaces=("flows",),
        owner="platform/flowdeps",
        work_pools=(pool, other, labelled),
        index=Index(
            "https://packages.example.com/simple",
            ("https://b.example.com",),
            (PackageIndex("https://torch.example.com/cpu", ("torch",)),),
        ),
        resolver=ResolverConfig(
            concurrency=4,
            timeout=timedelta(minutes=10),
            memory=4 * 2**30,
            cache_directory="/var/cache/flowdeps",
            cache_size=2**30,
        ),
        allowed_indexes=("https://packages.example.com/simple", "https://b.example.com:8443/"),
        allowed_networks=("10.1.0.0/16",),
        denied_networks=("10.96.0.0/12", "fd00::/8"),
        cooldown=timedelta(days=7),
        credentials_interval=timedelta(minutes=5),
        credential_helpers=(
            CredentialHelper(
                url="https://packages.example.com/simple",
                namespaces=("team-*",),
                command=("/helpers/token", "--domain", "flows"),
                username="aws",
                environment=("AWS_ROLE_ARN",),
                timeout=timedelta(seconds=10),
            ),
        ),
        images=ImagesConfig(recheck=timedelta(minutes=10)),
        pods=PodsConfig(
            concurrency=2,
            resources={"limits": {"memory": "1Gi"}},
            size_limit=30 * 2**30,
            node_selector={"kubernetes.io/os": "linux", "node-role.kubernetes.io/flows": ""},
            tolerations=({"key": "flows", "operator": "Exists", "effect": "NoSchedule"},),
            image_pull_secrets=("registry",),
            labels={"team": "platform"},
            annotations={"sidecar.istio.io/inject": "false"},
        ),
        environments=EnvironmentsConfig(
            repository="registry.example.com:5000/flowdeps",
            image="registry.example.com/flowdeps:1",
            push_secret="push",
            pull_secret="pull",
            plain_http=True,
            proxy="http://proxy.example.com:3128",
            images=True,
            delete_unused=True,
            admission="Enabled",
            policy="flowdeps-environments",
        ),
        vulnerabilities=VulnerabilitiesConfig(
            database="/var/lib/osv", interval=timedelta(hours=12)
        ),
        limits=LimitsConfig(sets_per_namespace=100, warn_above_size=4 * 2**30),
        http_port=9000,
        election=ElectionConfig(
            enabled=True,
            namespace="flowdeps",
            name="one",
            lease_duration=timedelta(minutes=1),
            renew_deadline=timedelta(seconds=40),
            retry_period=timedelta(seconds=10),
        ),
    )


def test_an_empty_file_is_the_default_configuration() -> None:
    """Every field has a default."""
    assert parse_config({}) == Config()


@pytest.mark.parametrize(
    "repository",
    [
        "registry.example.com/flowdeps",
        "registry.example.com",
        "registry:5000/team-a/environments_1",
        "127.0.0.1:5000",
        "localhost/flowdeps",
    ],
)
def test_a_repository_of_environments_has_one_below_for_each_namespace(repository: str) -> None:
    """So that a registry can keep namespaces apart."""
    found = parse_config({"environments": {"repository": repository}}).environments
    assert found.repository_of("flows") == f"{repository}/flows"
    assert found.missing.startswith("environments.image: missing; write ")


def test_without_a_repository_there_are_no_environments() -> None:
    """Nothing is in no repository, and nothing is missing."""
    assert EnvironmentsConfig().repository_of("flows") == ""
    assert EnvironmentsConfig().missing == ""
    assert EnvironmentsConfig(repository="r.example.com", image="i").missing == ""


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        ({"repository": "https://registry.example.com/x"}, "repository", "https:// is no part"),
        ({"repository": "oci://registry.example.com/x"}, "repository", "oci:// is no part"),
        ({"repository": "registry.example.com/x:1"}, "repository", "has a tag or a digest"),
        ({"repository": "registry.example.com/x@sha256:1"}, "repository", "has a tag or a digest"),
        ({"repository": "team/flowdeps"}, "repository", "names no registry"),
        ({"repository": "registry.example.com/Team"}, "repository", "is not a repository"),
        ({"repository": "registry.example.com/../x"}, "repository", "is not a repository"),
        ({"repository": "registry.example.com/x/"}, "repository", "is not a repository"),
        ({"repository": "registry.example.com/x y"}, "repository", "is not a repository"),
        ({"image": "two words"}, "image", "is not an image"),
        ({"pushSecretRef": {}}, "pushSecretRef.name", "missing"),
        ({"pushSecretRef": {"name": "No"}}, "pushSecretRef.name", "is not an object's name"),
        ({"plainHttp": "yes"}, "plainHttp", "write true or false"),
        ({"proxy": "proxy.example.com:3128"}, "proxy", "such as http://proxy.example.com:3128"),
        ({"proxy": "http://me:s3cret@proxy.example.com"}, "proxy", "remove the part before '@'"),
        ({"admission": "Always"}, "admission", "write Auto, Enabled or Disabled"),
        ({"policy": "No"}, "policy", "is not an object's name"),
        ({"repositry": "x"}, "repositry", "did you mean 'repository'?"),
    ],
)
def test_what_is_wrong_with_environments_is_said_at_its_field(
    given: dict[str, Any], path: str, says: str
) -> None:
    """One problem, with the path, and what to write."""
    with pytest.raises(InvalidError) as caught:
        parse_config({"environments": given})
    [problem] = caught.value.problems
    assert problem.path == f"environments.{path}"
    assert says in problem.message


def test_the_first_entry_that_matches_a_pool_holds() -> None:
    """An earlier glob wins over a later exact name; a pool that nothing names has the defaults."""
    config = parse_config(FULL)
    assert config.pool("kubernetes-a").image == "registry.example.com/flows:1"
    assert config.pool("docker") == PoolConfig(name="docker")


def test_a_name_with_brackets_matches_itself() -> None:
    """A pool whose name reads as a glob is found by its exact name."""
    config = parse_config({"workPools": [{"name": "a[1]", "image": "x"}]})
    assert config.pool("a[1]").image == "x"


def test_a_pool_takes_sets_of_the_namespaces_it_lists() -> None:
    """Globs of namespaces decide who is admitted, and where jobs run has no say then."""
    pool = parse_config(FULL).pool("kubernetes-a")
    assert pool.admits("team-a", jobs=["jobs"])
    assert not pool.admits("other", jobs=["jobs"])
    assert not pool.admits("jobs", jobs=["jobs"])
    assert PoolConfig(namespaces=("*",)).admits("other", jobs=[])


def test_a_pool_without_a_list_takes_sets_of_the_namespaces_of_its_jobs() -> None:
    """Those of no other namespace, whether the pool has an entry or none."""
    config = parse_config({"workPools": [{"name": "k", "image": "x"}]})
    for pool in (config.pool("k"), config.pool("unnamed")):
        assert pool.admits("jobs", jobs=["flows", "jobs"])
        assert not pool.admits("other", jobs=["flows", "jobs"])
        assert not pool.admits("other", jobs=[])


def test_a_default_needs_leave() -> None:
    """A set may be a pool's default only from the namespaces that the entry names for it."""
    pool = parse_config(FULL).pool("kubernetes-a")
    assert pool.allows_default("team-a")
    assert not pool.allows_default("team-b")
    assert not PoolConfig(namespaces=("*",)).allows_default("team-a")


def test_credentials_go_where_the_configuration_says() -> None:
    """Beside the set's own namespace these are the job namespaces of the entry, and no glob."""
    pool = parse_config(FULL).pool("kubernetes-a")
    assert pool.allows_credentials("team-a", job="jobs")
    assert pool.allows_credentials("team-a", job="team-a")
    assert not pool.allows_credentials("team-a", job="team-b")
    assert not PoolConfig(namespaces=("*",)).allows_credentials("team-a", job="jobs")


@pytest.mark.parametrize(
    "pools",
    [[], [{"name": "k"}], [{"name": "k", "namespaces": ["a", "b"], "jobNamespaces": ["j"]}]],
)
def test_what_is_refused_comes_with_the_line_that_allows_it(pools: list[dict[str, Any]]) -> None:
    """Written into the configuration in place of the entry's own line, it does."""
    settings = parse_config({"workPools": pools}).pool("k")
    jobs = settings.job_namespaces or ("jobs",)
    for message in (
        settings.why_not_admitted("team", jobs=jobs),
        settings.why_not_default("team"),
        settings.why_no_credentials(job="far"),
    ):
        line = yaml.safe_load(message[message.index("workPools:") :])
        [entry] = line["workPools"]
        before = next(iter(pools), {})
        opened = parse_config({"workPools": [{**before, **entry}]}).pool("k")
        assert opened != settings
        if "namespaces" in entry:
            admitted = [*(settings.namespaces or jobs), "team"]
            assert all(opened.admits(one, jobs=jobs) for one in admitted)
        elif "defaultNamespaces" in entry:
            assert opened.allows_default("team")
        else:
            assert opened.allows_credentials("team", job="far")


def test_a_long_list_is_not_repeated() -> None:
    """A message has a limit; what is new stands in it all the same."""
    settings = PoolConfig(name="k", namespaces=tuple(f"team-{one:04}" for one in range(1000)))
    message = settings.why_not_admitted("other", jobs=[])
    assert message.endswith('workPools: [{name: "k", namespaces: ["…", "other"]}]')
    assert len(message) < 400


@pytest.mark.parametrize(
    "url",
    [
        "https://packages.example.com/simple",
        "https://packages.example.com/simple/",
        "https://packages.example.com/simple/team/a",
        "https://PACKAGES.example.com:443/simple",
        "https://b.example.com:8443",
        "https://b.example.com:8443/any",
        "https://b.example.com:8443/any/+simple/~me/a@b",
        "https://b.example.com:8443/My%20Feed/caf%C3%A9",
    ],
)
def test_an_index_at_or_below_an_allowed_one_is_allowed(url: str) -> None:
    """The same place, and what is below it by whole segments, may be named by sets."""
    assert parse_config(FULL).allows_index(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://packages.example.com.evil.example.com/simple",
        "https://packages.example.com/simple-evil",
        "https://packages.example.com/",
        "https://packages.example.com//simple",
        "https://packages.example.com/Simple",
        "http://packages.example.com/simple",
        "https://packages.example.com:8443/simple",
        "https://evil.example.com/packages.example.com/simple",
        "https://b.example.com/",
        "https://packages.example.com/simple/../private",
        "https://packages.example.com/simple/%2e%2E/private",
        "https://packages.example.com/simple/..%2fprivate",
        "https://packages.example.com/simple/..\\private",
        "https://packages.example.com/simple/.",
        "https://packages.example.com/simple/..;/private",
        "https://packages.example.com/simple/..;a=b/private",
        "https://packages.example.com/simple/team;a=b",
        "https://packages.example.com/simple/%252e%252e/private",
        "https://packages.example.com/simple/%25252e/private",
        "https://packages.example.com/simple/%5c..%5cprivate",
        "https://packages.example.com/simple/%2e%2e%3b/private",
        "https://packages.example.com/simple/%00/private",
        "https://packages.example.com/simple/..%0d/private",
        "https://packages.example.com/simple/..%20/private",
        "https://packages.example.com/simple/%c0%ae%c0%ae/private",
        "https://packages.example.com/simple/%EF%BC%8E/private",
        "https://packages.example.com/simple/%74eam",
        "https://packages.example.com/simple/%zz",
        "https://packages.example.com/simple/team//a",
        "https://packages.example.com/%73imple",
        "https://packages.example.com:0/simple",
    ],
)
def test_an_index_that_only_looks_like_an_allowed_one_is_not(url: str) -> None:
    """Another scheme, host, port or segment is another place, and so is a path that climbs."""
    assert not parse_config(FULL).allows_index(url)
    assert Config().allows_index(url)


@pytest.mark.parametrize(
    ("index", "may", "may_not"),
    [
        ({}, "https://a.example.com", None),
        ({"url": "https://a.example.com/x"}, "https://a.example.com/x/y", "https://a.example.com"),
        (
            {"url": "https://a.example.com", "extraUrls": ["https://b.example.com"]},
            "https://b.example.com",
            "https://c.example.com",
        ),
        (
            {"url": "https://a.example.com/x", "allowed": ["https://b.example.com"]},
            "https://a.example.com/x",
            "https://a.example.com/x/y",
        ),
        ({"url": "https://a.example.com", "allowed": ["*"]}, "https://b.example.com/..;/", None),
        (
            {"url": "https://a.example.com", "packages": [TORCH]},
            "https://torch.example.com/cpu",
            "https://torch.example.com",
        ),
        ({"packages": [TORCH]}, "https://b.example.com", None),
    ],
)
def test_where_an_index_is_configured_sets_may_name_no_other(
    index: dict[str, object], may: str, may_not: str | None
) -> None:
    """Unless `allowed` says more; `*` is all."""
    config = parse_config({"index": index})
    assert config.allows_index(may)
    assert may_not is None or not config.allows_index(may_not)


@pytest.mark.parametrize(
    ("allowed", "may", "may_not"),
    [
        (
            "registry.example.com",
            ["registry.example.com/flows:1"],
            [
                "registry.example.com:5000/flows:1",
                "registry.example.com:5000",
                "registry.example.com.evil/x",
            ],
        ),
        (
            "registry.example.com:5000",
            ["registry.example.com:5000/flows@sha256:0"],
            ["registry.example.com/flows", "registry.example.com:50001/flows"],
        ),
        (
            "registry.example.com/flows",
            [
                "registry.example.com/flows",
                "registry.example.com/flows:1",
                "registry.example.com/flows@sha256:0",
                "registry.example.com/flows/a:1",
            ],
            ["registry.example.com/flows-other", "registry.example.com/flows:1/x"],
        ),
        ("python", ["python:3.11", "python@sha256:0"], ["python:5000/flows", "pythons"]),
        ("python:3.11", ["python:3.11", "python:3.11@sha256:0"], ["python:3.11.1", "python"]),
    ],
)
def test_an_allowed_image_is_of_one_registry_with_its_port(
    allowed: str, may: list[str], may_not: list[str]
) -> None:
    """After the name of a registry, `:` begins another registry, not a tag."""
    config = parse_config({"images": {"allowed": [allowed]}})
    assert [one for one in may if not config.allows_image(one)] == []
    assert [one for one in may_not if config.allows_image(one)] == []


_CPU, _FIRST = "pods.resources.limits.cpu", "pods.tolerations[0]"


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"watchNamespace": ["a"]}, "watchNamespace", "did you mean 'watchNamespaces'"),
        ({"prefect": {"apiURL": "http://a"}}, "prefect.apiURL", "did you mean 'apiUrl'"),
        ({"prefect": {"apiUrl": "prefect:4200"}}, "prefect.apiUrl", "http://prefect.example.com"),
        ({"prefect": {"apiUrl": "http://a:secret@b/api"}}, "prefect.apiUrl", "PREFECT_API_KEY"),
        ({"prefect": {"pollInterval": 30}}, "prefect.pollInterval", "quotes"),
        ({"prefect": {"pollInterval": "0s"}}, "prefect.pollInterval", "1s or more"),
        ({"prefect": []}, "prefect", "a list is given where fields are needed"),
        ({"watchNamespaces": ["Flows"]}, "watchNamespaces[0]", "lower-case"),
        ({"owner": "a b"}, "owner", "namespace/name"),
        ({"leaderElection": {"enabled": True}}, "leaderElection.namespace", "missing"),
        ({"leaderElection": {"name": "A"}}, "leaderElection.name", "lower-case"),
        ({"leaderElection": {"retryPeriod": "0s"}}, "leaderElection.retryPeriod", "1s or more"),
        ({"leaderElection": {"leaseDuration": "2h"}}, "leaderElection.leaseDuration", "1h or less"),
        (
            {"leaderElection": {"leaseDuration": "10s"}},
            "leaderElection.renewDeadline",
            "10s is not less than leaseDuration (10s)",
        ),
        (
            {"leaderElection": {"renewDeadline": "2s"}},
            "leaderElection.retryPeriod",
            "2s is not less than renewDeadline (2s)",
        ),
        ({"httpPort": "80"}, "httpPort", "without quotes"),
        ({"httpPort": 0}, "httpPort", "1 to 65535"),
        ({"index": {"url": "https://a:secret@b"}}, "index.url", "remove the part before '@'"),
        ({"resolver": {"concurrency": True}}, "resolver.concurrency", "whole number"),
        ({"resolver": {"timeout": "0s"}}, "resolver.timeout", "1s or more"),
        ({"resolver": {"memory": "2GB"}}, "resolver.memory", "such as 512Mi"),
        ({"resolver": {"memory": "1Mi"}}, "resolver.memory", "256Mi or more"),
        ({"resolver": {"cacheSize": "1Mi"}}, "resolver.cacheSize", "64Mi or more"),
        ({"index": {"allowedNetworks": ["10.0.0.1/8"]}}, "index.allowedNetworks[0]", "10.96.0.0"),
        ({"index": {"deniedNetworks": ["cluster"]}}, "index.deniedNetworks[0]", "10.96.0.0/12"),
        ({"resolver": {"cacheDirectory": "a"}}, "resolver.cacheDirectory", "the whole path"),
        ({"index": {"allowed": ["packages.example.com"]}}, "index.allowed[0]", "write it such as"),
        ({"index": {"allowed": ["https://a:secret@b"]}}, "index.allowed[0]", "remove the part"),
        ({"index": {"allowed": ["https://a/..;/b"]}}, "index.allowed[0]", "leave out '%', ';'"),
        ({"index": {"allowed": ["https://a/%2e"]}}, "index.allowed[0]", "leave out '%', ';'"),
        (
            {"index": {"packages": [{"names": [], "url": "https://a"}]}},
            "index.packages[0].names",
            "name the packages that come from this index",
        ),
        ({"index": {"packages": [{"names": ["torch"]}]}}, "index.packages[0].url", "add it"),
        (
            {"index": {"packages": [TORCH, {"names": ["Torch"], "url": "https://a"}]}},
            "index.packages[1].names",
            "name each package once",
        ),
        (
            {"index": {"packages": [{"names": ["*"], "url": "https://a"}]}},
            "index.packages[0].names[0]",
            "write it alone",
        ),
        ({"index": {"cooldown": "2y"}}, "index.cooldown", "numbers with d, h, m or s"),
        ({"index": {"cooldown": "400d"}}, "index.cooldown", "365d or less"),
        ({"index": {"credentialsInterval": "5s"}}, "index.credentialsInterval", "10s or more"),
        *(
            (
                {"index": {"credentialHelpers": [{**HELPER, **wrong}]}},
                f"index.credentialHelpers[0].{field}",
                says,
            )
            for wrong, field, says in (
                ({"url": None}, "url", "missing"),
                ({"url": "*"}, "url", "not an index URL"),
                ({"url": "https://u:p@a.example.com"}, "url", "remove the part"),
                ({"url": "https://a.example.com/..;/b"}, "url", "leave out '%', ';'"),
                ({"namespaces": None}, "namespaces", '"*" for all'),
                ({"namespaces": []}, "namespaces", '"*" for all'),
                ({"namespaces": ["Team"]}, "namespaces[0]", "such as team-*"),
                ({"command": None}, "command", "missing"),
                ({"command": []}, "command", "missing"),
                ({"command": ["token"]}, "command[0]", "no whole path"),
                ({"username": "a b"}, "username", "netrc file can't hold"),
                ({"environment": ["A=b"]}, "environment[0]", "not a variable's name"),
                ({"timeout": "6m"}, "timeout", "1s to 5m"),
                ({"token": "x"}, "token", "unknown field"),
            )
        ),
        ({"images": {"recheck": "0s"}}, "images.recheck", "1m or more"),
        ({"images": {"recheck": "10s"}}, "images.recheck", "1m or more"),
        ({"pods": {"concurrency": 0}}, "pods.concurrency", "1 to 64"),
        ({"limits": {"setsPerNamespace": 0}}, "limits.setsPerNamespace", "1 to 100000"),
        ({"pods": {"resources": {"limits": {"cpu": "1 core"}}}}, _CPU, "such as 100m"),
        ({"pods": {"resources": []}}, "pods.resources", "a list is given where fields are needed"),
        ({"pods": {"labels": 1}}, "pods.labels", "a number is given where fields are needed"),
        ({"pods": {"resources": {"cpu": 1}}}, "pods.resources.cpu", "known: requests, limits"),
        ({"pods": {"nodeSelector": {"gpu": True}}}, "pods.nodeSelector.gpu", "put it in quotes"),
        ({"pods": {"nodeSelector": {"gpu": "a b"}}}, "pods.nodeSelector.gpu", "no label's value"),
        ({"pods": {"labels": {"a": "b c"}}}, "pods.labels.a", "no label's value"),
        ({"pods": {"annotations": {"a": False}}}, "pods.annotations.a", "put it in quotes"),
        ({"pods": {"imagePullSecrets": ["a"]}}, "pods.imagePullSecrets[0]", "fields are needed"),
        ({"pods": {"imagePullSecrets": [{}]}}, "pods.imagePullSecrets[0].name", "missing"),
        ({"pods": {"tolerations": [{"keys": "a"}]}}, "pods.tolerations[0].keys", "'key'"),
        ({"pods": {"tolerations": [{"operator": "In"}]}}, f"{_FIRST}.operator", "or Equal"),
        ({"pods": {"tolerations": [{"effect": "No"}]}}, f"{_FIRST}.effect", "NoSchedule"),
        ({"pods": {"tolerations": ["flows"]}}, _FIRST, "where fields are needed"),
        ({"vulnerabilities": {"database": "osv"}}, "vulnerabilities.database", "/var/lib/osv"),
        (
            {"vulnerabilities": {"database": "https://a:secret@b/osv"}},
            "vulnerabilities.database",
            "without credentials",
        ),
        ({"vulnerabilities": {"interval": "1s"}}, "vulnerabilities.interval", "1m or more"),
        ({"workPools": [{}]}, "workPools[0].name", "add it"),
        (
            {"workPools": [{"name": "a", "extraPackages": "no"}]},
            "workPools[0].extraPackages",
            "Allowed or Forbidden",
        ),
        (
            {"workPools": [{"name": "a", "delivery": "Fetch"}]},
            "workPools[0].delivery",
            "Auto, Install, Image, Volume or Cache",
        ),
        (
            {"workPools": [{"name": "a", "delivery": "Volume"}]},
            "workPools[0].volume",
            "write volume: {claimName: …}",
        ),
        (
            {"workPools": [{"name": "a", "volume": {"claimName": "environments"}}]},
            "workPools[0].volume",
            "write environments.repository",
        ),
        (
            {"workPools": [{"name": "a", "volume": {"claimName": "A b"}}]},
            "workPools[0].volume.claimName",
            "is not an object's name",
        ),
        (
            {
                "environments": {"repository": "registry.example.com/envs"},
                "workPools": [
                    {
                        "name": "a",
                        "delivery": "Volume",
                        "volume": {"claimName": "environments"},
                        "extraPackages": "Allowed",
                    }
                ],
            },
            "workPools[0].extraPackages",
            "write Forbidden",
        ),
        (
            {"workPools": [{"name": "a", "delivery": "Cache"}]},
            "workPools[0].cache",
            "name a volume",
        ),
        (
            {"workPools": [{"name": "a", "cache": {"claimName": "c"}}]},
            "workPools[0].cache",
            "delivery: Cache",
        ),
        (
            {"workPools": [{"name": "a", "cache": {"claimName": "c", "hostPath": "/c"}}]},
            "workPools[0].cache.hostPath",
            "keep one",
        ),
        *(
            (
                {
                    "workPools": [
                        {
                            "name": "a",
                            "delivery": "Cache",
                            "cache": {"hostPath": "/c"},
                            "jobNamespaces": jobs,
                        }
                    ]
                },
                "workPools[0].jobNamespaces",
                "must be one namespace",
            )
            for jobs in ([], ["a", "b"])
        ),
        *(
            (
                {"workPools": [{"name": "a", "cache": {"hostPath": path}}]},
                "workPools[0].cache.hostPath",
                "absolute path",
            )
            for path in ("cache", "/", "/a/../b", "/a/.", "/a b", "/a/$(HOME)", "/{{ x }}")
        ),
        (
            {"workPools": [{"name": "a", "cache": {"claimName": "{{ x }}"}}]},
            "workPools[0].cache.claimName",
            "is not an object's name",
        ),
        (
            {"workPools": [{"name": "a", "cache": {"unusedFor": "1m"}}]},
            "workPools[0].cache.unusedFor",
            "1h to 365d",
        ),
        *(
            (
                {"workPools": [{**_LABELLED, **change}], "environments": {"repository": "a.b/c"}},
                f"workPools[0].{field}",
                says,
            )
            for field, change, says in (
                ("name", {"name": "dask-*"}, "is a glob"),
                ("image", {"image": None}, "the image of the pods"),
                ("jobNamespaces", {"jobNamespaces": []}, "where the pods are"),
                ("defaultNamespaces", {"defaultNamespaces": ["a"]}, "gets nothing"),
                ("delivery", {"delivery": "Install"}, "Auto or Image"),
                ("volume", {"volume": {"claimName": "c"}}, "no volume"),
            )
        ),
        ({"workPools": [_LABELLED]}, "workPools[0].labels", "write environments.repository"),
        (
            {
                "workPools": [_LABELLED, {**_LABELLED, "name": "other"}],
                "environments": {"repository": "a.b/c"},
            },
            "workPools[1].jobNamespaces",
            'get sets of work pool "dask" by their label',
        ),
        ({"workPools": [None]}, "workPools[0]", "an empty item"),
        ({"workPools": [{"name": "a", "variable": "a-b"}]}, "workPools[0].variable", "'_'"),
        (
            {"workPools": [{"name": "a", "variable": "extra_py_deps"}]},
            "workPools[0].variable",
            "another name",
        ),
        ({"workPools": [{"name": "a", "image": "a b"}]}, "workPools[0].image", "registry"),
        (
            {"workPools": [{"name": "a", "workerPython": 3.12}]},
            "workPools[0].workerPython",
            "put it in quotes",
        ),
        (
            {"workPools": [{"name": "a", "workerPython": "3.12.1"}]},
            "workPools[0].workerPython",
            'write one such as "3.12"',
        ),
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


def test_all_mistakes_are_reported_together() -> None:
    """Each mistake is reported once, with the first of each section, and none causes another."""
    with pytest.raises(InvalidError) as caught:
        parse_config(
            {
                "watchNamespaces": "flows",
                "leaderElection": {"renewDeadline": "0s", "name": None},
                "workPools": [{"image": "a b"}, {"name": "a", "install": {"env": [{"name": "1"}]}}],
                "index": {"urls": []},
            }
        )
    assert sorted(one.path for one in caught.value.problems) == [
        "index.urls",
        "leaderElection.renewDeadline",
        "watchNamespaces",
        "workPools[0].image",
        "workPools[0].name",
        "workPools[1].install.env[0].name",
    ]


@given(st.sampled_from(tuple(FULL)), JSON)
def test_any_json_is_parsed_or_refused(name: str, value: Any) -> None:
    """Whatever JSON stands at a field, the answer is a configuration or InvalidError."""
    with suppress(InvalidError):
        parse_config({**FULL, name: value})
