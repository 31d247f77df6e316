"""Credentials of private indexes: which forms they take, how they are renewed, where they go, and
where they never do."""

import base64
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowdeps.api.names import choice_of, mounted_name
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.pki import Authority
from tests.cluster.prefect_api import PrefectApi
from tests.support.fixtures import OPEN, StartOperator
from tests.support.sets import (
    apply,
    condition,
    get,
    get_set,
    names,
    pins,
    secret,
    set_body,
    wait,
    wait_ready,
    wait_reason,
)
from tests.support.watched import Watched

NAME = "reader"
JOBS = "jobs-1"


@pytest.fixture
def guarded() -> Iterator[Index]:
    """An index that asks for credentials, with one package."""
    with Index(username=NAME, password="horse") as index:
        index.add("alpha", "1.0")
        yield index


@pytest.fixture
def jobs(cluster: ControlPlane) -> str:
    """Another namespace, where the jobs of pools run."""
    if JOBS not in names(cluster, "ns"):
        cluster.kubectl("create", "namespace", JOBS)
    return JOBS


def private(name: str, index: Index, *, of: str | None = None, **more: Any) -> dict[str, Any]:
    """A set whose index takes the credentials of the Secret `of` (default: its own name)."""
    spec = {"url": index.url, "credentialsSecretRef": {"name": of or name}}
    return set_body(name, ["alpha"], index=spec, **more)


def copy_of(
    cluster: ControlPlane, name: str, namespace: str = "default", *, pool: str = ""
) -> dict[str, str]:
    """What a set's trials, or a pool's runs, get of its credentials; empty: there is no copy."""
    mounted = mounted_name(name, pool=pool)
    try:
        body = get(cluster, "secret", mounted, namespace=namespace)
    except LookupError:
        return {}
    return {key: base64.b64decode(text).decode() for key, text in body["data"].items()}


def test_credentials_are_followed_through_their_life(
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    index: Index,
    guarded: Index,
    jobs: str,
    start_operator: StartOperator,
    tmp_path: Path,
) -> None:
    """User and password, netrc and a private authority open an index; wrong or missing ones are
    named by their field, and mended without a restart; copies stand where the lock does, follow a
    new password, and go with the reference or the set. Credentials that an index turns away are
    known before a run has them, and a new password ends that. A credential helper opens an index
    to a set that names no Secret, and runs have its token."""
    index.add("alpha", "1.0")
    for pool in ("guarded", "guarded-tls"):
        prefect_api.create_pool(pool, image="example.com/flows:1", namespace=jobs)
    authority = Authority(tmp_path / "authority")
    pair = authority.server("index", names=["localhost"], addresses=["127.0.0.1"])
    ca = authority.own.certificate.read_text()
    line = f"machine 127.0.0.1 login {NAME} password horse\n"
    (tmp_path / "token").write_text(json.dumps({"access_token": "mule", "expires_in": 3600}))
    with (
        Index(certificate=pair, username=NAME, password="horse") as over_tls,
        Index(username="token", password="mule") as cloud,
    ):
        over_tls.add("alpha", "2.0")
        cloud.add("alpha", "3.0")
        helper = {
            "url": cloud.url,
            "namespaces": ["def*"],
            "command": ["/bin/cat", str(tmp_path / "token")],
        }
        operator = start_operator(
            workPools=[OPEN | {"jobNamespaces": [jobs]}],
            index={
                "url": index.url,
                "credentialsInterval": "10s",
                "credentialHelpers": [helper],
            },
        )
        apply(
            cluster,
            secret("basic", username=NAME, password="horse"),
            secret("netrc", netrc=line),
            secret("tls", username=NAME, password="horse\n", ca_crt=ca),
            secret("wrong", username=NAME, password="donkey"),
            secret("half", username=NAME),
            private("basic", guarded, pools=["guarded"]),
            private("netrc", guarded),
            private("tls", over_tls, pools=["guarded-tls"]),
            private("no-ca", over_tls, of="basic"),
            private("wrong", guarded),
            private("half", guarded),
            private("absent", guarded),
            set_body("nameless", ["alpha"], index={"url": guarded.url}),
            set_body("helped", ["alpha"], pools=["guarded"], index={"url": cloud.url}),
        )
        for name in ("basic", "netrc", "tls", "helped"):
            wait_ready(cluster, name)
        assert pins(cluster, "tls") == "alpha==2.0"
        for name, pool, files in (
            ("basic", "guarded", {"netrc": line}),
            ("tls", "guarded-tls", {"netrc": line, "ca.crt": ca}),
            ("helped", "guarded", {"netrc": "machine 127.0.0.1 login token password mule\n"}),
        ):
            assert copy_of(cluster, name) == copy_of(cluster, name, jobs, pool=pool) == files
        assert copy_of(cluster, "netrc") == {"netrc": line}
        said = message(cluster, "wrong", "IndexUnauthorized")
        assert "spec.index.credentialsSecretRef" in said
        assert "wrong" in said
        assert "name a Secret in spec.index.credentialsSecretRef" in message(
            cluster, "nameless", "IndexUnauthorized"
        )
        assert message(cluster, "half", "CredentialsInvalid").startswith(
            'spec.index.credentialsSecretRef: Secret half: key "password" is missing'
        )
        assert message(cluster, "absent", "CredentialsInvalid").startswith(
            "spec.index.credentialsSecretRef: there is no Secret default/absent"
        )
        assert "certificate" in message(cluster, "no-ca", "IndexUnavailable")

        guarded.protect(NAME, "stallion")
        turned_away = message(cluster, "basic", "IndexUnauthorized")
        assert turned_away.startswith(
            f"spec.index.credentialsSecretRef: {guarded.url} answers 401 Unauthorized"
        )
        assert 'Secret default/basic are wrong or have expired; renew "username"' in turned_away
        assert 'renew "netrc" in it' in message(cluster, "netrc", "IndexUnauthorized")
        assert condition(get_set(cluster, "basic"), "Resolved")["status"] == "True"
        assert get_set(cluster, "basic")["status"]["workPools"][0]["synced"]
        assert condition(get_set(cluster, "tls"), "Authorized")["status"] == "True"
        both = {"username": NAME, "password": "stallion"}
        apply(cluster, *(secret(name, **both) for name in ("basic", "wrong", "half", "absent")))
        cluster.kubectl("delete", "secret", "netrc")
        new = {"netrc": line.replace("horse", "stallion")}
        wait(
            lambda: (
                copy_of(cluster, "basic") == copy_of(cluster, "basic", jobs, pool="guarded") == new
            ),
            what="the new password where runs are",
        )
        wait_ready(cluster, "basic")
        for name in ("wrong", "half", "absent"):
            wait_ready(cluster, name)
        assert "there is no Secret default/netrc" in message(cluster, "netrc", "CredentialsInvalid")
        assert copy_of(cluster, "netrc") == {"netrc": line}, "its lock is in service still"
        resolved = operator.metric("flowdeps_resolve_seconds_count", outcome="Resolved")
        cluster.kubectl("annotate", "fds", "basic", "flowdeps.dev/refresh-requested-at=now")
        wait(
            lambda: get_set(cluster, "basic")["status"].get("lastHandledRefreshAt") == "now",
            what="a refresh with the new password",
        )
        assert operator.metric("flowdeps_resolve_seconds_count", outcome="Resolved") > resolved

        apply(cluster, set_body("basic", ["alpha"], pools=["guarded"], index={"url": index.url}))
        cluster.kubectl("delete", "fds", "tls", "--timeout=180s")
        wait(
            lambda: (
                not any(
                    choice_of(name).startswith(("basic", "tls"))
                    for namespace in ("default", jobs)
                    for name in names(cluster, "secret", namespace=namespace)
                )
            ),
            what="the copies to go",
        )
        body = wait_ready(cluster, "basic")
        assert pins(cluster, "basic", namespace=jobs, pool="guarded") == "alpha==1.0"
        assert body["status"]["workPools"][0]["synced"]


