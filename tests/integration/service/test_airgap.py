"""Without a way out: a private index is all that resolving needs, and all that it ever asks.

The kernel is the witness: strace shows every address that a process, or a child of it, connects or
sends to.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster import debian
from tests.cluster.controlplane import ControlPlane
from tests.cluster.index import Index
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.cluster.tools import MissingToolError
from tests.integration.cli.support import Shell
from tests.support.fixtures import StartOperator
from tests.support.sets import (
    apply,
    condition,
    config_map,
    pins,
    set_body,
    wait_ready,
    wait_reason,
)

# Addresses that nobody has (RFC 5737): whoever asks them is seen, and gets no answer.
NOWHERE = "http://192.0.2.1/simple/"
ELSEWHERE = "http://198.51.100.1/files/evil-1.0-py3-none-any.whl"

_ADDRESS = re.compile(r"{sa_family=(AF_\w+), ([^}]*)}")
_KERNEL = {"AF_NETLINK", "AF_UNSPEC"}
_OURSELVES = ("0.0.0.0:", ":::")  # how the C library sorts the addresses that a server listens on
_PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
_HOST = re.compile(r'inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"')


@dataclass(frozen=True)
class Trace:
    """A command that traces what follows it, and what it saw."""

    file: Path

    @property
    def command(self) -> list[str]:
        return [
            *("strace", "--follow-forks", "--seccomp-bpf", "-qq", "-e", "signal=none"),
            *("-e", "trace=connect,sendto,sendmsg,sendmmsg,getsockname", "-o", str(self.file)),
        ]

    def destinations(self) -> set[str]:
        """Everything that was spoken to: host:port, whether or not it answered, and the paths of
        sockets (a cache of names would have one) that are there. A process that listens asks for
        its own address, so that the guard of a resolution is known."""
        found, own = set[str](), set[str]()
        for line in self.file.read_text().splitlines():
            for family, rest in _ADDRESS.findall(line):
                port, host = _PORT.search(rest), _HOST.search(rest)
                if host and port:
                    (own if "getsockname" in line else found).add(f"{host[1]}:{port[1]}")
                elif family not in _KERNEL and "= -1 ENOENT" not in line:
                    found.add(f"{family} {rest}")
        return {one for one in found - own if not one.startswith(_OURSELVES)}


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    try:
        debian.ensure_packages({"strace": "strace"})
    except MissingToolError as error:
        pytest.skip(str(error))
    return Trace(tmp_path / "trace")


@pytest.fixture
def private() -> Iterator[Index]:
    """An index of one's own. What it has is not all innocent."""
    with Index() as index:
        index.add("alpha", "1.0")
        index.add("beta", "1.0", requires=["alpha"])
        index.add("odd", "1.0", requires=[f"evil @ {ELSEWHERE}"])
        yield index


def test_flowdeps_lock_asks_the_index_and_nobody_else(
    trace: Trace, private: Index, tmp_path: Path
) -> None:
    """No name is looked up, and no other host is asked, for a lock as for a refusal."""
    shell = Shell(tmp_path, {})
    index = {"url": NOWHERE, "allowed": [private.url]}
    config = shell.write("config.yaml", yaml.safe_dump({"index": index}))
    for requirement, status in (("beta", 0), ("missing", 1), ("odd", 1)):
        body = set_body("lone", [requirement], index={"url": private.url})
        shell.write("set.yaml", yaml.safe_dump(body))
        done = subprocess.run(
            [
                *(*trace.command, sys.executable, "-m", "flowdeps", "lock", "set.yaml"),
                *("--config", config),
            ],
            cwd=tmp_path,
            env=shell.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, done.stderr
        assert trace.destinations() == {f"127.0.0.1:{private.port}"}


def test_the_operator_speaks_to_its_cluster_prefect_and_the_index(
    trace: Trace,
    private: Index,
    cluster: ControlPlane,
    prefect_server: PrefectServer,
    prefect_api: PrefectApi,
    start_operator: StartOperator,
) -> None:
    """From its start to the last set nothing else is contacted, whatever sets ask for: no other
    index where theirs lacks a package, no place that a package names, no name server, and nobody
    who would like to know how the libraries are used."""
    prefect_api.create_pool("airtight", image="example.com/flows:1")
    index = {"url": NOWHERE, "allowed": [private.url]}
    start_operator(index=index, wrapper=trace.command)
    ours = {"url": private.url}
    apply(
        cluster,
        config_map("airtight", requirements_txt="alpha"),
        set_body("airtight", ["beta"], pools=["airtight"], index=ours),
        set_body(
            "airtight-from",
            ["beta"],
            requirementsFrom=[{"configMapKeyRef": {"name": "airtight", "key": "requirements.txt"}}],
            index=ours,
        ),
        set_body("airtight-missing", ["missing"], index=ours),
        set_body("airtight-odd", ["odd"], index=ours),
    )
    wait_ready(cluster, "airtight")
    wait_ready(cluster, "airtight-from")
    assert pins(cluster, "airtight") == "alpha==1.0 beta==1.0"
    wait_reason(cluster, "airtight-missing", "Unsatisfiable")
    wait_reason(cluster, "airtight-odd", "Unsatisfiable")
    assert trace.destinations() == {
        f"127.0.0.1:{private.port}",
        f"{cluster.host}:{cluster.port}",
        f"{prefect_server.host}:{prefect_server.port}",
    }


def test_an_index_whose_name_nobody_knows_is_named(
    cluster: ControlPlane, start_operator: StartOperator
) -> None:
    """A host that can't be looked up is an outage, for it may be one; the message has the host and
    what to check."""
    start_operator(index={"url": NOWHERE, "allowed": ["*"]})
    url = "https://packages.invalid/simple/"
    apply(cluster, set_body("mistyped", ["alpha"], index={"url": url}))
    body = wait_reason(cluster, "mistyped", "IndexUnavailable")
    said = condition(body, "Ready")["message"]
    assert "the name packages.invalid can't be resolved; check the index URL" in said
    assert condition(body, "Reconciling")["status"] == "True"
