"""How much the program loads before it does anything."""

import subprocess
import sys

CODE = """\
import sys
import flowdeps.cli
print([name for name in ("kopf", "kubernetes", "prefect") if name in sys.modules])
"""


def test_a_command_loads_no_client_that_it_does_not_need() -> None:
    """Prefect alone takes seconds to load; `lock`, `validate` and `diff` need no server."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr
