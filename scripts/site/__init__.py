"""Makes the documentation a site, in site/: docs/, and the files of the repository that it links.

    python -m scripts.site

Zensical reads mkdocs.yml and ends with an error where a link or an anchor leads nowhere. A link to
a file outside docs/ leads to a page below repository/ with that file, so the site is whole without
a host of the sources: `staging` makes these pages, in a directory that goes afterwards.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.site.staging import BuildError, stage

__all__ = ["ROOT", "BuildError", "build"]

ROOT = Path(__file__).parents[2]
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def build(target: Path, *, root: Path = ROOT) -> None:
    """Make the site of a checkout, in place of what stands in `target`."""
    with tempfile.TemporaryDirectory(prefix="flowdeps-site-") as directory:
        work = Path(directory)
        stage(root, work)
        program = [sys.executable, "-m", "zensical", "build", "--strict"]
        done = subprocess.run(
            program,
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = _COLOURS.sub("", done.stdout + done.stderr)
            raise BuildError(said.partition("Traceback")[0].strip() or said)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(work / "site", target)
