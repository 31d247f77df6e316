"""Free ports below the range that the kernel hands out itself.

So a server that is restarted on its port does not find it taken by somebody's outgoing connection.
Between the draw of a port and its use lie seconds: so processes that run side by side draw from
slices of their own, mostly, and a process gets no port again before it had all of its slice.
"""

import itertools
import os
import random
import socket

ANYWHERE = ""  # the host of a server that listens on all addresses, as the operator does
# Above common servers, below Kubernetes' node ports.
_FIRST, _SLICE = 20000, 1000
_START = _FIRST + _SLICE * (os.getpid() % 10)
_ORDER = itertools.cycle(random.sample(range(_START, _START + _SLICE), _SLICE))


def free(host: str = "127.0.0.1") -> int:
    """A port that nothing on ``host`` listens on."""
    for port in itertools.islice(_ORDER, _SLICE):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port on {host or 'all addresses'}")
