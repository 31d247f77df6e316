"""What goes into a set's lock from elsewhere: ConfigMaps, Prefect variables, other sets, and locks
that were made in a pull request."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect_api import PrefectApi
from tests.integration.cli.support import Shell
from tests.support.fixtures import StartOperator
from tests.support.sets import (
    apply,
    condition,
    config_map,
    get,
    get_set,
    pins,
    resource_versions,
    secret,
    set_body,
    wait,
    wait_ready,
    wait_reason,
    wait_tried,
)


def of_map(name: str, key: str = "requirements.txt", **more: Any) -> dict[str, Any]:
    """An item of requirementsFrom or constraintsFrom."""
    return {"configMapKeyRef": {"name": name, "key": key, **more}}


def of_variable(name: str, **more: Any) -> dict[str, Any]:
    """Another one."""
    return {"prefectVariable": {"name": name, **more}}


def elsewhere(name: str, *sources: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A set that lists nothing itself."""
    body = set_body(name, [], requirementsFrom=list(sources), **spec)
    del body["spec"]["requirements"]
    return body


@contextmanager
def variables(prefect: PrefectApi, **values: Any) -> Iterator[None]:
    """Prefect variables that go with the block."""
    for name, value in values.items():
        prefect.call("POST", "/variables/", {"name": name, "value": value})
    try:
        yield
    finally:
        for found in prefect.call("POST", "/variables/filter", {}):
            if found["name"] in values:
                prefect.call("DELETE", f"/variables/{found['id']}")


def test_what_stands_elsewhere_is_followed_as_it_changes(
    cluster: ControlPlane, prefect_api: PrefectApi, index: Index, start_operator: StartOperator
) -> None:
    """Soon a change of a ConfigMap or a Prefect variable is in the lock, also of a set that
    includes the one that names it; what becomes unreadable or is deleted is named, and leaves the
    last lock in service."""
    for name in ("alpha", "gamma", "delta", "epsilon", "zeta"):
        index.add(name, "1.0")
    for version in ("1.0", "2.0"):
        index.add("beta", version)
    start_operator()
    maps = ("mended", "broken", "gone")
    apply(
        cluster,
        config_map("files", requirements_txt="# ours\nalpha\nbeta \\\n  # why\n", limits="beta<2"),
        config_map("mended", requirements_txt="alpha\n-r others.txt\nno good\n"),
        *(config_map(name, requirements_txt="alpha\n") for name in maps[1:]),
    )
    with variables(prefect_api, src_text="gamma", src_list=["delta"], src_gone="alpha"):
        apply(
            cluster,
            elsewhere(
                "followed",
                of_map("files"),
                of_map("later", optional=True),
                of_variable("src_text"),
                of_variable("src_list"),
                of_variable("src_later", optional=True),
                constraintsFrom=[of_map("files", "limits"), of_map("files", "no", optional=True)],
            ),
            set_body("above", ["zeta"], includes=[{"name": "followed"}]),
            *(elsewhere(name, of_map(name)) for name in maps),
            elsewhere("no-variable", of_variable("src_gone")),
            elsewhere("no-key", of_map("files", "requirements.in")),
        )
        wait_ready(cluster, "followed")
        wait_ready(cluster, "above")
        assert pins(cluster, "followed") == "alpha==1.0 beta==1.0 delta==1.0 gamma==1.0"
        assert pins(cluster, "above") == pins(cluster, "followed") + " zeta==1.0"
        for name in ("broken", "gone", "no-variable"):
            wait_ready(cluster, name)
        said = condition(wait_reason(cluster, "mended", "SourceInvalid"), "Ready")["message"]
        assert 'spec.requirementsFrom[0]: key "requirements.txt" of ConfigMap default/men' in said
        assert "line 2" in said
        assert "line 3" in said
        body = wait_reason(cluster, "no-key", "SourceNotFound")
        assert "its keys: limits, requirements.txt" in condition(body, "Ready")["message"]

        apply(
            cluster,
            config_map("files", requirements_txt="alpha\nbeta\n", limits="beta!=1.0"),
            config_map("later", requirements_txt="epsilon"),
            config_map("mended", requirements_txt="alpha\n"),
            config_map("broken", requirements_txt="alpha\n\n--pre\n"),
        )
        cluster.kubectl("delete", "cm", "gone")
        ids = {v["name"]: v["id"] for v in prefect_api.call("POST", "/variables/filter", {})}
        prefect_api.call("PATCH", f"/variables/{ids['src_text']}", {"value": '["gamma", "zeta"]'})
        prefect_api.call("PATCH", f"/variables/{ids['src_list']}", {"value": []})
        prefect_api.call("DELETE", f"/variables/{ids['src_gone']}")
        wanted = "alpha==1.0 beta==2.0 epsilon==1.0 gamma==1.0 zeta==1.0"
        wait(
            lambda: pins(cluster, "followed") == pins(cluster, "above") == wanted,
            what=f"{wanted} in both sets",
            show=lambda: f"{pins(cluster, 'followed')} | {pins(cluster, 'above')}",
        )
        wait_ready(cluster, "mended")
        said = condition(wait_reason(cluster, "broken", "SourceInvalid"), "Ready")["message"]
        assert "line 3" in said
        for name in ("gone", "no-variable"):
            body = wait_reason(cluster, name, "SourceNotFound")
            assert condition(body, "Ready")["message"].startswith("spec.requirementsFrom[0]: there")
        for name in ("broken", "gone", "no-variable"):
            assert pins(cluster, name) == "alpha==1.0"
            assert get_set(cluster, name)["status"]["lock"]["packages"] == 1


def test_included_sets_are_locked_together_and_a_cycle_is_named(
    cluster: ControlPlane, index: Index, start_operator: StartOperator
) -> None:
    """A lock holds for a set and all that it includes; a change there reaches it at once, a cycle
    or a set that is gone is named with the way to it, and the last lock stays."""
    index.add("alpha", "1.0")
    index.add("alpha", "2.0")
    for name in ("beta", "gamma"):
        index.add(name, "1.0")
    start_operator()
    base = set_body("base", ["alpha"], constraints=["alpha<2"])
    middle = set_body("middle", ["beta"], includes=[{"name": "base"}])
    top = set_body("top", ["gamma"], includes=[{"name": "middle"}, {"name": "base"}])
    apply(cluster, top, middle, base)
    wait(lambda: pins(cluster, "top") == "alpha==1.0 beta==1.0 gamma==1.0", what="one lock of all")
    apply(cluster, set_body("base", ["alpha"], constraints=["alpha>1"]))
    wait(lambda: pins(cluster, "top") == "alpha==2.0 beta==1.0 gamma==1.0", what="the change")
    wait_ready(cluster, "top")

    apply(cluster, set_body("base", ["alpha"], includes=[{"name": "top"}]))
    said = condition(wait_reason(cluster, "top", "IncludeCycle"), "Ready")["message"]
    assert "top → middle → base → top" in said or "top → base → top" in said
    assert condition(get_set(cluster, "top"), "Stalled")["status"] == "True"
    wait_reason(cluster, "middle", "IncludeCycle")
    assert pins(cluster, "top") == "alpha==2.0 beta==1.0 gamma==1.0"

    apply(cluster, set_body("base", ["alpha"], includes=[]))
    wait_ready(cluster, "top")
    cluster.kubectl("delete", "fds", "middle")
    said = condition(wait_reason(cluster, "top", "IncludeNotFound"), "Ready")["message"]
    assert "top → middle" in said
    assert pins(cluster, "top") == "alpha==2.0 beta==1.0 gamma==1.0"


def lock_of(shell: Shell, body: dict[str, Any], index: Index) -> str:
    """What `flowdeps lock` makes of a set, as in a pull request."""
    shell.write("set.yaml", yaml.safe_dump(body))
    shell.write("config.yaml", yaml.safe_dump({"index": {"url": index.url}}))
    done = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    assert done.status == 0, done.err
    return done.out


