"""An index that wants a user name and a password: resolver, trial and runs have them from a Secret.

The Secret is the team's; runs are elsewhere, and have a copy of what they need.
"""

import json
import time
from collections.abc import Iterator

import pytest

from flowdeps.api.names import mounted_name
from tests.cluster.index import Index
from tests.e2e.stage import JOBS, POOL, SECONDS, TEAM, Stage, image_set
from tests.support import sets

pytestmark = pytest.mark.node

_USER, _OLD, _NEW = "reader", "first-word", "second-word"


@pytest.fixture(scope="module")
def private(stage: Stage) -> Iterator[Index]:
    """An index of the team's, with a set from it."""
    with Index(host=stage.node.gateway, username=_USER, password=_OLD) as index:
        index.add("guarded", "1.0")
        stage.node.kubectl(
            *("create", "secret", "generic", "reader", "-n", TEAM),
            *(f"--from-literal=username={_USER}", f"--from-literal=password={_OLD}"),
        )
        spec = {"url": index.url, "credentialsSecretRef": {"name": "reader"}}
        stage.offer(image_set("guarded", ["guarded"], index=spec))
        yield index
        stage.let_go()
        stage.node.kubectl("delete", "secret", "reader", "-n", TEAM)


def test_lock_trial_and_run_have_the_credentials(stage: Stage, private: Index) -> None:
    """All three are answered by an index that answers nobody else."""
    body = sets.get_set(stage.node, "guarded", namespace=TEAM)
    assert sets.condition(body, "Verified")["reason"] == "Verified"
    packages = stage.seen(stage.start("guarded", choice="guarded"))["packages"]
    assert packages["guarded"]["version"] == "1.0"
    wheels = [one for one in private.log if one.path.endswith(".whl") and one.authorization]
    assert len(wheels) == 2  # the trial's and the run's


def test_a_new_password_serves_the_next_run_without_a_restart(stage: Stage, private: Index) -> None:
    """Within a minute it is where runs need it; the lock stays as it is."""
    before = stage.digest("guarded")
    private.protect(_USER, _NEW)
    patch = json.dumps({"stringData": {"password": _NEW}})
    stage.node.kubectl("patch", "secret", "reader", "-n", TEAM, "-p", patch)
    start = time.monotonic()
    copy = f"/api/v1/namespaces/{JOBS}/secrets/{mounted_name('guarded', pool=POOL)}"
    known = sets.read(stage.node, copy)
    assert known
    sets.wait(
        lambda: (sets.read(stage.node, copy) or {}).get("data") != known["data"],
        what="the copy of the Secret to follow",
        seconds=SECONDS,
    )
    assert time.monotonic() - start < 60
    packages = stage.seen(stage.start("guarded", choice="guarded"))["packages"]
    assert packages["guarded"]["version"] == "1.0"
    assert stage.digest("guarded") == before


def test_credentials_stand_in_secrets_alone(stage: Stage, private: Index) -> None:
    """Not in what anybody may read: sets, ConfigMaps, pods, events, templates, logs."""
    assert private
    kinds = "fds,configmaps,pods,jobs,events"
    texts = {
        "objects": stage.node.kubectl("get", kinds, "-A", "-o", "json"),
        "template": json.dumps(stage.api.template(POOL)),
        "log": json.dumps(stage.operator.log()),
        "metrics": stage.operator.get("/metrics")[1],
    }
    for where, text in texts.items():
        assert "guarded" in text or where == "metrics", where
        for word in (_OLD, _NEW):
            assert word not in text, where


def test_the_copies_go_with_the_set(stage: Stage, private: Index) -> None:
    """No credentials are left where nobody needs them."""
    assert private
    names = ((TEAM, mounted_name("guarded")), (JOBS, mounted_name("guarded", pool=POOL)))
    copies = [f"/api/v1/namespaces/{one}/secrets/{name}" for one, name in names]
    assert all(sets.read(stage.node, path) for path in copies)
    stage.remove_sets()
    assert not any(sets.read(stage.node, path) for path in copies)
