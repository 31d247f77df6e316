"""Of the locks that a request may have, the one with the fewest known vulnerabilities.

Where the lock of a request has vulnerable versions, it is asked for once more without them. Where
that finds none, or others that are no better, a fixed version may be younger than the cooldown
allows: the lowest one, and no release that came after it. The last resort is a version from before
the flaw. All of it is one answer for those who wait.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.resolver import Resolution, ResolveError
from flowdeps.vulnerabilities.matches import Vulnerability, exclusions, fixes

Ask = Callable[[LockRequest], Awaitable[Resolution]]
Known = Callable[[Lock], tuple[Vulnerability, ...]]


async def least_vulnerable(request: LockRequest, *, ask: Ask, known: Known) -> Resolution:
    """What `ask` answers to `request`, or to a narrower one, by what is `known` of their locks.

    The first answer stands where others are no better. Raises a `ResolveError` where there is none.
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
    """What to ask next, after the `answers` that have come by then."""
    without = replace(request, exclude=exclusions(known(answers[0].lock)))
    if without == request:
        return
    yield without
    fits, left = len(answers) > 1, known(answers[-1].lock)
    if request.cooldown and (mending := fixes(left)):
        yield replace(
            without,
            exclude=(*without.exclude, *mending.values()),
            cooldown_exempt=(*request.cooldown_exempt, *mending),
        )
    before = replace(without, exclude=(*without.exclude, *exclusions(left, before=True)))
    if fits and before != without:
        yield before
