"""The commands of README.md and docs/start.md: `test_walkthrough.py` types them on a real node."""

import pytest

from tests.support.pages import NOT_RUN, ROOT, blocks, commands, to_follow


@pytest.mark.parametrize("page", NOT_RUN)
def test_what_is_not_run_is_there_and_has_a_reason(page: str) -> None:
    """No exception outlives its command, and nothing is one for two reasons."""
    shown = [one.plain for one in commands(page)]
    assert {one for one in NOT_RUN[page] if one not in shown} == set()
    assert all(NOT_RUN[page].values())


def test_what_the_second_page_leaves_out_is_run_for_the_first() -> None:
    """README goes the way without the chart, and docs/start.md the one with it."""
    other = {one.plain for one in to_follow("README.md")} | set(NOT_RUN["README.md"])
    assert set(NOT_RUN["docs/start.md"]) <= other
    assert not set(NOT_RUN["docs/start.md"]) - {"make setup"} & set(NOT_RUN["README.md"])


@pytest.mark.parametrize("page", NOT_RUN)
def test_every_command_is_read_from_the_page(page: str) -> None:
    """Each line with a prompt begins one, and each here-document belongs to one."""
    text = "".join(text for _, text in blocks(ROOT / page, "console"))
    assert len(commands(page)) == sum(line.startswith("$ ") for line in text.splitlines()) > 5
    documents = [one.command for one in commands(page) if "<<YAML" in one.command]
    assert documents
    assert all(one.endswith("\nYAML") for one in documents)
    assert not [one for one in commands(page) if one.command.endswith("\\")]


def test_the_first_screen_leads_from_nothing_to_a_run() -> None:
    """The commands of README come in the order in which a person types them, before all else."""
    steps = [one.plain.partition("\n")[0] for one in commands("README.md")]
    assert [" ".join(step.split()[:2]) for step in steps[:8]] == [
        "make setup",
        "kubectl apply",
        ".venv/bin/flowdeps run",
        "kubectl apply",
        "kubectl wait",
        "kubectl get",
        "prefect deployment",
        "kubectl delete",
    ]
    lines = (ROOT / "README.md").read_text().splitlines()
    assert lines.index("## Five minutes to a run in your cluster") < 10
