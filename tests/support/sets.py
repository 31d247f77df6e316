"""Sets as bodies: applied with kubectl as a user would, and looked at with plain requests, which a
poll can make ten times a second."""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from flowdeps.api.names import API_VERSION, KIND, PLURAL, mounted_name
from tests.cluster.controlplane import ControlPlane

Body = dict[str, Any]

_PATHS = {
    "fds": f"/apis/{API_VERSION}/namespaces/{{}}/{PLURAL}",
    "cm": "/api/v1/namespaces/{}/configmaps",
    "secret": "/api/v1/namespaces/{}/secrets",
    "ns": "/api/v1/namespaces",
}


def set_body(
    name: str,
    requirements: Sequence[str],
    *,
    namespace: str = "default",
    pools: Sequence[str | Mapping[str, Any]] = (),
    python: str = "3.11",
    **spec: Any,
) -> Body:
    """A FlowDependencySet; `pools` are names or items of spec.workPools."""
    refs = [{"name": pool} if isinstance(pool, str) else dict(pool) for pool in pools]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "requirements": list(requirements),
            "python": {"version": python},
            "workPools": refs,
            **spec,
        },
    }


def config_map(name: str, *, namespace: str = "default", **data: str) -> Body:
    """A ConfigMap; underscores of the keys stand for dots."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key.replace("_", "."): text for key, text in data.items()},
    }


def secret(name: str, *, namespace: str = "default", **data: str) -> Body:
    """A Secret; underscores of the keys stand for dots."""
    body = config_map(name, namespace=namespace, **data)
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in body["data"].items()}
    return {**body, "kind": "Secret", "data": encoded}


def apply(cluster: ControlPlane, *bodies: Mapping[str, Any]) -> None:
    """kubectl apply."""
    listed = {"apiVersion": "v1", "kind": "List", "items": [dict(body) for body in bodies]}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(listed))


def get_set(cluster: ControlPlane, name: str, *, namespace: str = "default") -> Body:
    """The set as the API server has it."""
    return get(cluster, "fds", name, namespace=namespace)


def get(cluster: ControlPlane, kind: str, name: str, *, namespace: str = "default") -> Body:
    """An object as the API server has it; LookupError where there is none."""
    found = read(cluster, f"{_PATHS[kind].format(namespace)}/{name}")
    if found is None:
        raise LookupError(f"{kind} {namespace}/{name}")
    return found


def names(cluster: ControlPlane, kind: str, *, namespace: str = "default") -> set[str]:
    """The names of all objects of a kind in a namespace."""
    found = read(cluster, _PATHS[kind].format(namespace)) or {}
    return {item["metadata"]["name"] for item in found["items"]}


def pins(cluster: ControlPlane, name: str, *, namespace: str = "default", pool: str = "") -> str:
    """The pins of a set's lock, or of what a pool's runs mount by a key, as in "alpha==1.0
    beta==2.0"; empty where there is none."""
    mounted = mounted_name(name, pool=pool)
    found = read(cluster, f"{_PATHS['cm'].format(namespace)}/{mounted}")
    lines = found["data"]["requirements.txt"].splitlines() if found else []
    return " ".join(line.split()[0] for line in lines if "==" in line and line[0].isalpha())


def resource_versions(cluster: ControlPlane, *kinds: str) -> dict[str, str]:
    """The resourceVersion of every object of the kinds, by kind, namespace and name."""
    found: dict[str, Any] = json.loads(cluster.kubectl("get", ",".join(kinds), "-A", "-o", "json"))
    return {
        f"{one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}": one["metadata"][
            "resourceVersion"
        ]
        for one in found["items"]
    }


def read(cluster: ControlPlane, path: str) -> Body | None:
    """What the API server answers to a GET; None for 404, and while it only just learned of a
    resource (429)."""
    answer = cluster.client.get(path)
    if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.TOO_MANY_REQUESTS}:
        return None
    answer.raise_for_status()
    body: Body = answer.json()
    return body


def connect(cluster: ControlPlane) -> httpx.Client:
    """A client of the API server, as the administrator."""
    return cluster.connect()


def condition(body: Mapping[str, Any], type_: str) -> Body:
    """A condition of the status; an empty mapping where it is absent."""
    conditions = body.get("status", {}).get("conditions", [])
    return next((dict(c) for c in conditions if c["type"] == type_), {})


def wait_tried(cluster: ControlPlane, name: str, *, namespace: str = "default") -> None:
    """Wait until a set's credentials are known to be accepted, after which it is settled."""

    def tried() -> bool:
        found = condition(get_set(cluster, name, namespace=namespace), "Authorized")
        return found.get("status") == "True"

    wait(tried, what=f"the credentials of {namespace}/{name} to be tried")


def wait_ready(
    cluster: ControlPlane, name: str, *, namespace: str = "default", seconds: float = 180
) -> Body:
    """Wait until the set's present generation is Ready=True."""

    def ready() -> bool:
        body = get_set(cluster, name, namespace=namespace)
        found = condition(body, "Ready")
        return (
            found.get("status") == "True"
            and found.get("observedGeneration") == body["metadata"]["generation"]
        )

    wait(
        ready, what=f"{namespace}/{name} to be Ready", seconds=seconds, show=cluster_state(cluster)
    )
    return get_set(cluster, name, namespace=namespace)


def wait_reason(
    cluster: ControlPlane,
    name: str,
    reason: str,
    *,
    namespace: str = "default",
    seconds: float = 180,
) -> Body:
    """Wait until the set is not ready for this reason; returns the set."""

    def there() -> bool:
        body = get_set(cluster, name, namespace=namespace)
        found = condition(body, "Ready")
        return (
            found.get("reason") == reason
            and found.get("observedGeneration") == body["metadata"]["generation"]
        )

    wait(
        there,
        what=f"{namespace}/{name} to say {reason}",
        seconds=seconds,
        show=cluster_state(cluster),
    )
    return get_set(cluster, name, namespace=namespace)


def cluster_state(cluster: ControlPlane) -> Callable[[], str]:
    """For the message of a wait that fails."""
    return lambda: cluster.kubectl("get", "fds", "-A", "-o", "wide")


def wait(
    done: Callable[[], bool],
    *,
    what: str,
    seconds: float = 180,
    show: Callable[[], str] = lambda: "",
) -> None:
    """Poll until `done`; raise with what was waited for when the time is over."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}\n{show()}")
        time.sleep(0.1)
