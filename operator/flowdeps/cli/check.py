"""`flowdeps check`: whether an operator with this configuration and account can do its work."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from flowdeps.api.config import Config
from flowdeps.api.names import PLURAL
from flowdeps.cli.failure import CommandError
from flowdeps.cli.settings import add_config, read_config
from flowdeps.cli.terminal import say, say_aside
from flowdeps.delivery.kinds import for_type
from flowdeps.delivery.kinds.kind import MergeRefusedError
from flowdeps.state.store import Body, Store

if TYPE_CHECKING:
    from flowdeps.clients.kubernetes.client import Cluster
    from flowdeps.clients.kubernetes.rights import Right
    from flowdeps.clients.prefect.client import Pool, Workers

SUMMARY = "check whether the operator can do its work here"
DESCRIPTION = """\
Check whether an operator with this configuration and the current account can do its work: the
configuration is valid, the resource is installed, the account has every right in
docs/rbac.yaml, and Prefect answers. It changes nothing, and notes if no admission policy limits the
account, and what keeps runs from ready environments.

Below that it notes which sets of the cluster the configuration keeps out of a work pool, does not
let be a pool's default, or gives no credentials where its jobs run, and the line that would.

With --pool it also asks the API server whether it takes what sets of this work pool bring with
them: the pods of the operator, and a run. Each is created with dryRun=All, so that admission
policies, Pod Security and quotas judge it, and nothing is made. That needs an account that may
create jobs and pods, such as your own: that of the operator may not make runs.

It finds the cluster and Prefect as `flowdeps run` does.
"""
EPILOG = """\
examples:
  flowdeps check --config config.yaml
  flowdeps check --pool kubernetes -n team-a

