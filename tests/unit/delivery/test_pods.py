"""The pods that look at an image and try a lock in it, as bodies."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.scripts import script
from flowdeps.trials.image import ImageRef
from flowdeps.trials.pods import (
    VERIFY_RESULT,
    build_pod,
    mount_pod,
    populate_pod,
    probe_pod,
    verify_pod,
)
from tests.unit.delivery.samples import flow_of, fragment, pod_of, pool

Body = dict[str, Any]
IMAGE = "registry.example.com/flows:1"
OURS = "registry.example.com/flowdeps:1"
ENVIRONMENTS = EnvironmentsConfig(
    repository="registry.example.com/ready", image=OURS, push_secret="push"
)
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
        "digest": "sha256:1",
        "secret": "flowdeps-ml",
        "set_name": "team-a/ml",
        "imports": (),
        "names": ("alpha",),
        "timeout_seconds": 300,
        "settings": PodsConfig(),
    }
    return verify_pod(**(given | changes))


def build(*, namespace: str = "team-a", **changes: Any) -> Body:
    given: dict[str, Any] = {
        "name": "flowdeps-build-1",
        "ref": ImageRef(namespace, IMAGE, "Always"),
        "labels": {"a": "b"},
        "digest": "sha256:1",
        "secret": "flowdeps-ml",
        "set_name": "team-a/ml",
        "imports": (),
        "names": ("alpha",),
        "timeout_seconds": 300,
        "settings": PodsConfig(),
        "tag": "0123456789-abcdef0123",
        "unused": (),
        "image_id": f"{IMAGE}@sha256:1",
        "environments": ENVIRONMENTS,
    }
    return build_pod(**(given | changes))


def mount(*, namespace: str = "team-a", **changes: Any) -> Body:
    given: dict[str, Any] = {
        "name": "flowdeps-mount-1",
        "ref": ImageRef(namespace, IMAGE),
        "labels": {"a": "b"},
        "reference": f"registry.example.com/ready/team-a@sha256:{'0' * 64}",
        "pull_secrets": ("registry",),
        "settings": PodsConfig(),
    }
    return mount_pod(**(given | changes))


def populate(*, namespace: str = "team-a", **changes: Any) -> Body:
    given: dict[str, Any] = {
        "name": "flowdeps-populate-1",
        "namespace": namespace,
        "labels": {"a": "b"},
        "claim": "environments",
        "reference": f"registry.example.com/ready/team-a@sha256:{'1' * 64}",
        "lock": "sha256:1",
        "keep": {f"sha256-{'2' * 64}", f"sha256-{'1' * 64}"},
        "environments": ENVIRONMENTS,
        "settings": PodsConfig(),
    }
    return populate_pod(**(given | changes))


def containers(body: Body) -> list[Body]:
    return [*body["spec"].get("initContainers", []), *body["spec"]["containers"]]


def env(container: Body) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in container["env"]}


ALL = [probe(), verify(), build(), mount(), populate()]
NAMES = ["probe", "verify", "build", "mount", "populate"]


@pytest.mark.parametrize("body", ALL, ids=NAMES)
def test_our_pods_keep_to_the_restricted_standard(body: Body) -> None:
    """Every control of Pod Security's restricted profile, and no token, in any namespace."""
    spec = body["spec"]
    on_claim = {"fsGroup": 65534, "fsGroupChangePolicy": "OnRootMismatch"}
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "runAsGroup": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
        **(on_claim if spec["containers"][0]["name"] == "flowdeps-populate" else {}),
    }
    for container in containers(body):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    allowed = {"configMap", "secret", "emptyDir", "image", "persistentVolumeClaim"}
    assert all(set(volume) - {"name"} <= allowed for volume in spec["volumes"])
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & set(spec)


