"""How we log in to the API server: by a kubeconfig, or by a pod's service account."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.aio import client, config

from flowdeps import __version__
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


async def make_api(identity: str | None) -> Any:
    """Return the library's client, to be used as a context. Raises ClusterError."""
    settings = client.Configuration()
    await load(settings)
    # Each watch keeps a connection, one for each namespace of runs: as many as there are must leave
    # some for everything else. Who asks limits how much is asked at once.
    settings.connection_pool_maxsize = 0
    try:
        api = client.ApiClient(configuration=settings)
    except OSError as error:  # not certificates
        raise _unusable(str(error)) from None
    api.user_agent = f"flowdeps/{__version__}" + (f" ({identity})" if identity else "")
    return api


async def load(settings: Any) -> None:
    """Read how to log in, anew, into a client's settings. Raises ClusterError."""
    file = os.environ.get("KUBECONFIG")
    in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and not file
    if not in_pod and not any(map(os.path.exists, _kubeconfig().split(os.pathsep))):
        raise _unusable("there is no such file; set KUBECONFIG")
    try:
        if in_pod:
            config.load_incluster_config(client_configuration=settings)
        else:
            # Named here: the library reads the variable only when it is imported.
            await config.load_kube_config(config_file=file, client_configuration=settings)
    except (AttributeError, KeyError, TypeError):
        raise _unusable("it is not a kubeconfig file") from None
    except Exception as error:  # whatever else the library stumbles over in it
        raise _unusable(" ".join(str(error).split())) from None


async def login_of(settings: Any) -> Login:
    """Return what a client's settings say."""
    token = await settings.get_api_key_with_prefix("BearerToken", alias="authorization")
    return Login(
        server=settings.host,
        ca_path=settings.ssl_ca_cert,
        certificate_path=settings.cert_file,
        private_key_path=settings.key_file,
        token=token.split(" ", 1)[-1] if token else None,  # after "Bearer", or "bearer" in pods
        verify=settings.verify_ssl,
    )


def _kubeconfig() -> str:
    return os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")


def _unusable(why: str) -> ClusterError:
    text = f"no usable cluster configuration in {_kubeconfig()}: {why}"
    return ClusterError(0, "NoConfiguration", text)
