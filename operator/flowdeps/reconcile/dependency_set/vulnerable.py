"""Step: what is known against the lock of a set."""

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import OnVulnerable
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress
from flowdeps.vulnerabilities.matches import Vulnerability


async def check_vulnerabilities(context: Context, progress: Progress) -> Outcome:
    """Look the pins up in the database; fails where there is none that can be read."""
    spec, advisories = progress.entry.spec, context.advisories
    if spec is None or progress.rests:
        return Outcome.done(Reason.NO_VULNERABILITIES)
    progress.vulnerabilities = await _known(context, progress)
    if advisories and advisories.problem:
        return Outcome.failed(Reason.DATABASE_UNAVAILABLE, advisories.problem)
    if advisories is None and spec.vulnerabilities is OnVulnerable.BLOCK:
        text = "spec.vulnerabilities is Block, but the operator has no database: it knows of"
        text += " none, and holds nothing back"
        return Outcome.failed(Reason.VULNERABILITIES_UNKNOWN, text)
    return Outcome.done(Reason.NO_VULNERABILITIES)


async def _known(context: Context, progress: Progress) -> tuple[Vulnerability, ...] | None:
    record, advisories = progress.record, context.advisories
    if record is None or advisories is None or advisories.current is None:
        return None
    known = context.vulnerabilities.get(record.digest)
    if known and known[0] == advisories.version:
        return known[1]
    lock = progress.text or await progress.served_text(context.cluster)
    return context.vulnerable(lock) if lock else None
