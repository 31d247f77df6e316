"""Runs what takes long, though it has an end, beside the event loop.

In a thread the loop goes on: it gets its turn within milliseconds. There is one thread, so that
texts of others never have more than half of the interpreter. What runs there is pure: it reads its
arguments and returns a value, and what it may cost is bounded by the size of these.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="off-loop")


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a pure function returns, or raise what it raises."""
    return await asyncio.get_running_loop().run_in_executor(
        _thread, lambda: function(*args, **kwargs)
    )
