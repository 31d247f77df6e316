"""Why an environment is not in the registry, or not on a claim."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class PackError(Exception):
    """What is wrong, and what to do; ``retry``: with the same tree it may go well later; ``gone``:
    the registry no longer has what was pushed."""

    def __init__(self, message: str, *, retry: bool = False, gone: bool = False) -> None:
        super().__init__(message)
        self.retry = retry
        self.gone = gone


@contextmanager
def writing() -> Iterator[None]:
    """Say what to do where files of ours can't be written."""
    try:
        yield
    except OSError as error:
        cause = "there is no room for it" if error.errno in FULL else error.strerror or error
        raise PackError(
            f"the packed environment can't be written to /tmp: {cause}; give the build's pod, or"
            " its node, more ephemeral storage",
            retry=True,
        ) from None