def message(cluster: ControlPlane, name: str, reason: str) -> str:
    """What a set says once it isn't ready for this reason."""
    found: str = condition(wait_reason(cluster, name, reason), "Ready")["message"]
    return found


def test_a_secret_of_others_is_neither_written_nor_deleted(
    cluster: ControlPlane, guarded: Index, start_operator: StartOperator
) -> None:
    """A Secret that happens to have the copy's name stays as its owner made it."""
    theirs = secret("flowdeps-taken", token="mine")
    apply(cluster, theirs, secret("taken", username=NAME, password="horse"))
    start_operator()
    apply(cluster, private("taken", guarded))
    wait_ready(cluster, "taken")
    assert copy_of(cluster, "taken") == {"token": "mine"}
    cluster.kubectl("delete", "fds", "taken", "--timeout=180s")
    assert copy_of(cluster, "taken") == {"token": "mine"}
    cluster.kubectl("delete", "secret", "flowdeps-taken")


def test_credentials_are_where_they_are_needed_and_nowhere_else(
    cluster: ControlPlane,
    prefect_api: PrefectApi,
    guarded: Index,
    jobs: str,
    start_operator: StartOperator,
    tmp_path: Path,
) -> None:
    """After locks, refusals and a rotation no user name or password, nor their base64, is in any
    object, event, log, metric, template, file, process argument or environment: only in the users'
    own Secrets and in the copies for runs."""
    user = f"user-{secrets.token_hex(8)}"
    first, second, wrong = (f"pw-{secrets.token_hex(12)}" for _ in range(3))
    guarded.protect(user, first)
    guarded.slow(0.2)  # so that uv is seen at its work
    prefect_api.create_pool("leak", image="example.com/flows:1", namespace=jobs)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    operator = start_operator(
        arguments=["--log-level", "debug"],
        env={"TMPDIR": str(temporary), "FLOWDEPS_SEEN": "yes"},
        workPools=[OPEN | {"jobNamespaces": [jobs]}],
    )
    netrc = f"machine 127.0.0.1 login {user} password {first}"
    with Watched(operator.pid) as watched:
        apply(
            cluster,
            secret("leaky", username=user, password=first),
            secret("leaky-wrong", username=user, password=wrong),
            secret("leaky-half", password=wrong),
            secret("leaky-space", username=user, password=f"{wrong} x"),
            secret("leaky-odd", netrc=f"{netrc} account {wrong} {wrong}\n{wrong}\n"),
            secret("leaky-ca", netrc=netrc, ca_crt=f"no certificate but {wrong}"),
            *(private(f"leaky{end}", guarded, pools=["leak"]) for end in ("", *_ENDS)),
        )
        wait_ready(cluster, "leaky")
        wait_reason(cluster, "leaky-wrong", "IndexUnauthorized")
        for end in ("-half", "-space", "-ca"):
            wait_reason(cluster, f"leaky{end}", "CredentialsInvalid")
        guarded.protect(user, second)
        apply(
            cluster,
            secret("leaky", username=user, password=second),
            # Whoever edits a set may have edited its Secret: it is read at once.
            private("leaky", guarded, pools=["leak"], revisionHistoryLimit=4),
        )
        wait(
            lambda: second in str(copy_of(cluster, "leaky", jobs, pool="leak")),
            what="the new password",
        )
        cluster.kubectl("annotate", "fds", "leaky", "flowdeps.dev/refresh-requested-at=now")
        wait(
            lambda: get_set(cluster, "leaky")["status"].get("lastHandledRefreshAt") == "now",
            what="the refresh",
        )
        wait(
            lambda: "leaky" in str(prefect_api.template("leak")["variables"]["properties"]),
            what="the template",
        )
    found = _Search(user, first, second, wrong)

    holders = {
        f"{one['kind']} {one['metadata'].get('namespace')}/{one['metadata']['name']}"
        for one in everything(cluster)
        if found.in_text(json.dumps(one))
    }
    own = {f"Secret default/leaky{end}" for end in ("", *_ENDS)}
    copies = {
        f"Secret default/{mounted_name('leaky')}",
        f"Secret {jobs}/{mounted_name('leaky', pool='leak')}",
    }
    assert holders >= own | copies, "what is searched for is where it has to be"
    # A copy stands beside each lock that runs may choose: the current one and its revisions.
    prefix = r"(default/flowdeps-|jobs-1/flowdeps-[0-9a-f]{10}\.)"
    beside = rf"Secret {prefix}leaky(-odd)?(-[0-9a-f]{{10}})?"
    assert [one for one in holders - own if not re.fullmatch(beside, one)] == []

    log = operator.log()
    assert any(line["level"] == "debug" for line in log)
    assert not found.in_text((operator.logs / "operator.log").read_text())
    for page in ("/metrics", "/healthz", "/readyz"):
        assert not found.in_text(operator.get(page)[1])
    assert not found.in_text(json.dumps(prefect_api.template("leak")))

    assert watched.seen >= 3, "uv was seen at its work"
    told = [text.decode(errors="replace") for text in watched.told]
    assert any("NETRC=" in text for text in told)
    assert any("FLOWDEPS_SEEN=yes" in text for text in told)
    assert not any(found.in_text(text) for text in told)

    # `leaky-wrong` is tried again and again, and uv's netrc has what no file may have for long.
    operator.down()
    directories = (operator.run.directory, temporary)
    files = [one for directory in directories for one in directory.rglob("*") if one.is_file()]
    written = {file: f"{file} {file.read_bytes().decode(errors='replace')}" for file in files}
    left = list(temporary.glob("flowdeps-*"))
    operator.up()
    assert any(file.suffix == ".rkyv" for file in written), "the index's pages are cached"
    assert [file for file, text in written.items() if found.in_text(text)] == []
    assert left == [], "what uv read goes with it"


_ENDS = ("-wrong", "-half", "-space", "-odd", "-ca")


class _Search:
    """Texts, each as it is and as any base64 that has it inside shows it."""

    def __init__(self, *texts: str) -> None:
        self._needles = {needle for text in texts for needle in (text, *_inside_base64(text))}

    def in_text(self, text: str) -> bool:
        return any(needle in text for needle in self._needles)


def _inside_base64(text: str) -> Iterator[str]:
    """Which characters are sure, wherever in the encoded bytes the text begins."""
    for before in range(3):
        encoded = base64.b64encode(b"." * before + text.encode()).decode().rstrip("=")
        yield encoded[4 if before else 0 : -1]


def everything(cluster: ControlPlane) -> list[dict[str, Any]]:
    """Every object of every kind that the API server has."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    text = cluster.kubectl("get", ",".join(kinds), "-A", "-o", "json", "--show-managed-fields")
    found: list[dict[str, Any]] = json.loads(text)["items"]
    present = {one["kind"] for one in found}
    assert present >= {"FlowDependencySet", "ConfigMap", "Secret", "Event"}
    return found
