"""What the chart's policy makes of pods: those of runs get their environment, all others nothing.

Pods are what Prefect's own worker renders of a merged template. A pod is only asked for (dry run),
and compared as a whole with the answer to the same pod without our label, which no policy of ours
concerns.
"""

import copy
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowdeps.api import names
from flowdeps.delivery.kinds.kubernetes.merge import merge
from flowdeps.delivery.methods.install import ENV_LOCK, ENV_SET, IMAGE_PATH, PYTHON_PATH, Install
from flowdeps.delivery.methods.method import ENV_BEYOND, HOME
from flowdeps.reconcile.runs_namespace.lines import Told, environments
from flowdeps.trials.images import labels
from scripts.chart import CHART, ROOT
from tests.cluster import prefect_env
from tests.cluster.controlplane import ControlPlane, KubectlError
from tests.integration.chart.helm import Helm, HelmError, config_of, needed, of_kind, one_of
from tests.support.sets import apply, config_map, connect, read, wait
from tests.support.worker import Worker, running
from tests.unit.delivery.samples import fragment, pod_of, pool
from tests.unit.delivery.test_pods import verify

pytestmark = pytest.mark.cluster

Pod = dict[str, Any]
_CHOICE = fragment()

_REPOSITORY = "registry.example.com:5000/envs"
_IMAGE, _OTHER = "registry.example.com/flows:1", "registry.example.com/flows:2"
_LOCK = f"sha256:{'1' * 64}"
_REFERENCE = f"{_REPOSITORY}/team-a@sha256:{'2' * 64}"
_OTHERS = f"{_REPOSITORY}/team-b@sha256:{'3' * 64}"
_KEYS = {choice: names.mounted_name(choice, pool="kubernetes")[9:] for choice in ("ml", "none")}
_RUNS, _BARE, _RESTRICTED = "env-runs", "env-bare", "env-restricted"
_SERVED = "apiserver_mutating_admission_policy_check_total"


def _values(**more: Any) -> dict[str, Any]:
    environments = {"repository": _REPOSITORY, "admission": "Enabled", **more}
    return needed(config={"environments": environments})


def _policies(helm: Helm) -> list[dict[str, Any]]:
    objects = helm.template(_values())
    return [one for one in objects if one["kind"].startswith("Mutating")]


def _parameters(namespace: str, **told: Told) -> dict[str, Any]:
    return environments(namespace, told, owner="flowdeps/flowdeps")


def _line(image: str = _IMAGE, reference: str = _REFERENCE, lock: str = _LOCK) -> Told:
    return {"image": image, "reference": reference, "lock": lock}


def _serve(plane: ControlPlane) -> None:
    """Install the resource, and wait until it is served."""
    plane.kubectl("apply", "-f", str(ROOT / "crds" / "runenvironments.yaml"))
    _wait_served(plane)


def _wait_served(plane: ControlPlane) -> None:
    path = f"/apis/{names.API_VERSION}/{names.ENVIRONMENTS_PLURAL}"
    wait(lambda: read(plane, path) is not None, what="the resource to be served")
    known = ("api-resources", "--api-group", names.GROUP, "-o", "name")
    wait(lambda: names.ENVIRONMENTS_PLURAL in plane.kubectl(*known), what="kubectl to know of them")


class Server:
    """The API server of a control plane: what it makes of a pod."""

    def __init__(self, cluster: ControlPlane) -> None:
        self.cluster = cluster

    def made(self, pod: Pod, *, namespace: str = _RUNS) -> Pod:
        """The pod as it would be stored."""
        with connect(self.cluster) as client:
            answer = client.post(
                f"/api/v1/namespaces/{namespace}/pods", json=pod, params={"dryRun": "All"}
            )
        assert answer.is_success, answer.json()["message"]
        made: Pod = answer.json()
        for changes in ("uid", "creationTimestamp", "managedFields"):
            made["metadata"].pop(changes, None)
        return made

    def is_alone(self, pod: Pod, *, namespace: str = _RUNS) -> bool:
        """Whether the pod is what it would be without us."""
        return self.is_like(pod, pod, namespace=namespace)

    def is_like(self, pod: Pod, other: Pod, *, namespace: str = _RUNS) -> bool:
        """Whether the pod is made into what another one would be without us."""
        made = self.made(pod, namespace=namespace)
        plain = copy.deepcopy(other)
        label = plain["metadata"]["labels"].pop(names.SET_LABEL)
        expected = self.made(plain, namespace=namespace)
        expected["metadata"].setdefault("labels", {})[names.SET_LABEL] = label
        return made == expected

    def give(self, **told: Told) -> None:
        """Write the parameters of the namespace of runs, and wait until they count.

        The probe is another key: what the test asks for is asked once.
        """
        given = f"{_REPOSITORY}/probe@sha256:{abs(hash(str(told))):064x}"
        apply(self.cluster, _parameters(_RUNS, **told, **{_KEYS["none"]: _line(reference=given)}))
        probe = _with_choice(self.run, "none")
        wait(
            lambda: given == _reference(self.made(probe)),
            what="the parameters to count",
            show=lambda: self.metrics(),
        )

    run: Pod

    def metrics(self) -> str:
        """What the server counts of policies."""
        text = self.cluster.kubectl("get", "--raw", "/metrics")
        return "\n".join(line for line in text.splitlines() if line.startswith(_SERVED))


