"""What is measured stands here: a node, Prefect, an index on this machine, and the operator.

Each pool has a worker of its own: ``bare`` is as Prefect made it, ``flowdeps`` is offered a set,
and ``recipe`` has the init container that people pass around.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench import mirror
from tests.cluster import images
from tests.cluster.index import Index
from tests.cluster.node import Node
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.support import sets
from tests.support.fixtures import install_crd
from tests.support.operator import Operator

BARE, FLOWDEPS, RECIPE = "bare", "flowdeps", "recipe"
JOBS = "jobs"
SET = "data"
_PYDEPS = "/opt/pydeps"


@dataclass(frozen=True, kw_only=True)
class Stage:
    node: Node
    api: PrefectApi
    operator: Operator


@contextmanager
def stage(pools: Sequence[str]) -> Iterator[Stage]:
    """Everything that runs in ``pools`` need; the set is Ready."""
    with ExitStack() as stack:
        node = stack.enter_context(Node())
        node.load_image(images.flow())
        install_crd(node)
        node.kubectl("create", "namespace", JOBS)
        index = stack.enter_context(Index(host=node.gateway))
        mirror.fill(index)
        server = stack.enter_context(PrefectServer(host=node.gateway))
        api = stack.enter_context(server.api())
        for pool in pools:
            api.create_pool(pool, image=images.FLOW_UV, namespace=JOBS)
            if pool == RECIPE:
                api.set_template(pool, with_recipe(api.template(pool), index=index))
            stack.enter_context(
                KubernetesWorker(server, pool=pool, kubeconfig=node.kubeconfig, namespaces=[JOBS])
            )
        operator = Operator(
            kubeconfig=node.kubeconfig,
            prefect_url=server.url,
            config={
                "index": {"url": index.url},
                "prefect": {"apiUrl": server.url, "pollInterval": "30s"},
                "workPools": [{"name": "*", "namespaces": ["default"]}],
            },
        )
        stack.enter_context(operator)
        offered = [pool for pool in pools if pool == FLOWDEPS]
        sets.apply(node, sets.set_body(SET, mirror.PACKAGES, pools=offered))
        sets.wait_ready(node, SET, seconds=300)
        yield Stage(node=node, api=api, operator=operator)


def with_recipe(template: dict[str, Any], *, index: Index) -> dict[str, Any]:
    """The usual recipe: pip into an emptyDir, and PYTHONPATH; our index instead of the default."""
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    mount = {"name": "pydeps", "mountPath": _PYDEPS}
    variables = {
        "EXTRA_PY_DEPS": " ".join(mirror.PACKAGES),
        "PIP_INDEX_URL": index.url,
        "PIP_TRUSTED_HOST": index.host,
    }
    pod["volumes"] = [{"name": "pydeps", "emptyDir": {}}]
    pod["initContainers"] = [
        {
            "name": "install-pydeps",
            "image": "{{ image }}",
            "imagePullPolicy": "Never",
            "command": ["/bin/sh", "-c", f"pip install --target {_PYDEPS} $EXTRA_PY_DEPS"],
            "env": [{"name": name, "value": value} for name, value in variables.items()],
            "volumeMounts": [mount],
        }
    ]
    [flow] = pod["containers"]
    flow["volumeMounts"] = [mount]
    flow["env"] = [{"name": "PYTHONPATH", "value": _PYDEPS}]
    return template
