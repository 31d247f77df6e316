"""`flowdeps template`: print what the operator would make of a pool's base job template."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from importlib import metadata
from typing import Any

from packaging.version import InvalidVersion, Version

from flowdeps import __version__
from flowdeps.api.config import Config
from flowdeps.api.problems import InvalidError, Problem
from flowdeps.api.resource import parse_spec
from flowdeps.api.times import parse_time
from flowdeps.cli.failure import CommandError
from flowdeps.cli.manifests import read_manifests
from flowdeps.cli.settings import add_config, read_config, read_document
from flowdeps.cli.terminal import say_aside, say_json
from flowdeps.clients.prefect.pool import Pool, Workers
from flowdeps.delivery.choice import NONE
from flowdeps.delivery.kinds import for_type, remove, unsupported
from flowdeps.delivery.kinds.kind import (
    Fragment,
    MergeRefusedError,
    default_image_note,
    worker_image,
)
from flowdeps.delivery.kinds.kubernetes import KUBERNETES
from flowdeps.state.fragments import Signature, pool_fragment, signature_of
from flowdeps.state.locations import age
from flowdeps.state.store import SetEntry, Store

SUMMARY = "merge sets into a pool's base job template"
DESCRIPTION = """\
Print a work pool's base job template with the fragment for the sets in FILE merged in,
as JSON. The pool itself is not touched.

The template comes from --base, or from the live pool (Prefect is found as by the
operator: prefect.apiUrl of --config, else PREFECT_API_URL). BASE is JSON or YAML: a
template, or the pool with one, as `prefect work-pool inspect NAME -o json` prints it.

Runs of a pool without a default image get the one that their worker takes, which goes
by its version of Prefect: that of --prefect, else what the live pool's workers tell,
or else that of the Prefect installed here.
"""
EPILOG = """\
examples:
  prefect work-pool inspect kubernetes -o json > base.json
  flowdeps template sets.yaml --pool kubernetes --base base.json > merged.json
  flowdeps template sets.yaml --pool kubernetes --check
  flowdeps template --pool kubernetes --base merged.json --remove > base.json

Exit status: 0, or 1 where the template can't take the fragment (the reason is on
standard error) or --check finds a difference.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="YAML or JSON; - for stdin")
    parser.add_argument("--pool", required=True, metavar="NAME", help="the work pool")
    parser.add_argument("--base", metavar="BASE", help="use this template, not the live one")
    parser.add_argument(
        "--prefect", metavar="VERSION", type=_version, help="the Prefect of the pool's workers"
    )
    parser.add_argument("--remove", action="store_true", help="remove the fragment instead")
    parser.add_argument(
        "--check", action="store_true", help="print nothing; exit 1 if there is a difference"
    )
    add_config(parser)


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version such as 3.9.1") from None


def run(args: argparse.Namespace) -> int:
    """Merge, remove or check; return the exit status."""
    if args.remove == bool(args.files):
        raise CommandError("give either FILEs to merge or --remove")
    config = read_config(args.config)
    entries = [] if args.remove else _entries(args.files)
    pool, workers = _pool(args, config)
    base, title, notes = dict(pool.template), f'work pool "{args.pool}"', list[str]()
    if args.remove:
        template = remove(base)
    elif kind := for_type(pool.type):
        view = kind.view(remove(base))
        found = (view.location,) if view.location else ()
        jobs = config.pool(args.pool).job_namespaces or found
        fragment = _fragment(args, config, entries, jobs=jobs, notes=notes)
        notes += [*view.notes, *workers.notes, *([] if jobs else [kind.unlocated])]
        if view.worker_chooses and fragment.default_image is None:
            told = args.prefect or workers.prefect
            image = worker_image(
                prefect=told or metadata.version("prefect"),
                python=config.pool(args.pool).worker_python,
            )
            fragment = replace(fragment, default_image=image)
            here = "" if told else " with the Prefect that is installed here; else give --prefect"
            notes.append(f"{default_image_note(image)}{here}")
        try:
            template = kind.merge(base, fragment)
        except MergeRefusedError as refusal:
            raise CommandError(f"{title}: {refusal.reason}: {refusal}") from None
    else:
        raise CommandError(f"{title}: NotKubernetes: {unsupported(pool.type)}")
    if not args.check:
        for note in notes:
            say_aside(f"flowdeps: {title}: {note}")
        say_json(template)
        return 0
    if template == base:
        return 0
    say_aside(f"flowdeps: the template of {title} would change")
    return 1


