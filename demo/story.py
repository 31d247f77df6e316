"""What the demo shows, in order. Each thing it makes it also registers to be taken away again."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from demo import runs, screen
from demo.stage import CRDS, FLOW, NAMESPACE, PACKAGE, POOL, ROOT, SET, DemoError, Operator, Stage

_CRD_NAME = "flowdependencysets.flowdeps.dev"
_OTHER_CRD = "runenvironments.flowdeps.dev"
_LABEL = "flowdeps.dev/demo"
_CHANGED = f"{PACKAGE}>=2.11"
_LOOKS, _PAUSE = 50, 0.2


def play(stage: Stage, stack: ExitStack) -> None:
    """All of it; ``stack`` knows how to end what was started."""
    begun = play_first(stage, stack)
    key, deployment, operator = begun.key, begun.deployment, begun.operator
    if operator and stage.can_mount:
        _show_environment(stage, stack, begun, operator)

    stage.heading("The set changes, and so does the next run")
    patch = {"spec": {"requirements": [_CHANGED]}}
    stage.show(*("patch", "fds", key, "-n", NAMESPACE, "--type", "merge"), "-p", json.dumps(patch))
    _wait_ready(stage, key, generation=2)
    stage.show("get", "fds", "-n", NAMESPACE)
    stage.show(
        *("get", "fds", key, "-n", NAMESPACE, "-o"),
        r'jsonpath={range .status.revisions[*]}{.name}{"  "}{.summary}{"\n"}{end}',
    )
    _see_through(stage, runs.start(stage, deployment), key=key)
    if stage.keep:
        return

    stage.heading("The last set is deleted, and the pool is as it was before")
    stage.show("delete", "fds", key, "-n", NAMESPACE)
    same = json.dumps(runs.template(stage)) == json.dumps(begun.template)
    screen.say(f"the pool's base job template is what it was before, to the letter: {same}")


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What the first part leaves to the others."""

    key: str
    deployment: str
    template: Any
    """The pool's, as it was before the set."""
    operator: Operator | None
    """None: somebody else's serves the set."""


def play_first(stage: Stage, stack: ExitStack) -> Begun:
    """From nothing to a run that has its package."""
    stage.heading("A cluster and Prefect")
    stage.open(stack)
    key = stage.set_body()["metadata"]["name"]
    somebody = _prepare(stage, stack)
    template = runs.template(stage)

    stage.heading("The operator, and a set of packages")
    operator = None if somebody else _start_operator(stage, stack)
    screen.output(_essence(stage.set_body()))
    _apply_set(stage, stack)
    if somebody and not _is_seen(stage, key):
        screen.say("No operator serves the set, so the demo starts one.")
        operator = _start_operator(stage, stack)
    _wait_ready(stage, key, generation=1)
    stage.show("get", "fds", "-n", NAMESPACE)
    screen.say("what the pool's base job template has beside what it had before:")
    screen.output(_added(template, runs.template(stage)))

    stage.heading("Two runs at once in one pool: one chooses the set, the other chooses nothing")
    stage.start_worker(stack)
    deployment = runs.deploy(stage, key=key)
    _at_the_end(stage, stack, runs.delete_flow, stage)
    chosen = {key: runs.start(stage, deployment), "none": _start_without(stage, deployment)}
    for choice, run in chosen.items():
        _see_through(stage, run, key=choice)
    return Begun(key=key, deployment=deployment, template=template, operator=operator)


def clean_up(stage: Stage) -> None:
    """Take away what a demo made in a cluster and a Prefect that outlive it."""
    namespace = _namespace(stage)
    if namespace is not None and _LABEL not in namespace["metadata"].get("labels", {}):
        raise DemoError(f"the namespace {NAMESPACE} does not belong to the demo, so it stays")
    if namespace is not None:
        stage.kubectl(
            "delete", "fds", "--all", "-n", NAMESPACE, "--ignore-not-found", "--wait=true"
        )
    with stage.api() as api:
        pools = api.call("POST", "/work_pools/filter", {"work_pools": {"name": {"any_": [POOL]}}})
        flows = api.call("POST", "/flows/filter", {"flows": {"name": {"any_": [POOL]}}})
    if pools:
        runs.delete_pool(stage)
    if flows:
        runs.delete_flow(stage)
    if namespace is None:
        return
    made_crd = namespace["metadata"]["labels"][_LABEL] == "with-crd"
    stage.kubectl("delete", "namespace", NAMESPACE)
    if made_crd and not stage.kubectl("get", "fds", "-A", "-o", "name"):
        stage.kubectl("delete", "crd", _CRD_NAME, _OTHER_CRD, "--ignore-not-found")


def _prepare(stage: Stage, stack: ExitStack) -> bool:
    """Namespace, resource, index, pool; returns whether somebody had the resource before us."""
    known = bool(stage.kubectl("get", "crd", _CRD_NAME, "--ignore-not-found", "-o", "name"))
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {_LABEL: "yes" if known else "with-crd"}},
    }
    _at_the_end(stage, stack, clean_up, stage)
    stage.kubectl("apply", "-f", "-", input=json.dumps(namespace))
    if not known:
        stage.show("apply", "-f", f"{CRDS.relative_to(ROOT)}/")
        _wait_served(stage)
    stage.choose_index(stack)
    # The flow's code; in real life it is in the image or pulled from where it is kept.
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "flow", "namespace": NAMESPACE},
        "data": {FLOW.name: FLOW.read_text()},
    }
    stage.kubectl("apply", "-f", "-", input=json.dumps(config_map))
    runs.create_pool(stage)
    return known


