"""What the chart's admission policy keeps the operator's account from, whatever its roles allow.

The account has every right in its namespace here, so that what is refused is refused by the policy.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from flowdeps.api.environmentconfig import EnvironmentsConfig
from flowdeps.api.names import (
    API_VERSION,
    ENVIRONMENTS_KIND,
    ENVIRONMENTS_PLURAL,
    KIND,
    PLURAL,
    PULL_VOLUME,
    REGISTRY_VOLUME,
    set_labels,
)
from flowdeps.api.trialconfig import PodsConfig
from flowdeps.reconcile.runs_namespace.lines import environments
from flowdeps.trials.images import labels
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.helm import CLUSTER_WIDE, Helm, needed, rights
from tests.support.sets import (
    Body,
    apply,
    config_map,
    connect,
    get_set,
    names,
    secret,
    set_body,
    wait,
)
from tests.unit.delivery.test_pods import IMAGE, build, mount, populate, probe, verify

pytestmark = pytest.mark.cluster

_NAMESPACE = "guarded"
_OURS = {"app.kubernetes.io/managed-by": "flowdeps"}
_OF_SET = set_labels(namespace=_NAMESPACE, name="ml")
_OWNER = {"apiVersion": API_VERSION, "kind": KIND, "name": "ml", "uid": "1-2-3"}
_DIGEST, _NOTHING = f"sha256:{'1' * 64}", dict[str, Any]()
_LET_GO = ("--type=merge", '-p={"metadata": {"finalizers": []}}')
_STRATEGIC = "strategic-merge-patch+json"
_FOR_ACCOUNT = {"kubernetes.io/service-account.name": "default"}
_ENVIRONMENTS = EnvironmentsConfig(
    repository="registry.example.com/envs",
    image="example.com/pack:1",
    push_secret="flowdeps-push",
    pull_secret="flowdeps-pull",
    images=True,
)
_PULL = "flows-registry"
_REPOSITORY, _PACKER = _ENVIRONMENTS.repository, _ENVIRONMENTS.image
_CONFIG = {
    "pods": {
        "labels": {"team": "platform"},
        "annotations": {"mesh/inject": "false"},
        "imagePullSecrets": [{"name": _PULL}],
    },
    "environments": {
        "repository": _REPOSITORY,
        "admission": "Disabled",
        "image": _PACKER,
        "pushSecretRef": {"name": _ENVIRONMENTS.push_secret},
        "pullSecretRef": {"name": _ENVIRONMENTS.pull_secret},
        "images": True,
    },
    "workPools": [{"name": "k", "volume": {"claimName": "environments"}}],
}

_NOT_OURS = "only write objects with the label app.kubernetes.io/managed-by=flowdeps"
_KEYS = "may add no labels and annotations but flowdeps' own"
_OWNERS = "may give its objects no owner but their set"
_FINALIZERS = "may write no finalizer but flowdeps.dev/cleanup"
_OPAQUE = "may only write Secrets of the type Opaque"
_OF_SETS = "may only write the finalizers and the status of a set"
_TOKEN = "no token, no service account but the default one, no Secret of others"
_CREDENTIALS = (
    "the credentials of config.environments.pushSecretRef and config.pods.imagePullSecrets"
)
_RESTRICTED = "must meet Pod Security restricted"
_ENDS = "must end, and may have no priority of the system"
_PARTS = "may not enter or change running pods, nor make tokens"


class Account:
    """The operator's account; its requests answer with the refusal, empty if there is none."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def __call__(
        self, method: str, path: str, body: Any = None, *, kind: str = "json", **query: Any
    ) -> str:
        """Make a request; `kind` of its body, as in `merge-patch+json`."""
        answer = self._client.request(
            method,
            path,
            content=json.dumps(body) if body is not None else None,
            headers={"Content-Type": f"application/{kind}"},
            params=query,
        )
        return "" if answer.is_success else str(answer.json()["message"])

    def create(self, body: Body, *, dry: bool = True) -> str:
        """Create an object, or only ask whether it may."""
        return self("POST", _path(body), body, **({"dryRun": "All"} if dry else {}))

    def patch(self, body: Body, change: Mapping[str, Any]) -> str:
        """Change an object."""
        name = body["metadata"]["name"]
        return self("PATCH", f"{_path(body)}/{name}", change, kind="merge-patch+json")

    def delete(self, body: Body) -> str:
        """Delete an object at once."""
        name = body["metadata"]["name"]
        return self("DELETE", f"{_path(body)}/{name}", {"gracePeriodSeconds": 0})


