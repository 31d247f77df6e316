"""A real Prefect server and Kubernetes worker, from an environment of their own.

The server keeps an SQLite database in its run's directory, so a restart finds everything again.
Telemetry is off. The worker runs on this machine with a kubeconfig; pods reach the server at the
worker's own API URL, so for real pods the server listens on the node's gateway.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.cluster import ports, prefect_env, tools
from tests.cluster.lifecycle import Service
from tests.cluster.prefect_api import PrefectApi
from tests.cluster.processes import Process
from tests.cluster.undo import Undo

_READY_SECONDS = 240.0  # a busy machine is no failure; a process that ends is, at once
# Loops of the server that nothing here needs: there are no schedules or pauses, and automations in
# few tests. They ask the database every few seconds.
_UNUSED = (
    *("SCHEDULER", "LATE_RUNS", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "REPOSSESSOR"),
    *("CLEANUP_RECONCILER", "TASK_RUN_RECORDER", "TRIGGERS"),
)


class PrefectServer(Service):
    """``prefect server start`` on ``host``; ``auth`` is ``user:password`` for basic auth, ``page``
    how much it lists at once, ``automations`` whether it runs them."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        auth: str | None = None,
        page: int | None = None,
        ui: bool = False,
        automations: bool = False,
        directory: Path | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(directory=directory, detached=detached)
        self.host = host
        self.auth = auth
        self.port = 0
        self._page = page
        self._ui = ui
        self._unused = set(_UNUSED) - ({"TRIGGERS"} if automations else set())

    @property
    def url(self) -> str:
        """The API's URL: what PREFECT_API_URL is set to."""
        return f"http://{self.host}:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client of this server."""
        variables = {
            "PREFECT_HOME": str(self.run.directory / "home"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
            "DO_NOT_TRACK": "1",
            # On a busy machine the server's database is locked now and then, which it says by 503.
            "PREFECT_CLIENT_MAX_RETRIES": "20",
            "NO_PROXY": f"{self.host},127.0.0.1,localhost",
        }
        if self.auth is not None:
            variables["PREFECT_API_AUTH_STRING"] = self.auth
        return tools.environment(variables, without=("PREFECT_", "PYTHON"))

    def api(self) -> PrefectApi:
        """A new client, for the caller to close."""
        return PrefectApi(self.url, auth=self.auth)

    def python(self, script: str | Path, *arguments: str) -> str:
        """What a script (a path, or its text) prints, run by the environment's interpreter."""
        what = [str(script)] if isinstance(script, Path) else ["-c", script]
        done = subprocess.run(
            [prefect_env.bin_directory() / "python", *what, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the script failed:\n{done.stderr[-4000:]}")
        return done.stdout

    # Faults

    @property
    def process(self) -> Process:
        """The server's process, to ``pause`` and ``resume``."""
        return self._processes[0]

    def down(self, *, grace: float = 5.0) -> None:
        """Stop serving; the database stays."""
        self.process.stop(grace=grace)

    def up(self) -> None:
        """Serve again: same address, same database."""
        self.process.start()
        self._wait()

    def restart(self) -> None:
        self.down()
        self.up()

    # Life

    def prepare(self) -> None:
        prefect_env.empty_database()

    def _start(self) -> None:
        self.port = ports.free(self.host)
        (self.run.directory / "home").mkdir()
        database = self.run.directory / "prefect.db"
        shutil.copyfile(prefect_env.empty_database(), database)
        settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}"}
        settings |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in self._unused}
        if self.auth is not None:
            settings["PREFECT_SERVER_API_AUTH_STRING"] = self.auth
        if self._page is not None:
            settings["PREFECT_SERVER_API_DEFAULT_LIMIT"] = str(self._page)
        self._launch(
            "prefect-server",
            [
                *(prefect_env.bin_directory() / "prefect", "server", "start", "--analytics-off"),
                *("--host", self.host, "--port", str(self.port)),
                "--ui" if self._ui else "--no-ui",
            ],
            env=self.environment | settings,
        )
        self._wait()
        self.run.tell(PREFECT_API_URL=self.url)

    def _wait(self) -> None:
        # A client for each look would read the machine's authorities each time, for 30 ms.
        with httpx.Client(timeout=5, trust_env=False) as client:

            def healthy() -> bool:
                try:
                    answer = client.get(f"{self.url}/health")
                except httpx.HTTPError:
                    return False
                return answer.status_code == httpx.codes.OK

            self.process.wait_until(healthy, what="Prefect's API", seconds=_READY_SECONDS)


class KubernetesWorker(Service):
    """``prefect worker start`` for a pool that exists; its observer watches ``namespaces``."""

    def __init__(
        self,
        server: PrefectServer,
        *,
        pool: str,
        kubeconfig: Path,
        namespaces: Sequence[str] = ("default",),
        directory: Path | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(directory=directory, detached=detached)
        self._server = server
        self._pool = pool
        self._kubeconfig = kubeconfig
        self._namespaces = namespaces

    def prepare(self) -> None:
        prefect_env.bin_directory()

    def _start(self) -> None:
        # A worker hands its own settings to the runs, whose users may not write where we may.
        home = f"/tmp/flowdeps-{self.run.name}-home"
        self.run.will_change(Undo("directory", [home]))
        settings = {
            "KUBECONFIG": str(self._kubeconfig),
            "PREFECT_HOME": home,
            "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES": ",".join(self._namespaces),
            # The default of 10 s would be most of a short run's time.
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        process = self._launch(
            "prefect-worker",
            [
                *(prefect_env.bin_directory() / "prefect", "worker", "start"),
                *("--type", "kubernetes", "--pool", self._pool, "--name", f"on-{self._pool}"),
                *("--install-policy", "never", "--no-create-pool-if-not-found"),
            ],
            env=self._server.environment | settings,
        )
        with self._server.api() as api:
            process.wait_until(
                lambda: api.workers_online(self._pool) > 0,
                what="the worker",
                seconds=_READY_SECONDS,
            )
