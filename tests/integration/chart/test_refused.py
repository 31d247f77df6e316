"""Wrong values end at `helm template`, as they would at `helm install`, with the field's path."""

from typing import Any

import pytest

from scripts.chart import CHART
from tests.integration.chart.helm import Helm, HelmError, needed

# Values, and what the message must hold.
_REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({}, ["prefect.apiUrl: missing", "image.repository: missing"]),
    "no address": ({"prefect": {"apiUrl": ""}}, ["prefect.apiUrl: missing"]),
    "an address that is none": (
        {"prefect": {"apiUrl": "prefect:4200"}},
        ["/prefect/apiUrl", "does not match pattern"],
    ),
    "a password in the address": (
        {"prefect": {"apiUrl": "https://me:secret@prefect.example.com/api"}},
        ["prefect.apiUrl: a user name or password", "prefect.existingSecret"],
    ),
    "an unknown value": (needed(replica=2), ["at ''", "'replica' not allowed"]),
    "an unknown field": (
        needed(config={"workpools": []}),
        ["/config", "'workpools' not allowed"],
    ),
    "prefect in the configuration": (
        needed(config={"prefect": {"apiUrl": "http://x/api"}}),
        ["/config", "'prefect' not allowed"],
    ),
    "an unknown field of a pool": (
        needed(config={"workPools": [{"name": "a", "jobnamespaces": ["jobs"]}]}),
        ["/config/workPools/0", "'jobnamespaces' not allowed"],
    ),
    "a pool without a name": (
        needed(config={"workPools": [{"image": "a"}]}),
        ["/config/workPools/0", "missing property 'name'"],
    ),
    "a placeholder": (
        needed(
            config={
                "workPools": [
                    {"name": "a", "install": {"env": [{"name": "A", "value": "{{ a }}"}]}}
                ]
            }
        ),
        ["/config/workPools/0/install/env/0/value"],
    ),
    "an extra index alone": (
        needed(config={"index": {"extraUrls": ["https://more.example.com/simple"]}}),
        ["/config/index/url"],
    ),
    "a repository with a scheme": (
        needed(config={"environments": {"repository": "https://registry.example.com/envs"}}),
        ["config.environments.repository: https:// is no part of a repository"],
    ),
    "a repository with a tag": (
        needed(config={"environments": {"repository": "registry.example.com/envs:1"}}),
        ['config.environments.repository: "registry.example.com/envs:1" has a tag or a digest'],
    ),
    "a repository with a digest": (
        needed(config={"environments": {"repository": f"example.com/envs@sha256:{'1' * 64}"}}),
        ["has a tag or a digest, which flowdeps gives itself"],
    ),
    "a repository without a registry": (
        needed(config={"environments": {"repository": "team/envs"}}),
        ['config.environments.repository: "team/envs" names no registry; write its host first'],
    ),
    "a repository that is none": (
        needed(config={"environments": {"repository": "registry.example.com/Envs"}}),
        ['config.environments.repository: "registry.example.com/Envs" is not a repository'],
    ),
    "pods with a label and no registry": (
        needed(config={"workPools": [{"name": "a", "labels": True}]}),
        ["config.workPools[].labels: such pods get ready environments"],
    ),
    "a password in a proxy": (
        needed(config={"environments": {"proxy": "http://me:secret@proxy.example.com"}}),
        ["config.environments.proxy: a user name or password in a URL is not allowed"],
    ),
    "a password in an index": (
        needed(config={"index": {"url": "https://me:secret@packages.example.com/simple"}}),
        ["config: a user name or password in a URL of index"],
    ),
    "a password in an allowed index": (
        needed(config={"index": {"allowed": ["https://me:secret@packages.example.com/simple"]}}),
        ["config: a user name or password in a URL of index"],
    ),
    "a password in the database": (
        needed(config={"vulnerabilities": {"database": "https://me:secret@osv.example.com/all"}}),
        ["config: a user name or password in a URL of index or vulnerabilities"],
    ),
    "a text for a number": (
        needed(config={"resolver": {"concurrency": "2"}}),
        ["/config/resolver/concurrency", "got string, want integer"],
    ),
    "a number out of range": (
        needed(config={"pods": {"concurrency": 65}}),
        ["/config/pods/concurrency", "maximum"],
    ),
    "a duration without a unit": (
        needed(config={"images": {"recheck": "60"}}),
        ["/config/images/recheck", "does not match pattern"],
    ),
    "a namespace that is none": (
        needed(config={"watchNamespaces": ["Team A"]}),
        ["/config/watchNamespaces/0"],
    ),
    "another pull policy": (
        {**needed(), "image": {**needed()["image"], "pullPolicy": "Sometimes"}},
        ["/image/pullPolicy", "must be one of"],
    ),
    "a short digest": (
        {**needed(), "image": {**needed()["image"], "digest": "sha256:abc"}},
        ["/image/digest"],
    ),
    "a Secret without a key": (
        {**needed(), "prefect": {**needed()["prefect"], "existingSecret": {"name": "a"}}},
        ["prefect.existingSecret: no key of the Secret is named"],
    ),
    "a key without a Secret": (
        {**needed(), "prefect": {**needed()["prefect"], "existingSecret": {"apiKeyKey": "a"}}},
        ["prefect.existingSecret.name: missing"],
    ),
    "two credentials": (
        {
            **needed(),
            "prefect": {
                **needed()["prefect"],
                "existingSecret": {"name": "a", "apiKeyKey": "b", "authStringKey": "c"},
            },
        },
        ["remove apiKeyKey or authStringKey"],
    ),
    "a secret as a value": (
        needed(extraEnv=[{"name": "A", "value": "b"}, {"name": "PREFECT_API_KEY", "value": "c"}]),
        ["extraEnv[1]: PREFECT_API_KEY is a secret", "prefect.existingSecret"],
    ),
    "two monitors": (
        needed(metrics={"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}),
        ["metrics: serviceMonitor and podMonitor"],
    ),
    "an alert that is none": (
        needed(metrics={"prometheusRule": {"disabled": ["FlowdepsUp"]}}),
        ["/metrics/prometheusRule/disabled/0"],
    ),
    "a group taken away": (needed(metrics=None), ["at ''", "missing property 'metrics'"]),
    "a text for a switch": (needed(crds={"enabled": "false"}), ["/crds/enabled"]),
    "an old cluster": (needed(), ["kubeVersion: >=1.29.0-0"]),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_wrong_values_are_refused_by_their_path(name: str, helm: Helm) -> None:
    """The message names the field, and does not show a password."""
    values, parts = _REFUSED[name]
    more = ["--kube-version", "1.28.0"] if name == "an old cluster" else []
    with pytest.raises(HelmError) as refused:
        helm("template", "flowdeps", CHART, *more, values=values)
    assert [part for part in parts if part not in str(refused.value)] == []
    assert "secret@" not in str(refused.value)
