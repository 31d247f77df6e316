"""Step: what is known against the lock of a set."""

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import OnVulnerable
from flowdeps.reconcile.context import Context
from flowdeps.reconcile.dependency_set.progress import Progress


async def check_vulnerabilities(context: Context, progress: Progress) -> Outcome:
    """Look the pins up in the database; fails where there is none that can be read."""
    spec, record, advisories = progress.entry.spec, progress.record, context.advisories
    if spec is None or progress.rests:
        return Outcome.done(Reason.NO_VULNERABILITIES)
    if record and advisories and advisories.current is not None:
        version, found = context.vulnerabilities.get(record.digest, (None, None))
        if version != advisories.version:
            lock = progress.text or await progress.served_text(context.cluster)
            found = context.vulnerable(lock) if lock else None
        progress.vulnerabilities = found
    if advisories and advisories.problem:
        return Outcome.failed(Reason.DATABASE_UNAVAILABLE, advisories.problem)
    if advisories is None and spec.vulnerabilities is OnVulnerable.BLOCK:
        text = "spec.vulnerabilities is Block, but the operator has no database: it knows of"
        text += " none, and holds nothing back"
        return Outcome.failed(Reason.VULNERABILITIES_UNKNOWN, text)
    return Outcome.done(Reason.NO_VULNERABILITIES)