Exit status: 0 it can, 1 it can't (the lines say what is missing and what to do).
"""
_AT_ONCE = 10
_UNLIMITED = (
    "no admission policy limits this account to flowdeps' own objects. If it is the operator's, its"
    " roles alone let it write others' ConfigMaps and Secrets, also those that get tokens of"
    " service accounts: set admissionPolicy.enabled of the chart to true (Kubernetes 1.30;"
    " docs/security.md)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_config(parser)
    parser.add_argument(
        "--pool", metavar="NAME", help="ask whether pods for sets of this pool, and its runs, start"
    )
    parser.add_argument(
        "-n",
        "--namespace",
        action="append",
        default=[],
        metavar="NAME",
        help="where its sets will be; otherwise where they are, or beside the runs; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    """Print a line for each check; 0 if all passed, else 1."""
    if args.namespace and not args.pool:
        raise CommandError("--namespace says where sets of a pool will be; give --pool as well")
    return asyncio.run(_check(read_config(args.config), args.pool, args.namespace))


async def _check(config: Config, pool: str | None, namespaces: Sequence[str]) -> int:
    problems, notes = 0, list[str]()
    async for what, problem in _findings(config, notes, pool, namespaces):
        say(f"{'ok' if problem is None else 'NO'}    {what}")
        if problem is not None:
            say(f"      {problem}")
            problems += 1
    for note in notes:
        say(f"note  {note}")
    if problems:
        say_aside(f"{problems} of these would keep the operator from its work")
    return 1 if problems else 0


async def _findings(
    config: Config, notes: list[str], name: str | None, namespaces: Sequence[str]
) -> AsyncIterator[tuple[str, str | None]]:
    """Yield what is checked, and why it failed (None: it passed); add what pools refuse to
    `notes`."""
    from flowdeps.clients.kubernetes.client import Cluster
    from flowdeps.clients.kubernetes.errors import ClusterError
    from flowdeps.clients.kubernetes.rights import needed
    from flowdeps.clients.prefect.client import Pools
    from flowdeps.clients.prefect.errors import PoolsError
    from flowdeps.reconcile.runs_namespace.capability import admission_problem, nodes_problem

    yield "the configuration holds", config.environments.missing or None
    sets: list[Body] = []
    try:
        async with Cluster.connect() as cluster:
            install = "install what is in crds/, or the chart with crds.enabled"
            is_served = await cluster.serves(PLURAL)
            yield "the cluster serves FlowDependencySets", None if is_served else install
            rights = needed(config)
            missing = await _missing(cluster, rights)
            for one in missing:
                grant = "grant it: docs/rbac.yaml, or rbac.create of the chart"
                yield f"the account may {one}", grant
            if not missing:
                yield f"the account has the {len(rights)} rights that it needs", None
                somewhere = config.watch_namespaces or [config.election.namespace or "default"]
                if await cluster.is_limited(somewhere[0]):
                    yield "an admission policy limits the account to flowdeps' own objects", None
                else:
                    notes.append(_UNLIMITED)
                sets = await cluster.list_sets(config.watch_namespaces) if is_served else []
                if config.environments.repository:
                    admission = await admission_problem(cluster, config.environments)
                    obstacles = filter(None, (admission, await nodes_problem(cluster)))
                    notes += [f"runs install their locks: {one}" for one in obstacles]
    except ClusterError as error:
        yield "the cluster answers", str(error)
    try:
        async with Pools.connect(config.prefect.api_url) as pools:
            found = await pools.read_all()
            pool = found.get(name) if name else None
            workers = await pools.workers(pool) if pool else None
        count = sum(one.type == "kubernetes" for one in found.values())
        yield f"Prefect answers; work pools of type kubernetes: {count}", None
        notes += refusals(config, sets, found)
    except PoolsError as error:
        yield "Prefect answers", str(error)
        return
    if name and (pool is None or workers is None):
        yield f'Prefect has the work pool "{name}"', "create it, or name another in --pool"
    elif pool and workers:
        async for finding in _admission(config, pool, workers, sets, namespaces):
            yield finding


async def _admission(
    config: Config,
    pool: "Pool",
    workers: "Workers",
    sets: Sequence[Body],
    namespaces: Sequence[str],
) -> AsyncIterator[tuple[str, str | None]]:
    """Yield what the API server takes, and what refuses it."""
    from flowdeps.cli.admission import questions_of, refusals_of
    from flowdeps.clients.kubernetes.client import Cluster
    from flowdeps.clients.kubernetes.errors import ClusterError

    store = Store()
    for body in sets:
        store.put_set(body)
    entries = [store.sets[key] for key in sorted(store.offering(pool.name))]
    try:
        questions = list(questions_of(config, pool, workers, entries, namespaces=namespaces))
    except MergeRefusedError as error:
        yield f'work pool "{pool.name}" takes sets', f"{error.reason}: {error}"
        return
    try:
        async with Cluster.connect() as cluster:
            async for finding in refusals_of(cluster, questions):
                yield finding
    except ClusterError as error:
        yield "the cluster answers", str(error)


def refusals(config: Config, sets: Sequence[Body], pools: Mapping[str, "Pool"]) -> Iterator[str]:
    """Yield what the operator will report of sets that a pool refuses something."""
    store = Store()
    for body in sets:
        store.put_set(body)
    for key, entry in sorted(store.sets.items()):
        for ref in entry.pool_refs:
            settings, pool = config.pool(ref.name), pools.get(ref.name)
            kind = for_type(pool.type) if pool else None
            if pool is None or kind is None:
                continue
            location = kind.view(pool.template).location
            jobs = settings.job_namespaces or ((location,) if location else ())
            credentials = entry.spec is not None and entry.spec.index.credentials
            for text in settings.refusals(
                key.namespace, jobs=jobs, default=ref.default, credentials=bool(credentials)
            ):
                yield f'{key} in work pool "{ref.name}": {text}'


async def _missing(cluster: "Cluster", rights: Sequence["Right"]) -> list["Right"]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def may(right: "Right") -> bool:
        async with turns:
            return await cluster.may(right)

    answers = await asyncio.gather(*map(may, rights))
    return [right for right, allowed in zip(rights, answers, strict=True) if not allowed]
