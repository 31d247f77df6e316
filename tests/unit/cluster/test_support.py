"""What tests of the operator look through: no silence is taken for an answer."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import ports
from tests.cluster.processes import ProcessError
from tests.support.link import Link
from tests.support.operator import Operator

# In the operator's place: it refuses the first look at its metrics, and ends when it is told.
_STANDS_IN = """
import http.server, os, sys, yaml

looks = []

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        looks.append(self.path)
        if self.path == "/end":
            os._exit(3)
        self.send_response(503 if looks.count("/metrics") == 1 else 200)
        self.end_headers()
        self.wfile.write(b"flowdeps_leader 1.0\\n")

    def log_message(self, *_):
        pass

print('{"message": "said"}\\n{"message": "ha', end="", flush=True)
port = yaml.safe_load(open(sys.argv[sys.argv.index("--config") + 1]))["httpPort"]
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    monkeypatch.setenv("FLOWDEPS_CACHE", str(tmp_path / "cache"))
    with Operator(
        kubeconfig=tmp_path / "none",
        prefect_url="http://127.0.0.1:9/api",
        wrapper=[sys.executable, "-c", _STANDS_IN],
    ) as one:
        yield one


def test_a_look_at_metrics_that_fails_is_not_a_zero(operator: Operator) -> None:
    """It is made again; of an operator that has ended it is an error."""
    assert operator.metric("flowdeps_leader") == 1
    assert operator.metric("flowdeps_resolve_seconds_count") == 0
    operator.get("/end")
    with pytest.raises(ProcessError, match="ended"):
        operator.metric("flowdeps_leader")


def test_a_line_of_the_log_counts_once_it_is_whole(operator: Operator) -> None:
    assert operator.log() == [{"message": "said"}]


def test_a_link_outlives_a_server_that_refuses() -> None:
    """A connection is dropped while the server is away, and the next one passes."""
    with Link("127.0.0.1", port := ports.free()) as link:
        with socket.create_connection(("127.0.0.1", link.port)) as near:
            assert near.recv(1) == b""
        with (
            socket.create_server(("127.0.0.1", port)) as server,
            socket.create_connection(("127.0.0.1", link.port)) as near,
        ):
            near.sendall(b"x")
            far, _ = server.accept()
            with far:
                assert far.recv(1) == b"x"
