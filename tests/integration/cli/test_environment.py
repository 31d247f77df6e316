"""Settings of Prefect that come from the environment."""

import pytest

from tests.integration.cli.support import Shell

COMMANDS = [("run",), ("template", "--pool", "k", "--remove")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("PREFECT_LOGGING_LEVEL", "bogus", "'DEBUG'"),
        ("PREFECT_CLIENT_MAX_RETRIES", "hunter2", "valid integer"),
        ("PREFECT_DEBUG_MODE", "hunter2", "valid boolean"),
        ("PREFECT_LOGGING_EXTRA_LOGGERS", "7", "Invalid set"),
    ],
)
def test_an_invalid_setting_is_one_line_that_names_the_variable(
    shell: Shell, command: tuple[str, ...], name: str, value: str, why: str
) -> None:
    """Its name, what it should be and the way out, without the value, which may be a password."""
    done = shell.flowdeps(*command, **{name: value})
    assert done.status == 1
    assert done.err.startswith(f"flowdeps: {name}: ")
    assert done.err.count("\n") == 1
    assert why in done.err
    assert "correct or unset it" in done.err
    assert value not in done.err


def test_a_setting_that_prefect_warns_of_is_still_warned_of(shell: Shell) -> None:
    """What Prefect says while it is imported is shown where nothing is wrong with its settings."""
    done = shell.flowdeps("template", "--pool", "k", "--remove", PREFECT_PROFILE="unknown")
    assert "unknown" in done.err
    assert "no Prefect API is configured" in done.err


def test_commands_that_need_no_prefect_do_not_mind(shell: Shell) -> None:
    """`flowdeps status` asks the cluster alone."""
    done = shell.flowdeps("status", PREFECT_LOGGING_LEVEL="bogus")
    assert "PREFECT" not in done.err
    assert "cluster" in done.err
