"""Which addresses the indexes of sets may have, and where credentials may go.

Private networks are open: a company's own indexes are there. Closed are the machine, the link, what
clouds tell their machines, and the networks that the configuration closes.
"""

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import closing, suppress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Origin = tuple[str, str, int]
"""Scheme, host, port."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# What clouds tell their machines, credentials among it, at addresses that are not link-local.
_METADATA = {
    ipaddress.ip_address(one)
    for one in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
}


class RefusedError(Exception):
    """Why something is not reached, and what to do."""


class Policy:
    """Which addresses may be reached, and who may get credentials."""

    def __init__(
        self,
        *,
        trusted: Sequence[Sequence[object]] = (),
        allowed: Sequence[str] = (),
        denied: Sequence[str] = (),
        indexes: Sequence[Sequence[object]] = (),
        credentials: bool = False,
    ) -> None:
        """`trusted`: origins at any address; `allowed` and `denied`: networks, of which the former
        win; `indexes`: the origins that get `credentials`, if there are any."""
        self._trusted, self._indexes = set(map(tuple, trusted)), set(map(tuple, indexes))
        self._allowed = [ipaddress.ip_network(one) for one in allowed]
        self._denied = [ipaddress.ip_network(one) for one in denied]
        self._credentials = credentials

    def trusts(self, origin: Origin) -> bool:
        """Whether the operator's configuration names this origin."""
        return origin in self._trusted

    def reaches(self, text: str) -> bool:
        """Whether an address may be connected to."""
        address = _meant(ipaddress.ip_address(text))
        if any(address in one for one in self._allowed):
            return True
        if any(address in one for one in self._denied) or address in _METADATA:
            return False
        closed = (
            address.is_loopback,
            address.is_link_local,
            address.is_unspecified,
            address.is_multicast,
            address.is_reserved,
            _is_own(address),
        )
        return not any(closed)

    def gives_credentials(self, origin: Origin) -> bool:
        """Whether a request in plain text may have credentials."""
        return origin in self._indexes

    def check_tunnel(self, origin: Origin) -> None:
        """Raise RefusedError where a tunnel would carry credentials to another port."""
        hosts = {one[1] for one in self._indexes}
        if self._credentials and origin[1] in hosts and origin not in self._indexes:
            raise RefusedError(
                f"{place(origin)} is another port of the index's host: the index's credentials"
                " don't go there; serve files and pages at one port"
            )


def _meant(address: Address) -> Address:
    """Return the IPv4 address in one of IPv6, if there is one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_own(address: Address) -> bool:
    """Whether this machine has the address."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with suppress(OSError), closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        probe.connect((str(address), 9))  # sends nothing: the kernel chooses our own address
        return str(probe.getsockname()[0]) == str(address)
    return False


def place(origin: Origin) -> str:
    return f"{bracketed(origin[1])[:200]}:{origin[2]}"


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
