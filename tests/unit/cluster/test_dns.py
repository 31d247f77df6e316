"""The DNS server of a node's pods, datagram by datagram."""

import struct

import pytest

from tests.cluster.dns import answer

_NAME = "web.team.svc.cluster.local"
_ADDRESSES = {_NAME: "10.96.0.7"}


def _question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [(_NAME, 1, 0, 1), (_NAME.upper(), 1, 0, 1), (_NAME, 28, 0, 0), ("example.com", 1, 3, 0)],
    ids=["a service", "in capitals", "its IPv6 address", "anything else"],
)
def test_a_service_has_one_address_and_nothing_else_exists(
    name: str, kind: int, code: int, answers: int
) -> None:
    """An answer repeats number and question; a name without the asked kind of address exists."""
    question = _question(name, kind)
    told = answer(question, _ADDRESSES.get)
    number, flags, questions, count, *_ = struct.unpack_from("!6H", told)
    assert (number, flags & 0xF, questions, count) == (7, code, 1, answers)
    assert told[12 : len(question)] == question[12:]
    assert told[len(question) :].endswith(bytes([10, 96, 0, 7]) if answers else b"")
    assert bool(told[len(question) :]) == bool(answers)
