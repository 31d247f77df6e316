"""Ports for servers that start a while after the port was drawn."""

import socket

import pytest

from tests.cluster import ports


def test_no_port_is_given_twice() -> None:
    """The first server may not have bound its port yet when the second one's is drawn."""
    drawn = [ports.free() for _ in range(300)]
    assert len(set(drawn)) == len(drawn)


def test_a_port_for_all_addresses_is_free_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another address has the port taken, a server on all of them could not start."""
    with socket.create_server(("127.0.0.2", 0)) as server:
        taken = server.getsockname()[1]
        monkeypatch.setattr(ports, "_ORDER", iter([taken, port := ports.free(ports.ANYWHERE)]))
        assert ports.free(ports.ANYWHERE) == port
