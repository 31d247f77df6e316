"""Prefect's side of the demo: a pool, a deployment, runs and what they log."""

import time
from datetime import datetime
from typing import Any

from demo.stage import FLOW, POOL, DemoError, Stage

_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_LOGS_LATE_SECONDS = 8.0  # a worker sends them on in the background
_LINE_LATE_SECONDS = 60.0  # the most that a line which must come may take on a busy machine


def create_pool(stage: Stage) -> None:
    with stage.api() as api:
        body = {"name": POOL, "type": "kubernetes", "base_job_template": stage.template()}
        api.call("POST", "/work_pools/", body)


def template(stage: Stage) -> Any:
    with stage.api() as api:
        return api.template(POOL)


def delete_pool(stage: Stage) -> None:
    with stage.api() as api:
        api.call("DELETE", f"/work_pools/{POOL}")


def delete_flow(stage: Stage) -> None:
    with stage.api() as api:
        found = api.call("GET", "/flows/name/flowdeps-demo")
        api.call("DELETE", f"/flows/{found['id']}")


def deploy(stage: Stage, *, key: str) -> str:
    """A deployment of the flow whose runs get the set ``key``; its id."""
    step = {"prefect.deployments.steps.set_working_directory": {"directory": stage.flows}}
    with stage.api() as api:
        flow = api.call("POST", "/flows/", {"name": "flowdeps-demo"})
        body = {
            "name": "demo",
            "flow_id": flow["id"],
            "work_pool_name": POOL,
            "entrypoint": f"{FLOW.name}:where",
            "pull_steps": [step],
            "job_variables": {"dependency_set": key},
            "parameter_openapi_schema": {"type": "object", "properties": {}},
        }
        return str(api.call("POST", "/deployments/", body)["id"])


def start(stage: Stage, deployment: str, *, job_variables: dict[str, str] | None = None) -> str:
    """Start a run; its id."""
    with stage.api() as api:
        body = {"parameters": {}, "job_variables": job_variables or {}}
        return str(api.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])


def wait(stage: Stage, run: str, *, seconds: float) -> None:
    """Wait for a run's end."""
    deadline = time.monotonic() + seconds
    with stage.api() as api:
        while (found := api.call("GET", f"/flow_runs/{run}"))["state_type"] not in _FINAL:
            if time.monotonic() > deadline:
                raise DemoError(
                    f"run {found['name']} is {found['state_type']} after {seconds:.0f} s; "
                    f"its log:\n{chr(10).join(logs(stage, run))}"
                )
            time.sleep(0.3)
        if found["state_type"] != "COMPLETED":
            time.sleep(_LOGS_LATE_SECONDS)
            message = found["state"].get("message")
            lines = "\n".join(logs(stage, run))
            raise DemoError(f"run {found['name']}: {found['state_type']}: {message}\n{lines}")


def logs(stage: Stage, run: str) -> list[str]:
    with stage.api() as api:
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
        return [str(one["message"]) for one in api.call("POST", "/logs/filter", wanted)]


def seconds_to_first_line(stage: Stage, run: str) -> float:
    """How long it took from the creation of a run to the first line of its own process."""
    with stage.api() as api:
        created = api.call("GET", f"/flow_runs/{run}")["created"]
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
        lines = api.call("POST", "/logs/filter", wanted)
    first = next(one["timestamp"] for one in lines if one["message"].startswith("Beginning flow"))
    return (datetime.fromisoformat(first) - datetime.fromisoformat(created)).total_seconds()


def line(stage: Stage, run: str, *, about: str) -> str:
    """The flow's own line about a package; it may arrive a little after the run's end."""
    deadline = time.monotonic() + _LINE_LATE_SECONDS
    while True:
        messages = logs(stage, run)
        for message in messages:
            if message.startswith(about):
                return message
        if time.monotonic() > deadline:
            raise DemoError(f"the flow logged nothing about {about}:\n{chr(10).join(messages)}")
        time.sleep(0.3)
