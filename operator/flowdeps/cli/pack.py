"""`flowdeps pack`: what the last container of a build's pod runs, beside a tree that is complete.

It prints how far it is, and as its last line how it ended:

    flowdeps-pack: {"ok": true, "digest": "sha256:…", "size": 1, "unpacked": 1, "files": 1}
    flowdeps-pack: {"ok": false, "error": "…", "retry": true}

Where unused environments are to be deleted, the first has `"locks": […]`, those whose environments
are there, or `"unusedError": "…"`. Where an image is asked for, it has `"image": {"digest":
"sha256:…", "size": 1}`, or `"imageError": "…"`.
"""

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

from flowdeps.api.names import PACK_CONTAINER
from flowdeps.cli.terminal import say
from flowdeps.locks.legible import printable

DESCRIPTION = """\
Pack the tree of a build's pod as an environment, and push it to the registry. The operator runs
this in the pod, with the variables FLOWDEPS_REPOSITORY, FLOWDEPS_TAG, FLOWDEPS_IMAGE,
FLOWDEPS_IMAGE_ID, FLOWDEPS_PLAIN_HTTP, FLOWDEPS_PROXY, FLOWDEPS_IMAGES, FLOWDEPS_DELETES and
FLOWDEPS_UNUSED.
"""
EPILOG = """\
Exit status: 0 the environment is in the registry, 1 it is not. The last line is JSON.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments: places, which are fixed in a pod."""
    for name, place in (
        ("tree", "/opt/flowdeps"),
        ("lock", "/etc/flowdeps"),
        ("credentials", "/etc/flowdeps-registry"),
        ("pull-secrets", "/etc/flowdeps-pull"),
    ):
        parser.add_argument(f"--{name}", metavar="DIRECTORY", type=Path, default=Path(place))


def run(args: argparse.Namespace) -> int:
    """Pack and push; 0 if the environment is in the registry."""
    from flowdeps.environments.errors import PackError
    from flowdeps.environments.pack import pack, read_request

    # The first process of a container ends by no signal that it does not handle.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        request = read_request(
            os.environ,
            tree=args.tree,
            lock=args.lock,
            credentials=args.credentials,
            pull_secrets=args.pull_secrets,
        )
        packed = asyncio.run(pack(request, say=lambda text: say(f"flowdeps: {text}")))
    except PackError as error:
        return _end(ok=False, error=printable(str(error)), retry=error.retry)
    except Exception as error:  # a traceback would be lost: the last line is what is read
        text = f"it failed in a way that is not known: {type(error).__name__}: {error}"
        return _end(ok=False, error=printable(text), retry=True)
    found = vars(packed) | {
        "image": packed.image and vars(packed.image),
        "imageError": printable(packed.image_error),
        "locks": list(packed.locks),
        "unusedError": printable(packed.unused_error),
    }
    del found["image_error"], found["unused_error"]
    return _end(ok=True, **{name: one for name, one in found.items() if one not in (None, "", [])})


def _end(*, ok: bool, **fields: object) -> int:
    say(f"{PACK_CONTAINER}: {json.dumps({'ok': ok, **fields})}")
    return 0 if ok else 1
