"""`flowdeps template` from a live pool of a real Prefect server."""

import json

import pytest

from flowdeps.delivery.choice import find
from tests.cluster.prefect import PrefectServer
from tests.cluster.prefect_api import PrefectApi
from tests.integration.cli.support import Shell, set_text


@pytest.fixture
def connected(shell: Shell, prefect_server: PrefectServer) -> Shell:
    """A shell that knows the server as Prefect's own commands would."""
    return Shell(shell.directory, {"PREFECT_API_URL": prefect_server.url})


def test_the_live_pools_template_is_merged_and_the_pool_left_alone(
    connected: Shell, prefect_api: PrefectApi
) -> None:
    """Without --base the template is the pool's; it is read, never written."""
    prefect_api.create_pool("cli-live", image="registry.example.com/flows:1", namespace="flows")
    before = prefect_api.template("cli-live")
    connected.write("sets.yaml", set_text(["pandas"], pools=["cli-live"]))
    done = connected.flowdeps("template", "sets.yaml", "--pool", "cli-live")
    assert (done.status, done.err) == (0, "")
    found = find(json.loads(done.out))
    assert found is not None
    assert found.keys == ("ml",)
    assert prefect_api.template("cli-live") == before


def test_check_tells_a_pool_that_is_in_line_from_one_that_is_not(
    connected: Shell, prefect_api: PrefectApi
) -> None:
    """--check in a pull request: 1 until the pool has the template, then 0."""
    prefect_api.create_pool("cli-check", image="registry.example.com/flows:1", namespace="flows")
    connected.write("sets.yaml", set_text(["pandas"], pools=["cli-check"]))
    argv = ("template", "sets.yaml", "--pool", "cli-check")
    before = connected.flowdeps(*argv, "--check")
    assert (before.status, before.out) == (1, "")
    prefect_api.set_template("cli-check", json.loads(connected.flowdeps(*argv).out))
    assert connected.flowdeps(*argv, "--check").status == 0
    assert connected.flowdeps("template", "--pool", "cli-check", "--remove", "--check").status == 1


def test_the_address_of_the_configuration_comes_first(
    shell: Shell, prefect_server: PrefectServer, prefect_api: PrefectApi
) -> None:
    """prefect.apiUrl of --config is asked, not what the environment says."""
    prefect_api.create_pool("cli-config", image="registry.example.com/flows:1", namespace="flows")
    shell.write("sets.yaml", set_text(["pandas"], pools=["cli-config"]))
    shell.write("config.yaml", f"prefect: {{apiUrl: '{prefect_server.url}'}}")
    done = shell.flowdeps(
        *("template", "sets.yaml", "--pool", "cli-config", "--config", "config.yaml"),
        PREFECT_API_URL="http://127.0.0.1:9/api",
    )
    assert done.status == 0


def test_a_pool_that_prefect_does_not_have_is_told(connected: Shell) -> None:
    """A misspelt pool is named, with exit status 1 and nothing on standard output."""
    connected.write("sets.yaml", set_text(["pandas"], pools=["never-made"]))
    done = connected.flowdeps("template", "sets.yaml", "--pool", "never-made")
    assert (done.status, done.out) == (1, "")
    assert done.err == 'flowdeps: there is no work pool "never-made"\n'


def test_a_pool_that_cannot_carry_sets_is_refused(
    connected: Shell, prefect_api: PrefectApi
) -> None:
    """A process pool has no pods: NotKubernetes, and what kind of pool it takes."""
    prefect_api.call("POST", "/work_pools/", {"name": "cli-process", "type": "process"})
    connected.write("sets.yaml", set_text(["pandas"], pools=["cli-process"]))
    done = connected.flowdeps("template", "sets.yaml", "--pool", "cli-process")
    assert (done.status, done.out) == (1, "")
    assert "NotKubernetes: " in done.err
    assert 'the pool\'s type is "process"' in done.err
    assert connected.flowdeps("template", "--pool", "cli-process", "--remove").status == 0


def test_a_server_that_does_not_answer_is_told(shell: Shell) -> None:
    """An address without a server: said so in a line."""
    shell.write("sets.yaml", set_text(["pandas"], pools=["k"]))
    done = shell.flowdeps(
        *("template", "sets.yaml", "--pool", "k"), PREFECT_API_URL="http://127.0.0.1:9/api"
    )
    assert done.status == 1
    assert done.err.startswith("flowdeps: the Prefect API did not answer: ")
