"""A real registry for artifacts: Debian's docker-registry, with all it has in its run's directory.

It speaks HTTP, or TLS with a certificate. With a user name it lets in those who give it and the
password. Manifests and blobs can be deleted, unless it is told otherwise. Its log has each request
(``requests``).
"""

import base64
import json
import re
import subprocess
from pathlib import Path

import httpx
import yaml

from tests.cluster import debian, ports, tools
from tests.cluster.lifecycle import Service
from tests.cluster.pki import Pair
from tests.cluster.processes import Process

_READY_SECONDS = 60.0
_SALT = "$2y$05$flowdepsflowdepsflowde"  # of bcrypt, the one hash that it takes, at its cheapest
_REQUEST = re.compile(
    r'msg="response completed.* http\.request\.method=(\w+).* http\.request\.uri="?([^" ]+)'
)


class Registry(Service):
    """``docker-registry serve`` on ``host``; a context manager, or ``start``/``stop``."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        username: str | None = None,
        password: str = "",
        certificate: Pair | None = None,
        deletes: bool = True,
        directory: Path | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(directory=directory, detached=detached)
        self.host = host
        self.port = 0
        self._username = username
        self._password = password
        self._certificate = certificate
        self._deletes = deletes
        self._read_only = False

    @property
    def address(self) -> str:
        """Host and port, with which the names of its repositories begin."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._certificate else 'http'}://{self.address}"

    def docker_config(self, *, password: str | None = None) -> str:
        """What a Secret with its credentials holds, or with another password."""
        given = self._password if password is None else password
        auth = base64.b64encode(f"{self._username}:{given}".encode()).decode()
        return json.dumps({"auths": {self.address: {"auth": auth}}})

    def client(self) -> httpx.Client:
        """A client of its API, for the caller to close."""
        auth = (self._username, self._password) if self._username else None
        verify = not self._certificate  # that of a test is of no authority that is known here
        return httpx.Client(
            base_url=f"{self.url}/v2/", auth=auth, verify=verify, trust_env=False, timeout=30
        )

    def requests(self) -> list[tuple[str, str]]:
        """The method and path of each request so far."""
        lines = self.process.log.read_text().splitlines()
        return [(found[1], found[2]) for line in lines if (found := _REQUEST.search(line))]

    def delete(self, reference: str) -> None:
        """Delete a manifest: what its name leads to is gone."""
        name, _, digest = reference.removeprefix(f"{self.address}/").partition("@")
        with self.client() as client:
            client.delete(f"{name}/manifests/{digest}").raise_for_status()

    def spoil(self, reference: str) -> None:
        """Change one byte of each layer of an artifact, as a disk might."""
        name, _, digest = reference.removeprefix(f"{self.address}/").partition("@")
        with self.client() as client:
            kinds = {"Accept": "application/vnd.oci.image.manifest.v1+json"}  # 404 for any kind
            found = client.get(f"{name}/manifests/{digest}", headers=kinds)
        for layer in found.raise_for_status().json()["layers"]:
            value = layer["digest"].removeprefix("sha256:")
            blobs = self.run.directory / "registry/docker/registry/v2/blobs/sha256"
            with (blobs / value[:2] / value / "data").open("r+b") as file:
                file.seek(layer["size"] // 2)
                [byte] = file.read(1)
                file.seek(-1, 1)
                file.write(bytes([byte ^ 1]))

    # Faults

    @property
    def process(self) -> Process:
        """Its process, to ``pause`` and ``resume``."""
        return self._processes[0]

    def down(self) -> None:
        """Stop serving; what it has stays."""
        self.process.stop()

    def up(self, *, read_only: bool = False) -> None:
        """Serve again at the same address."""
        self._read_only = read_only
        self._configure()
        self.process.start()
        self._wait()

    # Life

    def prepare(self) -> None:
        debian.ensure_packages(debian.REGISTRY_PACKAGES)

    def _start(self) -> None:
        self.port = ports.free(self.host)
        self._configure()
        config = self.run.directory / "registry.yaml"
        env = tools.environment(without=("REGISTRY_", "OTEL_"))
        self._launch("registry", ["docker-registry", "serve", config], env=env)
        self._wait()

    def _configure(self) -> None:
        content = {
            "version": "0.1",
            "log": {"accesslog": {"disabled": True}, "level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.run.directory / "registry")},
                "delete": {"enabled": self._deletes},
                "maintenance": {"readonly": {"enabled": self._read_only}},
            },
            "http": {"addr": self.address},
        }
        if self._certificate:
            pair = self._certificate
            tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
            content["http"] = {"addr": self.address, "tls": tls}
        if self._username is not None:
            users = self.run.directory / "htpasswd"
            users.write_text(f"{self._username}:{_bcrypt(self._password)}\n")
            content["auth"] = {"htpasswd": {"realm": "registry", "path": str(users)}}
        (self.run.directory / "registry.yaml").write_text(yaml.safe_dump(content))

    def _wait(self) -> None:
        def answers() -> bool:
            try:
                httpx.get(f"{self.url}/v2/", verify=False, trust_env=False, timeout=5)  # noqa: S501
            except httpx.HTTPError:
                return False
            return True

        self.process.wait_until(answers, what="the registry", seconds=_READY_SECONDS)


def _bcrypt(password: str) -> str:
    """The hash of a password, by the C library, which Perl leads to."""
    command = ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, _SALT]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout
