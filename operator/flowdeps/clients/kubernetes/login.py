"""Where the API server is and what proves us to it: a kubeconfig, or a pod's service account."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.aio import config

from flowdeps.clients.kubernetes.errors import ClusterError


@dataclass(frozen=True)
class Login:
    """Where the API server is and what proves us to it; paths of PEM files, or None."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None
    verify: bool


async def load(settings: Any) -> None:
    """Read how to log in, anew, into a client's settings. Raises ClusterError."""
    file = os.environ.get("KUBECONFIG")
    in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and not file
    if not in_pod and not any(map(os.path.exists, _kubeconfig().split(os.pathsep))):
        raise unusable("there is no such file; set KUBECONFIG")
    try:
        if in_pod:
            config.load_incluster_config(client_configuration=settings)
        else:
            # Named here: the library reads the variable only when it is imported.
            await config.load_kube_config(config_file=file, client_configuration=settings)
    except (AttributeError, KeyError, TypeError):
        raise unusable("it is not a kubeconfig file") from None
    except Exception as error:  # whatever else the library stumbles over in it
        raise unusable(" ".join(str(error).split())) from None


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")


def unusable(why: str) -> ClusterError:
    """Why the configuration in use can't be used."""
    text = f"no usable cluster configuration in {_kubeconfig()}: {why}"
    return ClusterError(0, "NoConfiguration", text)