def finished(name: str, **spec: Any) -> dict[str, Any]:
    """A set whose lock was made elsewhere."""
    body = set_body(name, [], lockFrom=of_map("made", "lock.txt"), **spec)
    del body["spec"]["requirements"], body["spec"]["python"]
    return body


def test_a_lock_from_a_pull_request_is_published_as_it_is(
    cluster: ControlPlane, index: Index, start_operator: StartOperator, tmp_path: Path
) -> None:
    """lockFrom: what `flowdeps lock` made is what runs get, byte for byte, with no resolver and no
    look at the index; one with a pin without hash is refused, and the last lock stays."""
    index.add("alpha", "1.0")
    index.add("beta", "2.0", requires=["alpha"])
    text = lock_of(Shell(tmp_path, {}), set_body("reviewed", ["beta"]), index)
    index.forget()
    operator = start_operator()
    apply(cluster, config_map("made", lock_txt=text), finished("reviewed"))
    body = wait_ready(cluster, "reviewed")
    assert get(cluster, "cm", "flowdeps-reviewed")["data"]["requirements.txt"] == text
    assert body["status"]["lock"]["packages"] == 2
    assert "nextRefreshAt" not in body["status"]

    bare = "\n".join(line for line in text.splitlines() if "--hash" not in line).replace(" \\", "")
    apply(cluster, config_map("made", lock_txt=bare), finished("reviewed", revisionHistoryLimit=3))
    body = wait_reason(cluster, "reviewed", "LockInvalid")
    said = condition(body, "Ready")["message"]
    assert said.startswith("spec.lockFrom: ")
    assert "hash" in said
    assert "alpha" in said
    assert condition(body, "Stalled")["status"] == "True"
    assert get(cluster, "cm", "flowdeps-reviewed")["data"]["requirements.txt"] == text
    assert operator.metric("flowdeps_resolve_seconds_count") == 0
    assert index.requests == []


def test_a_restart_writes_nothing_where_sets_are_settled(
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    index: Index,
    start_operator: StartOperator,
    tmp_path: Path,
) -> None:
    """Sets with sources, included sets, credentials and finished locks are as settled as others:
    a new operator reads what they depend on, resolves nothing and writes nothing."""
    for name in ("alpha", "beta", "gamma"):
        index.add(name, "1.0")
    text = lock_of(Shell(tmp_path, {}), set_body("finished", ["alpha"]), index)
    prefect_api.create_pool("settled-sources", image="example.com/flows:1")
    operator = start_operator()
    with variables(prefect_api, still="beta"):
        apply(
            cluster,
            config_map("still", requirements_txt="alpha"),
            config_map("made", lock_txt=text),
            secret("still", username="reader", password="horse"),
            elsewhere(
                "still",
                of_map("still"),
                of_variable("still"),
                of_map("none", optional=True),
                pools=["settled-sources"],
                index={"url": index.url, "credentialsSecretRef": {"name": "still"}},
            ),
            set_body("around", ["gamma"], includes=[{"name": "still"}]),
            finished("finished"),
            set_body("manual", ["alpha"], updates="Manual", vulnerabilities="Block"),
        )
        for name in ("around", "manual", "finished", "still"):
            wait_ready(cluster, name)
        wait_tried(cluster, "still")
        before = resource_versions(cluster, "fds", "cm", "secret")
        template = prefect_api.template("settled-sources")

        operator.down()
        operator.up()
        polls = {"target": "prefect", "method": "GET"}
        looks = operator.metric("flowdeps_api_requests_total", **polls)
        wait(
            lambda: operator.metric("flowdeps_api_requests_total", **polls) > looks + 2,
            what="two more polls",
        )
        assert resource_versions(cluster, "fds", "cm", "secret") == before
        assert prefect_api.template("settled-sources") == template
        assert operator.metric("flowdeps_api_requests_total", method="PATCH") == 0
        assert operator.metric("flowdeps_api_requests_total", method="POST") == 0
        assert operator.metric("flowdeps_resolve_seconds_count") == 0
