"""`flowdeps pack`, as far as it needs no registry."""

import json
from pathlib import Path

import pytest

from flowdeps.cli.main import build_parser, main
from flowdeps.environments import pack as module


def test_it_is_not_listed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """The operator runs it, and it says so to those who ask."""
    assert "pack " not in build_parser().format_help()
    with pytest.raises(SystemExit):
        main(["pack", "--help"])
    assert "FLOWDEPS_REPOSITORY" in capsys.readouterr().out


def test_whatever_happens_the_last_line_says_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The operator reads nothing else."""

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines \x1b[31m")

    monkeypatch.setattr(module, "pack", fail)
    for name in ("REPOSITORY", "TAG", "IMAGE", "IMAGE_ID"):
        monkeypatch.setenv(f"FLOWDEPS_{name}", "x")
    assert main(["pack", "--tree", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line.removeprefix("flowdeps-pack: "))
    assert (said["ok"], said["retry"]) == (False, True)
    assert "RuntimeError: two lines" in said["error"]
    assert said["error"].isprintable()
