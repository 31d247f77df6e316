"""A Kubernetes control plane: etcd and kube-apiserver, as ordinary processes without root.

etcd keeps its data in the run's directory and is told not to sync it to disk. The API server has
RBAC on, knows its components by static tokens, signs service account tokens, and trusts client
certificates of the run's own authority, so a kubeconfig for any user can be made. With
``controllers`` the controller manager runs too: service accounts, garbage collection and deletion
of namespaces need it; without it, the admission of pods does not ask for service accounts.
"""

import json
import secrets
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from tests.cluster import audit, binaries, kubeconfig, pki, ports, tools
from tests.cluster.lifecycle import Service
from tests.cluster.processes import Process

SERVICE_RANGE = "10.96.0.0/16"
_FIRST_SERVICE = "10.96.0.1"
_DEFAULT_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
_READY_SECONDS = 180.0

# Users of the static token file and their groups.
_USERS = {
    "admin": ["system:masters"],
    "system:kube-controller-manager": [],
    "system:kube-scheduler": [],
    "system:kube-proxy": [],
    "system:node:node": ["system:nodes"],
}


class KubectlError(RuntimeError):
    """kubectl failed; the message is what it said."""


class ControlPlane(Service):
    """etcd and kube-apiserver; a context manager, or ``start``/``stop``."""

    programs: Sequence[str] = ("etcd", "kube-apiserver", "kubectl")

    def __init__(
        self,
        *,
        directory: Path | None = None,
        detached: bool = False,
        controllers: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """`options` are more of the API server's, e.g. an older version that it emulates."""
        super().__init__(directory=directory, detached=detached)
        self._controllers = controllers
        self._options = options
        self._client: httpx.Client | None = None
        self._paths: dict[str, Path] = {}
        self.host = "127.0.0.1"
        self.port = 0

    # What it offers

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.run.directory / "kubeconfig"

    def connect(self, *, timeout: float = 30) -> httpx.Client:
        """A client of the API server, as the administrator, for the caller to close."""
        context = ssl.create_default_context(cafile=str(self._authority.own.certificate))
        headers = {"Authorization": f"Bearer {self._tokens['admin']}"}
        return httpx.Client(
            base_url=self.url, headers=headers, verify=context, trust_env=False, timeout=timeout
        )

    @property
    def client(self) -> httpx.Client:
        """The same, kept until the end: a poll ten times a second makes no handshake each time."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """kubectl's output as the administrator; raises ``KubectlError`` with its message."""
        done = subprocess.run(
            [self._paths["kubectl"], "--kubeconfig", self.kubeconfig, *arguments],
            input=input,
            env=tools.environment({"HOME": str(self.run.directory)}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def kubeconfig_for(
        self,
        *,
        user: str | None = None,
        groups: Sequence[str] = (),
        service_account: str | None = None,
        namespace: str = "default",
    ) -> Path:
        """A kubeconfig for a user (by certificate) or for a service account that exists (by token).

        Neither may do anything until RBAC says so.
        """
        if (user is None) == (service_account is None):
            raise ValueError("name a user or a service account")
        if service_account is not None:
            name = f"{namespace}-{service_account}"
            token = self.kubectl(
                *("create", "token", service_account, "-n", namespace, "--duration=24h")
            ).strip()
            credentials = kubeconfig.by_token(token)
        else:
            assert user is not None
            name = f"user-{user.replace(':', '-')}"
            pair = self._authority.client(name, user=user, groups=groups)
            credentials = kubeconfig.by_certificate(pair)
        return self._write_kubeconfig(f"{name}.kubeconfig", credentials)

    def writes(self) -> Iterator[audit.Write]:
        """Every write that the API server has answered, from its audit log, in order."""
        return audit.writes(self._audit_log)

    def refusals(self, *, since: int) -> tuple[list[str], int]:
        """What RBAC refused to accounts of the namespace `audit.OPERATORS`; see `audit`."""
        return audit.refusals(self._audit_log, since=since)

    # Faults

    @property
    def api_server(self) -> Process:
        """The API server's process, to ``pause``, ``resume``, ``kill``, ``stop`` or ``start``."""
        return self._api_server

    def restart(self) -> None:
        """Stop the API server, start it on the same port and data, wait until it is ready."""
        self._api_server.stop(grace=2)  # it would wait longer for its watches to end
        self._api_server.start()
        self._wait_ready()

    # Life

    def prepare(self) -> None:
        self._paths = binaries.ensure(self.programs)
        if self._controllers:
            self._paths |= binaries.ensure(["kube-controller-manager"])

    def _start(self) -> None:
        self._authority = pki.Authority(self.run.directory / "pki")
        self._tokens = {user: secrets.token_hex(16) for user in _USERS}
        self._etcd_port, self.port = ports.free(), ports.free(self.host)
        self._write_kubeconfig("kubeconfig", kubeconfig.by_token(self._tokens["admin"]))
        self._run_program("etcd", *self._etcd_arguments())
        self._api_server = self._run_program("kube-apiserver", *self._api_server_arguments())
        self._wait_ready()
        if self._controllers:
            self._run_program("kube-controller-manager", *self._controller_manager_arguments())
            self._api_server.wait_until(
                lambda: self.client.get(_DEFAULT_ACCOUNT).is_success,
                what="the default service account",
                seconds=_READY_SECONDS,
            )
        self.run.tell(KUBECONFIG=str(self.kubeconfig))

    def _end_processes(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        super()._end_processes()

    def _run_program(self, name: str, *arguments: str | Path) -> Process:
        return self._launch(name, [self._paths[name], *arguments])

    def _wait_ready(self) -> None:
        """Until /readyz says so and the first namespace is there."""
        with self.connect(timeout=5) as client:

            def ready() -> bool:
                try:
                    return all(
                        client.get(path).status_code == httpx.codes.OK
                        for path in ("/readyz", "/api/v1/namespaces/default")
                    )
                except httpx.HTTPError:
                    return False

            self._api_server.wait_until(ready, what="the API server", seconds=_READY_SECONDS)

    def _write_kubeconfig(self, name: str, user: dict[str, str]) -> Path:
        return kubeconfig.write(
            self.run.directory / name,
            url=self.url,
            authority=self._authority.own.certificate,
            user=user,
        )

    def _component_kubeconfig(self, user: str) -> Path:
        name = f"{user.rpartition(':')[2]}.kubeconfig"
        return self._write_kubeconfig(name, kubeconfig.by_token(self._tokens[user]))

    @property
    def _audit_log(self) -> Path:
        return self.run.directory / "audit.log"

    def _etcd_arguments(self) -> list[str | Path]:
        client, peer = (f"http://127.0.0.1:{one}" for one in (self._etcd_port, ports.free()))
        return [
            *("--data-dir", self.run.directory / "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}", "--log-level", "warn"),
        ]

    def _api_server_arguments(self) -> list[str | Path]:
        directory = self.run.directory
        serving = self._authority.server(
            "kube-apiserver",
            names=["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
            addresses=sorted({"127.0.0.1", self.host, _FIRST_SERVICE}),
        )
        kubelet_client = self._authority.client(
            "kubelet-client", user="kube-apiserver", groups=["system:masters"]
        )
        self._accounts = self._authority.key_pair("service-accounts")
        policy = directory / "audit-policy.json"
        policy.write_text(json.dumps(audit.POLICY))
        tokens = directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(
            "".join(
                f'{self._tokens[user]},{user},{user},"{",".join(groups)}"\n'
                for user, groups in _USERS.items()
            )
        )
        off = [] if self._controllers else ["--disable-admission-plugins=ServiceAccount"]
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--bind-address={self.host}",
            *self._advertise(),
            f"--secure-port={self.port}",
            f"--cert-dir={directory / 'pki'}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self._authority.own.certificate}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={self._accounts.key}",
            f"--service-account-key-file={self._accounts.certificate}",
            f"--kubelet-client-certificate={kubelet_client.certificate}",
            f"--kubelet-client-key={kubelet_client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self._audit_log}",
            *off,
            *self._options,
        ]

    def _advertise(self) -> list[str]:
        """Where pods find the API server: nowhere, since there are none."""
        return ["--endpoint-reconciler-type=none"]

    def _controller_manager_arguments(self) -> list[str | Path]:
        config = self._component_kubeconfig("system:kube-controller-manager")
        return [
            f"--kubeconfig={config}",
            f"--service-account-private-key-file={self._accounts.key}",
            f"--root-ca-file={self._authority.own.certificate}",
            "--use-service-account-credentials=true",
            # By default a start waits for its own limit on requests.
            *("--kube-api-qps=500", "--kube-api-burst=1000"),
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={ports.free()}",
            f"--cert-dir={self.run.directory / 'pki'}",
        ]
