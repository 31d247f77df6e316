"""A small proxy on loopback, as a program of its own: what uv and the reader of pages may reach.

It resolves names itself, and connects to the address that it has looked at: so neither a redirect
nor another answer of the DNS leads elsewhere. TLS goes through it untouched. Through a proxy of the
operator's own it looks at the addresses that it knows, and the other proxy connects.

Credentials of an index go to that index only, not to another port of its host, nor in plain text to
anyone who isn't an index: such headers are left out, and such tunnels refused.

The question is JSON in the current directory (`flowdeps.resolver.network`). What it refuses, and
whom it can't reach, it writes there, a line each.
"""

import asyncio
import base64
import ipaddress
import json
import os
import socket
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flowdeps.api.allowed import origin_of
from flowdeps.resolver.addresses import Origin, Policy, RefusedError, bracketed, place

QUESTION, REFUSED, UNREACHED = "guard.json", "refused", "unreached"

_HEAD = 64 * 1024
_CHUNK = 64 * 1024
_CONNECT_SECONDS = 10
_NEXT_SECONDS = 0.25
_MOST_LINES = 100
# Of one connection, not of the resource; and whatever names a proxy.
_HOP = {"connection", "keep-alive", "proxy-connection", "proxy-authorization"}


class Guard:
    """Serves one resolution."""

    def __init__(self, policy: Policy, environment: Mapping[str, str], *, directory: Path) -> None:
        self._policy = policy
        self._environment = {name.lower(): value for name, value in environment.items()}
        self._directory = directory
        self._lines = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request of a client."""
        try:
            await self._serve(reader, writer)
        except RefusedError as error:
            self._note(REFUSED, str(error))
            writer.write(_answer(403, "Refused by flowdeps"))
        except (OSError, TimeoutError) as error:
            writer.write(_answer(502, f"{error}"))
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.write(_answer(400, "Bad Request"))
        finally:
            with suppress(OSError):
                await writer.drain()
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, headers = _split(await reader.readuntil(b"\r\n\r\n"))
        method, target, _ = first.split(" ")
        if method == "CONNECT":
            origin = _origin(f"https://{target}")
            self._policy.check_tunnel(origin)
            other = await self._connect(origin)
            with closing(other[1]):
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                await _first(_pump(reader, other[1]), _pump(other[0], writer))
            return
        parts, origin = urlsplit(target), _origin(target)
        if method not in {"GET", "HEAD"} or parts.scheme != "http":
            raise ValueError(method)
        kept = [
            (name, value)
            for name, value in headers
            if name.lower() not in _HOP
            and (name.lower() != "authorization" or self._policy.gives_credentials(origin))
        ]
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        proxy = self._proxy(origin)
        if proxy:
            path = target
            kept += _authorization(proxy)
        other = await self._connect(origin)
        with closing(other[1]):
            other[1].write(_joined(f"{method} {path} HTTP/1.1", kept))
            try:
                status, answered = await _answered(other[0])
            except OSError as error:
                self._note(UNREACHED, _why(error))
                raise
            # One request a connection: the next one may be for somebody else.
            writer.write(_joined(status, [one for one in answered if one[0].lower() not in _HOP]))
            await _first(_pump(other[0], writer), reader.read(1))

    async def _connect(self, origin: Origin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to where an origin is, or to the proxy on the way. Raises RefusedError, OSError.

        Through a proxy a tunnel to the origin is open.
        """
        scheme, host, port = origin
        proxy = self._proxy(origin)
        addresses: list[str] = []
        try:
            addresses = await _resolve(host, port)
        except OSError as error:
            if not proxy:
                self._note(UNREACHED, f"the name {host} can't be resolved; check the index URL")
                raise OSError("the name can't be resolved") from error
        if not self._policy.trusts(origin):
            fine = [one for one in addresses if self._policy.reaches(one)]
            if addresses and not fine:
                raise RefusedError(
                    f"{place(origin)} is at an address of the operator's machine, link or cluster,"
                    " which is closed to the indexes that sets name: use another, or ask those who"
                    " run flowdeps to open it in index.allowedNetworks"
                )
            addresses = fine
        try:
            if not proxy:
                return await _first_open(addresses, port)
            parts = urlsplit(proxy)
            upstream = await asyncio.wait_for(
                asyncio.open_connection(
                    *_origin(proxy)[1:],
                    ssl=parts.scheme == "https" or None,
                    limit=_HEAD,
                ),
                _CONNECT_SECONDS,
            )
            if scheme == "https":
                await _tunnel(upstream, f"{bracketed(host)}:{port}", _authorization(proxy))
        except (OSError, TimeoutError) as error:
            why = _why(error)
            by = "the operator's proxy doesn't lead there: " if proxy else ""
            self._note(UNREACHED, f"{by}{why}")
            raise OSError(why) from error
        return upstream

    def _proxy(self, origin: Origin) -> str:
        """Return the operator's own proxy for an origin; empty: none."""
        scheme, host, _ = origin
        if _bypasses(self._environment.get("no_proxy", ""), host):
            return ""
        found = self._environment.get(f"{scheme}_proxy") or self._environment.get("all_proxy", "")
        return found if "://" in found or not found else f"http://{found}"

    def _note(self, file: str, line: str) -> None:
        self._lines += 1
        if self._lines <= _MOST_LINES:
            with (self._directory / file).open("a", encoding="utf-8") as notes:
                notes.write(f"{line}\n")


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error) or "no answer in time"


