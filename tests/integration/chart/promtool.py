"""The real promtool on groups of rules."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster import binaries


class PromtoolError(AssertionError):
    """promtool refused; the message is what it said."""


class Promtool:
    """promtool with its files below `home`."""

    def __init__(self, home: Path) -> None:
        self._program = binaries.ensure(["promtool"])["promtool"]
        self._home = home

    def check(self, groups: Sequence[Mapping[str, Any]]) -> str:
        """`promtool check rules`: what it says of groups of rules. Raises PromtoolError."""
        return self._run("check", "rules", "--lint=all", "--lint-fatal", self._rules(groups))

    def test(self, groups: Sequence[Mapping[str, Any]], *tests: Mapping[str, Any]) -> None:
        """`promtool test rules`. Raises PromtoolError."""
        rules = self._rules(groups)
        file = self._home / "tests.json"
        file.write_text(json.dumps({"rule_files": [str(rules)], "tests": list(tests)}))
        self._run("test", "rules", file)

    def _rules(self, groups: Sequence[Mapping[str, Any]]) -> Path:
        file = self._home / "rules.json"  # which YAML is, too
        file.write_text(json.dumps({"groups": list(groups)}))
        return file

    def _run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            [self._program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise PromtoolError(done.stdout + done.stderr)
        return done.stdout
