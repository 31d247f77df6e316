"""`flowdeps populate`: what the pod runs that puts an environment on a claim.

It prints what it does, and as its last line how it ended:

    flowdeps-populate: {"ok": true, "directory": "sha256-…", "files": 1, "bytes": 1, "slower": 1.3}
    flowdeps-populate: {"ok": false, "error": "…", "retry": true, "gone": false}
"""

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

from flowdeps.api.names import POPULATE_CONTAINER
from flowdeps.cli.terminal import say
from flowdeps.locks.legible import printable

DESCRIPTION = """\
Fetch an environment from the registry onto a claim, whole or not at all, and remove those that
nothing has used for a week. The operator runs this in a pod, with the variables FLOWDEPS_REFERENCE,
FLOWDEPS_LOCK, FLOWDEPS_KEEP, FLOWDEPS_PLAIN_HTTP and FLOWDEPS_PROXY.
"""
EPILOG = """\
Exit status: 0 the claim is as asked for, 1 it is not. The last line is JSON.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments: places, which are fixed in a pod."""
    for name, place in (
        ("claim", "/mnt/environments"),
        ("credentials", "/etc/flowdeps-registry"),
    ):
        parser.add_argument(f"--{name}", metavar="DIRECTORY", type=Path, default=Path(place))


def run(args: argparse.Namespace) -> int:
    """Populate; 0 if the claim is as asked for."""
    from flowdeps.environments.errors import PackError
    from flowdeps.environments.populate import populate, read_request

    # The first process of a container ends by no signal that it does not handle.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        request = read_request(os.environ, claim=args.claim, credentials=args.credentials)
        done = asyncio.run(populate(request, say=lambda text: say(f"flowdeps: {text}")))
    except PackError as error:
        return _end(ok=False, error=printable(str(error)), retry=error.retry, gone=error.gone)
    except Exception as error:  # a traceback would be lost: the last line is what is read
        text = f"it failed in a way that is not known: {type(error).__name__}: {error}"
        return _end(ok=False, error=printable(text), retry=True)
    return _end(ok=True, **vars(done))


def _end(*, ok: bool, **fields: object) -> int:
    say(f"{POPULATE_CONTAINER}: {json.dumps({'ok': ok, **fields})}")
    return 0 if ok else 1
