"""`flowdeps run` as a process of its own, as in a pod."""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import yaml

from tests.cluster import ports, tools
from tests.cluster.lifecycle import Service

READY_SECONDS = 240.0
_INDEXES = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
"""Where the indexes of tests are: on this machine, also by an address that nodes reach. Sets name
any of them."""
_SCRAPE_SECONDS = 60.0


class Operator(Service):
    """The operator against a cluster and a Prefect API; `config` is merged over defaults for tests.

    In the end, its event loop must never have stood still while it computed for a second.
    Pools are polled each second, so that what a poll brings comes soon. A start waits `until` it
    can do its work, or, where Prefect is out of reach, until it is alive. `arguments` are further
    ones of `flowdeps run`; `wrapper` is a command that runs it, such as a tracer.
    """

    def __init__(
        self,
        *,
        kubeconfig: Path,
        prefect_url: str,
        config: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        until: Literal["ready", "alive"] = "ready",
        arguments: Sequence[str] = (),
        wrapper: Sequence[str | Path] = (),
    ) -> None:
        super().__init__()
        self._arguments = tuple(arguments)
        self._wrapper = tuple(wrapper)
        self._until = until
        self.port = 0
        self.may_stall = False
        """Whether the test itself holds its event loop up."""
        self._kubeconfig = kubeconfig
        self._prefect_url = prefect_url
        self._config = dict(config or {})
        self._env = dict(env or {})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stalls = self.stalls() if kind is None and self._run and not self.may_stall else []
        super().__exit__(kind, error, trace)
        assert stalls == []

    def prepare(self) -> None:
        """Nothing to build: the operator is the code under test."""

    def _start(self) -> None:
        self.port = ports.free(ports.ANYWHERE)
        config = {
            "httpPort": self.port,
            **self._config,
            "prefect": {
                "apiUrl": self._prefect_url,
                "pollInterval": "1s",
                "artifacts": False,  # requests beside those that tests count
                "events": False,
                **self._config.get("prefect", {}),
            },
            "index": {
                "allowed": ["*"],
                "allowedNetworks": _INDEXES,
                **self._config.get("index", {}),
            },
            "resolver": {"cacheDirectory": str(self.cache), **self._config.get("resolver", {})},
        }
        file = self.run.directory / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        variables = {
            "KUBECONFIG": str(self._kubeconfig),
            "PREFECT_HOME": str(self.run.directory / "home"),
            "NO_PROXY": "127.0.0.1,localhost," + self._prefect_url.split("/")[2].split(":")[0],
            **self._env,
        }
        run = [*self._wrapper, sys.executable, "-m", "flowdeps", "run"]
        self._launch(
            "operator",
            [*run, "--config", file, *self._arguments],
            env=tools.environment(variables, without=("PREFECT_",)),
        )
        self._wait()

    @property
    def pid(self) -> int:
        """Its process, or its wrapper's."""
        return self._processes[-1].pid

    @property
    def cache(self) -> Path:
        """Where its resolver caches."""
        return self.run.directory / "uv"

    def _scrape(self) -> str:
        page = 0, ""

        def answered() -> bool:
            nonlocal page
            page = self.get("/metrics")
            return page[0] == 200

        self._processes[-1].wait_until(answered, what="its metrics", seconds=_SCRAPE_SECONDS)
        return page[1]

    def _wait(self) -> None:
        page = "/readyz" if self._until == "ready" else "/healthz"
        self._processes[-1].wait_until(
            lambda: self.get(page)[0] == 200, what="the operator", seconds=READY_SECONDS
        )

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the operator's; status 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 is what it says, not silence."""
        total = 0.0
        for line in self._scrape().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(
                f'{key}="{text}"' in sample for key, text in labels.items()
            ):
                total += float(value)
        return total

    @property
    def idle(self) -> bool:
        """Whether it is at work on nothing, and nothing is due."""
        page = self.get("/metrics")[1]
        return all(f"\nflowdeps_queue_{what} 0.0\n" in page for what in ("running", "ready"))

    def log(self) -> list[dict[str, Any]]:
        """What it logged, a mapping a line."""
        text = (self.logs / "operator.log").read_text(errors="replace")
        lines = text[: text.rfind("\n") + 1].splitlines()  # the last one may be half written
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stalls(self) -> list[str]:
        """What it logged of its event loop where that stood still."""
        messages = [str(line["message"]) for line in self.log()]
        return [one for one in messages if one.startswith("the event loop stood still")]

    def complaints(self) -> list[dict[str, Any]]:
        """The warnings and errors of its log; that a busy Prefect missed a poll is none."""
        return [
            line
            for line in self.log()
            if line["level"] in {"warning", "error"}
            and not line["message"].startswith("can't poll Prefect, ")
        ]

    def kill(self) -> None:
        """End it as a node failure would; `up` starts it again."""
        self._processes[-1].kill()

    def pause(self) -> None:
        """Stop it in its tracks, as a node that hangs does."""
        self._processes[-1].pause()

    def resume(self) -> None:
        """Let it go on."""
        self._processes[-1].resume()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, and don't wait."""
        os.kill(self.pid, number)

    @property
    def exit_code(self) -> int | None:
        """How it ended by itself; None while it runs."""
        return self._processes[-1].exit_code

    def down(self) -> None:
        """End it as Kubernetes does; `up` starts it again."""
        self._processes[-1].stop(grace=30)

    def up(self) -> None:
        """Start it again with the same configuration."""
        self._processes[-1].start()
        self._wait()