def _wait_served(stage: Stage) -> None:
    # Not kubectl wait: it fails where an object has no conditions yet.
    for _ in range(_LOOKS):
        with suppress(DemoError):
            stage.kubectl("get", "fds", "-n", NAMESPACE)
            return
        time.sleep(_PAUSE)
    raise DemoError("the API server does not serve the new resource")


def _at_the_end(
    stage: Stage, stack: ExitStack, action: Callable[..., object], *arguments: object
) -> None:
    """Take something away again, unless all of the cluster and Prefect goes."""
    if stage.outlives_demo:
        stack.callback(action, *arguments)


def _start_operator(stage: Stage, stack: ExitStack) -> Operator:
    screen.command("flowdeps run --config config.yaml")
    operator = Operator(stage)
    stage.enter(stack, operator)
    return operator


def _apply_set(stage: Stage, stack: ExitStack) -> None:
    screen.command(f"kubectl apply -f {SET.relative_to(ROOT)}")
    screen.output(stage.kubectl("apply", "-f", "-", input=json.dumps(stage.set_body())))
    # While the operator still runs: it takes the set out of the pool.
    words = ("delete", "fds", "--all", "-n", NAMESPACE, "--timeout=60s")
    _at_the_end(stage, stack, stage.kubectl, *words)


def _is_seen(stage: Stage, key: str) -> bool:
    for _ in range(_LOOKS):
        if stage.kubectl("get", "fds", key, "-n", NAMESPACE, "-o", "jsonpath={.status}"):
            return True
        time.sleep(_PAUSE)
    return False


def _wait_ready(stage: Stage, key: str, *, generation: int) -> None:
    what = ["-n", NAMESPACE, f"fds/{key}"]
    try:
        if generation > 1:  # a condition may still be about the set as it was
            seen = f"jsonpath={{.status.observedGeneration}}={generation}"
            stage.show("wait", f"--for={seen}", *what, "--timeout=120s")
        stage.show("wait", "--for=condition=Ready", *what, "--timeout=300s")
    except DemoError as error:
        status = stage.kubectl("get", "fds", key, "-n", NAMESPACE, "-o", "wide")
        raise DemoError(f"{error}\n{status}") from None


def _start_without(stage: Stage, deployment: str) -> str:
    return runs.start(stage, deployment, job_variables={"dependency_set": "none"})


def _see_through(stage: Stage, run: str, *, key: str) -> None:
    screen.say(f"a run with dependency_set: {key}")
    stage.carry_out(run, key=key)
    runs.wait(stage, run, seconds=stage.run_seconds)
    screen.output(runs.line(stage, run, about=PACKAGE))


def _show_environment(stage: Stage, stack: ExitStack, begun: Begun, operator: Operator) -> None:
    stage.heading("With a registry: the same run, installing and with a ready environment")
    stage.prepare_environments(stack)
    screen.command("flowdeps run --config config.yaml  # which now names the registry")
    operator.restart()
    what = ["-n", NAMESPACE, f"fds/{begun.key}"]
    stage.show("wait", "--for=condition=Built", *what, "--timeout=300s")
    mounted = "jsonpath={.status.workPools[0].delivery}=Image"
    stage.show("wait", f"--for={mounted}", *what, "--timeout=120s")
    taken = {}
    # The same image by another name has no environment, so that run installs.
    for way, variables in {"Install": {"image": stage.same_image}, "Image": {}}.items():
        run = runs.start(stage, begun.deployment, job_variables=variables)
        runs.wait(stage, run, seconds=stage.run_seconds)
        screen.output(runs.line(stage, run, about=PACKAGE))
        taken[way] = runs.seconds_to_first_line(stage, run)
    screen.output("".join(f"{way:8} {taken[way]:.1f} s from run to first line\n" for way in taken))


def _namespace(stage: Stage) -> dict[str, Any] | None:
    text = stage.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "json")
    return json.loads(text) if text else None


def _added(before: Any, after: Any) -> str:
    """The names of what a template has and did not have."""

    def parts(template: Any) -> dict[str, list[str]]:
        pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        return {
            "job variables": list(template["variables"]["properties"]),
            "init containers": [one["name"] for one in pod.get("initContainers", ())],
            "volumes": [one["name"] for one in pod.get("volumes", ())],
        }

    old = parts(before)
    new = {
        name: [one for one in found if one not in old[name]] for name, found in parts(after).items()
    }
    return "\n".join(f"{name + ':':16} {', '.join(found)}" for name, found in new.items())


def _essence(body: dict[str, Any]) -> str:
    spec = body["spec"]
    python = spec.get("python", {}).get("version", "what the pool's image has")
    return (
        f"requirements: {', '.join(spec['requirements'])}\n"
        f"python:       {python}\n"
        f"workPools:    {', '.join(pool['name'] for pool in spec['workPools'])}"
    )
