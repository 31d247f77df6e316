"""What the operator writes to a set, by the requests that it makes."""

import json
from typing import Any

from flowdeps.cluster import Cluster


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
    status = 200

    async def read(self) -> bytes:
        return json.dumps({"kind": "FlowDependencySet"}).encode()


async def test_a_set_is_written_by_two_applies_which_have_no_spec() -> None:
    """Server-side apply owns what its body holds: the status, and our finalizers. So neither
    fields of the spec nor labels and annotations become ours."""
    api = _Api()
    cluster = Cluster(api, observe=lambda _method, _outcome: None)
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
