"""A flow that tells what it sees: for each package its version and where it is imported from.

It writes one line of JSON through the run's logger. It runs in the flow image, with nothing but
Prefect and the standard library.
"""

import importlib
import importlib.metadata
import json
import os

from prefect import flow, get_run_logger


@flow(name="probe")
def probe(packages: list[str]) -> dict[str, object]:
    """``packages``: names of distributions; ``distribution:module`` where the names differ."""
    seen: dict[str, object] = {
        "packages": {name.partition(":")[0]: look_at(name) for name in packages},
        "set": os.environ.get("FLOWDEPS_SET"),
        "lock": os.environ.get("FLOWDEPS_LOCK"),
        "python_path": os.environ.get("PYTHONPATH"),
    }
    get_run_logger().info("flowdeps-probe %s", json.dumps(seen))
    return seen


def look_at(name: str) -> dict[str, str | None]:
    distribution, _, module = name.partition(":")
    try:
        version = importlib.metadata.version(distribution)
        imported = importlib.import_module(module or distribution.replace("-", "_"))
    except ImportError as error:
        return {"version": None, "file": None, "error": str(error)}
    return {"version": version, "file": imported.__file__}