def _path(body: Body) -> str:
    group = body["apiVersion"]
    kinds = {KIND: PLURAL, ENVIRONMENTS_KIND: ENVIRONMENTS_PLURAL}.get(
        body["kind"], f"{body['kind'].lower()}s"
    )
    return f"/{'apis' if '/' in group else 'api'}/{group}/namespaces/{_NAMESPACE}/{kinds}"


@pytest.fixture(scope="module")
def account(cluster: ControlPlane, helm: Helm) -> Iterator[Account]:
    """The account, with every right in a namespace, under the policy."""
    cluster.kubectl("create", "namespace", _NAMESPACE)
    given = {"enabled": True, "otherKeys": ["example.com/", "webhook"]}
    values = needed(admissionPolicy=given, config=_CONFIG, fullnameOverride=_NAMESPACE)
    apply(cluster, *rights(helm.template(values, namespace=_NAMESPACE)))
    name = f"{_NAMESPACE}:{_NAMESPACE}"
    everything = ("everything", "--clusterrole=cluster-admin", f"--serviceaccount={name}")
    cluster.kubectl("create", "rolebinding", *everything, "-n", _NAMESPACE)
    with connect(cluster) as client:
        client.headers["Impersonate-User"] = f"system:serviceaccount:{name}"
        one = Account(client)
        # The API server takes a moment to know a policy.
        probe = config_map("probe", namespace=_NAMESPACE)
        wait(lambda: _NOT_OURS in one.create(probe), what="the policy to hold")
        yield one
    for name in names(cluster, "fds", namespace=_NAMESPACE):
        cluster.kubectl("patch", "fds", name, *_LET_GO, "-n", _NAMESPACE)
    cluster.kubectl("delete", CLUSTER_WIDE, _NAMESPACE)
    cluster.kubectl("delete", "namespace", _NAMESPACE, "--timeout=300s")


def _with(body: Body, **metadata: Any) -> Body:
    return {**body, "metadata": {**body["metadata"], **metadata}}


def _config_map(name: str = "flowdeps-ml", **metadata: Any) -> Body:
    return _with(config_map(name, namespace=_NAMESPACE, key="1"), **{"labels": _OF_SET, **metadata})


def _secret(name: str = "flowdeps-ml", **metadata: Any) -> Body:
    return _with(secret(name, namespace=_NAMESPACE, key="1"), **{"labels": _OF_SET, **metadata})


def _pod(**changes: Any) -> Body:
    """The pod that verifies a lock, as the operator makes it, but for what changes in its spec."""
    body = verify(namespace=_NAMESPACE, labels=labels("verify"))
    return {**body, "spec": {**body["spec"], **changes}}


def _container(**changes: Any) -> Body:
    """The same, with a change in its main container."""
    [container] = _pod()["spec"]["containers"]
    return _pod(containers=[{**container, **changes}])


def _confined(**changes: Any) -> Body:
    [container] = _pod()["spec"]["containers"]
    return _container(securityContext={**container["securityContext"], **changes})


def _mounting(**changes: Any) -> Body:
    """The pod that mounts an environment."""
    given = {"reference": f"{_REPOSITORY}/{_NAMESPACE}@{_DIGEST}", **changes}
    return mount(**{"labels": labels("mount"), **given, "namespace": _NAMESPACE})


def _populating(**changes: Any) -> Body:
    """The pod that puts an environment on a claim, but for what changes in its spec."""
    given = {"environments": _ENVIRONMENTS, "labels": labels("populate"), "namespace": _NAMESPACE}
    body = populate(**{**given, "labels": changes.pop("labels", given["labels"])})
    changes.pop("namespace", None)
    return {**body, "spec": {**body["spec"], **changes}}


def _writes(**changes: Any) -> Body:
    """The same, with a change in its container."""
    [container] = _populating()["spec"]["containers"]
    return _populating(containers=[{**container, **changes}])


def _building(**changes: Any) -> Body:
    """The pod that builds one."""
    settings = PodsConfig(image_pull_secrets=(_PULL,))
    given: Body = {"environments": _ENVIRONMENTS, "labels": labels("build"), "settings": settings}
    return build(**{**given, **changes, "namespace": _NAMESPACE})


@pytest.mark.parametrize("make", [config_map, secret], ids=["ConfigMap", "Secret"])
def test_what_others_own_cannot_be_written(
    make: Callable[..., Body], account: Account, cluster: ControlPlane
) -> None:
    """A ConfigMap or Secret without our label can't be made, changed, taken over by giving it the
    label, or deleted; one with it can, but not be passed off as somebody else's."""
    theirs = make("flowdeps-theirs", namespace=_NAMESPACE, key="1")
    ours = _with(make("flowdeps-ours", namespace=_NAMESPACE, key="1"), labels=_OURS)
    assert _NOT_OURS in account.create(theirs)
    apply(cluster, theirs)
    for refused in (
        account.patch(theirs, {"data": {"key": "Mg=="}}),
        account.patch(theirs, {"metadata": {"labels": _OURS}}),
        account.delete(theirs),
        account("DELETE", _path(theirs)),
    ):
        assert _NOT_OURS in refused
    assert account.create(ours, dry=False) == ""
    assert account.patch(ours, {"data": {"key": "Mg=="}}) == ""
    assert _NOT_OURS in account.patch(ours, {"metadata": {"labels": None}})
    assert account.delete(ours) == ""
    kind = "cm" if make is config_map else "secret"
    assert "flowdeps-theirs" in names(cluster, kind, namespace=_NAMESPACE)


@pytest.mark.parametrize("name", ["ml", "kube-root-ca.crt", "flowdepsml", "coredns-custom"])
@pytest.mark.parametrize("make", [_config_map, _secret])
def test_names_that_other_programs_read_are_not_ours(
    make: Callable[[str], Body], name: str, account: Account
) -> None:
    """What the operator writes has a name of flowdeps: a set's, a pool's or an image's."""
    assert _NOT_OURS in account.create(make(name))
    for ours in ("flowdeps-ml", "flowdeps-0123456789.ml", "flowdeps-image.0123456789"):
        assert account.create(make(ours)) == ""


@pytest.mark.parametrize(
    ("kind", "more", "data"),
    [
        ("kubernetes.io/service-account-token", _FOR_ACCOUNT, {}),
        ("kubernetes.io/basic-auth", {}, {"stringData": {"username": "a", "password": "b"}}),
        ("bootstrap.kubernetes.io/token", {}, {}),
        ("kubernetes.io/dockerconfigjson", {}, {"stringData": {".dockerconfigjson": "{}"}}),
        ("example.com/own", {}, {}),
    ],
)
def test_no_secret_gets_a_token(
    kind: str, more: Body, data: Body, account: Account, cluster: ControlPlane
) -> None:
    """A Secret of the type of service account tokens makes Kubernetes write one into it: of any
    account. Only Opaque ones are made, and one of another type is not touched."""
    body = {**_secret(annotations=more), "type": kind, **data}
    assert _OPAQUE in account.create(body)
    there = {**_secret("flowdeps-typed"), "type": "example.com/own"}
    apply(cluster, there)
    for refused in (account.patch(there, {"data": {"key": "Mg=="}}), account.delete(there)):
        assert _OPAQUE in refused
    assert account.create({**_secret(), "type": "Opaque"}) == ""
    assert account.create(_secret()) == ""
    assert _OPAQUE in account.create(_secret(annotations=_FOR_ACCOUNT))