@pytest.mark.parametrize("body", ALL, ids=NAMES)
def test_our_pods_end_and_fit_a_quota(body: Body) -> None:
    """Nothing is restarted, there is a deadline, and every container says what it needs."""
    assert body["spec"]["restartPolicy"] == "Never"
    assert body["spec"]["activeDeadlineSeconds"] > 0
    for container in containers(body):
        for part in ("requests", "limits"):
            assert set(container["resources"][part]) == {"cpu", "memory"}
        writes = container["name"] not in {"flowdeps-install", "flowdeps-mount"}
        assert ("/tmp" in [one["mountPath"] for one in container["volumeMounts"]]) == writes


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
    mounted = mount(**given, pull_secrets=("registry",))
    for body in (probe(**given), verify(**given, env=[PROXY]), build(**given), mounted):
        spec = body["spec"]
        assert spec["nodeSelector"] == {"pool": "flows"}
        assert spec["tolerations"] == [{"key": "flows", "operator": "Exists"}]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert body["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
        assert body["metadata"]["labels"] == {"team": "platform", "a": "b"}
        assert spec["securityContext"]["runAsUser"] == 1000
        assert "runAsGroup" not in spec["securityContext"]
        assert all(one["resources"] == {"limits": {"memory": "1Gi"}} for one in containers(body))
    for body in (verify(env=[PROXY]), build(env=[PROXY])):
        assert PROXY in body["spec"]["initContainers"][0]["env"]


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
    for body in (probe(ref=ref), verify(ref=ref), build(ref=ref), mount(ref=ref)):
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


@pytest.mark.parametrize("make", [verify, build])
def test_a_pod_tries_the_lock_that_it_is_made_for(make: Callable[..., Body]) -> None:
    """Its ConfigMap may be written by others meanwhile; runs install what is in theirs."""
    [install, *_] = make(digest="sha256:2")["spec"]["initContainers"]
    assert env(install)["FLOWDEPS_LOCK"] == "sha256:2"
    [ours] = pod_of(merge(pool(), fragment()))["initContainers"]
    assert "FLOWDEPS_LOCK" not in env(ours)


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


def test_a_build_is_a_trial_whose_install_container_makes_an_environment() -> None:
    """All else of these containers is the same, so that what is packed is what was tried; only the
    time is longer."""
    build_spec, verify_spec = build()["spec"], verify()["spec"]
    install, tried = build_spec["initContainers"]
    assert install["env"].pop() == {"name": "FLOWDEPS_BUILD", "value": "1"}
    [theirs] = verify_spec["initContainers"]
    assert install == theirs
    [verifies] = verify_spec["containers"]
    assert {**tried, "env": tried["env"][:-1]} == {**verifies, "env": verifies["env"][:-1]}
    assert int(env(tried)["FLOWDEPS_TIMEOUT"]) > int(env(verifies)["FLOWDEPS_TIMEOUT"])
    assert build_spec["activeDeadlineSeconds"] > verify_spec["activeDeadlineSeconds"]
    assert "FLOWDEPS_BUILD" not in json.dumps(verify_spec["initContainers"][0]["env"])


def test_what_packs_has_the_operators_image_and_changes_nothing() -> None:
    """It reads the tree and the lock, and is told what to call it. Nothing that was in the flow's
    image is where its own program is, nor where that keeps what it works with."""
    spec = build()["spec"]
    [pack] = spec["containers"]
    assert (pack["image"], pack["args"]) == (OURS, ["pack", "--tree=/environment"])
    assert "command" not in pack
    assert env(pack) == {
        "FLOWDEPS_REPOSITORY": "registry.example.com/ready/team-a",
        "FLOWDEPS_TAG": "0123456789-abcdef0123",
        "FLOWDEPS_IMAGE": IMAGE,
        "FLOWDEPS_IMAGE_ID": f"{IMAGE}@sha256:1",
        "FLOWDEPS_PLAIN_HTTP": "",
        "FLOWDEPS_PROXY": "",
        "FLOWDEPS_IMAGES": "",
        "FLOWDEPS_DELETES": "",
        "FLOWDEPS_UNUSED": "",
    }
    mounts = {one["mountPath"]: (one["name"], one.get("readOnly")) for one in pack["volumeMounts"]}
    assert mounts == {
        "/environment": ("flowdeps-site", True),
        "/etc/flowdeps": ("flowdeps-lock", True),
        "/etc/flowdeps-registry": ("flowdeps-registry", True),
        "/tmp": ("flowdeps-pack-tmp", None),
    }
    assert "flowdeps-pack-tmp" not in json.dumps(spec["initContainers"])


def test_only_what_packs_sees_the_credentials_of_the_registry() -> None:
    """The flow's image never does; and what packs does not see those of the index. A Secret that
    is missing keeps no pod waiting."""
    spec = build()["spec"]
    assert "flowdeps-registry" not in json.dumps(spec["initContainers"])
    assert "flowdeps-credentials" not in json.dumps(spec["containers"])
    assert {"name": "flowdeps-registry", "secret": {"secretName": "push", "optional": True}} in (
        spec["volumes"]
    )
    without = build(environments=replace(ENVIRONMENTS, push_secret="", plain_http=True))["spec"]
    assert "flowdeps-registry" not in json.dumps(without)
    assert env(without["containers"][0])["FLOWDEPS_PLAIN_HTTP"] == "1"
    proxy = "http://proxy.example.com:3128"
    behind = build(environments=replace(ENVIRONMENTS, proxy=proxy))["spec"]
    assert env(behind["containers"][0])["FLOWDEPS_PROXY"] == proxy


def test_only_what_packs_sees_pull_secrets() -> None:
    """Where images are derived, by the names that the configuration gives; else nobody does."""
    settings = PodsConfig(image_pull_secrets=("registry", "other"))
    plain = build(settings=settings)["spec"]
    assert "flowdeps-pull" not in json.dumps(plain)
    assert env(plain["containers"][0])["FLOWDEPS_IMAGES"] == ""
    spec = build(settings=settings, environments=replace(ENVIRONMENTS, images=True))["spec"]
    assert "flowdeps-pull" not in json.dumps(spec["initContainers"])
    [pack] = spec["containers"]
    assert env(pack)["FLOWDEPS_IMAGES"] == "1"
    mounted = {one["name"]: one for one in pack["volumeMounts"]}
    for number, name in enumerate(("registry", "other")):
        volume = f"flowdeps-pull-{number}"
        source = {"secretName": name, "optional": True}
        assert {"name": volume, "secret": source} in spec["volumes"]
        path = f"/etc/flowdeps-pull/{number}"
        assert mounted[volume] == {"name": volume, "mountPath": path, "readOnly": True}
    assert spec["activeDeadlineSeconds"] == plain["activeDeadlineSeconds"] + 2 * 900


def test_nothing_is_filled_in_where_a_build_is_told_of_its_image() -> None:
    """Kubernetes puts a variable in place of "$(...)", and makes one "$" of two."""
    [pack] = build(image_id="$(FLOWDEPS_TAG)$")["spec"]["containers"]
    assert env(pack)["FLOWDEPS_IMAGE_ID"] == "$$(FLOWDEPS_TAG)$$"


def test_an_environment_is_mounted_where_a_run_has_it(tmp_path: Path) -> None:
    """Read-only; the container ends well only where there is one."""
    [container] = mount()["spec"]["containers"]
    [mounted] = container["volumeMounts"]
    assert mounted == {"name": "flowdeps-site", "mountPath": "/opt/flowdeps", "readOnly": True}
    *shell, text = container["command"]
    run = [*shell, text.replace("/opt/flowdeps", str(tmp_path))]
    missing = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (missing.returncode, missing.stdout) == (
        1,
        f"flowdeps: nothing is mounted at {tmp_path}\n",
    )
    (tmp_path / "manifest.json").touch()
    assert subprocess.run(run, check=False).returncode == 0


def test_what_puts_environments_on_a_claim_is_the_operators_program_alone() -> None:
    """In its image, told only what to fetch, and with the Secret to pull; no other container."""
    settings = replace(ENVIRONMENTS, pull_secret="pull", plain_http=True)
    body = populate(environments=settings)
    [container] = containers(body)
    assert (container["image"], container["args"]) == (OURS, ["populate"])
    assert "command" not in container
    assert env(container) == {
        "FLOWDEPS_REFERENCE": f"registry.example.com/ready/team-a@sha256:{'1' * 64}",
        "FLOWDEPS_LOCK": "sha256:1",
        "FLOWDEPS_KEEP": "1111111111,2222222222",
        "FLOWDEPS_PLAIN_HTTP": "1",
        "FLOWDEPS_PROXY": "",
    }
    volumes = {one["name"]: one for one in body["spec"]["volumes"]}
    mounted = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
    assert mounted["/mnt/environments"]["persistentVolumeClaim"] == {"claimName": "environments"}
    assert mounted["/etc/flowdeps-registry"]["secret"] == {"secretName": "pull", "optional": True}
    assert set(mounted) == {"/mnt/environments", "/etc/flowdeps-registry", "/tmp"}
    assert len(volumes) == len(mounted)
    assert "flowdeps-registry" not in str(populate())


def test_more_environments_than_a_variable_can_name_all_stay() -> None:
    """Linux takes none above 128 KiB, and the pod would not start."""
    names = [f"sha256-{number:010}{'0' * 54}" for number in range(10_001)]
    told = env(containers(populate(keep=names[1:]))[0])["FLOWDEPS_KEEP"]
    assert len(told) < 128 * 1024
    assert told.count(",") == 9_999
    assert env(containers(populate(keep=names))[0])["FLOWDEPS_KEEP"] == ""
