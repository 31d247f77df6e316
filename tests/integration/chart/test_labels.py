"""What the chart's policies make of pods that have our label and nothing else of ours: where their
namespace's parameters allow it, they get their environment or are refused; elsewhere they are left
alone."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowdeps.api import names
from flowdeps.delivery.methods.install import ENV_LOCK, ENV_SET, IMAGE_PATH, PYTHON_PATH
from flowdeps.delivery.methods.method import HOME
from flowdeps.reconcile.runs_namespace.lines import Told, environments, labels_key
from tests.cluster.controlplane import ControlPlane, KubectlError
from tests.integration.chart.helm import Helm, needed
from tests.integration.chart.test_environments import Pod, Server, _line, _serve
from tests.support.sets import apply, connect, wait

pytestmark = pytest.mark.cluster

_IMAGE, _OTHER = "registry.example.com/flows:1", "registry.example.com/flows:2"
_REPOSITORY = "registry.example.com:5000/envs"
_PODS, _INSTALLS, _BARE, _RESTRICTED = "lab-pods", "lab-runs", "lab-bare", "lab-restricted"
_POOL = "dask"
_KEYS = labels_key(_POOL)
_BEGIN = ":".join(PYTHON_PATH)


def _policies(helm: Helm, **pool: Any) -> list[dict[str, Any]]:
    """Those of a release with such a pool, but for what concerns pods of templates."""
    entry = {"name": _POOL, "image": _IMAGE, "jobNamespaces": [_PODS], "labels": True, **pool}
    given = {"repository": _REPOSITORY, "admission": "Enabled"}
    objects = helm.template(needed(config={"environments": given, "workPools": [entry]}))
    return [one for one in objects if one["metadata"]["name"] == "flowdeps-labels"]


def _pod(**flow: Any) -> Pod:
    """A pod that somebody has made, with our label."""
    meta = {"name": "worker", "labels": {names.SET_LABEL: "ml", "app": "dask"}}
    container = {"name": "worker", "image": _IMAGE, "command": ["dask"], **flow}
    spec = {"containers": [container], "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _given(path: str, key: str = "ml") -> list[dict[str, str]]:
    line = _line()
    values = {ENV_SET: key, ENV_LOCK: line["lock"], "PYTHONPATH": path}
    return [{"name": name, "value": value} for name, value in values.items()]


def _labelled(pod: Pod, *, path: str, key: str = "ml") -> Pod:
    """The pod as it should be with its environment, where it has no variable of ours before."""
    pod = copy.deepcopy(pod)
    source = {"reference": _line()["reference"], "pullPolicy": "IfNotPresent"}
    pod["spec"].setdefault("volumes", []).append({"name": names.SITE_VOLUME, "image": source})
    flow = pod["spec"]["containers"][0]
    mount = {"name": names.SITE_VOLUME, "mountPath": HOME, "readOnly": True}
    flow.setdefault("volumeMounts", []).append(mount)
    env, added = flow.setdefault("env", []), _given(path, key)
    added += [{"name": "FLOWDEPS_BOOT", "value": ""}] if "FLOWDEPS_BOOT" in str(env) else []
    for one in env:
        one.update(next((new for new in added if new["name"] == one["name"]), {}))
    there = {one["name"] for one in env}
    env += [one for one in added if one["name"] not in there]
    return pod


class Labels(Server):
    """The API server with namespaces whose pods need a label alone, or more."""

    def refusal(self, pod: Pod, *, namespace: str = _PODS) -> str:
        """What a pod is refused with; empty if it is not."""
        answer = self._answer(pod, namespace)
        return "" if answer["kind"] == "Pod" else str(answer["message"])

    def takes(self, pod: Pod, *, namespace: str = _PODS) -> bool:
        """Whether a pod without volumes gets one."""
        answer = self._answer(pod, namespace)
        return answer["kind"] == "Pod" and "volumes" in answer["spec"]

    def _answer(self, pod: Pod, namespace: str) -> dict[str, Any]:
        with connect(self.cluster) as client:
            path = f"/api/v1/namespaces/{namespace}/pods"
            answer: dict[str, Any] = client.post(path, json=pod, params={"dryRun": "All"}).json()
        return answer

    def gets(self, pod: Pod, expected: Pod) -> bool:
        """Whether a pod is made into what another one would be without us, its own variables in
        the order that it has, for one may refer to those before it."""
        made = self.made(pod, namespace=_PODS)
        given = [one["name"] for one in pod["spec"]["containers"][0].get("env", [])]
        env = made["spec"]["containers"][0]["env"]
        assert [one["name"] for one in env if one["name"] in given] == given
        plain = copy.deepcopy(expected)
        label = plain["metadata"]["labels"].pop(names.SET_LABEL)
        like = self.made(plain, namespace=_PODS)
        like["metadata"]["labels"][names.SET_LABEL] = label
        for one in (made, like):
            one["spec"]["containers"][0]["env"].sort(key=lambda entry: entry["name"])
        return made == like

    def tell(self, namespace: str, told: dict[str, Told], *, labels: str = _KEYS) -> None:
        """Write parameters, and wait until they count for both policies: each time another pod is
        named in them."""
        probe = f"probe-{abs(hash(str(told)))}"
        line = _line(image=probe)
        body = environments(namespace, {**told, f"{labels}probe": line}, owner="a/b", labels=labels)
        apply(self.cluster, body)
        pod, other = _pod(image=probe), _pod(image=_OTHER)
        for one in (pod, other):
            one["metadata"]["labels"][names.SET_LABEL] = "probe"
        wait(
            lambda: (
                self.takes(pod, namespace=namespace)
                and probe in self.refusal(other, namespace=namespace)
            ),
            what="the parameters to count",
            show=self.metrics,
        )


@pytest.fixture(scope="module")
def server(control_plane: ControlPlane, helm: Helm) -> Iterator[Labels]:
    for namespace in (_PODS, _INSTALLS, _BARE, _RESTRICTED):
        control_plane.kubectl("create", "namespace", namespace)
    enforced = "pod-security.kubernetes.io/enforce=restricted"
    control_plane.kubectl("label", "namespace", _RESTRICTED, enforced)
    _serve(control_plane)
    policies = _policies(helm)
    apply(control_plane, *policies)
    one = Labels(control_plane)
    # A namespace of runs without such pods: nothing in it names a label.
    told = {f"{_KEYS}ml": _line()}
    apply(control_plane, environments(_INSTALLS, told, owner="a/b"))
    one.tell(_PODS, told)
    yield one
    metrics = one.metrics()
    for body in policies:
        control_plane.kubectl("delete", body["kind"], body["metadata"]["name"])
    assert not re.search(r'error_type="(?!no_error")', metrics), metrics


def test_the_policies_have_the_names_of_the_code(helm: Helm) -> None:
    """And are there only where a pool needs them."""
    policies = _policies(helm)
    assert [one["kind"] for one in policies] == [
        f"{kind}AdmissionPolicy{binding}"
        for kind in ("Mutating", "Validating")
        for binding in ("", "Binding")
    ]
    assert _policies(helm, labels=False) == []
    text = str([one["spec"] for one in policies])
    assert f'"{_BEGIN}"' in text
    assert tuple(f"{HOME}/image/{one}" for one in (0, 1, 2, 3)) == IMAGE_PATH
    assert f'map(one, ":{HOME}/image/" + string(one))' in text
    assert f'startsWith("{names.PIECE_PREFIX}")' in text
    for one in policies[::2]:
        assert one["spec"]["failurePolicy"] == "Ignore"
        selected = one["spec"]["matchConstraints"]["objectSelector"]["matchExpressions"]
        assert selected == [
            {"key": names.SET_LABEL, "operator": "Exists"},
            {"key": names.SET_LABEL, "operator": "NotIn", "values": ["none"]},
            {"key": names.PURPOSE_LABEL, "operator": "DoesNotExist"},
        ]
    for one in policies[1::2]:
        assert one["spec"]["paramRef"]["name"] == names.ENVIRONMENTS


@pytest.mark.parametrize(
    ("env", "path"),
    [
        (None, ":".join((*PYTHON_PATH, *IMAGE_PATH))),
        ([{"name": "A", "value": "b"}], ":".join((*PYTHON_PATH, *IMAGE_PATH))),
        (
            [
                {"name": "Z", "value": "/lib"},
                {"name": "PYTHONPATH", "value": "/app:$(Z)"},
                {"name": "A", "value": "$(PYTHONPATH)"},
            ],
            f"{_BEGIN}:/app:$(Z)",
        ),
        ([{"name": "PYTHONPATH", "value": ""}], _BEGIN),
        ([{"name": "PYTHONPATH", "value": f"{_BEGIN}:/app"}], f"{_BEGIN}:/app"),
        ([{"name": ENV_SET, "value": "x"}, {"name": ENV_LOCK, "value": "y"}], None),
        ([{"name": "FLOWDEPS_BOOT", "value": "built checked"}], None),
        ([{"name": "A", "value": "b"}, {"name": "A", "value": "c"}], None),
    ],
)
def test_a_pod_gets_its_environment_by_its_label(
    env: list[dict[str, str]] | None, path: str | None, server: Labels
) -> None:
    """Volume, mount and variables, and nothing else of it is different: not even what it inherited
    from a run that started it, or names twice."""
    pod = _pod(**({"env": env} if env else {}))
    expected = _labelled(pod, path=path or ":".join((*PYTHON_PATH, *IMAGE_PATH)))
    assert server.gets(pod, expected)


def test_a_pod_chooses_a_revision_too(server: Labels) -> None:
    """By the name that a run would choose."""
    server.tell(_PODS, {f"{_KEYS}{key}": _line() for key in ("ml", "ml-0123456789")})
    pod = _pod()
    pod["metadata"]["labels"][names.SET_LABEL] = "ml-0123456789"
    path = ":".join((*PYTHON_PATH, *IMAGE_PATH))
    assert server.gets(pod, _labelled(pod, path=path, key="ml-0123456789"))


def test_containers_with_another_image_get_nothing(server: Labels) -> None:
    """All with the image that the environment is for get it, whichever of them runs the flow."""
    pod = _pod()
    more = {"name": "proxy", "image": _OTHER, "env": [{"name": "PYTHONPATH", "value": "/a"}]}
    second = {**pod["spec"]["containers"][0], "name": "second"}
    pod["spec"]["containers"] = [more, *pod["spec"]["containers"], second]
    pod["spec"]["initContainers"] = [{"name": "certs", "image": _IMAGE}]
    spec = server.made(pod, namespace=_PODS)["spec"]
    mounting = [
        one["name"]
        for one in (*spec["containers"], *spec["initContainers"])
        if any(mount["name"] == names.SITE_VOLUME for mount in one.get("volumeMounts", []))
    ]
    assert mounting == ["worker", "second"]
    assert spec["containers"][0]["env"] == more["env"]


def test_a_pod_in_a_restricted_namespace_gets_it(server: Labels) -> None:
    """Pod Security sees what the policy has made, and lets it in."""
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = _pod(securityContext=context)
    profile = {"type": "RuntimeDefault"}
    pod["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": profile}
    apply(
        server.cluster,
        environments(_RESTRICTED, {f"{_KEYS}ml": _line()}, owner="a/b", labels=_KEYS),
    )
    wait(lambda: server.takes(pod, namespace=_RESTRICTED), what="the parameters to count")


def _mounting(path: str) -> Pod:
    pod = _pod(volumeMounts=[{"name": "own", "mountPath": path}])
    pod["spec"]["volumes"] = [{"name": "own", "emptyDir": {}}]
    return pod


_FIELD = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
_PLAIN = "once at most, as plain values"
_REFUSED: dict[str, tuple[Callable[[], Pod], str]] = {
    "another image": (
        lambda: _pod(image=_OTHER),
        f"image {_IMAGE}, and the containers have {_OTHER}",
    ),
    "an image that begins alike": (lambda: _pod(image=f"{_IMAGE}0"), "it is for the image"),
    "a mount at our place": (lambda: _mounting(HOME), f"without a mount at {HOME}"),
    "a mount below it": (lambda: _mounting(f"{HOME}/site"), f"without a mount at {HOME}"),
    "a path by reference": (lambda: _pod(env=[{"name": "PYTHONPATH", **_FIELD}]), _PLAIN),
    "a set by reference": (lambda: _pod(env=[{"name": ENV_SET, **_FIELD}]), _PLAIN),
    "a lock by reference": (lambda: _pod(env=[{"name": ENV_LOCK, **_FIELD}]), _PLAIN),
    "checks by reference": (lambda: _pod(env=[{"name": "FLOWDEPS_BOOT", **_FIELD}]), _PLAIN),
    "two paths": (
        lambda: _pod(env=[{"name": "PYTHONPATH", "value": "/a"}] * 2),
        _PLAIN,
    ),
    "a path that nobody knows": (
        lambda: _pod(envFrom=[{"configMapRef": {"name": "more"}}]),
        "with envFrom, PYTHONPATH must be among its env",
    ),
}


@pytest.mark.parametrize("what", _REFUSED)
def test_a_pod_that_can_not_take_it_is_refused(what: str, server: Labels) -> None:
    """With one line that says why: it would start without its packages."""
    make, says = _REFUSED[what]
    message = server.refusal(make())
    assert f"no ready environment for the label {names.SET_LABEL}=ml" in message
    assert says in message


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"ml": _line()},
        {f"{_KEYS}ml-x": _line()},
        {f"{labels_key('other')}ml": _line()},
        {f"{_KEYS}ml": _line(reference=f"evil.example.com/envs/a@sha256:{'4' * 64}")},
    ],
)
def test_without_a_line_a_pod_is_refused(told: dict[str, Told], server: Labels) -> None:
    """Those of another pool, another key or another registry are none."""
    server.tell(_PODS, told)
    try:
        assert "flowdeps status says why" in server.refusal(_pod())
    finally:
        server.tell(_PODS, {f"{_KEYS}ml": _line()})
    assert not server.refusal(_pod())


def test_a_variable_from_the_pod_is_kept_beside_more_variables(server: Labels) -> None:
    """Where the pod's own PYTHONPATH hides that of envFrom, it is known."""
    more = {"envFrom": [{"configMapRef": {"name": "more"}}]}
    pod = _pod(env=[{"name": "PYTHONPATH", "value": "/app"}], **more)
    assert server.gets(pod, _labelled(pod, path=f"{_BEGIN}:/app"))


