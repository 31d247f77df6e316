"""What is measured stands here: a node, Prefect, an index on this machine, and the operator.

Each pool has a worker of its own: ``bare`` is as Prefect made it, ``flowdeps`` is offered a set and
installs it, ``ready`` is given the set's environment, and ``recipe`` has the init container that
people pass around.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench import mirror
from tests.cluster import images, rootfs, tools
from tests.cluster.index import Index
from tests.cluster.node import Node
from tests.cluster.prefect import KubernetesWorker, PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.cluster.progress import run_step
from tests.cluster.registry import Registry
from tests.support import environments, sets
from tests.support.fixtures import install_crd
from tests.support.operator import Operator

BARE, FLOWDEPS, READY, RECIPE = "bare", "flowdeps", "ready", "recipe"
JOBS = "jobs"
SET = mirror.DATA
_PYDEPS = "/opt/pydeps"


@dataclass(frozen=True, kw_only=True)
class Stage:
    node: Node
    api: PrefectApi
    operator: Operator
    index: Index
    registry: Registry | None
    """There where a pool is given environments."""


@contextmanager
def stage(pools: Sequence[str], packages: Sequence[str] = (SET,)) -> Iterator[Stage]:
    """Everything that runs in ``pools`` need; the sets of ``packages`` are Ready, and have their
    environments where one of the pools is given them."""
    with ExitStack() as stack:
        node = stack.enter_context(Node())
        node.load_image(images.flow())
        install_crd(node)
        node.kubectl("create", "namespace", JOBS)
        index = stack.enter_context(Index(host=node.gateway))
        mirror.fill(index, packages)
        server = stack.enter_context(PrefectServer(host=node.gateway))
        api = stack.enter_context(server.api())
        for pool in pools:
            api.create_pool(pool, image=images.FLOW_UV, namespace=JOBS)
            if pool == RECIPE:
                api.set_template(pool, with_recipe(api.template(pool), index=index))
            stack.enter_context(
                KubernetesWorker(server, pool=pool, kubeconfig=node.kubeconfig, namespaces=[JOBS])
            )
        configured: dict[str, Any] = {}
        registry = None
        if READY in pools:
            registry = stack.enter_context(Registry(host=node.gateway))
            configured = {"environments": environments.prepare(node, registry)}
        operator = Operator(
            kubeconfig=node.kubeconfig,
            prefect_url=server.url,
            config={
                "index": {"url": index.url},
                "prefect": {"apiUrl": server.url, "pollInterval": "30s"},
                "workPools": [
                    {"name": FLOWDEPS, "namespaces": ["default"], "delivery": "Install"},
                    {"name": "*", "namespaces": ["default"]},
                ],
                **configured,
            },
        )
        stack.enter_context(operator)
        offered = [pool for pool in pools if pool in {FLOWDEPS, READY}]
        for name in packages:
            about = mirror.SETS[name]
            # All modules of a package may need what it requires only for some of them.
            imports = {"imports": list(about.modules)}
            body = sets.set_body(name, about.requirements, pools=offered, verify=imports)
            if READY in pools:
                body["spec"]["python"] = {"image": images.FLOW_UV}
            sets.apply(node, body)
        for name in packages:
            sets.wait_ready(node, name, seconds=600)
            if READY in pools:
                _load_baked(node, index, name)
                _wait_for_environment(node, name)
        yield Stage(node=node, api=api, operator=operator, index=index, registry=registry)


def baked(name: str) -> str:
    """The image that has the packages of a set."""
    return f"example.com/flowdeps/flow:{name}"


def _wait_for_environment(node: Node, name: str) -> None:
    """Wait until runs of the pool are given the set's environment."""

    def ways() -> dict[str, str]:
        pools = sets.get_set(node, name)["status"].get("workPools", [])
        return {one["name"]: one.get("delivery", "") for one in pools}

    sets.wait(
        lambda: ways().get(READY) == "Image",
        what=f"the environment of {name}",
        seconds=600,
        show=lambda: str(sets.condition(sets.get_set(node, name), "Built")),
    )


def _load_baked(node: Node, index: Index, name: str) -> None:
    """Load an image that has what a set's lock has, compiled, where Prefect's packages are."""
    with TemporaryDirectory() as directory:
        tree = Path(directory, "tree")
        place = tree / f"{rootfs.ENVIRONMENT.strip('/')}/lib/python{rootfs.PYTHON}/site-packages"
        place.mkdir(parents=True)
        lock = Path(directory, "requirements.txt")
        lock.write_text(sets.get(node, "cm", f"flowdeps-{name}")["data"]["requirements.txt"])
        run_step(
            f"installing the packages of {name} into an image",
            [
                *(tools.uv(), "pip", "install", "--target", place, "--compile-bytecode"),
                *("--python-version", rootfs.PYTHON, "--default-index", index.url),
                *("--only-binary", ":all:", "--no-deps", "--require-hashes", "-r", lock),
            ],
            log=Path(directory, "install.log"),
            env=tools.environment(),
        )
        (place / ".lock").unlink(missing_ok=True)
        node.load_image(images.flow_with(tree, name=baked(name), directory=Path(directory)))


def with_recipe(template: dict[str, Any], *, index: Index) -> dict[str, Any]:
    """The usual recipe: pip into an emptyDir, and PYTHONPATH; our index instead of the default."""
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    mount = {"name": "pydeps", "mountPath": _PYDEPS}
    variables = {
        "EXTRA_PY_DEPS": " ".join(mirror.SETS[SET].requirements),
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
