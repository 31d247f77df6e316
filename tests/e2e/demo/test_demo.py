"""`make demo`, as a newcomer runs it: with real pods, or without root as processes here."""

import os
import re
import subprocess
import sys
from pathlib import Path

from demo import meanwhile
from tests.cluster import cache, prefect_env, tools

_ROOT = Path(__file__).parents[3]
_SECONDS = 900  # on a machine that is busy, with a cache that is cold


def test_the_demo_ends_with_the_flows_own_words(tmp_path: Path) -> None:
    """Two versions before and after the change, nothing without a set, where there are pods a run
    that installs beside one that has its environment, and a template as before. Where a program of
    the node is still to be built, there is a lock first, then runs as processes meanwhile."""
    pods = os.geteuid() == 0
    variables = {"KEEP": "", "CLUSTER": ""}
    if pods:
        meanwhile.build()  # into the cache that other tests use
        prefect_env.bin_directory()
        variables["FLOWDEPS_CACHE"] = str(_cache_without(tmp_path, "bin/pause-"))
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=_ROOT,
        env=tools.environment(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    versions = re.findall(r"emoji (\S+) from \S*/flowdeps/site/emoji/", done.stdout)
    assert versions[:-1] == ["2.10.0"] * (4 if pods else 1)
    assert versions[-1] != "2.10.0"
    early, _, pods_part = done.stdout.rpartition("== A cluster and Prefect")
    assert "init containers: flowdeps-install" in pods_part
    if pods:
        assert "the install script and the flow run as processes here" in early
        assert re.search(r"emoji 2\.10\.0 from \S*/flowdeps/site/emoji/", early)
        assert "meanwhile: " in early
        assert "meanwhile: " not in pods_part
    taken = re.findall(r"(Install|Image) +[\d.]+ s from run to first line", done.stdout)
    assert taken == (["Install", "Image"] if pods else [])
    assert done.stdout.count("emoji: not in the image") == (2 if pods else 1)
    assert "to the letter: True" in done.stdout


def _cache_without(directory: Path, prefix: str) -> Path:
    """A cache that has all that the real one has, but what begins so."""
    real = cache.root()
    for entry in real.glob("*/*/.complete"):
        name = entry.parent.relative_to(real)
        if not str(name).startswith(prefix):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).symlink_to(entry.parent)
    return directory