def _reference(pod: Pod) -> str | None:
    site = next(one for one in pod["spec"]["volumes"] if one["name"] == names.SITE_VOLUME)
    reference: str | None = site.get("image", {}).get("reference")
    return reference


def _with_choice(pod: Pod, choice: str) -> Pod:
    pod = copy.deepcopy(pod)
    volume = next(one for one in pod["spec"]["volumes"] if one["name"] == names.LOCK_VOLUME)
    volume["configMap"]["name"] = names.mounted_name(choice, pool="kubernetes")
    return pod


def upgraded(pod: Pod, *, reference: str = _REFERENCE, lock: str = _LOCK) -> Pod:
    """The pod as it should be with its environment."""
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    inits = [one for one in spec["initContainers"] if one["name"] != names.INSTALL_CONTAINER]
    spec["initContainers"] = inits
    site = next(one for one in spec["volumes"] if one["name"] == names.SITE_VOLUME)
    del site["emptyDir"]
    site["image"] = {"reference": reference, "pullPolicy": "IfNotPresent"}
    for container in spec["containers"]:
        for entry in container.get("env", []):
            if entry["name"] == ENV_LOCK:
                entry.pop("valueFrom")
                entry["value"] = lock
    return pod


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with running(prefect_env.bin_directory() / "python") as worker:
        yield worker


