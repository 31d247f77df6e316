"""`flowdeps status NAMESPACE/NAME` beside a running operator, and without one."""

import json
from datetime import UTC, datetime, timedelta

from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.integration.cli.support import Done, Shell
from tests.support.fixtures import StartOperator
from tests.support.sets import apply, condition, set_body, wait, wait_ready, wait_reason


def flat(done: Done) -> str:
    """What a command printed, with each block in one line: a terminal's width breaks them."""
    return " ".join(done.out.split())


def test_a_ready_set_says_what_runs_get(
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    index: Index,
    start_operator: StartOperator,
    shell: Shell,
) -> None:
    """Exit status 0, the lock, the pool and its key; a template that lost the key is seen although
    the status does not know yet, and so is a deleted ConfigMap."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("told", image="example.com/flows:1")
    before = prefect_api.template("told")
    operator = start_operator()
    apply(cluster, set_body("calm", ["alpha"], pools=["told"]))
    revision = wait_ready(cluster, "calm")["status"]["lock"]["revision"]
    done = shell.flowdeps("status", "default/calm")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("default/calm is ready, since ")
    assert f"  {revision}: 1 package for Python 3.11, resolved " in done.out
    copy = mounted_name("calm", pool="told")
    gets = f'work pool "told": runs that choose "calm" get {revision} from ConfigMap {copy}'
    assert gets in flat(done)
    assert "Why" not in done.out
    assert "LockPublished: " in done.out
    assert "Operator not known: name the operator's configuration with --config" in flat(done)
    assert max(map(len, done.out.splitlines())) <= 80

    operator.kill()
    prefect_api.set_template("told", before)
    cluster.kubectl("delete", "cm", copy)
    done = shell.flowdeps("status", "calm", "-n", "default")
    assert "get nothing: its template does not offer the key" in flat(done)
    assert f"namespace default has no ConfigMap {copy}" in flat(done)
    operator.up()


def test_a_set_in_trouble_says_why_and_what_to_do(
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    index: Index,
    start_operator: StartOperator,
    shell: Shell,
) -> None:
    """Exit status 1, the step with its reason, uv's words, what to do, and the lock that stays in
    service; the same as JSON, also by the command's old name."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("trouble", image="example.com/flows:1")
    start_operator()
    apply(cluster, set_body("wish", ["alpha"], pools=["trouble"]))
    revision = wait_ready(cluster, "wish")["status"]["lock"]["revision"]
    apply(cluster, set_body("wish", ["alpha", "nosuch"], pools=["trouble"]))
    body = wait_reason(cluster, "wish", "Unsatisfiable")
    assert condition(body, "Ready")["message"].startswith("spec.requirements: There is no package")
    done = shell.flowdeps("status", "wish")
    assert done.status == 1
    assert flat(done).startswith(
        "default/wish is not ready, and waits for a person (Unsatisfiable), since "
    )
    assert f"  {revision}: 1 package" in done.out
    meaning = Reason.UNSATISFIABLE.description.partition(";")[0]
    assert f"Resolved: Unsatisfiable: {meaning} | spec" in flat(done)
    assert "| spec.requirements: There is no package named nosuch" in done.out
    assert "What to do: uv's explanation says what clashes" in done.out

    old = shell.flowdeps("explain", "wish", "-o", "json")
    assert old.err == "flowdeps: `explain` is deprecated; use `flowdeps status NAME`\n"
    answer = json.loads(shell.flowdeps("status", "wish", "-o", "json").out)
    assert {**json.loads(old.out), "events": answer["events"]} == answer
    assert (answer["set"], answer["ready"], answer["state"]) == ("default/wish", False, "waits")
    assert next(one["reason"] for one in answer["troubles"]) == "Unsatisfiable"
    assert answer["notLookedAt"] == []


