"""Steps of a build that need the network."""

from pathlib import Path

import pytest

from tests.cluster import progress
from tests.cluster.progress import StepFailedError, run_step

# Each time one more line; it succeeds the third time.
_THIRD = 'echo >> "$0"; echo failing; test "$(wc -l < "$0")" = 3'


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_PAUSE_SECONDS", 0)


def test_a_step_that_fails_is_made_again(tmp_path: Path) -> None:
    """As often as it was given attempts, and no more once it succeeded."""
    count = tmp_path / "count"
    run_step("trying", ["sh", "-c", _THIRD, count], log=tmp_path / "log", attempts=5)
    assert count.read_text() == "\n" * 3


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_step_whose_last_attempt_fails_raises(tmp_path: Path, attempts: int) -> None:
    """With the end of its log."""
    count = tmp_path / "count"
    with pytest.raises(StepFailedError, match="failing"):
        run_step("trying", ["sh", "-c", _THIRD, count], log=tmp_path / "log", attempts=attempts)
    assert count.read_text() == "\n" * attempts