def _run(worker: Worker, template: Any = None, **variables: Any) -> Pod:
    """The pod of a run that chooses a set."""
    merged = merge(template or pool(), fragment(keys=("ml",), descriptions={}))
    given = {"dependency_set": "ml", "image": _IMAGE, **variables}
    [manifest] = worker.manifests((merged, given))
    body: Pod = manifest["spec"]["template"]
    metadata = {"name": "run", "labels": body["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body["spec"]}


@pytest.fixture(scope="module")
def run(worker: Worker) -> Pod:
    return _run(worker)


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane, helm: Helm, run: Pod) -> Iterator[Server]:
    """An API server with the policy, and namespaces with and without parameters; it must have met
    no error with any pod."""
    for namespace in (_RUNS, _BARE, _RESTRICTED):
        control_plane.kubectl("create", "namespace", namespace)
    label = "pod-security.kubernetes.io/enforce=restricted"
    control_plane.kubectl("label", "namespace", _RESTRICTED, label)
    _serve(control_plane)
    apply(control_plane, *_policies(helm))
    one = Server(control_plane)
    one.run = run
    one.give(**{_KEYS["ml"]: _line()})
    yield one
    metrics = one.metrics()
    apply(control_plane, _parameters(_RUNS))
    kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
    control_plane.kubectl("delete", kinds, "flowdeps-environments", "flowdeps-none")
    assert 'error_type="no_error"' in metrics
    assert not re.search(r'error_type="(?!no_error")', metrics), metrics


def _install(pod: Pod) -> dict[str, Any]:
    inits: list[dict[str, Any]] = pod["spec"]["initContainers"]
    return next(one for one in inits if one["name"] == names.INSTALL_CONTAINER)


def _flow(pod: Pod) -> dict[str, Any]:
    flow: dict[str, Any] = pod["spec"]["containers"][0]
    return flow


def _entry(container: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [one for one in container["env"] if one["name"] == name]
    entry: dict[str, Any] = found
    return entry


def test_the_policy_has_the_names_of_the_code(helm: Helm) -> None:
    """Each name of ours that the policy spells is the one that the code gives."""
    policy, none, binding, _ = _policies(helm)
    text = str([one["spec"] for one in (policy, none)])
    spelt = set(re.findall(r'"(flowdeps-[a-z-]+|FLOWDEPS_[A-Z]+)"', text))
    assert spelt == {
        *(names.INSTALL_CONTAINER, names.SITE_VOLUME, names.LOCK_VOLUME, names.CACHE_VOLUME),
        *(ENV_LOCK, ENV_BEYOND, ENV_SET, "FLOWDEPS_EXTRAS"),
    }
    assert f'"{":".join(PYTHON_PATH)}"' in text
    assert tuple(f"{HOME}/image/{one}" for one in (0, 1, 2, 3)) == IMAGE_PATH
    assert f'[0, 1, 2, 3].map(one, ":{HOME}/image/" + string(one))' in text
    env = {one["name"] for one in Install().pieces(_CHOICE).init_containers[0]["env"]}
    assert "FLOWDEPS_EXTRAS" in env
    assert f'startsWith("{names.PIECE_PREFIX}")' in text
    assert f"substring({len(names.PIECE_PREFIX)})" in text
    assert f'"{HOME}/image/"' in text
    matches = policy["spec"]["matchConstraints"]
    assert (matches["matchPolicy"], matches["namespaceSelector"]) == ("Equivalent", {})
    assert [one["scope"] for one in matches["resourceRules"]] == ["*"]
    selected = matches["objectSelector"]["matchExpressions"]
    assert selected == [
        {"key": names.SET_LABEL, "operator": "Exists"},
        {"key": names.PURPOSE_LABEL, "operator": "DoesNotExist"},
    ]
    assert binding["spec"]["paramRef"]["name"] == names.ENVIRONMENTS
    assert policy["spec"]["failurePolicy"] == "Ignore"
    kind = {"apiVersion": names.API_VERSION, "kind": names.ENVIRONMENTS_KIND}
    assert policy["spec"]["paramKind"] == kind


def test_a_run_gets_its_environment(server: Server, run: Pod) -> None:
    """The install container is gone, the volume is the environment by its digest, the lock is that
    of the environment; nothing else is different."""
    server.give(**{_KEYS["ml"]: _line()})
    assert _reference(server.made(run)) == _REFERENCE
    assert server.is_like(run, upgraded(run))
    assert "initContainers" not in server.made(run)["spec"]


def test_a_run_in_a_restricted_namespace_gets_it(server: Server, worker: Worker) -> None:
    """Pod Security sees what the policy has made, and lets it in."""
    template = pool()
    pod_of(template)["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod_of(template)["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    run = _run(worker, template)
    apply(server.cluster, _parameters(_RESTRICTED, **{_KEYS["ml"]: _line()}))
    wait(
        lambda: _reference(server.made(run, namespace=_RESTRICTED)) == _REFERENCE,
        what="the parameters to count",
    )
    assert server.is_like(run, upgraded(run), namespace=_RESTRICTED)


def test_without_parameters_in_its_namespace_a_run_installs(server: Server, run: Pod) -> None:
    """Those of another namespace do not count, nor their absence against a pod."""
    server.give(**{_KEYS["ml"]: _line()})
    assert server.is_alone(run, namespace=_BARE)


@pytest.mark.parametrize("image", [f"{_IMAGE}0", _IMAGE[:-1], _IMAGE.upper(), ""])
def test_a_line_is_for_one_image(image: str, server: Server, run: Pod) -> None:
    """One whose name begins alike is another."""
    server.give(**{_KEYS["ml"]: _line(image=image)})
    assert server.is_alone(run)


_DIGEST = "4" * 64


@pytest.mark.parametrize(
    "reference",
    [
        f"{_REPOSITORY}/team/a@sha256:{_DIGEST}",
        f"{_REPOSITORY}/team-a:1@sha256:{_DIGEST}",
        f"{_REPOSITORY}/@sha256:{_DIGEST}",
        f"{_REPOSITORY}@sha256:{_DIGEST}",
        f"{_REPOSITORY}-evil/team-a@sha256:{_DIGEST}",
        f"evil.example.com/envs/team-a@sha256:{_DIGEST}",
        f"registry-example.com:5000/envs/team-a@sha256:{_DIGEST}",
        f"x{_REPOSITORY}/team-a@sha256:{_DIGEST}",
    ],
)
def test_an_environment_from_elsewhere_counts_for_nothing(
    reference: str, server: Server, run: Pod
) -> None:
    """A reference is one of the configured repository, whoever writes it."""
    server.give(**{_KEYS["ml"]: _line(reference=reference)})
    assert server.is_alone(run)


def _malformed() -> Iterator[Told]:
    references = [
        "",
        f"{_REPOSITORY}/team-a",
        f"{_REPOSITORY}/team-a:1",
        f"{_REPOSITORY}/team-a@sha256:{_DIGEST[1:]}",
        f"{_REPOSITORY}/team-a@sha256:{_DIGEST}4",
        f"{_REPOSITORY}/team-a@sha256:{_DIGEST.replace('4', 'A')}",
        f"{_REPOSITORY}/team-a@sha512:{_DIGEST}",
        f"{_REPOSITORY}/team-a @sha256:{_DIGEST}",
    ]
    yield from (_line(reference=one) for one in references)
    yield from (_line(lock=one) for one in ("", "1" * 64, _LOCK[:-1], f"{_LOCK}1", f"{_LOCK}\r"))
    yield {"reference": _REFERENCE, "lock": _LOCK}
    yield _line(image="i" * 1025)


@pytest.mark.parametrize("line", list(_malformed()))
def test_a_line_that_is_none_is_refused(line: Told, server: Server) -> None:
    """Each part has one form: a pod would be refused with any other, or mount it by its tag."""
    with pytest.raises(KubectlError, match=r"is invalid|ValidationError"):
        apply(server.cluster, _parameters(_RUNS, **{_KEYS["ml"]: line}))
    apply(server.cluster, _parameters(_RUNS, **{_KEYS["ml"]: _line()}))


def test_a_namespace_has_one_object_that_tells_its_runs(server: Server) -> None:
    """No other name can be given to one, so none is missed."""
    body = _parameters(_RUNS, **{_KEYS["ml"]: _line()})
    body["metadata"]["name"] = "flowdeps-others"
    with pytest.raises(KubectlError, match="a namespace has one"):
        apply(server.cluster, body)


def test_a_config_map_tells_the_policy_nothing(server: Server, run: Pod) -> None:
    """Neither by the name that earlier versions used, nor by that of the RunEnvironments."""
    for name in (names.EARLIER_ENVIRONMENTS, names.ENVIRONMENTS):
        body = config_map(name, namespace=_BARE)
        body["data"] = {_KEYS["ml"]: " ".join(_line().values())}
        apply(server.cluster, body)
    server.give(**{_KEYS["ml"]: _line()})
    assert server.is_like(run, upgraded(run))
    assert server.is_alone(run, namespace=_BARE)


def test_a_key_without_a_line_counts_for_nothing(server: Server, run: Pod) -> None:
    """Nor does that of another pool, of another set, or of a longer name."""
    key = _KEYS["ml"]
    server.give(**{f"{key}-x": _line(), "ml": _line(), f"0{key[1:]}x": _line()})
    assert server.is_alone(run)


Change = Callable[[Pod], None]


def _set(name: str, **entry: Any) -> Change:
    """Change a variable of the install container; without one it is taken out."""

    def change(pod: Pod) -> None:
        env = _install(pod)["env"]
        env[:] = [one for one in env if one["name"] != name]
        if entry:
            env.append({"name": name, **entry})

    return change


def _volume(name: str, **source: Any) -> Change:
    def change(pod: Pod) -> None:
        volumes = pod["spec"]["volumes"]
        volumes[:] = [one for one in volumes if one["name"] != name] + (
            [{"name": name, **source}] if source else []
        )

    return change


def _mounting(where: str, at: int, **mount: Any) -> Change:
    """Add a container that mounts the packages."""

    def change(pod: Pod) -> None:
        one = {"name": "more", "image": _IMAGE}
        mounts = [{"name": names.SITE_VOLUME, "mountPath": HOME, **mount}]
        pod["spec"][where].insert(at, {**one, "volumeMounts": mounts})

    return change


def _flow_with(**changes: Any) -> Change:
    def change(pod: Pod) -> None:
        _flow(pod).update(changes)

    return change


def _flow_mount(**changes: Any) -> Change:
    def change(pod: Pod) -> None:
        for one in _flow(pod)["volumeMounts"]:
            if one["name"] == names.SITE_VOLUME:
                one.update(changes)

    return change


def _flow_env(*entries: dict[str, Any], without: str = "") -> Change:
    def change(pod: Pod) -> None:
        kept = [one for one in _flow(pod)["env"] if one["name"] != without]
        _flow(pod)["env"] = [*kept, *entries]

    return change


def _env_from(pod: Pod) -> None:
    _install(pod)["envFrom"] = [{"configMapRef": {"name": "more"}}]


def _renamed(pod: Pod) -> None:
    _install(pod)["name"] = "flowdeps-install-2"


def _another_image(pod: Pod) -> None:
    _install(pod)["image"] = _flow(pod)["image"] = _OTHER


_FIELD = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
_ALONE: dict[str, Change] = {
    "a cache": _volume(names.CACHE_VOLUME, persistentVolumeClaim={"claimName": "cache"}),
    "another image": _another_image,
    "another image of the flow": _flow_with(image=_OTHER),
    "extras": _set("FLOWDEPS_EXTRAS", value=" httpx"),
    "extras by reference": _set("FLOWDEPS_EXTRAS", **_FIELD),
    "extras unsaid": _set("FLOWDEPS_EXTRAS"),
    "a list that does not fit": _set(ENV_BEYOND, value="m [1, 2]"),
    "a worker that fills in no items": _set(ENV_BEYOND, value=" "),
    "a worker that fills in nothing": _set(ENV_BEYOND, value=""),
    "lists by reference": _set(ENV_BEYOND, **_FIELD),
    "PYTHONPATH by envFrom": _env_from,
    "PYTHONPATH of the install container": _set("PYTHONPATH", value="/app"),
    "no volume of a lock": _volume(names.LOCK_VOLUME, emptyDir={}),
    "a ConfigMap of others": _volume(names.LOCK_VOLUME, configMap={"name": _KEYS["ml"]}),
    "a volume that is kept": _volume(names.SITE_VOLUME, hostPath={"path": "/opt"}),
    "a lock that is a value": _flow_env({"name": ENV_LOCK, "value": "mine"}, without=ENV_LOCK),
    "two locks": _flow_env({"name": ENV_LOCK, "value": "mine"}),
    "no lock": _flow_env(without=ENV_LOCK),
    "another name": _renamed,
    "a container that writes before": _mounting("initContainers", 0),
    "a container that writes after": _mounting("initContainers", 1),
    "a part of the packages": _mounting("initContainers", 1, readOnly=True, subPath="site"),
    "two flows": _mounting("containers", 1, readOnly=True),
    "two flows, the other first": _mounting("containers", 0, readOnly=True),
    "a flow that writes": _flow_mount(readOnly=False),
    "a flow with a part": _flow_mount(subPath="site"),
    "a flow with a part by name": _flow_mount(subPathExpr="$(FLOWDEPS_SET)"),
}


def _ready(pod: Pod) -> Pod:
    """With the variables that all install containers may have."""
    pod = copy.deepcopy(pod)
    if not any(one["name"] == ENV_BEYOND for one in _install(pod)["env"]):
        _set(ENV_BEYOND, value="m ")(pod)
    return pod


@pytest.mark.parametrize("what", _ALONE)
def test_a_pod_that_differs_installs(what: str, server: Server, run: Pod) -> None:
    """What an environment is not for, or what the install container has to do or to refuse."""
    server.give(**{_KEYS["ml"]: _line()})
    pod = _ready(run)
    assert server.is_like(pod, upgraded(pod))  # but for the change
    _ALONE[what](pod)
    assert server.is_alone(pod)


def _sidecar(pod: Pod) -> None:
    pod["spec"]["containers"].insert(0, {"name": "proxy", "image": _OTHER})
    more = {"name": "flowdeps-lock", "mountPath": "/etc/flowdeps", "readOnly": True}
    pod["spec"]["containers"].append({"name": "logs", "image": _OTHER, "volumeMounts": [more]})


def _inits(pod: Pod) -> None:
    first = {"name": "certs", "image": _OTHER}
    pod["spec"]["initContainers"].insert(0, first)
    pod["spec"]["initContainers"].append({**first, "name": "mesh", "restartPolicy": "Always"})


def _volumes(pod: Pod) -> None:
    volumes = pod["spec"]["volumes"]
    volumes.insert(0, {"name": "scratch", "emptyDir": {}})
    volumes.append({"name": "more", "emptyDir": {}})
    volumes.reverse()


def _with_its_own_path(pod: Pod) -> None:
    _env_from(pod)
    _flow_env({"name": "PYTHONPATH", "value": f"{HOME}/boot:/app"}, without="PYTHONPATH")(pod)


_UPGRADED: dict[str, Change] = {
    "sidecars before and after": _sidecar,
    "init containers before and after": _inits,
    "volumes in another order": _volumes,
    "a reader after": _mounting("initContainers", 1, readOnly=True),
    "variables before": lambda pod: _flow(pod)["env"].insert(0, {"name": "A", "value": "1"}),
    "blank extras": _set("FLOWDEPS_EXTRAS", value=" \n "),
    "lists that fit": _set(ENV_BEYOND, value="m  \n"),
    "envFrom beside a PYTHONPATH of the template": _with_its_own_path,
}


@pytest.mark.parametrize("what", _UPGRADED)
def test_what_others_have_in_a_pod_stays(what: str, server: Server, run: Pod) -> None:
    """In its order, with its own volumes and variables; the environment is there all the same."""
    server.give(**{_KEYS["ml"]: _line()})
    pod = _ready(run)
    _UPGRADED[what](pod)
    assert _reference(server.made(pod)) == _REFERENCE
    assert server.is_like(pod, upgraded(pod))


def test_what_a_run_chooses_is_seen(server: Server, worker: Worker) -> None:
    """By the worker's own rendering: a run with extras or with a long list installs, and one with
    lists that fit does not."""
    server.give(**{_KEYS["ml"]: _line()})
    template = pool()
    pod_of(template)["volumes"] = "{{ volumes }}"
    template["variables"]["properties"]["volumes"] = {"type": "array", "default": []}
    for variables, alone in (
        ({}, False),
        ({"extra_py_deps": "httpx"}, True),
        ({"extra_py_deps": ["httpx"]}, True),
        ({"image": _OTHER}, True),
        ({"volumes": [{"name": f"v{one}", "emptyDir": {}} for one in range(100)]}, False),
        ({"volumes": [{"name": f"v{one}", "emptyDir": {}} for one in range(101)]}, True),
    ):
        pod = _run(worker, template, **variables)
        assert server.is_alone(pod) == alone, variables
        assert server.is_like(pod, upgraded(pod)) != alone, variables


def _chooses_nothing(worker: Worker, path: str | None = None, **variables: Any) -> Pod:
    """A run that chooses nothing, of a template that sets PYTHONPATH or not."""
    template = pool()
    if path is not None:
        pod_of(template)["containers"][0]["env"] = [{"name": "PYTHONPATH", "value": path}]
    return _run(worker, template, dependency_set="none", **variables)


@pytest.mark.parametrize("path", [None, "/app", "/app::lib:", "$(HOME)/lib", "/opt/flows"])
def test_a_run_that_chooses_nothing_is_as_if_we_were_not_there(
    path: str | None, server: Server, worker: Worker
) -> None:
    """No container of ours starts before it, and PYTHONPATH is to the letter what the template
    says, or else envFrom or the image: also in a namespace without parameters."""
    run = _chooses_nothing(worker, path)
    _env_from_of_flow(run)
    assert _install(run)
    expected = copy.deepcopy(run)
    expected["spec"]["initContainers"] = []
    env = [one for one in _flow(run)["env"] if one["name"] != "PYTHONPATH"]
    own = [] if path is None else [{"name": "PYTHONPATH", "value": path}]
    at = next(at for at, one in enumerate(_flow(run)["env"]) if one["name"] == "PYTHONPATH")
    _flow(expected)["env"] = [*env[:at], *own, *env[at:]]
    apply(server.cluster, _parameters(_RUNS, **{_KEYS["ml"]: _line()}))
    probe = _with_choice(server.run, "none")
    wait(lambda: _reference(server.made(probe)) is None, what="the probe's line to go")
    for namespace in (_RUNS, _BARE):
        assert server.is_like(run, expected, namespace=namespace)


def _env_from_of_flow(pod: Pod) -> None:
    _flow(pod)["envFrom"] = [{"configMapRef": {"name": "more"}}]


def _other_path(path: str) -> Change:
    return _flow_env({"name": "PYTHONPATH", "value": path}, without="PYTHONPATH")


_INSTALLS_ANYWAY: dict[str, Change] = {
    "extras": _set("FLOWDEPS_EXTRAS", value=" httpx"),
    "extras by reference": _set("FLOWDEPS_EXTRAS", **_FIELD),
    "extras unsaid": _set("FLOWDEPS_EXTRAS"),
    "a list that does not fit": _set(ENV_BEYOND, value="m [1, 2]"),
    "another set": _set(ENV_SET, value="ml"),
    "an empty choice": _set(ENV_SET, value=""),
    "a set by reference": _set(ENV_SET, **_FIELD),
    "another label": lambda pod: pod["metadata"]["labels"].update({names.SET_LABEL: "ml"}),
    "a trial": lambda pod: pod["metadata"]["labels"].update({names.PURPOSE_LABEL: "verify"}),
    "a reader after": _mounting("initContainers", 1, readOnly=True),
    "a sidecar that reads": _mounting("containers", 1, readOnly=True),
    "two paths": _flow_env({"name": "PYTHONPATH", "value": f"{HOME}/boot:$(PYTHONPATH)"}),
    "a path by reference": _flow_env({"name": "PYTHONPATH", **_FIELD}, without="PYTHONPATH"),
    "no path": _flow_env(without="PYTHONPATH"),
    "a path before ours": _other_path(f"/app:{':'.join(PYTHON_PATH)}"),
    "a path of ours behind": _other_path(f"{':'.join(PYTHON_PATH)}:/app:{HOME}/site"),
    "a path that begins alike": _other_path(f"{':'.join(PYTHON_PATH)}-packages:/app"),
    "a volume that is kept": _volume(names.SITE_VOLUME, hostPath={"path": "/opt"}),
}


@pytest.mark.parametrize("what", _INSTALLS_ANYWAY)
def test_what_the_install_container_would_do_is_done(
    what: str, server: Server, worker: Worker
) -> None:
    """Extras, a line about what is wrong, or anything that somebody may look at."""
    run = _chooses_nothing(worker)
    assert not server.is_alone(run, namespace=_BARE)  # but for the change
    _INSTALLS_ANYWAY[what](run)
    assert server.is_alone(run, namespace=_BARE)


def test_pods_of_trials_and_of_others_are_left_alone(server: Server, run: Pod) -> None:
    """The operator's own, with an init container of the same name, even with our label; pods that
    only carry the label; and those that carry none."""
    server.give(**{_KEYS["ml"]: _line()})
    trial = verify(namespace=_RUNS, labels=labels("verify"))
    assert names.SET_LABEL not in trial["metadata"]["labels"]
    assert server.made(trial)["spec"]["initContainers"][0]["name"] == names.INSTALL_CONTAINER
    marked = copy.deepcopy(run)
    marked["metadata"]["labels"][names.PURPOSE_LABEL] = "verify"
    assert server.is_alone(marked)
    bare = {"containers": [{"name": "c", "image": _IMAGE}], "restartPolicy": "Never"}
    labelled = {"name": "bare", "labels": {names.SET_LABEL: "ml"}}
    assert server.is_alone({**run, "metadata": labelled, "spec": bare})
    plain = copy.deepcopy(run)
    del plain["metadata"]["labels"][names.SET_LABEL]
    assert _reference(server.made(plain)) is None


def test_a_policy_that_was_made_anew_follows_what_runs_are_told(
    server: Server, run: Pod, helm: Helm
) -> None:
    """API servers stop following parameters of a kind of their own once no binding uses it."""
    server.give(**{_KEYS["ml"]: _line()})
    assert server.is_like(run, upgraded(run))
    kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
    server.cluster.kubectl("delete", kinds, "flowdeps-environments")
    wait(lambda: _reference(server.made(run)) is None, what="the policy to go")
    time.sleep(2)  # in which the server ends what has followed the parameters
    newer = f"{_REPOSITORY}/team-a@sha256:{'5' * 64}"
    apply(server.cluster, _parameters(_RUNS, **{_KEYS["ml"]: _line(reference=newer)}))
    apply(server.cluster, *_policies(helm))
    wait(lambda: _reference(server.made(run)) == newer, what="the newer environment")
    server.give(**{_KEYS["ml"]: _line()})
    assert server.is_like(run, upgraded(run))


_SECOND = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": "a-mesh"},
    "spec": {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ]
        },
        "matchConditions": [
            {
                "name": "once",
                "expression": 'has(object.spec.initContainers) && object.metadata.?labels[?"mesh"]'
                '.orValue("") == "on" && !object.spec.initContainers.exists(c, c.name == "mesh")',
            }
        ],
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": '[JSONPatch{op: "add", path: "/spec/initContainers/0", value: '
                    'Object.spec.initContainers{name: "mesh", image: "example.com/mesh:1"}}]'
                },
            }
        ],
    },
}


