"""The stage stands for the session: a node, a server and a worker take longer than most tests."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cluster import images
from tests.cluster.index import Index
from tests.cluster.node import Node
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.e2e.stage import CACHE, CACHED, JOBS, OTHER_JOBS, PLAIN, POOL, RESTRICTED, TEAM, Stage
from tests.integration.chart.helm import Helm
from tests.support.accounts import Accounts
from tests.support.fixtures import install_crd
from tests.support.operator import Operator

_OPEN = {"namespaces": ["*"], "defaultNamespaces": ["*"]}


@pytest.fixture(scope="session")
def stage(
    node: Node, node_prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One pool with one worker, and an operator whose index pods reach, as the account that the
    chart makes for it; no sets."""
    install_crd(node)
    for namespace in (TEAM, JOBS, OTHER_JOBS, RESTRICTED):
        node.kubectl("create", "namespace", namespace)
    node.kubectl("label", "ns", RESTRICTED, "pod-security.kubernetes.io/enforce=restricted")
    with ExitStack() as stack:
        index = stack.enter_context(Index(host=node.gateway))
        api = stack.enter_context(node_prefect_server.api())
        for pool in (POOL, PLAIN, CACHED):
            api.create_pool(pool, image=images.FLOW_UV, namespace=JOBS)
        stack.enter_context(
            KubernetesWorker(
                node_prefect_server,
                pool=POOL,
                kubeconfig=node.kubeconfig,
                namespaces=[JOBS, OTHER_JOBS, RESTRICTED],
            )
        )
        accounts = Accounts(node, Helm(tmp_path_factory.mktemp("helm")))
        cached = {"delivery": "Cache", "cache": {"claimName": CACHE}}
        config = {
            "index": {"url": index.url},
            "workPools": [
                {**_OPEN, "name": POOL, "jobNamespaces": [JOBS, OTHER_JOBS, RESTRICTED]},
                {**_OPEN, "name": PLAIN, "extraPackages": "Forbidden"},
                {**_OPEN, "name": CACHED, "jobNamespaces": [JOBS], **cached},
            ],
        }
        operator = Operator(
            kubeconfig=accounts.kubeconfig(config),
            prefect_url=node_prefect_server.url,
            config=config,
        )
        stack.enter_context(operator)
        yield Stage(
            node=node,
            api=api,
            index=index,
            operator=operator,
            deployment=api.deploy("e2e", pool=POOL),
        )
