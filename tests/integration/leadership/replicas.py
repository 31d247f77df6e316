"""Several operators as processes, and what each of them wrote."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from tests.cluster.audit import Write
from tests.cluster.controlplane import ControlPlane
from tests.support.link import Link
from tests.support.operator import Operator
from tests.support.sets import wait

LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 20, 10, 1
SLACK_SECONDS = 10.0
"""What a machine with other work may add to a bound."""
NAMESPACE = "leases"


@dataclass
class Replica:
    """One operator, with a link of its own to the cluster and to Prefect."""

    operator: Operator
    cluster: Link
    prefect: Link

    @property
    def identity(self) -> str:
        """Its name as a candidate; it logs it when it becomes active."""
        line = self.said("active: ")
        return line["message"].split()[1] if line else ""

    @property
    def active(self) -> bool:
        """Whether it says that it does the work."""
        return self.operator.get("/readyz") == (200, "ok\n")

    @property
    def stands_by(self) -> bool:
        """Whether it says that it does not, and is well."""
        status, text = self.operator.get("/readyz")
        return status == 200 and text.startswith("standby: ")

    def time_of(self, beginning: str) -> float:
        """When it logged a line that begins so."""
        line = self.said(beginning)
        assert line is not None, f"it never said {beginning!r}"
        return datetime.fromisoformat(line["time"]).timestamp()

    def ended(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        wait(lambda: self.operator.exit_code is not None, what="the operator to end")
        code = self.operator.exit_code
        assert code is not None
        return code

    def said(self, beginning: str) -> Mapping[str, Any] | None:
        """The first line of its log that begins so."""
        lines = self.operator.log()
        return next((one for one in lines if one["message"].startswith(beginning)), None)


@dataclass
class Replicas:
    """Starts operators that share a Lease called `name`; all end with the block."""

    cluster: ControlPlane
    prefect_url: str
    config: Mapping[str, Any]
    name: str
    _stack: ExitStack = field(default_factory=ExitStack)
    _made: list[Replica] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(
        cls, cluster: ControlPlane, *, prefect_url: str, config: Mapping[str, Any], name: str
    ) -> Iterator[Self]:
        """None is started yet."""
        found = cls(cluster, prefect_url, config, name)
        with found._stack:
            yield found

    def start(self, *, env: Mapping[str, str] | None = None) -> Replica:
        """One more, and wait until it is ready: to work or to take over; `env` is added to its
        environment."""
        host, _, port = self.prefect_url.removeprefix("http://").removesuffix("/api").partition(":")
        to_cluster = self._stack.enter_context(Link(self.cluster.host, self.cluster.port))
        to_prefect = self._stack.enter_context(Link(host, int(port)))
        election = {
            "enabled": True,
            "namespace": NAMESPACE,
            "name": self.name,
            "leaseDuration": f"{LEASE_SECONDS}s",
            "renewDeadline": f"{RENEW_SECONDS}s",
            "retryPeriod": f"{RETRY_SECONDS}s",
        }
        operator = Operator(
            kubeconfig=self._kubeconfig(to_cluster.port),
            prefect_url=f"http://127.0.0.1:{to_prefect.port}/api",
            config={**self.config, "leaderElection": election},
            env=env,
        )
        self._stack.enter_context(operator)
        made = Replica(operator, to_cluster, to_prefect)
        self._made.append(made)
        return made

    @property
    def any_active(self) -> bool:
        """Whether one of them does the work."""
        return any(one.active for one in self._made)

    def lease(self) -> Mapping[str, Any]:
        """The Lease's spec."""
        text = self.cluster.kubectl("get", "lease", self.name, "-n", NAMESPACE, "-o", "json")
        spec: Mapping[str, Any] = json.loads(text)["spec"]
        return spec

    def _kubeconfig(self, port: int) -> Path:
        content = json.loads(self.cluster.kubeconfig.read_text())
        content["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        path = self.cluster.run.directory / f"link-{port}.kubeconfig"
        path.write_text(json.dumps(content))
        return path


def writers(cluster: ControlPlane, *replicas: Replica) -> list[tuple[str, Write]]:
    """Every write of the replicas to the cluster, by identity, in the order in which they came."""
    known = {one.identity for one in replicas} - {""}
    found = []
    for write in cluster.writes():
        identity = write.user_agent.partition("(")[2].rstrip(")")
        if identity in known:
            found.append((identity, write))
    return sorted(found, key=lambda one: one[1].received)


def turns(writes: Sequence[tuple[str, Write]]) -> list[str]:
    """Who wrote, one entry for each turn."""
    found: list[str] = []
    for identity, _ in writes:
        if not found or found[-1] != identity:
            found.append(identity)
    return found


def takeover_by(replica: Replica) -> float:
    """Wait until it is the active one; how many seconds that took."""
    start = time.monotonic()
    wait(
        lambda: replica.operator.metric("flowdeps_leader") == 1,
        what="a takeover",
        show=lambda: f"{replica.operator.log()}\n{replica.operator.get('/metrics')}",
    )
    return time.monotonic() - start
