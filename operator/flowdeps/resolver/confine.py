"""Confines this process, then becomes the program that it is given. A program of its own.

    python confine.py BOUNDS PROGRAM ARGUMENT…

`BOUNDS` is JSON: `parent`, the process with which this one ends (on Linux), also where that is
killed; `limits` by the names of `resource`; `read`: the paths below which files and
directories may be opened for reading, or null for all; `port`: the one TCP port that may be
connected to, or null for all. Reading and connecting are closed by Landlock where the kernel has
it (Linux 5.19, for ports 6.7). Its first version knew no renames from one directory to another,
which uv needs.

Only the standard library's smallest parts: it starts before each resolution.
"""

import ctypes
import json
import os
import signal
import stat
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on all architectures
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_READ_FILE, _READ_DIR, _MOVE = 1 << 2, 1 << 3, 1 << 13
_CONNECT_TCP = 1 << 1
_KNOWS_MOVES, _KNOWS_PORTS = 2, 4
_END_WITH_PARENT, _NO_NEW_PRIVILEGES = 1, 38


def main() -> None:
    """Confine, and go on as the program."""
    bounds, program = json.loads(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import resource

        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != bounds["parent"]:  # it was faster
            sys.exit(1)
        for name, value in bounds["limits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
        if bounds["read"] is not None:
            _close(bounds["read"], bounds["port"])
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and who follows it too
        signal.signal(number, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606 - it is the purpose


def find_version() -> int:
    """Return the version of Landlock that the kernel has; negative: none."""
    return int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, 0, _VERSION))


def _close(paths: list[str], port: int | None) -> None:
    kernel, version = ctypes.CDLL(None, use_errno=True), find_version()
    if version < _KNOWS_MOVES:
        return  # the kernel has no such Landlock, or it is off
    ports = port is not None and version >= _KNOWS_PORTS
    handled = (ctypes.c_uint64 * 2)(_READ_FILE | _READ_DIR | _MOVE, _CONNECT_TCP if ports else 0)
    size = 16 if version >= _KNOWS_PORTS else 8
    rules = kernel.syscall(_CREATE_RULESET, handled, size, 0)
    _check(rules)
    for path in paths:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # what isn't there need not be open
        known = _READ_FILE
        if stat.S_ISDIR(os.fstat(place).st_mode):
            known |= _READ_DIR | _MOVE
        rule = known.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
        _check(kernel.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0))
        os.close(place)
    if ports:
        net = (ctypes.c_uint64 * 2)(_CONNECT_TCP, port or 0)
        _check(kernel.syscall(_ADD_RULE, rules, _NET_PORT, net, 0))
    _check(kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _check(kernel.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)


def _check(answer: int) -> None:
    if answer < 0:
        raise OSError(ctypes.get_errno(), "Landlock refuses")


if __name__ == "__main__":
    main()