def test_of_two_sets_with_one_key_the_younger_gets_nothing(
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    index: Index,
    start_operator: StartOperator,
    shell: Shell,
) -> None:
    """The key is in the template and the ConfigMap is there, with the very same lock: they are the
    older set's."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("rivals", image="example.com/flows:1")
    start_operator()
    apply(cluster, set_body("first", ["alpha"], pools=["rivals"]))
    wait_ready(cluster, "first")
    apply(cluster, set_body("second", ["alpha"], pools=[{"name": "rivals", "key": "first"}]))
    wait_reason(cluster, "second", "Conflict")
    done = shell.flowdeps("status", "second")
    assert done.status == 1
    assert 'runs that choose "first" get nothing: ' in flat(done)
    assert "choose another key" in flat(done)


def test_without_an_operator_it_says_that_nobody_looks(cluster: ControlPlane, shell: Shell) -> None:
    """A set that nobody took in, and no Prefect: what there is, is shown."""
    apply(cluster, set_body("alone", ["alpha"], pools=["nowhere"]))
    try:
        done = shell.flowdeps("status", "alone", PREFECT_API_URL="")
        assert done.status == 1
        assert done.out.startswith("default/alone has no status\n! the operator has not seen it")
    finally:
        cluster.kubectl("delete", "fds", "alone")


def test_a_set_that_is_not_there_is_answered_with_those_that_are(
    cluster: ControlPlane, shell: Shell
) -> None:
    """A misspelt name, or the right one in another namespace."""
    apply(cluster, set_body("ml-extras", ["alpha"]))
    try:
        for argv in (["default/ml-extra"], ["ml-extras", "-n", "kube-public"]):
            done = shell.flowdeps("status", *argv)
            assert (done.status, done.out) == (1, "")
            assert "there is no set" in done.err
            assert "there is: default/ml-extras" in done.err
    finally:
        cluster.kubectl("delete", "fds", "ml-extras")


def test_who_may_only_read_sets_gets_an_answer_too(
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    index: Index,
    start_operator: StartOperator,
    shell: Shell,
) -> None:
    """What may not be read is named, the Lease too, and the status alone explains."""
    index.add("alpha", "1.0")
    prefect_api.create_pool("shy", image="example.com/flows:1")
    start_operator()
    apply(cluster, set_body("shy", ["alpha"], pools=["shy"]))
    wait_ready(cluster, "shy")
    cluster.kubectl("create", "clusterrole", "sets", "--verb=list", "--resource=fds.flowdeps.dev")
    cluster.kubectl("create", "clusterrolebinding", "sets", "--clusterrole=sets", "--user=reader")
    kubeconfig = cluster.kubeconfig_for(user="reader")

    def allowed() -> bool:
        return shell.flowdeps("status", KUBECONFIG=str(kubeconfig)).status == 0

    wait(allowed, what="the role to be known")
    config = shell.write("config.yaml", _ELECTION)
    argv = ("default/shy", "--config", config)
    done = shell.flowdeps("status", *argv, KUBECONFIG=str(kubeconfig))
    assert done.status == 0, done.err
    assert "is ready, since" in done.out
    for what in (
        "its events: ",
        "its pods: ",
        f"ConfigMap default/{mounted_name('shy', pool='shy')}: ",
    ):
        assert f"\n  {what}" in done.out
    assert 'User "reader" cannot list resource "pods"' in flat(done)
    assert "the Lease default/turns cannot be read: " in flat(done)
    assert 'User "reader" cannot get resource "leases"' in flat(done)


_ELECTION = "leaderElection: {enabled: true, namespace: default, name: turns}\n"


def test_the_lease_says_which_operator_is_active(cluster: ControlPlane, shell: Shell) -> None:
    """Whether turns are taken, who holds the Lease, since when, and whether it has expired."""
    apply(cluster, set_body("turned", ["alpha"]))
    config = shell.write("config.yaml", _ELECTION)
    off = shell.write("off.yaml", "{}\n")

    def operator(file: str) -> str:
        return flat(shell.flowdeps("status", "turned", "--config", file, PREFECT_API_URL=""))

    def hold(holder: str, renewed: datetime) -> None:
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": 600,
            "acquireTime": "2026-01-01T00:00:00.000000Z",
            "renewTime": renewed.isoformat(timespec="microseconds"),
        }
        meta = {"name": "turns", "namespace": "default"}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
        cluster.kubectl("apply", "-f", "-", input=json.dumps({**body, "spec": spec}))

    try:
        assert "Operator leader election is off" in operator(off)
        assert "there is no Lease default/turns: no operator is active" in operator(config)
        hold("flowdeps-1", datetime.now(UTC))
        said = operator(config)
        assert (
            "Operator flowdeps-1 holds the Lease default/turns since 2026-01-01T00:00:00Z" in said
        )
        hold("flowdeps-1", datetime.now(UTC) - timedelta(hours=1))
        assert "the Lease default/turns has expired: flowdeps-1 last" in operator(config)
        hold("", datetime.now(UTC))
        assert "the Lease default/turns is held by nobody" in operator(config)
    finally:
        cluster.kubectl("delete", "fds", "turned")
        cluster.kubectl("delete", "lease", "turns", "--ignore-not-found")