async def _resolve(host: str, port: int) -> list[str]:
    lookup = asyncio.get_running_loop().getaddrinfo
    try:
        found = await lookup(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # an empty label, or one that is too long
        raise OSError("no name of a host") from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


async def _first_open(
    addresses: list[str], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first of the addresses that answers.

    One that is silent, such as one of IPv6 where only IPv4 leads out, holds up the next for a
    moment only.
    """
    problem: BaseException = OSError("it has no address")
    tried: list[asyncio.Task[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = []
    left = list(addresses)
    try:
        while left or tried:
            if left:
                tried.append(asyncio.create_task(_open(left.pop(0), port)))
            wait = _NEXT_SECONDS if left else None
            await asyncio.wait(tried, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for one in [one for one in tried if one.done()]:
                tried.remove(one)
                if error := one.exception():
                    problem = error
                else:
                    return one.result()
    finally:
        for one in tried:
            one.cancel()
    raise problem


async def _open(address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.wait_for(
        asyncio.open_connection(address, port, limit=_HEAD), _CONNECT_SECONDS
    )


async def _tunnel(
    upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    target: str,
    headers: list[tuple[str, str]],
) -> None:
    """Have a proxy open a tunnel. Raises OSError."""
    reader, writer = upstream
    writer.write(_joined(f"CONNECT {target} HTTP/1.1", [("Host", target), *headers]))
    async with asyncio.timeout(_CONNECT_SECONDS):
        status = (await _answered(reader))[0].split(" ", 1)[-1]
    if not status.startswith("2"):
        writer.close()
        raise OSError(f"it answers {status[:100]}")


def _bypasses(no_proxy: str, host: str) -> bool:
    """Whether NO_PROXY names a host: a domain with all below it, an address, a network, or `*`."""
    for one in filter(None, map(str.strip, no_proxy.lower().split(","))):
        domain = one.removeprefix("*").removeprefix(".")
        if one == "*" or host == domain or host.endswith(f".{domain}"):
            return True
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(one, strict=False):
                return True
    return False


def _authorization(proxy: str) -> list[tuple[str, str]]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return []
    text = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return [("Proxy-Authorization", f"Basic {base64.b64encode(text).decode()}")]


def _origin(url: str) -> Origin:
    origin = origin_of(url)
    if not origin[1]:
        raise ValueError(url)
    return origin


def _split(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return first, [(name, value.strip()) for name, _, value in pairs]


async def _answered(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]]:
    """Return the first line and the headers of an answer. Raises OSError."""
    try:
        return _split(await reader.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise OSError("the connection ended without an answer of HTTP") from error


def _joined(first: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1", "replace")


def _answer(status: int, reason: str) -> bytes:
    plain = "".join(one for one in reason if " " <= one <= "~")[:200]
    return _joined(f"HTTP/1.1 {status} {plain}", [("Content-Length", "0")])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


async def _first(*works: object) -> None:
    """Wait until one of the coroutines ends, and end the others."""
    tasks = [asyncio.ensure_future(one) for one in works]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _main() -> None:
    directory = Path.cwd()
    question = json.loads((directory / QUESTION).read_text(encoding="utf-8"))
    listening = socket.socket(fileno=question["fd"])
    guard = Guard(Policy(**question["policy"]), os.environ, directory=directory)
    server = await asyncio.start_server(guard.serve, sock=listening, limit=_HEAD)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
