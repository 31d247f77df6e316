"""The service accounts that the chart makes: operators under test have their rights and no more.

The API server's log tells what was refused to them, so a right that is missing fails the test that
needs it, even where the operator makes do without.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster import audit
from tests.cluster.controlplane import ControlPlane
from tests.integration.chart.helm import Helm, needed, one_of, rights
from tests.support.sets import apply, names

_RIGHTS = ("jobNamespaces", "delivery", "cache")
"""What of a pool's configuration decides on rights."""


class Accounts:
    """Accounts in a cluster, one for each choice of namespaces."""

    def __init__(self, cluster: ControlPlane, helm: Helm) -> None:
        self._cluster = cluster
        self._helm = helm
        self._made: dict[str, Path] = {}
        self._read = 0

    def kubeconfig(self, config: Mapping[str, Any]) -> Path:
        """For the account that the chart makes for an operator with this configuration."""
        chosen = {
            "watchNamespaces": config.get("watchNamespaces", []),
            "workPools": [
                {key: pool[key] for key in ("name", *_RIGHTS) if key in pool}
                for pool in config.get("workPools", ())
                if (config.get("watchNamespaces") and "jobNamespaces" in pool)
                or pool.get("delivery") == "Cache"
            ],
        }
        if given := config.get("environments"):
            chosen["environments"] = {name: given[name] for name in given if name != "policy"}
        key = json.dumps(chosen)
        if key not in self._made:
            self._made[key] = self._make(f"flowdeps-{len(self._made)}", chosen)
        return self._made[key]

    def refused(self) -> list[str]:
        """What RBAC has refused them since this was asked last."""
        found, self._read = self._cluster.refusals(since=self._read)
        return found

    def _make(self, name: str, config: Mapping[str, Any]) -> Path:
        if audit.OPERATORS not in names(self._cluster, "ns"):
            self._cluster.kubectl("create", "namespace", audit.OPERATORS)
        values = needed(
            config=config,
            rbac={"aggregate": False},
            admissionPolicy={"enabled": True},
            fullnameOverride=name,
        )
        objects = self._helm.template(values, namespace=audit.OPERATORS)
        apply(self._cluster, *rights(objects))
        account = one_of(objects, "ServiceAccount")["metadata"]["name"]
        return self._cluster.kubeconfig_for(service_account=account, namespace=audit.OPERATORS)
