"""The cluster's certificates, made by openssl: one authority for servers and clients.

Elliptic keys, because making RSA keys would take longer than the API server's start.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.tools import MissingToolError

_DAYS = "30"


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Makes its own certificate in ``directory`` and signs others with it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self.own = self._files("ca")
        _openssl(
            *("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-keyout", self.own.key, "-out", self.own.certificate, "-days", _DAYS),
            *("-subj", "/CN=flowdeps-test-ca"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
        )

    def server(self, name: str, *, names: Sequence[str], addresses: Sequence[str]) -> Pair:
        """A serving certificate for host names and addresses."""
        alternatives = [f"DNS:{one}" for one in names] + [f"IP:{one}" for one in addresses]
        return self._sign(
            name,
            subject=f"/CN={name}",
            extensions=f"subjectAltName={','.join(alternatives)}\nextendedKeyUsage=serverAuth\n",
        )

    def client(self, name: str, *, user: str, groups: Sequence[str]) -> Pair:
        """A client certificate: to Kubernetes the CN is the user, each O a group."""
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        return self._sign(name, subject=subject, extensions="extendedKeyUsage=clientAuth\n")

    def key_pair(self, name: str) -> Pair:
        """A private key and its public half (in ``certificate``), as service accounts need it."""
        pair = self._files(name)
        _openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", pair.key)
        _openssl("ec", "-in", pair.key, "-pubout", "-out", pair.certificate)
        return pair

    def _sign(self, name: str, *, subject: str, extensions: str) -> Pair:
        pair = self._files(name)
        request = self._directory / f"{name}.csr"
        wanted = self._directory / f"{name}.ext"
        wanted.write_text(extensions)
        _openssl(
            *("req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-keyout", pair.key, "-out", request, "-subj", subject),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-out", pair.certificate, "-days", _DAYS),
            *("-CA", self.own.certificate, "-CAkey", self.own.key, "-CAcreateserial"),
            *("-extfile", wanted),
        )
        return pair

    def _files(self, name: str) -> Pair:
        return Pair(self._directory / f"{name}.crt", self._directory / f"{name}.key")


def _openssl(*arguments: str | Path) -> None:
    try:
        done = subprocess.run(
            ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise MissingToolError(
            "openssl is missing: install it (Debian: apt-get install openssl)"
        ) from None
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
