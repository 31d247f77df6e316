"""Of the locks that a request may have, the one with the fewest known vulnerabilities.

Where the lock of a request has vulnerable versions, it is asked for once more without them: a fixed
version may be younger than the cooldown allows. All of it is one answer for those who wait.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.locks.vulnerabilities import Vulnerability, exclusions, exempt
from flowdeps.resolver import Resolution, ResolveError

Ask = Callable[[LockRequest], Awaitable[Resolution]]
Known = Callable[[Lock], tuple[Vulnerability, ...]]


async def safest(request: LockRequest, *, ask: Ask, known: Known) -> Resolution:
    """What `ask` answers to `request`, or to a narrower one, by what is `known` of their locks.

    The first answer stands where nothing fits without the vulnerable versions, or where others
    that do are no better. Raises a `ResolveError` where there is none.
    """
    first = await ask(request)
    found = known(first.lock)
    other = replace(
        request,
        exclude=exclusions(found),
        cooldown_exempt=(*request.cooldown_exempt, *exempt(found)),
    )
    if other == request:
        return first
    try:
        safer = await ask(other)
    except ResolveError:
        return first
    return min(first, safer, key=lambda one: len(known(one.lock)))
