"""What the operator writes to a set, by the requests that it makes."""

import json
from collections.abc import AsyncIterator
from typing import Any

from flowdeps.clients.kubernetes.client import Cluster
from flowdeps.state.config_maps import config_maps
from tests.unit.state.builders import HOME, LOCK, entry, record

TRACKING = {
    "app.kubernetes.io/instance": "flows",
    "argocd.argoproj.io/tracking-id": "flows:flowdeps.dev/FlowDependencySet:flows/ml",
    "kustomize.toolkit.fluxcd.io/name": "flow-sets",
}


class _Api:
    """Takes requests down, and answers each with an object."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []

    async def param_serialize(self, method: str, path: str, **more: Any) -> tuple[Any, ...]:
        self.seen.append((method, path, dict(more["query_params"]), more["body"]))
        return ()

    async def call_api(self, *_request: Any, **_more: Any) -> "_Answer":
        return _Answer()


class _Answer:
    """What aiohttp gives, and the client of Kubernetes around it."""

    status, headers = 200, dict[str, str]()

    @property
    def response(self) -> "_Answer":
        return self

    @property
    def content(self) -> "_Answer":
        return self

    async def __aenter__(self) -> "_Answer":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield json.dumps({"kind": "FlowDependencySet"}).encode()


async def test_a_set_is_written_by_two_applies_which_have_no_spec() -> None:
    """Server-side apply owns what its body holds: the status, and our finalizers. So neither
    fields of the spec nor labels and annotations become ours."""
    api = _Api()
    cluster = Cluster(api, observe=lambda *_: None)
    of = {"namespace": "flows", "name": "ml", "uid": "u"}
    await cluster.apply_status(**of, status={"conditions": []}, resource_version="7")
    await cluster.apply_finalizers(**of, finalizers=["flowdeps.dev/finalizer"])
    path = "/apis/flowdeps.dev/v1alpha1/namespaces/flows/flowdependencysets/ml"
    assert [(method, to) for method, to, _, _ in api.seen] == [
        ("PATCH", f"{path}/status"),
        ("PATCH", path),
    ]
    assert all(query["fieldManager"] == "flowdeps" for _, _, query, _ in api.seen)
    status, finalizers = (body for _, _, _, body in api.seen)
    kind = {"apiVersion": "flowdeps.dev/v1alpha1", "kind": "FlowDependencySet"}
    assert status == {
        **kind,
        "metadata": {**of, "resourceVersion": "7"},
        "status": {"conditions": []},
    }
    assert finalizers == {**kind, "metadata": {**of, "finalizers": ["flowdeps.dev/finalizer"]}}


def test_what_is_made_for_a_set_is_not_taken_for_a_part_of_git() -> None:
    """Labels and annotations by which tools know their own objects stay with the set: what had
    them too, and is not in Git, would be pruned."""
    of = entry(metadata={"labels": TRACKING, "annotations": TRACKING})
    made = [one.body(LOCK)["metadata"] for one in config_maps(of, HOME, record(), summary="")]
    assert made
    for metadata in made:
        assert not TRACKING.keys() & {*metadata["labels"], *metadata["annotations"]}
