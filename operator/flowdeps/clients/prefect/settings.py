"""Read Prefect's settings before anything else of Prefect is imported.

They come from the environment and from files. Prefect reports a wrong one twice, by lines on
standard error and by an error of a library, and neither names the variable; here it becomes one
line that does.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any

from flowdeps.api.problems import InvalidError, Problem

# With no API address Prefect's client would start a server of its own; and five
# retries of its own, doubling from 2 s, would hide an outage for a minute.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_ENABLED", "false")
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")

_ADVICE = "correct or unset it, in the environment or in Prefect's profiles.toml or prefect.toml"


def _problems(error: ValueError, model: Any) -> Iterator[Problem]:
    """Name each wrong variable and what is wrong; never its value, which may be a password."""
    errors = getattr(error, "errors", None)
    for one in errors() if callable(errors) else ():
        if one["type"] == "default_factory_not_called":
            continue  # because of another one
        prefix = _prefixes(model).get(getattr(error, "title", ""), "PREFECT_")
        name = "_".join(str(part) for part in one["loc"]).upper()
        name = name if name.startswith("PREFECT_") else prefix + name
        yield Problem(name, f"{one['msg'].splitlines()[0]}; {_ADVICE}")
    if not callable(errors):
        yield Problem("Prefect's settings", f"{str(error).splitlines()[0]}; {_ADVICE}")


def _prefixes(model: Any) -> dict[str, str]:
    """Map the class of each group of settings to how its variables begin."""
    found = {model.__name__: model.model_config["env_prefix"]}
    for field in model.model_fields.values():
        if hasattr(field.annotation, "model_fields"):
            found |= _prefixes(field.annotation)
    return found


with redirect_stderr(io.StringIO()) as _printed:
    from prefect.settings import Settings, get_current_settings

try:
    get_current_settings()
except ValueError as error:
    raise InvalidError(_problems(error, Settings)) from None
print(_printed.getvalue(), end="", file=sys.stderr)

__all__ = ["get_current_settings"]
