"""Prefect's REST API as far as tests need it: pools, deployments, runs and their logs.

Plain requests, because starting an interpreter with Prefect takes seconds and our own environment
must not hold its server.
"""

import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.cluster import prefect_env
from tests.cluster.images import FLOWS

_FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_BUSY_SECONDS = 120.0
_PROBE_SCHEMA = {
    "type": "object",
    "properties": {"packages": {"type": "array", "items": {"type": "string"}}},
    "required": ["packages"],
}


@dataclass(frozen=True, kw_only=True)
class FlowRun:
    """A flow run as the server tells it."""

    id: str
    name: str
    state: str  # COMPLETED, CRASHED, …
    message: str | None
    created: str
    start_time: str | None

    @property
    def final(self) -> bool:
        return self.state in _FINAL


class PrefectApi:
    """A client; close it, or use it as a context manager."""

    def __init__(self, url: str, *, auth: str | None = None) -> None:
        """``url`` ends in ``/api``; ``auth`` is the server's ``user:password``."""
        user, _, password = (auth or "").partition(":")
        self.client = httpx.Client(
            base_url=url,
            auth=(user, password) if auth else None,
            timeout=60,
            trust_env=False,
            verify=False,  # noqa: S501 - plain HTTP; the machine's authorities take 30 ms to read
            # The server closes what was idle for 5 s, also just as a request is sent on it.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def close(self) -> None:
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON. A server on SQLite answers 503 when it is busy: that is retried."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            response = self.client.request(method, path, json=body)
            busy = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
            if not busy or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        if response.is_error:
            raise RuntimeError(f"{method} {path}: {response.status_code} {response.text[:2000]}")
        return response.json() if response.content else None

    # Pools

    def create_pool(
        self, name: str, *, image: str, namespace: str = "default", **defaults: Any
    ) -> dict[str, Any]:
        """A Kubernetes pool with the worker's own template; ``defaults`` of other job variables."""
        template = kubernetes_template(image=image, namespace=namespace, **defaults)
        body = {"name": name, "type": "kubernetes", "base_job_template": template}
        created: dict[str, Any] = self.call("POST", "/work_pools/", body)
        return created

    def template(self, pool: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/work_pools/{pool}")["base_job_template"]
        return found

    def set_template(self, pool: str, template: Mapping[str, Any]) -> None:
        self.call("PATCH", f"/work_pools/{pool}", {"base_job_template": dict(template)})

    def workers_online(self, pool: str) -> int:
        workers = self.call("POST", f"/work_pools/{pool}/workers/filter", {})
        return sum(one["status"] == "ONLINE" for one in workers)

    # Runs

    def deploy(
        self,
        name: str,
        *,
        pool: str,
        flow: str = "probe",
        packages: Sequence[str] = (),
        job_variables: Mapping[str, Any] | None = None,
    ) -> str:
        """A deployment of the probe flow that the flow images bring along; its id. ``packages``:
        what runs look at that say nothing else."""
        found = self.call("POST", "/flows/", {"name": flow})
        step = {"prefect.deployments.steps.set_working_directory": {"directory": FLOWS}}
        deployment = self.call(
            "POST",
            "/deployments/",
            {
                "name": name,
                "flow_id": found["id"],
                "work_pool_name": pool,
                "entrypoint": "probe.py:probe",
                "pull_steps": [step],
                "parameters": {"packages": list(packages)} if packages else {},
                "job_variables": dict(job_variables or {}),
                "parameter_openapi_schema": _PROBE_SCHEMA,
            },
        )
        return str(deployment["id"])

    def start_run(
        self,
        deployment: str,
        *,
        packages: Sequence[str] = (),
        job_variables: Mapping[str, Any] | None = None,
    ) -> FlowRun:
        """A run of the probe flow, due at once."""
        body: dict[str, Any] = {"parameters": {"packages": list(packages)}}
        if job_variables:
            body["job_variables"] = dict(job_variables)
        return _flow_run(self.call("POST", f"/deployments/{deployment}/create_flow_run", body))

    def runs(self, deployment: str) -> list[FlowRun]:
        """All runs of a deployment."""
        wanted = {"deployments": {"id": {"any_": [deployment]}}}
        return [_flow_run(one) for one in self.call("POST", "/flow_runs/filter", wanted)]

    def flow_run(self, run: FlowRun) -> FlowRun:
        return _flow_run(self.call("GET", f"/flow_runs/{run.id}"))

    def wait(self, run: FlowRun, *, seconds: float = 180) -> FlowRun:
        """The run once it is final; raises TimeoutError with what is known by then."""
        deadline = time.monotonic() + seconds
        while not (now := self.flow_run(run)).final:
            if time.monotonic() > deadline:
                logs = "\n".join(self.logs(run))
                raise TimeoutError(f"{now.name} is {now.state} after {seconds:.0f} s:\n{logs}")
            time.sleep(0.3)
        return now

    def logs(self, run: FlowRun) -> list[str]:
        """The messages of a run's logs, the oldest first."""
        wanted = {"logs": {"flow_run_id": {"any_": [run.id]}}, "sort": "TIMESTAMP_ASC"}
        return [str(one["message"]) for one in self.call("POST", "/logs/filter", wanted)]

    def probe_result(self, run: FlowRun, *, seconds: float = 15) -> dict[str, Any]:
        """What the probe flow saw; its log line may arrive a little after the final state."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self.logs(run):
                mark, _, content = message.partition(" ")
                if mark == "flowdeps-probe":
                    found: dict[str, Any] = json.loads(content)
                    return found
            if time.monotonic() > deadline:
                raise LookupError(f"{run.name} logged no result: {self.logs(run)}")
            time.sleep(0.3)


def kubernetes_template(*, image: str, namespace: str, **defaults: Any) -> dict[str, Any]:
    """The worker's own base job template with defaults of job variables set."""
    template: dict[str, Any] = json.loads(prefect_env.kubernetes_template())
    properties = template["variables"]["properties"]
    wanted = {
        "image": image,
        "namespace": namespace,
        "image_pull_policy": "Never",
        "finished_job_ttl": 600,
        **defaults,
    }
    for name, value in wanted.items():
        properties[name] = {**properties[name], "default": value}
    return copy.deepcopy(template)


def _flow_run(content: Mapping[str, Any]) -> FlowRun:
    state = content.get("state") or {}
    return FlowRun(
        id=content["id"],
        name=content["name"],
        state=content.get("state_type") or "PENDING",
        message=state.get("message"),
        created=content["created"],
        start_time=content.get("start_time"),
    )
