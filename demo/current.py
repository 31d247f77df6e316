"""The cluster of the current kubectl context and the Prefect API of the current profile.

All that the demo brings goes into a namespace and a work pool of its own, and out again. The
operator and a worker run on this machine.
"""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from demo import screen
from demo.stage import NAMESPACE, POOL, DemoError, Stage
from tests.cluster import tools
from tests.cluster.lifecycle import Service
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi

_IMAGE = "prefecthq/prefect:3.9.1-python3.12"
_TIMEOUT_SECONDS = 15


class CurrentPrefect(PrefectServer):
    """A Prefect API that is there already."""

    def __init__(self, *, url: str, key: str | None, auth: str | None, home: Path) -> None:
        super().__init__(auth=auth)
        self._url, self._key, self._home = url.rstrip("/"), key, home

    @property
    def url(self) -> str:
        return self._url

    @property
    def environment(self) -> dict[str, str]:
        variables = {
            "PREFECT_HOME": str(self._home),
            "PREFECT_API_URL": self._url,
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
            "DO_NOT_TRACK": "1",
        }
        if self._key:
            variables["PREFECT_API_KEY"] = self._key
        if self.auth:
            variables["PREFECT_API_AUTH_STRING"] = self.auth
        return tools.environment(variables, without=("PREFECT_", "PYTHON"))

    def api(self) -> PrefectApi:
        api = PrefectApi(self._url, auth=self.auth)
        if self._key:
            api.client.headers["Authorization"] = f"Bearer {self._key}"
        return api

    def prepare(self) -> None:
        """Nothing: it is not ours."""

    def _start(self) -> None:
        raise NotImplementedError


class Files(Service):
    """A directory for what holds credentials, gone with the demo."""

    def prepare(self) -> None:
        """Nothing to build."""

    def _start(self) -> None:
        self.run.directory.chmod(0o700)


class CurrentStage(Stage):
    """What the person uses already, with a pool and a namespace for the demo."""

    outlives_demo = True
    run_seconds = 600.0  # the node may have to pull the image

    def open(self, stack: ExitStack) -> None:
        self.image = os.environ.get("IMAGE", _IMAGE)
        self.index = os.environ.get("INDEX_URL")
        self.find(stack)
        self._refuse_what_is_there()

    def find(self, stack: ExitStack) -> None:
        """Find the cluster and Prefect, and see that they answer."""
        files = Files(directory=self.at("files"), detached=self.keep)
        self.enter(stack, files)
        self._find_cluster(files.run.directory / "kubeconfig")
        self._find_prefect(files.run.directory / "prefect")

    def defaults(self) -> dict[str, object]:
        url = os.environ.get("PREFECT_API_URL_FOR_PODS")
        return super().defaults() | ({"env": {"PREFECT_API_URL": url}} if url else {})

    def _find_cluster(self, kubeconfig: Path) -> None:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise DemoError("kubectl is not on PATH: install it, or leave out CLUSTER=current")
        self.kubectl_program = Path(kubectl)
        view = [kubectl, "config", "view", "--minify", "--flatten", "--raw"]
        found = subprocess.run(view, capture_output=True, text=True, check=False)
        if found.returncode != 0:
            raise DemoError(
                "kubectl has no current context: set KUBECONFIG, or choose a context with "
                f"kubectl config use-context\n{found.stderr.strip()}"
            )
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(found.stdout)
        self.kubeconfig = kubeconfig
        try:
            self.kubectl("version", f"--request-timeout={_TIMEOUT_SECONDS}s")
        except DemoError as error:
            raise DemoError(f"the current kubectl context does not answer:\n{error}") from None
        may = subprocess.run(
            [kubectl, "--kubeconfig", kubeconfig, "auth", "can-i", "create", "namespaces"],
            capture_output=True,
            text=True,
            check=False,
        )
        if may.stdout.strip() != "yes":
            raise DemoError(
                "the current kubectl context may not create a namespace; the demo needs that, and "
                "a CustomResourceDefinition"
            )
        screen.say(f"cluster: {self.kubectl('config', 'current-context').strip()}")

    def _find_prefect(self, home: Path) -> None:
        from prefect.settings import get_current_settings  # takes a second

        settings = get_current_settings().api
        if not settings.url:
            raise DemoError(
                "no Prefect API: set PREFECT_API_URL, or choose a profile with prefect profile use"
            )
        self.prefect = CurrentPrefect(
            url=settings.url,
            key=settings.key.get_secret_value() if settings.key else None,
            auth=settings.auth_string.get_secret_value() if settings.auth_string else None,
            home=home,
        )
        try:
            with self.api() as api:
                api.call("POST", "/work_pools/filter", {"limit": 1})
        except (httpx.HTTPError, RuntimeError) as error:
            raise DemoError(f"the Prefect API {settings.url} does not answer: {error}") from None
        host = urlsplit(settings.url).hostname or ""
        local = host == "localhost" or host.startswith("127.")
        if local and not os.environ.get("PREFECT_API_URL_FOR_PODS"):
            raise DemoError(
                f"pods can't reach {settings.url}: set an address that they can reach with "
                "PREFECT_API_URL_FOR_PODS=http://…/api"
            )
        screen.say(f"Prefect: {settings.url}")

    def _refuse_what_is_there(self) -> None:
        """Never take over, and so later delete, what somebody else made."""
        if self.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"):
            raise DemoError(
                f"the namespace {NAMESPACE} exists; if an earlier demo made it, run: make demo-end"
            )
        with self.api() as api:
            pools = api.call(
                "POST", "/work_pools/filter", {"work_pools": {"name": {"any_": [POOL]}}}
            )
        if pools:
            raise DemoError(
                f"the work pool {POOL} exists; if an earlier demo made it, run: make demo-end"
            )
