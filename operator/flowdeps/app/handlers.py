"""Watch sets, our ConfigMaps and RunEnvironments by kopf, and hand each event to the service.

There are only `on.event` handlers, which write nothing to the objects; the queue decides what is
done when. They have a registry of their own, so that nothing else that is registered with kopf runs
here, and are coroutines, since kopf would run plain functions in threads.

kopf tries a request that the API server fails to answer for a minute, and gives up. An overload
lasts longer, and a process that ends and starts again would only add to it: the watch begins anew.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any, cast

import kopf

from flowdeps.api.names import (
    ENVIRONMENTS_PLURAL,
    GROUP,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PLURAL,
    VERSION,
)
from flowdeps.app.service import Service
from flowdeps.reconcile.runs_namespace.capability import looks
from flowdeps.state.store import SELECTOR

log = logging.getLogger(__name__)

_ANEW_SECONDS = 30.0


async def watch(service: Service, *, started: Callable[[], None] = lambda: None) -> None:
    """Feed a service from the cluster until cancelled.

    `started` is called once kopf has taken the signals.
    """
    while True:
        try:
            await _watch(service, started=started)
        except Exception as error:
            # Of kopf's errors only those of requests have a status.
            if not 500 <= getattr(error, "status", 0) < 600:
                raise
            log.warning("the watch has ended, and begins anew in %.0f s: %s", _ANEW_SECONDS, error)
            await asyncio.sleep(_ANEW_SECONDS)
        else:
            return


async def _watch(service: Service, *, started: Callable[[], None]) -> None:
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ready.add_done_callback(lambda _: started())
    namespaces: Collection[str] = service.context.config.watch_namespaces
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.queueing.exit_timeout = 0.1  # a handler only fills the queue
    # At a start kopf holds each object with its lock, and a task for it, until this time is over.
    settings.queueing.idle_timeout = 0.1
    # Objects that a list holds at once, each of them three times, and it may have a megabyte and
    # more: who writes them must not decide how much memory a start takes. What is small comes
    # slower than in large pages, but the service has listed everything by then.
    settings.watching.chunk_size = 8
    # To see namespaces and the resource come and go, kopf needs rights in the whole cluster, and
    # without them it serves nothing for a minute. Those that we name are there, or come.
    settings.scanning.disabled = bool(namespaces)
    settings.watching.label_selectors["", "v1", "configmaps"] = SELECTOR
    await kopf.operator(
        registry=_registry(service),
        # Its peering is off; by default it asks for the user's name, and a pod's user has none.
        identity=cast("Any", "flowdeps"),
        settings=settings,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=asyncio.Event(),  # signals are the command line's
        ready_flag=ready,
    )


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf would copy each object, with its lock, for handlers of changes. There are none."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


def _registry(service: Service) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        found = await service.context.cluster.login()
        return kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            insecure=not found.verify,
            scheme="Bearer" if found.token else None,
            token=found.token,
            certificate_path=found.certificate_path,
            private_key_path=found.private_key_path,
        )

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def on_set(type: str | None, event: kopf.RawEvent, **_: Any) -> None:  # noqa: A002 - kopf's name
        service.set_event(type, event["object"])

    @kopf.on.event("", "v1", "configmaps", labels={MANAGED_BY_LABEL: MANAGED_BY}, registry=registry)
    async def on_config_map(type: str | None, event: kopf.RawEvent, **_: Any) -> None:  # noqa: A002
        service.config_map_event(type, event["object"])

    async def on_environments(type: str | None, event: kopf.RawEvent, **_: Any) -> None:  # noqa: A002
        service.environments_event(type, event["object"])

    if looks(service.context.config):  # else the resource may not be there, nor a right to it
        kopf.on.event(GROUP, VERSION, ENVIRONMENTS_PLURAL, registry=registry)(on_environments)
    return registry