@pytest.mark.parametrize(
    "keys",
    [
        {"labels": {**_OF_SET, "argocd.argoproj.io/secret-type": "cluster"}},
        {"labels": {**_OF_SET, "team": "platform"}},
        {"annotations": {"replicator.example.org/replicate-from": "elsewhere/secret"}},
        {"annotations": {"webhooks": "another"}},
    ],
    ids=["label", "a pod's label", "annotation", "no prefix"],
)
@pytest.mark.parametrize("make", [_config_map, _secret])
def test_no_label_or_annotation_makes_other_programs_act(
    make: Callable[..., Body], keys: dict[str, Any], account: Account, cluster: ControlPlane
) -> None:
    """Controllers copy, load or trust objects for their labels and annotations: only flowdeps' own
    are added, and those that the chart's values name; what others added stays."""
    assert _KEYS in account.create(make(**keys))
    allowed = {"flowdeps.dev/inputs": "1", "example.com/any": "1", "webhook": "1"}
    body = make(annotations=allowed)
    assert account.create(body) == ""
    there = make("flowdeps-labelled", annotations={"others": "1"})
    apply(cluster, there)
    assert account.patch(there, {"metadata": {"annotations": {"flowdeps.dev/inputs": "2"}}}) == ""
    assert _KEYS in account.patch(there, {"metadata": {"annotations": {"others": "2"}}})
    assert account.delete(there) == ""


@pytest.mark.parametrize(
    "owner",
    [
        {**_OWNER, "controller": True},
        {**_OWNER, "blockOwnerDeletion": True},
        {**_OWNER, "kind": "Deployment", "apiVersion": "apps/v1"},
        {**_OWNER, "apiVersion": "example.com/v1"},
        {**_OWNER, "name": "other"},
    ],
    ids=["controller", "blockOwnerDeletion", "kind", "group", "another set"],
)
@pytest.mark.parametrize("make", [_config_map, _secret, _pod])
def test_nothing_has_another_owner_than_its_set(
    make: Callable[..., Body], owner: dict[str, Any], account: Account
) -> None:
    """An owner makes the garbage collector delete, keep or hand over what it owns."""
    where = _with(make(), labels={**make()["metadata"]["labels"], **_OF_SET})
    assert _OWNERS in account.create(_with(where, ownerReferences=[owner]))
    assert account.create(_with(where, ownerReferences=[_OWNER])) == ""
    elsewhere = {**_OF_SET, "flowdeps.dev/namespace": "elsewhere"}
    copy = _with(where, labels=elsewhere, ownerReferences=[_OWNER])
    assert _OWNERS in account.create(copy)


@pytest.mark.parametrize("make", [_config_map, _secret, _pod])
def test_no_finalizer_keeps_what_is_ours(make: Callable[..., Body], account: Account) -> None:
    """One would keep the namespace from going."""
    kept = _with(make(), finalizers=["flowdeps.dev/cleanup"])
    assert _FINALIZERS in account.create(kept)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"spec": {"requirements": ["evil"]}}, _OF_SETS),
        ({"metadata": {"annotations": {"flowdeps.dev/refresh-requested-at": "now"}}}, _OF_SETS),
        ({"metadata": {"labels": {"flowdeps.dev/team": "other"}}}, _OF_SETS),
        ({"metadata": {"ownerReferences": [{**_OWNER, "name": "gone"}]}}, _OF_SETS),
        ({"metadata": {"finalizers": ["example.com/other"]}}, _FINALIZERS),
        ({"metadata": {"finalizers": ["example.com/theirs", "foregroundDeletion"]}}, _FINALIZERS),
        ({"metadata": {"finalizers": []}}, _FINALIZERS),
    ],
    ids=["spec", "annotation", "label", "owner", "another's", "foreground", "taken away"],
)
def test_of_a_set_only_our_finalizer_can_be_written(
    change: dict[str, Any], refusal: str, account: Account, cluster: ControlPlane
) -> None:
    """Neither the spec, nor labels and annotations, which may be somebody's decision; no owner that
    is missing, for which the garbage collector would delete the set; and no other's finalizer."""
    theirs, ours = "example.com/theirs", "flowdeps.dev/cleanup"
    body = _with(set_body("guarded", ["alpha"], namespace=_NAMESPACE), finalizers=[theirs])
    apply(cluster, body)
    before = get_set(cluster, "guarded", namespace=_NAMESPACE)
    assert refusal in account.patch(body, change)
    assert account.patch(body, {"metadata": {"finalizers": [theirs, ours]}}) == ""
    assert account.patch(body, {"metadata": {"finalizers": [theirs]}}) == ""
    assert _OF_SETS in account.delete(body)
    assert _OF_SETS in account.create(set_body("another", ["alpha"], namespace=_NAMESPACE))
    after = get_set(cluster, "guarded", namespace=_NAMESPACE)
    for one in (before, after):
        for changes in ("resourceVersion", "managedFields"):
            del one["metadata"][changes]
    assert after == before


