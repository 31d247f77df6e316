"""A line to a server that can be cut: bytes go both ways until then, and none afterwards.

Cut, it behaves as a network that lost its way: connections stay open, what is sent gets lost, and
nothing answers. Of plain HTTP it notes when each change was passed on.
"""

import re
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.cluster import ports

# Prefect's lists are asked for by POST.
_WRITE = re.compile(rb"^(?:PUT|PATCH|DELETE) \S+(?= HTTP/1\.1\r$)", re.MULTILINE)


class Link:
    """A context manager; listens on a port of its own and passes on to `host` and `port`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._cut = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port = ports.free()
        self.writes: list[tuple[float, str]] = []
        """Time (of `time.time`) and request line of each write that was passed on."""

    def cut(self) -> None:
        """Pass nothing on any more."""
        self._cut.set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _start(self, run: object, *arguments: socket.socket) -> None:
        assert callable(run)
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(self._target)
                except OSError:  # as the server refuses it now, but not for good
                    near.close()
                    continue
                self._sockets += [near, far]
                self._start(self._pump, near, far)
                self._start(self._pump, far, near)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._cut.is_set():
                    continue
                self.writes += ((time.time(), one.decode()) for one in _WRITE.findall(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