def test_a_second_policy_finds_no_stale_place(server: Server, run: Pod) -> None:
    """One that inserts an init container before ours, whichever of the two comes first."""
    binding = {
        **_SECOND,
        "kind": "MutatingAdmissionPolicyBinding",
        "spec": {"policyName": "a-mesh"},
    }
    apply(server.cluster, _SECOND, binding)
    server.give(**{_KEYS["ml"]: _line()})
    pod = copy.deepcopy(run)
    pod["spec"]["initContainers"].append({"name": "certs", "image": _OTHER})
    pod["metadata"]["labels"]["mesh"] = "on"
    plain = copy.deepcopy(pod)
    del plain["metadata"]["labels"][names.SET_LABEL]

    def inits(one: Pod) -> list[str]:
        return [each["name"] for each in server.made(one)["spec"]["initContainers"]]

    try:
        wait(lambda: "mesh" in inits(plain), what="the second policy")
        assert inits(pod) == ["mesh", "certs"]
        assert server.is_like(pod, upgraded(pod))
    finally:
        kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy"
        server.cluster.kubectl("delete", kinds, "a-mesh")


_OLD = "--emulated-version=1.35"
_OFF = "--feature-gates=MutatingAdmissionPolicy=false"


@pytest.mark.parametrize(("option", "made"), [(_OLD, False), (_OFF, True)], ids=["old", "off"])
def test_an_api_server_without_such_policies_leaves_pods_alone(
    option: str, made: bool, helm: Helm, run: Pod
) -> None:
    """One that has none yet gets none with the chart, and says so; one that has them switched off
    keeps them for nothing. Pods install in both."""
    with ControlPlane(options=[option]) as plane:
        for namespace in ("flowdeps", _RUNS):
            plane.kubectl("create", "namespace", namespace)
        given: dict[str, Any] = {"kubeconfig": plane.kubeconfig}
        place = ("flowdeps", CHART, "-n", "flowdeps")
        said = helm("install", *place, values=_values(admission="Auto"), **given)
        assert ("was not created" not in said) == made
        text = helm("get", "manifest", "flowdeps", "-n", "flowdeps", **given)
        assert ("MutatingAdmissionPolicy" in text) == made
        _wait_served(plane)
        apply(plane, _parameters(_RUNS, **{_KEYS["ml"]: _line()}))
        assert Server(plane).is_alone(run)
        if not made:
            with pytest.raises(HelmError, match="MutatingAdmissionPolicy"):
                helm("upgrade", *place, values=_values(), **given)