def test_no_field_of_a_spec_becomes_the_operators(account: Account, cluster: ControlPlane) -> None:
    """With the value that it has, a field could be claimed by server-side apply, and would stay
    when its author takes it away; what the operator applies is finalizers alone."""
    body = set_body("claimed", ["alpha"], namespace=_NAMESPACE)
    apply(cluster, body)
    path, finalizers = f"{_path(body)}/claimed", {"finalizers": ["flowdeps.dev/cleanup"]}

    def claim(spec: Body, **metadata: Any) -> str:
        whole = {**body, "metadata": {**body["metadata"], **metadata}, "spec": spec}
        claimed = {key: value for key, value in whole.items() if value}
        query = {"fieldManager": "flowdeps", "force": "true"}
        return account("PATCH", path, claimed, kind="apply-patch+yaml", **query)

    assert _OF_SETS in claim({"requirements": ["alpha"]}, **finalizers)
    assert claim({}, **finalizers) == ""
    assert claim({}, finalizers=[]) == ""


_VOLUMES = _pod()["spec"]["volumes"]
_TOKENS = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
_FROM_SECRET = {"secretKeyRef": {"name": "theirs", "key": "password"}}
_PROBE = {"httpGet": {"port": 80, "host": "192.0.2.1"}}


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (_pod(automountServiceAccountToken=True), _TOKEN),
        (_pod(volumes=[*_VOLUMES, {"name": "t", "projected": _TOKENS}]), _TOKEN),
        (_pod(volumes=[*_VOLUMES, {"name": "n", "hostPath": {"path": "/"}}]), _TOKEN),
        (_pod(volumes=[*_VOLUMES, {"name": "s", "secret": {"secretName": "theirs"}}]), _TOKEN),
        (
            _pod(volumes=[*_VOLUMES, {"name": "p", "persistentVolumeClaim": {"claimName": "x"}}]),
            _TOKEN,
        ),
        (_pod(serviceAccountName=_NAMESPACE), _TOKEN),
        (_pod(nodeName="control-plane"), _TOKEN),
        (_container(env=[{"name": "x", "valueFrom": _FROM_SECRET}]), _TOKEN),
        (_container(envFrom=[{"secretRef": {"name": "theirs"}}]), _TOKEN),
        (_pod(hostNetwork=True), _RESTRICTED),
        (_pod(hostPID=True), _RESTRICTED),
        (_pod(hostIPC=True), _RESTRICTED),
        (_pod(securityContext={"runAsNonRoot": False}), _RESTRICTED),
        (_pod(securityContext={"runAsNonRoot": True, "runAsUser": 0}), _RESTRICTED),
        (
            _pod(
                securityContext={
                    "runAsNonRoot": True,
                    "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}],
                }
            ),
            _RESTRICTED,
        ),
        (_confined(privileged=True, allowPrivilegeEscalation=True), _RESTRICTED),
        (_confined(allowPrivilegeEscalation=True), _RESTRICTED),
        (_confined(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}), _RESTRICTED),
        (_confined(capabilities={"drop": ["CHOWN"]}), _RESTRICTED),
        (_confined(runAsNonRoot=False), _RESTRICTED),
        (_confined(runAsUser=0), _RESTRICTED),
        (_confined(seccompProfile={"type": "Unconfined"}), _RESTRICTED),
        (_confined(appArmorProfile={"type": "Unconfined"}), _RESTRICTED),
        (_confined(seLinuxOptions={"type": "spc_t"}), _RESTRICTED),
        (_confined(windowsOptions={"runAsUserName": "a"}), _RESTRICTED),
        (_container(securityContext={}), _RESTRICTED),
        (_container(ports=[{"containerPort": 80, "hostPort": 80}]), _RESTRICTED),
        (_container(livenessProbe=_PROBE), _RESTRICTED),
        (_pod(initContainers=[{"name": "first", "image": IMAGE}]), _RESTRICTED),
        (_pod(restartPolicy="Always"), _ENDS),
        (_pod(activeDeadlineSeconds=None), _ENDS),
        (_pod(priorityClassName="system-cluster-critical"), _ENDS),
        (_with(_pod(), labels={"team": "platform"}), _NOT_OURS),
        (_with(_pod(), labels={**_OURS, "app": "theirs"}), _KEYS),
        (_with(_pod(), labels={**_OURS, "team": "other"}), _KEYS),
        (_with(_pod(), labels=_OURS, annotations={"iam.example.org/role": "admin"}), _KEYS),
    ],
)
def test_pods_are_no_more_than_the_operators(body: Body, refusal: str, account: Account) -> None:
    """No token, nothing of the node, no Secret of others, restricted, with an end, and in nobody's
    Service: whatever Pod Security the namespace enforces."""
    assert refusal in account.create(body)


