"""A small HTTP server that can be closed at any time and leaves nothing behind.

One function answers every request; a thread serves each connection. ``close`` ends the connections
too, so that every thread can be joined and a keep-alive client sees the server go. Answers carry an
ETag and ask to be revalidated, so that a client's cache never hides a change. With a certificate it
speaks TLS.
"""

import http.server
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus

from tests.cluster.pki import Pair


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asked for: enough to tell uv from pip and a lookup from a download."""

    method: str
    path: str
    accept: str
    authorization: str | None
    user_agent: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    body: bytes
    media_type: str = "text/plain; charset=utf-8"
    status: int = HTTPStatus.OK
    delay: float = 0.0
    cache_control: str = "no-cache"


NOT_FOUND = Answer(status=HTTPStatus.NOT_FOUND, body=b"not found\n")


class Server(http.server.ThreadingHTTPServer):
    """Serves ``respond`` on host and port (0: a free one) in threads of its own."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(
        self,
        respond: Callable[[Request], Answer],
        *,
        host: str,
        port: int,
        certificate: Pair | None = None,
    ) -> None:
        self.respond = respond
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((host, port), _Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            # The handshake is left to the connection's thread: this one must go on accepting.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name=f"http:{port}"
        )
        self._thread.start()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or that we cut off, is no error."""

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        with self._guard:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster
        self.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        answer = self.server.respond(
            Request(
                method=self.command,
                path=self.path,
                accept=self.headers.get("Accept", ""),
                authorization=self.headers.get("Authorization"),
                user_agent=self.headers.get("User-Agent", ""),
            )
        )
        if answer.delay and self.server.closing.wait(answer.delay):
            self.close_connection = True
            return
        self._send(answer)

    do_HEAD = do_GET  # noqa: N815

    def _send(self, answer: Answer) -> None:
        etag = f'"{sha256(answer.body).hexdigest()[:32]}"'
        fresh = answer.status == HTTPStatus.OK and self.headers.get("If-None-Match") == etag
        self.send_response(HTTPStatus.NOT_MODIFIED if fresh else answer.status)
        self.send_header("ETag", etag)
        self.send_header("Cache-Control", answer.cache_control)
        self.send_header("Vary", "Accept")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
        if not fresh:
            self.send_header("Content-Type", answer.media_type)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not fresh and self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet: whoever answers may keep a log."""