def test_an_uninstall_takes_the_policy(helm: Helm, server: Server) -> None:
    """`helm install` makes policy, binding and the rights that go with them; they are gone with the
    release."""
    plane = server.cluster
    own = {"fullnameOverride": "env-other", "crds": {"enabled": False}}
    values = {**_values(admission="Auto"), **own}
    given: dict[str, Any] = {"kubeconfig": plane.kubeconfig}
    plane.kubectl("create", "namespace", "env-other")
    place = ("-n", "env-other")
    said = helm("install", "env-other", CHART, *place, values=values, **given)
    assert "MutatingAdmissionPolicy env-other-environments" in said
    kinds = "mutatingadmissionpolicy,mutatingadmissionpolicybinding,clusterrole,clusterrolebinding"

    def there() -> list[str]:
        found = plane.kubectl("get", kinds, "-o", "name").split()
        return [one for one in found if "env-other" in one]

    assert len([one for one in there() if "env-other-environments" in one]) == 4
    helm("uninstall", "env-other", *place, **given)
    assert there() == []


# Without a cluster


_ALL = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
_APART = {
    "crds": {"enabled": False},
    "rbac": {"aggregate": False},
}


@pytest.mark.parametrize(
    ("admission", "more", "cluster", "made"),
    [
        ("Auto", {}, ["--kube-version", "1.36.0"], True),
        ("Auto", {}, ["--kube-version", "1.35.4"], False),
        ("Auto", {}, ["--api-versions", "v1/Pod"], False),
        ("Auto", {}, ["--kube-version", "1.35.0", "--api-versions", f"v1/Pod,{_ALL}"], True),
        ("Auto", _APART, ["--kube-version", "1.36.0"], True),
        ("Auto", {**_APART, "watch": ["flows"]}, ["--kube-version", "1.36.0"], False),
        ("Enabled", {**_APART, "watch": ["flows"]}, ["--kube-version", "1.30.0"], True),
        ("Disabled", {}, ["--kube-version", "1.37.0"], False),
    ],
)
def test_the_policy_is_made_where_it_can_be(
    admission: str, more: dict[str, Any], cluster: list[str], made: bool, helm: Helm
) -> None:
    """By default it depends on what the cluster serves, without a cluster on its version, and on
    whether the release has cluster-wide objects anyway; without a repository there is none. The
    operator is told its name exactly where it is made."""
    values = _values(admission=admission)
    values |= {name: more[name] for name in more if name != "watch"}
    values["config"] = {**values["config"], "watchNamespaces": more.get("watch", [])}
    text = helm("template", "flowdeps", CHART, *cluster, values=values)
    kind = "kind: MutatingAdmissionPolicy\n"
    assert (kind in text) == made
    assert ("policy: flowdeps-environments\n" in text) == made
    assert ("resources: [mutatingadmissionpolicies," in text) == made
    del values["config"]["environments"]["repository"]
    assert kind not in helm("template", "flowdeps", CHART, *cluster, values=values)


def test_the_operators_own_image_packs_unless_another_is_named(helm: Helm) -> None:
    """In the configuration that the operator reads."""
    assert "image" not in config_of(helm.template(needed())).get("environments", {})
    [operator] = one_of(helm.template(_values()), "Deployment")["spec"]["template"]["spec"][
        "containers"
    ]
    assert config_of(helm.template(_values()))["environments"]["image"] == operator["image"]
    given = config_of(helm.template(_values(image="registry.example.com/pack:1")))
    assert given["environments"]["image"] == "registry.example.com/pack:1"
    assert not of_kind(helm.template(needed()), "MutatingAdmissionPolicy")
