"""What `flowdeps check --pool` does: ask the API server whether it takes our pods and a run.

Each is rendered as the operator, or a worker, would do so, and created with `dryRun=All`: admission
policies, Pod Security, quotas and webhooks judge it, and nothing is made.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from flowdeps import __version__
from flowdeps.api.config import Config
from flowdeps.api.names import (
    API_VERSION,
    BUILD_POD,
    KIND,
    MOUNT_CONTAINER,
    POPULATE_CONTAINER,
    PROBE_CONTAINER,
    TRY,
    VERIFY_CONTAINER,
)
from flowdeps.clients.prefect.pool import Pool, Workers
from flowdeps.delivery.choice import NONE
from flowdeps.delivery.kinds import for_type, remove, unsupported
from flowdeps.delivery.kinds.kind import Kind, MergeRefusedError, TemplateView, worker_image
from flowdeps.state.fragments import Signature, pool_fragment, signature_of
from flowdeps.state.store import Body, SetEntry
from flowdeps.trials.image import ImageRef
from flowdeps.trials.images import labels
from flowdeps.trials.pods import build_pod, mount_pod, populate_pod, probe_pod, verify_pod

if TYPE_CHECKING:
    from flowdeps.clients.kubernetes.client import Cluster

_NAME = "check"
_DIGEST = f"sha256:{'0' * 64}"
_ACCOUNT = ("cannot create resource", "the operator may ")
"""In what says that the account may not make such objects, whatever they are."""
_ADVICE = "; run this with an account that may create jobs and pods in that namespace"
_OWNER = {"name": _NAME, "uid": "00000000-0000-0000-0000-000000000000"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """An object that is to be made, and what it is for."""

    what: str
    body: Body


async def refusals_of(
    cluster: "Cluster", questions: Sequence[Question]
) -> AsyncIterator[tuple[str, str | None]]:
    """Yield what was asked, and what refuses it (None: nothing does)."""
    from flowdeps.clients.kubernetes.errors import ClusterError

    for one in questions:
        meta = one.body["metadata"]
        what = f"namespace {meta['namespace']} takes {one.what}"
        try:
            await cluster.try_create(one.body)
        except ClusterError as error:
            advice = _ADVICE if any(text in str(error) for text in _ACCOUNT) else ""
            yield what, f"{error}{advice}"
        else:
            yield what, None


def questions_of(
    config: Config,
    pool: Pool,
    workers: Workers,
    sets: Sequence[SetEntry],
    *,
    namespaces: Sequence[str],
) -> Iterator[Question]:
    """Yield all that the operator and the workers of a pool make.

    `sets` are those that name the pool; our pods are where they are, and in `namespaces`; where
    neither says it, beside the runs. Raises MergeRefusedError where the template can't be rendered.
    """
    kind, settings = for_type(pool.type), config.pool(pool.name)
    if kind is None:
        raise MergeRefusedError("NotKubernetes", unsupported(pool.type))
    view = kind.view(remove(pool.template))
    jobs = settings.job_namespaces or ((view.location,) if view.location else ())
    if not jobs:
        raise MergeRefusedError("NotLocated", kind.unlocated)
    image = (
        view.image
        or settings.image
        or worker_image(
            prefect=workers.prefect or metadata.version("prefect"), python=settings.worker_python
        )
    )
    sets = [one for one in sets if settings.admits(one.key.namespace, jobs=jobs)]
    found = sorted({*(one.key.namespace for one in sets), *namespaces}) or jobs
    for namespace in found:
        yield from _of_sets(config, ImageRef(namespace, image, view.pull_policy, view.user), pool)
    for namespace in jobs:
        yield from _beside_runs(config, namespace, view, pool)
    job = _run(config, pool, kind, image=image, sets=sets)
    for namespace in jobs:
        meta = {**job.get("metadata", {}), "namespace": namespace}
        meta = {key: value for key, value in meta.items() if key != "name"}
        meta["generateName"] = f"{TRY}-"
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": job["spec"]}
        yield Question(what=f'the Job of a run of work pool "{pool.name}"', body=body)
        template = job["spec"]["template"]
        meta = {**(template.get("metadata") or {}), "namespace": namespace}
        meta["generateName"] = f"{TRY}-"
        # As the Job's controller makes it.
        job_owner = {"apiVersion": "batch/v1", "kind": "Job", "controller": True, **_OWNER}
        meta["ownerReferences"] = [job_owner]
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
        yield Question(what=f'the pod of a run of work pool "{pool.name}"', body=body)


def _of_sets(config: Config, ref: ImageRef, pool: Pool) -> Iterator[Question]:
    """Yield the pods in a namespace of sets."""
    owner = {"apiVersion": API_VERSION, "kind": KIND, **_OWNER}
    given: dict[str, Any] = {"ref": ref, "settings": config.pods}
    probe = probe_pod(name=f"{PROBE_CONTAINER}-{_NAME}", labels=labels("probe"), **given)
    yield Question(what="the pod that inspects an image", body=_owned(probe, owner))
    env = config.pool(pool.name).install.env
    given |= {
        "digest": _DIGEST,
        "secret": TRY,
        "set_name": f"{ref.namespace}/{_NAME}",
        "imports": (),
        "names": (),
        "install_seconds": 900,
        "timeout_seconds": 300,
        "env": [{"name": one.name, "value": one.value} for one in env],
    }
    verify = verify_pod(name=f"{VERIFY_CONTAINER}-{_NAME}", labels=labels("verify"), **given)
    yield Question(what="the pod that verifies a lock", body=_owned(verify, owner))
    if config.environments.repository:
        build = build_pod(
            name=f"{BUILD_POD}-{_NAME}",
            labels=labels("build"),
            tag=_NAME,
            image_id=_DIGEST,
            unused=(),
            environments=config.environments,
            **given,
        )
        yield Question(what="the pod that makes an environment", body=_owned(build, owner))


def _beside_runs(
    config: Config, namespace: str, view: TemplateView, pool: Pool
) -> Iterator[Question]:
    """Yield our pods in a namespace of runs."""
    environments, settings = config.environments, config.pool(pool.name)
    if not environments.repository or settings.delivery in {"Install", "Cache"}:
        return
    reference = f"{environments.repository_of(namespace)}@{_DIGEST}"
    owner = {"apiVersion": "v1", "kind": "ConfigMap", **_OWNER, "name": TRY}
    if settings.delivery != "Volume":
        mount = mount_pod(
            name=f"{MOUNT_CONTAINER}-{_NAME}",
            ref=ImageRef(namespace, environments.image, user=view.user),
            labels=labels("mount"),
            reference=reference,
            pull_secrets=view.pull_secrets,
            settings=config.pods,
        )
        yield Question(what="the pod that mounts an environment", body=_owned(mount, owner))
    if settings.claim:
        populate = populate_pod(
            name=f"{POPULATE_CONTAINER}-{_NAME}",
            namespace=namespace,
            labels=labels("populate"),
            claim=settings.claim,
            reference=reference,
            lock=_DIGEST,
            keep=(),
            environments=environments,
            settings=config.pods,
        )
        yield Question(
            what="the pod that puts an environment on a claim", body=_owned(populate, owner)
        )


def _run(
    config: Config, pool: Pool, kind: Kind, *, image: str, sets: Sequence[SetEntry]
) -> dict[str, Any]:
    """Return the Job of a run that chooses one of the sets, or one that is still to come."""
    from flowdeps.clients.prefect.render import render_job

    settings = config.pool(pool.name)
    offered = {
        ref.key: signature_of(one) for one in sets for ref in one.pool_refs if ref.name == pool.name
    }
    none = Signature((), (datetime.now(UTC), "", ""), "", frozenset())
    offered = offered or {_NAME: none}
    fragment = pool_fragment(
        offered,
        pool=pool.name,
        settings=settings,
        default=NONE,
        index=config.index,
        owner=config.owner,
        cluster="",
        version=__version__,
        worker_image=image,
        claim=settings.claim if settings.delivery == "Volume" else "",
    )
    merged = kind.merge(remove(pool.template), fragment)
    return render_job(merged, {settings.variable: min(offered)})


def _owned(body: dict[str, Any], owner: Mapping[str, str]) -> Body:
    body["metadata"]["ownerReferences"] = [dict(owner)]
    return body