def _changed(**labels: str) -> Pod:
    pod = _pod()
    pod["metadata"]["labels"].update(labels)
    return pod


def _with_volume() -> Pod:
    pod = _pod()
    pod["spec"]["volumes"] = [{"name": names.SITE_VOLUME, "emptyDir": {}}]
    return pod


def _with_init() -> Pod:
    pod = _pod()
    pod["spec"]["initContainers"] = [{"name": names.INSTALL_CONTAINER, "image": _IMAGE}]
    return pod


@pytest.mark.parametrize(
    ("make", "namespace"),
    [
        (lambda: _changed(**{names.SET_LABEL: "none"}), _PODS),
        (lambda: _changed(**{names.PURPOSE_LABEL: "verify"}), _PODS),
        (_with_volume, _PODS),
        (_with_init, _PODS),
        (_pod, _INSTALLS),
        (_pod, _BARE),
    ],
)
def test_all_other_pods_are_left_alone(
    make: Callable[[], Pod], namespace: str, server: Labels
) -> None:
    """What chooses nothing, is a pod of the operator, or has what a template or somebody gave it;
    and pods of namespaces where the label alone means nothing."""
    assert not server.is_alone(_pod(), namespace=_PODS)
    assert server.is_alone(make(), namespace=namespace)


@pytest.mark.parametrize("labels", ["", "ml", "0123456789", "0123456789.x", "012345678G."])
def test_what_labels_stand_for_is_the_key_of_a_pool(labels: str, server: Labels) -> None:
    """Anything else is refused: it could lead a label to what another pool offers."""
    body = environments(_BARE, {}, owner="a/b", labels="x")
    body["spec"]["labels"] = labels
    with pytest.raises(KubectlError, match="is invalid"):
        apply(server.cluster, body)