@pytest.mark.parametrize("make", [probe, verify, _building, _mounting, _populating])
def test_the_operators_own_pods_are_made(make: Callable[..., Body], account: Account) -> None:
    """Those that look at an image and try a lock, as they are, also with what the configuration
    adds and with their set as owner."""
    body = make(namespace=_NAMESPACE, labels=labels("probe"))
    assert account.create(body) == ""
    more = {"labels": {**labels("probe"), "team": "platform"}, "ownerReferences": [_OWNER]}
    annotations = {"mesh/inject": "false", "kubernetes.io/limit-ranger": "set"}
    assert account.create(_with(body, **more, annotations=annotations)) == ""


@pytest.mark.parametrize(
    "reference",
    [
        f"{_REPOSITORY}/elsewhere@{_DIGEST}",
        f"{_REPOSITORY}/{_NAMESPACE}-x@{_DIGEST}",
        f"{_REPOSITORY}/{_NAMESPACE}:1",
        f"{_REPOSITORY}@{_DIGEST}",
        f"{_REPOSITORY}x/{_NAMESPACE}@{_DIGEST}",
        f"evil.example.com/{_NAMESPACE}@{_DIGEST}",
    ],
)
def test_only_environments_of_its_namespace_are_mounted(reference: str, account: Account) -> None:
    """By their digest, from the configured repository: an image volume brings the files of any
    image that the node may pull."""
    assert _TOKEN in account.create(_mounting(reference=reference))
    assert account.create(_mounting()) == ""


def test_environments_of_others_are_mounted_by_our_own_image_alone(account: Account) -> None:
    """As where runs of several namespaces' sets are: nothing of a tenant runs beside them."""
    body = _mounting(reference=f"{_REPOSITORY}/elsewhere@{_DIGEST}")
    [container] = body["spec"]["containers"]
    theirs = {**container, "name": "theirs"}
    container["image"] = _PACKER
    assert account.create(body) == ""
    body["spec"]["initContainers"] = [theirs]
    assert _TOKEN in account.create(body)
    del body["spec"]["initContainers"]
    body["spec"]["volumes"][0]["image"]["reference"] = "evil.example.com/x@sha256:1"
    assert _TOKEN in account.create(body)


