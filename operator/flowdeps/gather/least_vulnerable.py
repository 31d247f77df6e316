"""Finds the lock of a request that has the fewest known vulnerabilities.

If the lock has vulnerable versions, a second resolution excludes them. If that finds no lock, or
one that is no better, a fixed version may be younger than the cooldown allows: then the lowest
fixed version is allowed, and no later release. The last resort is a version from before the flaw.
All of it is one answer for those who wait.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver.errors import ResolveError
from flowdeps.resolver.resolve import Resolution
from flowdeps.vulnerabilities.matches import Vulnerability, exclusions, fixes

Ask = Callable[[LockRequest], Awaitable[Resolution]]
"""Asks a resolver."""
Known = Callable[[Lock], tuple[Vulnerability, ...]]
"""Returns what is known against a lock."""


async def least_vulnerable(request: LockRequest, *, ask: Ask, known: Known) -> Resolution:
    """Return what `ask` answers to `request`, or to a narrower one that is better.

    Raises a `ResolveError` if the request has no lock.
    """
    answers = [await ask(request)]
    for other in _narrower(request, answers, known):
        try:
            answers.append(await ask(other))
        except ResolveError:
            continue
        if not known(answers[-1].lock):
            break
    return min(answers, key=lambda one: len(known(one.lock)))


def _narrower(
    request: LockRequest, answers: list[Resolution], known: Known
) -> Iterator[LockRequest]:
    """Yield what to ask next, after the `answers` so far."""
    without = replace(request, exclude=exclusions(known(answers[0].lock)))
    if without == request:
        return
    yield without
    fits, left = len(answers) > 1, known(answers[-1].lock)
    if request.cooldown and (fixed := fixes(left)):
        yield replace(
            without,
            exclude=(*without.exclude, *fixed.values()),
            cooldown_exempt=(*request.cooldown_exempt, *fixed),
        )
    before = replace(without, exclude=(*without.exclude, *exclusions(left, before=True)))
    if fits and before != without:
        yield before
