"""`make demo`, as a newcomer runs it: with real pods, or without root as processes here."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.cluster import tools

_ROOT = Path(__file__).parents[3]
_SECONDS = 900  # on a machine that is busy, with a cache that is cold


def test_the_demo_ends_with_the_flows_own_words() -> None:
    """Two versions before and after the change, nothing without a set, where there are pods a run
    that installs beside one that has its environment, and a template as before."""
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=_ROOT,
        env=tools.environment({"KEEP": "", "CLUSTER": ""}),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    versions = re.findall(r"emoji (\S+) from \S*/flowdeps/site/emoji/", done.stdout)
    pods = os.geteuid() == 0
    assert versions[:-1] == ["2.10.0"] * (3 if pods else 1)
    assert versions[-1] != "2.10.0"
    taken = re.findall(r"(Install|Image) +[\d.]+ s from run to first line", done.stdout)
    assert taken == (["Install", "Image"] if pods else [])
    assert "emoji: not in the image" in done.stdout
    assert "to the letter: True" in done.stdout