def _packing(*, verify: Body = _NOTHING, **changes: Any) -> Body:
    """The pod that packs an environment, but for what changes in the container that does, and in
    the one that tries it before."""
    body = _building()
    [install, tries], [pack] = body["spec"]["initContainers"], body["spec"]["containers"]
    inits = {"initContainers": [install, {**tries, **verify}]}
    return {**body, "spec": {**body["spec"], **inits, "containers": [{**pack, **changes}]}}


def _packs_with(**mount: Any) -> Body:
    [pack] = _packing()["spec"]["containers"]
    taken = {mount["name"], mount["mountPath"]}
    mounts = [one for one in pack["volumeMounts"] if not taken & {one["name"], one["mountPath"]}]
    return _packing(volumeMounts=[*mounts, mount])


_READS = {"volumeMounts": [{"name": REGISTRY_VOLUME, "mountPath": "/push", "readOnly": True}]}
_PULLS = {"volumeMounts": [{"name": f"{PULL_VOLUME}-0", "mountPath": "/pull", "readOnly": True}]}
_HIDES = "/etc/flowdeps-pull/../../usr/lib/flowdeps"


@pytest.mark.parametrize(
    "body",
    [
        _packing(verify=_READS),
        _packing(verify={**_READS, "image": _PACKER}),
        _packing(verify=_PULLS),
        _packs_with(name="flowdeps-site", mountPath=_HIDES, readOnly=True),
        _packing(name="flowdeps-verify-2"),
        _packing(image=IMAGE),
        _packing(command=["/environment/bin/pack"]),
        _packing(args=["run"]),
        _packing(args=["pack", "--tree=/environment", "--lock=/tmp"]),
        _packing(args=None),
        _packing(workingDir="/environment"),
        _packing(env=[{"name": "PYTHONPATH", "value": "/environment/site"}]),
        _packs_with(name="flowdeps-site", mountPath="/opt/flowdeps", readOnly=True),
        _packs_with(name="flowdeps-site", mountPath="/opt", readOnly=True),
        _packs_with(name="flowdeps-site", mountPath="/environment"),
        _packs_with(name="tmp", mountPath="/tmp"),
    ],
    ids=[
        *("another container", "another with its image"),
        *("another with a pull secret", "its program hidden behind a name"),
        *("another name", "another image"),
        *("a command", "another program", "more arguments", "no arguments", "a directory"),
        *("a path", "its program hidden", "all of it hidden", "a tree that changes", "shared"),
    ],
)
def test_the_credentials_of_the_registry_are_for_the_packing_program(
    body: Body, account: Account
) -> None:
    """Nothing from a flow's image has them, takes the program's place, or changes what it works
    with meanwhile."""
    assert account.create(_packing()) == ""
    assert _CREDENTIALS in account.create(body)


_CLAIM = {"name": "c", "persistentVolumeClaim": {"claimName": "environments"}}
_PULLING = {"name": "c", "secret": {"secretName": "flowdeps-pull"}}


@pytest.mark.parametrize(
    "body",
    [
        _pod(volumes=[*_pod()["spec"]["volumes"], _CLAIM]),
        _pod(volumes=[*_pod()["spec"]["volumes"], _PULLING]),
        _populating(initContainers=[{**_writes()["spec"]["containers"][0], "name": "first"}]),
        _writes(name="flowdeps-verify-2"),
        _writes(image=IMAGE),
        _writes(command=["/bin/sh"]),
        _writes(args=["run"]),
        _writes(args=None),
        _writes(workingDir="/mnt/environments"),
        _writes(env=[{"name": "PYTHONPATH", "value": "/mnt/environments"}]),
        _writes(
            volumeMounts=[
                *_writes()["spec"]["containers"][0]["volumeMounts"],
                {"name": "tmp", "mountPath": "/opt"},
            ]
        ),
    ],
    ids=[
        *("another pod", "another with the credentials", "a container beside it", "another name"),
        *("another image", "a command", "another program", "no program", "a directory", "a path"),
        "its program hidden",
    ],
)
def test_claims_are_for_the_program_that_puts_environments_there(
    body: Body, account: Account
) -> None:
    """Runs execute what is there."""
    assert account.create(_writes()) == ""
    assert "are for the operator's own program alone, which puts" in account.create(body)


