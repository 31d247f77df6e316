"""What of the network a resolution reaches, and the proxy that keeps it there.

The proxy (`flowdeps.resolver.guard`) is a child of ours that lives as long as a resolution. The
kernel, where it can, lets the other children connect to its port only.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flowdeps.api.allowed import origin_of
from flowdeps.locks.index import Index
from flowdeps.resolver import guard
from flowdeps.resolver.child import ChildEnd, Limits, run_child
from flowdeps.resolver.directories import WORK
from flowdeps.resolver.errors import (
    IndexRefusedError,
    IndexUnavailableError,
    ResolveError,
    ResolverError,
)

_COMMAND = (sys.executable, "-P", "-m", guard.__name__)
_PACKAGES = str(Path(guard.__file__).parents[2])
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SERVICES = {4: 16, 6: 108}
"""How many bits of the address of the API server's Service the cluster's other Services share."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which addresses the indexes of sets may have."""

    trusted: tuple[str, ...] = ()
    """URLs of indexes that may have any: those that the configuration names."""
    allowed: tuple[str, ...] = ()
    """Networks (CIDR) that are open, whatever else holds."""
    denied: tuple[str, ...] = ()
    """Networks that are closed, besides those of the machine and the link."""

    @property
    def is_open(self) -> bool:
        """Whether all networks are open, so that no address has to be looked at."""
        return {4, 6} <= {
            one.version for one in map(ipaddress.ip_network, self.allowed) if one.prefixlen == 0
        }


def cluster_services(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the network of the cluster's Services, as far as a pod's environment tells.

    It tells the API server's address alone, and clusters rarely have fewer than 65,536 addresses
    for Services. In one of the company's own networks there can't be any of these.
    """
    try:
        address = ipaddress.ip_address(environment["KUBERNETES_SERVICE_HOST"])
    except (KeyError, ValueError):
        return ()
    bits = _SERVICES[address.version] if address.is_private else address.max_prefixlen
    return (str(ipaddress.ip_network(f"{address}/{bits}", strict=False)),)


class Passage:
    """The way to the network of one resolution."""

    def __init__(
        self,
        port: int | None = None,
        notes: Path | None = None,
        serving: "asyncio.Task[ChildEnd] | None" = None,
    ) -> None:
        self.port = port
        """Of the proxy on loopback; None: there is none."""
        self._notes, self._serving = notes, serving

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead children to the proxy."""
        if self.port is None:
            return {}
        url = f"http://127.0.0.1:{self.port}"
        return {name: url for one in _PROXIES for name in (one, one.upper())}

    def explain(self, error: ResolveError) -> ResolveError:
        """Return the error that the proxy knows to be the cause of a child's, or that error."""
        if self._serving and self._serving.done():
            return ResolverError(f"the resolver's proxy ended: {_last_words(self._serving)}")
        if refused := self._note(guard.REFUSED):
            return IndexRefusedError(refused)
        unreached = self._note(guard.UNREACHED)
        if unreached and isinstance(error, IndexUnavailableError):
            where, reads, _ = error.message.partition(" can't be read: ")
            return IndexUnavailableError(f"{where}{reads}{unreached}" if reads else unreached)
        return error

    def _note(self, file: str) -> str:
        if self._notes is None:
            return ""
        try:
            with (self._notes / file).open(encoding="utf-8", errors="replace") as notes:
                return notes.readline(1000).strip()
        except FileNotFoundError:
            return ""


@contextlib.asynccontextmanager
async def guarded(
    network: Network | None, index: Index, *, credentials: bool, limits: Limits
) -> AsyncIterator[Passage]:
    """Let a resolution reach the ``network`` (None: all that we do), through a proxy that ends with
    it; ``credentials``: there are some for the ``index``. Raises ResolverError."""
    other = _unguardable()
    if network is None or (other and network.is_open):
        yield Passage()
        return
    if other:
        raise ResolverError(
            f"{other} of the operator is no HTTP proxy, so that it can't be seen where an index"
            ' is; name one, or open all networks: index.allowedNetworks: ["0.0.0.0/0", "::/0"]'
        )
    with (
        tempfile.TemporaryDirectory(prefix=WORK) as name,
        socket.create_server(("127.0.0.1", 0), backlog=128) as listening,
    ):
        directory, port = Path(name), listening.getsockname()[1]
        policy = {
            "trusted": [*map(origin_of, network.trusted)],
            "allowed": network.allowed,
            "denied": network.denied,
            "indexes": [*map(origin_of, index.all_urls)],
            "credentials": credentials,
        }
        question = {"fd": listening.fileno(), "policy": policy}
        (directory / guard.QUESTION).write_text(json.dumps(question), encoding="utf-8")
        serving = asyncio.create_task(
            run_child(
                _COMMAND,
                environment={
                    **{
                        name: value for name, value in os.environ.items() if value and _is_way(name)
                    },
                    "PYTHONPATH": _PACKAGES,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "HOME": str(directory),
                },
                directory=directory,
                limits=limits,
                inherits=(listening.fileno(),),
            )
        )
        serving.add_done_callback(lambda _: listening.close())  # so that nobody waits for it
        try:
            yield Passage(port, directory, serving)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def _last_words(ended: "asyncio.Task[ChildEnd]") -> str:
    if error := ended.exception():
        return str(error)
    lines = ended.result().messages.split("\n")
    return next(filter(None, reversed(lines)), f"it says nothing ({ended.result().code})")[:500]


def _is_way(name: str) -> bool:
    return name.lower() in {*_PROXIES, "no_proxy", "ssl_cert_file", "ssl_cert_dir"}


def _unguardable() -> str:
    """Return the name of a variable of ours whose proxy would be used and isn't one of HTTP."""
    ours = {name.lower(): name for name, value in os.environ.items() if value and _is_way(name)}
    for one in ("http_proxy", "https_proxy"):
        name = ours.get(one, ours.get("all_proxy", ""))
        value = os.environ.get(name, "")
        if "://" in value and not value.lower().startswith("http"):
            return name
    return ""