def _fragment(
    args: argparse.Namespace,
    config: Config,
    entries: Sequence[SetEntry],
    *,
    jobs: Sequence[str],
    notes: list[str],
) -> Fragment:
    """Return what the pool offers, whose jobs run in the namespaces `jobs`; adds what is refused
    to `notes`."""
    settings = config.pool(args.pool)
    offered: dict[str, Signature] = {}
    default, named, refused = NONE, set[str](), dict[str, None]()
    for entry in entries:
        namespace = entry.key.namespace
        for ref in entry.pool_refs:
            named.add(ref.name)
            if ref.name != args.pool:
                continue
            if (jobs or settings.namespaces) and not settings.admits(namespace, jobs=jobs):
                refused[f"{entry.key}: {settings.why_not_admitted(namespace, jobs=jobs)}"] = None
                continue
            offered.setdefault(ref.key, signature_of(entry))
            if ref.default and not settings.allows_default(namespace):
                refused[f"{entry.key}: {settings.why_not_default(namespace)}"] = None
            elif ref.default and default == NONE:
                default = ref.key
    if refused and not offered:
        raise CommandError(*(f'work pool "{args.pool}": {one}' for one in refused))
    notes += refused
    if not offered:
        others = f", or --pool one of: {', '.join(sorted(named))}" if named else ""
        raise CommandError(
            f'no set in these files offers itself to work pool "{args.pool}"; name it in their'
            f" spec.workPools{others}"
        )
    return pool_fragment(
        offered,
        pool=args.pool,
        settings=settings,
        default=default,
        index=config.index,
        owner=config.owner,
        cluster="",
        version=__version__,
        claim=settings.claim if settings.delivery == "Volume" else "",
    )


def _entries(files: list[str]) -> list[SetEntry]:
    reading = read_manifests(files)
    store = Store()
    for manifest in reading.sets:
        try:
            parse_spec(manifest.body)
            if not store.put_set({**manifest.body, "metadata": _metadata(manifest.body)}):
                twice = "an earlier document has a set of this name; keep one"
                reading.problems.append(manifest.origin.line("metadata.name", twice))
        except InvalidError as error:
            reading.problems += manifest.origin.lines(error)
    if reading.problems:
        raise CommandError(*reading.problems)
    return sorted(store.sets.values(), key=lambda entry: age(entry.meta))


def _metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is needed of a set's metadata, as an API server would send it."""
    meta = body["metadata"]
    namespace = meta.get("namespace") or "default"
    if not isinstance(namespace, str):
        raise InvalidError([Problem("metadata.namespace", "not a text; write the name alone")])
    found = {"name": meta["name"], "namespace": namespace}
    created = meta.get("creationTimestamp")
    if time := parse_time(created.isoformat() if isinstance(created, datetime) else created):
        found["creationTimestamp"] = time.isoformat()
    return found


def _pool(args: argparse.Namespace, config: Config) -> tuple[Pool, Workers]:
    if args.base:
        return _read(args.base, args.pool), Workers()
    return asyncio.run(_fetch(config, args.pool))


def _read(file: str, name: str) -> Pool:
    """Return the pool that a file is about: a template, or all of the pool with it."""
    found = read_document(file)
    if isinstance(found, str) and found.startswith("WorkPool("):
        raise CommandError(f"{file}: not JSON; print it with `prefect work-pool inspect -o json`")
    if isinstance(found, list):  # several, as Prefect's API lists them
        named = [one for one in found if isinstance(one, dict) and one.get("name") == name]
        found = named[0] if named else {}
    if not isinstance(found, dict):
        found = {}
    pool_type = KUBERNETES.type
    if "base_job_template" in found:
        if found.get("name", name) != name:
            raise CommandError(
                f'{file}: it is of work pool "{found["name"]}", not "{name}"; name that one in'
                " --pool"
            )
        pool_type, found = found.get("type", pool_type), found["base_job_template"]
    if not isinstance(found, dict) or "job_configuration" not in found:
        raise CommandError(
            f"{file}: not a base job template: it has no job_configuration; give the template, or"
            f" what `prefect work-pool inspect {name} -o json` prints"
        )
    return Pool(name, pool_type, found)


async def _fetch(config: Config, name: str) -> tuple[Pool, Workers]:
    from flowdeps.clients.prefect.client import Pools
    from flowdeps.clients.prefect.errors import PoolsError

    try:
        async with Pools.connect(config.prefect.api_url) as pools:
            pool, workers = await pools.read(name), Workers()
            if pool:
                with suppress(PoolsError):  # only the default image goes by them, which is told
                    workers = await pools.workers(pool)
    except PoolsError as error:
        raise CommandError(str(error)) from None
    if pool is None:
        raise CommandError(f'there is no work pool "{name}"')
    return pool, workers
