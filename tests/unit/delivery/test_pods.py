"""The pods that look at an image and try a lock in it, as bodies."""

import json
from typing import Any

import pytest

from flowdeps.api.trialconfig import PodsConfig
from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.scripts import script
from flowdeps.trials.image import ImageRef
from flowdeps.trials.pods import VERIFY_RESULT, probe_pod, verify_pod
from tests.unit.delivery.samples import flow_of, fragment, pod_of, pool

Body = dict[str, Any]
IMAGE = "registry.example.com/flows:1"
PROXY = {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}


def probe(*, namespace: str = "team-a", **changes: Any) -> Body:
    given: dict[str, Any] = {
        "name": "flowdeps-probe-1",
        "ref": ImageRef(namespace, IMAGE),
        "labels": {"a": "b"},
        "settings": PodsConfig(),
    }
    return probe_pod(**(given | changes))


def verify(*, namespace: str = "team-a", **changes: Any) -> Body:
    given: dict[str, Any] = {
        "name": "flowdeps-verify-1",
        "ref": ImageRef(namespace, IMAGE, "Always"),
        "labels": {"a": "b"},
        "secret": "flowdeps-ml",
        "set_name": "team-a/ml",
        "imports": (),
        "names": ("alpha",),
        "timeout_seconds": 300,
        "settings": PodsConfig(),
    }
    return verify_pod(**(given | changes))


def containers(body: Body) -> list[Body]:
    return [*body["spec"].get("initContainers", []), *body["spec"]["containers"]]


def env(container: Body) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in container["env"]}


@pytest.mark.parametrize("body", [probe(), verify()], ids=["probe", "verify"])
def test_our_pods_keep_to_the_restricted_standard(body: Body) -> None:
    """Every control of Pod Security's restricted profile, and no token, in any namespace."""
    spec = body["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "runAsGroup": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in containers(body):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    allowed = {"configMap", "secret", "emptyDir"}
    assert all(set(volume) - {"name"} <= allowed for volume in spec["volumes"])
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(spec)


@pytest.mark.parametrize("body", [probe(), verify()], ids=["probe", "verify"])
def test_our_pods_end_and_fit_a_quota(body: Body) -> None:
    """Nothing is restarted, there is a deadline, and every container says what it needs."""
    assert body["spec"]["restartPolicy"] == "Never"
    assert body["spec"]["activeDeadlineSeconds"] > 0
    for container in containers(body):
        for part in ("requests", "limits"):
            assert set(container["resources"][part]) == {"cpu", "memory"}
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"] or container[
            "name"
        ] == "flowdeps-install"


