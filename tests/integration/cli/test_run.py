"""`flowdeps run` as a process: starting, probes, signals."""

import json
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml

from tests.cluster import ports
from tests.cluster.prefect import PrefectServer
from tests.integration.cli.support import Shell
from tests.support.accounts import Accounts
from tests.support.sets import wait


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.fixture
def port() -> int:
    return ports.free(ports.ANYWHERE)


@pytest.fixture
def configured(shell: Shell, accounts: Accounts, prefect_server: PrefectServer, port: int) -> Shell:
    config = {
        "httpPort": port,
        "prefect": {"apiUrl": prefect_server.url, "pollInterval": "1s"},
        "watchNamespaces": ["kube-public"],
    }
    shell.write("config.yaml", yaml.safe_dump(config))
    return Shell(shell.directory, {"KUBECONFIG": str(accounts.kubeconfig(config))})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_operator_with_0(
    configured: Shell, port: int, number: signal.Signals
) -> None:
    """Ready within a moment, alive, and after SIGTERM or SIGINT gone, without a traceback; its log
    is JSON, a line each."""
    with configured.start("run", "--config", "config.yaml", stdout=subprocess.DEVNULL) as process:
        try:
            wait(lambda: _get(port, "/readyz")[0] == 200, what="the operator")
            assert _get(port, "/healthz") == (200, "ok\n")
            assert "flowdeps_queue_ready 0.0" in _get(port, "/metrics")[1]
            process.send_signal(number)
            process.wait(timeout=180)
        finally:
            process.kill()
    assert process.returncode == 0
    err = configured.read("stderr")
    assert "Traceback" not in err
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    assert any(message.startswith("found ") for message in messages)


def test_without_prefect_it_runs_and_says_that_it_is_not_ready(
    configured: Shell, port: int
) -> None:
    """An outage of Prefect at the start keeps nothing from being locked: alive, not ready, why."""
    config = yaml.safe_load(configured.read("config.yaml"))
    config["prefect"]["apiUrl"] = "http://127.0.0.1:9/api"
    configured.write("config.yaml", yaml.safe_dump(config))
    with configured.start("run", "--config", "config.yaml", stdout=subprocess.DEVNULL) as process:
        try:
            wait(
                lambda: "did not answer" in _get(port, "/readyz")[1],
                what="the operator to see the outage",
            )
            assert _get(port, "/readyz")[0] == 503
            assert _get(port, "/healthz")[0] == 200
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=180)
        finally:
            process.kill()
    assert process.returncode == 0


def test_logs_can_be_for_people(configured: Shell, port: int) -> None:
    """--log-format text writes lines with time, level and logger."""
    argv = ("run", "--config", "config.yaml", "--log-format", "text", "--log-level", "debug")
    with configured.start(*argv, stdout=subprocess.DEVNULL) as process:
        try:
            wait(lambda: _get(port, "/readyz")[0] == 200, what="the operator")
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=180)
        finally:
            process.kill()
    assert " INFO    flowdeps.app.service: found " in configured.read("stderr")