def test_no_claim_is_mounted_but_those_of_the_configuration(account: Account) -> None:
    """A namespace may have others, with its own data."""
    given = _populating()["spec"]["volumes"]
    there = [one for one in given if "persistentVolumeClaim" not in one]
    other = {"name": "flowdeps-site", "persistentVolumeClaim": {"claimName": "theirs"}}
    assert _TOKEN in account.create(_populating(volumes=[*there, other]))


def test_the_parameters_of_runs_are_written(account: Account) -> None:
    """The RunEnvironments by which runs get environments are ours, and no others."""
    body = environments(_NAMESPACE, {}, owner="flowdeps/flowdeps")
    line = {"image": "a", "reference": f"a/b@sha256:{'1' * 64}", "lock": f"sha256:{'2' * 64}"}
    assert account.create(body, dry=False) == ""
    assert account.patch(body, {"spec": {"environments": {"key": line}}}) == ""
    assert account.delete(body) == ""
    meta = {**body["metadata"], "labels": {}}
    assert _NOT_OURS in account.create({**body, "metadata": meta})


def test_nothing_that_runs_is_entered_or_changed(account: Account) -> None:
    """Nor a token made: with whatever rights somebody gives to the account."""
    body = _pod()
    assert account.create(body, dry=False) == ""
    pod, more = f"{_path(body)}/{body['metadata']['name']}", [{"name": "more", "image": IMAGE}]
    entering = {"ephemeralContainers": more}
    changes = {"metadata": {"annotations": {"flowdeps.dev/changed": "yes"}}}
    accounts = _path({"apiVersion": "v1", "kind": "ServiceAccount"})
    for refused in (
        account("POST", f"{pod}/exec", command="true"),
        account("POST", f"{pod}/attach"),
        account("POST", f"{pod}/portforward", ports=80),
        account("GET", f"{pod}/proxy"),
        account("PATCH", f"{pod}/ephemeralcontainers", {"spec": entering}, kind=_STRATEGIC),
        account.patch(body, changes),
        account("POST", f"{accounts}/default/token", {"spec": {}}),
    ):
        assert _PARTS in refused
    assert account.delete(body) == ""


def test_pods_of_others_stay(account: Account, cluster: ControlPlane) -> None:
    """Those without our label, whatever their name, and those without our name."""
    nameless = _with(_pod(), name="theirs")
    unlabelled = _with(_pod(), name="flowdeps-theirs", labels={})
    apply(cluster, nameless, unlabelled)
    assert _NOT_OURS in account.delete(nameless)
    assert _NOT_OURS in account.delete(unlabelled)


def _event(**changes: Any) -> Body:
    about = {"apiVersion": API_VERSION, "kind": KIND, "name": "ml", "namespace": _NAMESPACE}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "ml-", "namespace": _NAMESPACE},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "flowdeps.dev/operator",
        "reportingInstance": "flowdeps-1",
        "type": "Normal",
        "reason": "Locked",
        "action": "Lock",
        "note": "",
        "regarding": about,
        **changes,
    }


def _lease(name: str) -> Body:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": _NAMESPACE},
    }


def test_events_are_about_sets_and_leases_are_our_own(account: Account) -> None:
    """No other's name under an event, nothing said of other objects; and no other program's Lease
    is taken before that program makes it."""
    assert account.create(_event()) == ""
    pod = {"apiVersion": "v1", "kind": "Pod", "name": "ml", "namespace": _NAMESPACE}
    for event in (_event(reportingController="kubelet"), _event(regarding=pod)):
        assert "may only post events about sets" in account.create(event)
    assert account.create(_lease(_NAMESPACE)) == ""
    assert "may only write its own Lease" in account.create(_lease("other"))


def test_others_are_not_held(cluster: ControlPlane, account: Account) -> None:  # noqa: ARG001
    """The policy is about the operator's account alone."""
    apply(cluster, config_map("of-a-person", namespace=_NAMESPACE))
    assert "of-a-person" in names(cluster, "cm", namespace=_NAMESPACE)
