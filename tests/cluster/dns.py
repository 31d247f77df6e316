"""Names of services for pods: a DNS server that knows ``<service>.<namespace>.svc.cluster.local``.

It answers at a node's gateway, on the port that resolvers ask, and asks the API server each time.
Every other name does not exist: what pods need outside the cluster they reach by address.
"""

import ipaddress
import socketserver
import struct
import threading
from collections.abc import Callable

from tests.cluster.controlplane import ControlPlane, KubectlError
from tests.cluster.lifecycle import Startable

_PORT = 53
_DOMAIN = ".svc.cluster.local"
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_ANSWER = struct.Struct("!3HIH4s")
_A, _INTERNET = 1, 1
_ANSWERED, _NO_SUCH_NAME = 0x8180, 0x8183
_THE_NAME_ASKED_FOR = 0xC00C
_SECONDS_TO_KEEP = 1


class ClusterDns(Startable):
    """Answers for the services of ``cluster`` at ``host``."""

    def __init__(self, cluster: ControlPlane, *, host: str) -> None:
        self._cluster = cluster
        self._host = host
        self._server: socketserver.ThreadingUDPServer | None = None

    def start(self) -> None:
        find = self._find

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                question, socket = self.request
                socket.sendto(answer(question, find), self.client_address)

        self._server = socketserver.ThreadingUDPServer((self._host, _PORT), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="dns")
        self._thread.start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            self._thread.join()

    def _find(self, name: str) -> str | None:
        service, _, namespace = name.removesuffix(_DOMAIN).partition(".")
        if not name.endswith(_DOMAIN) or "." in namespace:
            return None
        path = "jsonpath={.spec.clusterIP}"
        try:
            return self._cluster.kubectl("get", "svc", service, "-n", namespace, "-o", path) or None
        except KubectlError:
            return None


def answer(question: bytes, find: Callable[[str], str | None]) -> bytes:
    """What is answered to a datagram with one question; ``find`` gives the address of a name."""
    number, *_ = _HEADER.unpack_from(question)
    labels, at = [], _HEADER.size
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    asked = question[_HEADER.size : at + 1 + _QUESTION.size]
    kind, _ = _QUESTION.unpack_from(question, at + 1)
    address = find(".".join(labels))
    flags = _ANSWERED if address else _NO_SUCH_NAME
    if not address or kind != _A:
        return _HEADER.pack(number, flags, 1, 0, 0, 0) + asked
    packed = ipaddress.IPv4Address(address).packed
    entry = (_THE_NAME_ASKED_FOR, _A, _INTERNET, _SECONDS_TO_KEEP, len(packed), packed)
    return _HEADER.pack(number, flags, 1, 1, 0, 0) + asked + _ANSWER.pack(*entry)
