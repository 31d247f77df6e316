"""Free ports below the range that the kernel hands out itself.

So a server that is restarted on its port does not find it taken by somebody's outgoing connection.
"""

import random
import socket

_RANGE = range(20000, 30000)  # above common servers, below Kubernetes' node ports


def free(host: str = "127.0.0.1") -> int:
    for port in random.sample(_RANGE, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port on {host}")