def test_the_configuration_says_where_and_as_whom_our_pods_run() -> None:
    """Resources, nodes, tolerations and user reach both pods, and what pulls a private image and
    keeps a mesh's sidecar away; a user's group is the image's, and our labels are ours."""
    settings = PodsConfig(
        resources={"limits": {"memory": "1Gi"}},
        node_selector={"pool": "flows"},
        tolerations=({"key": "flows", "operator": "Exists"},),
        image_pull_secrets=("registry",),
        labels={"team": "platform", "a": "another"},
        annotations={"sidecar.istio.io/inject": "false"},
    )
    given: Body = {"settings": settings, "ref": ImageRef("team-a", IMAGE, user=(1000, None))}
    for body in (probe(**given), verify(**given, env=[PROXY])):
        spec = body["spec"]
        assert spec["nodeSelector"] == {"pool": "flows"}
        assert spec["tolerations"] == [{"key": "flows", "operator": "Exists"}]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert body["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
        assert body["metadata"]["labels"] == {"team": "platform", "a": "b"}
        assert spec["securityContext"]["runAsUser"] == 1000
        assert "runAsGroup" not in spec["securityContext"]
        assert all(one["resources"] == {"limits": {"memory": "1Gi"}} for one in containers(body))
    [install] = verify(env=[PROXY])["spec"]["initContainers"]
    assert PROXY in install["env"]


@pytest.mark.parametrize(
    ("user", "ours"),
    [
        ((1000, 0), (1000, 0)),
        ((1000, None), (1000, None)),
        ((0, 0), (65534, 65534)),
        ((None, 5), (65534, 5)),
    ],
)
def test_our_pods_run_as_runs_do_but_never_as_root(user: Any, ours: Any) -> None:
    """The group is that of runs too, also where it is the root group, which is allowed."""
    ref = ImageRef("team-a", IMAGE, user=user)
    for body in (probe(ref=ref), verify(ref=ref)):
        context = body["spec"]["securityContext"]
        assert (context["runAsUser"], context.get("runAsGroup")) == ours


def test_names_labels_and_image_are_the_callers() -> None:
    """Also the pull policy, which is left to Kubernetes where there is none."""
    for body in (probe(), verify()):
        assert body["metadata"]["namespace"] == "team-a"
        assert body["metadata"]["labels"] == {"a": "b"}
        assert {one["image"] for one in containers(body)} == {IMAGE}
    assert all("imagePullPolicy" not in one for one in containers(probe()))
    assert {one["imagePullPolicy"] for one in containers(verify())} == {"Always"}


def test_the_lock_is_installed_as_a_run_installs_it() -> None:
    """Command, mounts and search path are those that the fragment gives to runs."""
    template = merge(pool(), fragment())
    [ours] = pod_of(template)["initContainers"]
    [install] = verify()["spec"]["initContainers"]
    assert install["name"] == ours["name"] == "flowdeps-install"
    assert install["command"] == ours["command"]
    assert install["volumeMounts"] == ours["volumeMounts"]
    [path] = [one["value"] for one in flow_of(template)["env"] if one["name"] == "PYTHONPATH"]
    [container] = verify()["spec"]["containers"]
    assert env(container)["PYTHONPATH"] == path
    [site] = [one for one in container["volumeMounts"] if one["name"] == "flowdeps-site"]
    assert site["readOnly"] is True


def test_only_the_install_container_sees_the_credentials() -> None:
    """The Secret is mounted by name, and only where there is one."""
    spec = verify()["spec"]
    assert "flowdeps-credentials" in json.dumps(spec["initContainers"])
    assert "flowdeps-credentials" not in json.dumps(spec["containers"])
    assert {"secretName": "flowdeps-ml", "optional": True} in [
        volume.get("secret") for volume in spec["volumes"]
    ]
    without = verify(secret=None)["spec"]
    mounted = [without["volumes"], [one["volumeMounts"] for one in containers({"spec": without})]]
    assert "flowdeps-credentials" not in json.dumps(mounted)


def test_the_deadline_leaves_the_script_time_to_name_what_hangs() -> None:
    """The script's own limit ends before the pod's."""
    spec = verify(timeout_seconds=60)["spec"]
    assert int(env(spec["containers"][0])["FLOWDEPS_TIMEOUT"]) < spec["activeDeadlineSeconds"]


@pytest.mark.parametrize(
    ("imports", "names", "expected"),
    [
        ((), ("alpha",), ([], ["alpha"])),
        (("alpha.x",), ("alpha",), (["alpha.x"], [])),
        ((), (), ([], [])),
    ],
)
def test_given_imports_take_the_place_of_the_packages(
    imports: tuple[str, ...], names: tuple[str, ...], expected: tuple[list[str], list[str]]
) -> None:
    """The script gets the one or the other, as JSON."""
    [container] = verify(imports=imports, names=names)["spec"]["containers"]
    given = env(container)
    assert (json.loads(given["FLOWDEPS_IMPORTS"]), json.loads(given["FLOWDEPS_NAMES"])) == expected


def test_the_results_mark_is_the_one_that_the_script_prints() -> None:
    """The operator finds the line that the script ends with."""
    assert f'RESULT_MARK = "{VERIFY_RESULT}"' in script("verify")
