"""`helm upgrade` from the chart before, several operators, and an uninstall that leaves nothing.

The tests follow one release through its life, so each fixture leads on from the one before.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.delivery.choice import find
from tests.cluster.controlplane import KubectlError
from tests.e2e.install.site import JOBS, POOL, PREVIOUS, SECONDS, TEAM, Site
from tests.integration.chart.helm import NAMESPACE, RELEASE
from tests.support import sets

pytestmark = pytest.mark.node

_SETS = ("kept", "other")
_MANY = tuple(f"many-{number}" for number in range(20))
_ALWAYS = {"kube-root-ca.crt"}


@dataclass(frozen=True, kw_only=True)
class State:
    """What must not change by an upgrade."""

    made: dict[str, str]
    pool: tuple[str, str]
    ready: list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Upgraded:
    """Before and after, and what runs saw that were started on the way."""

    before: State
    after: State
    pods: tuple[str, str]
    runs: list[Mapping[str, Any]]


@pytest.fixture(scope="module")
def upgraded(site: Site) -> Upgraded:
    """From the previous chart to this one, with sets in service and a run under way."""
    (previous,) = PREVIOUS.glob("flowdeps-*.tgz")
    site.install(chart=previous)
    site.offer(site.image_set("kept", "alpha"), site.image_set("other", "beta"))
    before, old = _state(site), _pod(site)
    runs = [site.start("kept", "alpha")]
    site.install()
    runs.append(site.start("kept", "alpha"))
    # It has no pool, so what it leads to is no part of what is compared.
    site.offer(site.plain_set("new", "alpha"))
    site.node.kubectl("delete", "fds", "new", "-n", TEAM)
    sets.wait(
        lambda: not any("flowdeps-new" in one for one in site.made()),
        what="what was made for it to go",
        seconds=SECONDS,
    )
    return Upgraded(
        before=before,
        after=_state(site),
        pods=(old, _pod(site)),
        runs=[site.seen(run) for run in runs],
    )


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """Which pod was killed, which is active since, and how many locks there were by then."""

    killed: str
    active: str | None
    locked: int


@pytest.fixture(scope="module")
def taken_over(upgraded: Upgraded, site: Site) -> TakenOver:
    """Two replicas, of which the active one's pod is lost while it works on many sets. They run as
    a user that the cluster chose, as OpenShift does."""
    assert upgraded
    user = {"runAsUser": 1_000_680_000}
    site.install(replicas=2, podSecurityContext=user)
    for name in _MANY:  # each its own resolution
        site.index.add(name, "1.0")
    sets.wait(lambda: _active(site) is not None, what="an active operator", seconds=SECONDS)
    killed = _active(site)
    assert killed is not None
    bodies = [site.plain_set(name, name, pools=(POOL,)) for name in _MANY]
    site.index.slow(1)  # so that it is not done with all of them by the time that it is killed
    sets.apply(site.node, *bodies)
    sets.wait(lambda: bool(_locked(site)), what="the first lock", seconds=SECONDS)
    site.node.kubectl("delete", "pod", killed, "-n", NAMESPACE, "--grace-period=0", "--force")
    locked = len(_locked(site))
    site.index.slow(0)
    site.offer(*bodies)
    # The pod is gone at once, its process a moment later: it may hold the Lease until then.
    sets.wait(lambda: _active(site) not in {None, killed}, what="a takeover", seconds=SECONDS)
    return TakenOver(killed=killed, active=_active(site), locked=locked)


@pytest.fixture(scope="module")
def cleaned(taken_over: TakenOver, site: Site) -> str:
    """`helm uninstall` with `cleanup.onUninstall`; the pool's template before."""
    assert taken_over
    site.install(cleanup={"onUninstall": True})
    before, _ = site.pool()
    site.run_helm("uninstall", RELEASE, "--wait", "--timeout", f"{SECONDS:.0f}s")
    return before


def test_an_upgrade_remakes_nothing(upgraded: Upgraded) -> None:
    """What was made for sets is the same objects in the same versions, and of the pool neither the
    template nor the time of its last change is another."""
    assert upgraded.pods[0] != upgraded.pods[1]
    assert any(mounted_name("kept", pool=POOL) in name for name in upgraded.before.made)
    assert upgraded.after.made == upgraded.before.made
    assert upgraded.after.pool == upgraded.before.pool


def test_sets_stay_ready_over_an_upgrade(upgraded: Upgraded) -> None:
    """They were, and have been since."""
    assert [status for status, _ in upgraded.before.ready] == ["True", "True"]
    assert upgraded.after.ready == upgraded.before.ready


def test_no_run_fails_over_an_upgrade(upgraded: Upgraded) -> None:
    """Neither one that was under way, nor one that starts right after it."""
    assert [run["packages"]["alpha"]["version"] for run in upgraded.runs] == ["1.0", "1.0"]


def test_another_replica_takes_over_when_the_active_one_is_lost(
    taken_over: TakenOver, site: Site
) -> None:
    """Though it was killed in the middle of work, each set has a lock and a place in the pool."""
    assert taken_over.active not in {None, taken_over.killed}
    assert 0 < taken_over.locked < len(_MANY)
    assert _locked(site) == set(_MANY)
    live = find(site.api.template(POOL))
    assert live is not None
    assert {*_SETS, *_MANY} <= set(live.keys)


def test_a_cleanup_takes_everything_out(cleaned: str, site: Site) -> None:
    """The pool's template is to the letter what it was before us, and no namespace has anything of
    ours; the sets are there, and can be deleted with no operator."""
    assert cleaned != site.template
    assert site.pool()[0] == site.template
    assert site.made() == {}
    for namespace in (TEAM, JOBS):
        assert sets.names(site.node, "cm", namespace=namespace) == _ALWAYS
        assert sets.names(site.node, "secret", namespace=namespace) == set()
    # helm waits for a job, not for its pod.
    kinds = "pods,cm,secrets,leases,jobs,sa"
    sets.wait(
        lambda: RELEASE not in site.node.kubectl("get", kinds, "-n", NAMESPACE, "-o", "name"),
        what="the release's objects to go",
        seconds=SECONDS,
        show=lambda: site.node.kubectl("get", kinds, "-n", NAMESPACE),
    )
    with pytest.raises(KubectlError, match="NotFound"):
        site.node.kubectl("get", f"clusterrole/{RELEASE}-cleanup")
    assert sets.names(site.node, "fds", namespace=TEAM) >= {*_SETS, *_MANY}
    site.node.kubectl("delete", "fds", "-n", TEAM, "--all", "--timeout=30s")


def _state(site: Site) -> State:
    return State(made=site.made(), pool=site.pool(), ready=site.ready_since(*_SETS))


def _pod(site: Site) -> str:
    (pod,) = site.pods()
    name: str = pod["metadata"]["name"]
    return name


def _active(site: Site) -> str | None:
    """The pod that holds the Lease; None while its holder is gone, or going."""
    lease = json.loads(site.node.kubectl("get", "lease", RELEASE, "-n", NAMESPACE, "-o", "json"))
    holder = lease["spec"].get("holderIdentity") or ""
    names = [one["metadata"]["name"] for one in site.pods()]
    return next((name for name in names if holder.startswith(name)), None)


def _locked(site: Site) -> set[str]:
    """Those of _MANY whose locks runs can mount."""
    there = sets.names(site.node, "cm", namespace=JOBS)
    return {name for name in _MANY if mounted_name(name, pool=POOL) in there}
