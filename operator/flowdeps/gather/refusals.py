"""Why a lock is not made or not published, for the operator and `flowdeps lock`."""

from flowdeps.api.outcome import Outcome
from flowdeps.api.reasons import Reason
from flowdeps.api.spec import OnVulnerable, SetSpec
from flowdeps.api.status import json_name
from flowdeps.locks.lock import Lock
from flowdeps.vulnerabilities.matches import Vulnerability, vulnerabilities_text

LARGEST_LOCK = 1_000_000
"""Bytes: what fits a ConfigMap (1 MiB) beside its other fields."""


def unresolved(spec: SetSpec, reason: Reason, message: str) -> Outcome:
    """Return why a resolver finds no lock, with the fields that it is about."""
    if reason is Reason.UNSATISFIABLE:  # the resolver names packages, no fields
        named = ("requirements", "requirements_from", "constraints", "constraints_from", "includes")
        fields = ", ".join(f"spec.{json_name(one)}" for one in named if getattr(spec, one))
        message = f"{fields}: {message}"
        if "spec." not in message.removeprefix(fields):  # where it names no field, it has no advice
            message = f"{message.rstrip('. ')}. Widen one side, or correct a name"
    return Outcome.failed(reason, message)


def blocked(spec: SetSpec, found: tuple[Vulnerability, ...]) -> Outcome | None:
    """Return why the vulnerabilities `found` in a lock keep it back; None: they do not."""
    if not found or spec.vulnerabilities is not OnVulnerable.BLOCK:
        return None
    return Outcome.failed(
        Reason.VULNERABLE,
        "the lock is not published, as spec.vulnerabilities is Block: "
        f"{vulnerabilities_text(found)}; ask for a fixed version, or set Report",
    )


def lock_too_large(lock: Lock) -> Outcome | None:
    """Return why a lock does not fit a ConfigMap, before anything is written; None: it does."""
    size = len(lock.render().encode())
    if size <= LARGEST_LOCK:
        return None
    return Outcome.failed(
        Reason.LOCK_TOO_LARGE,
        f"the lock of {len(lock.pins)} packages has {size:,} bytes, a ConfigMap holds"
        f" {LARGEST_LOCK:,}; split the set in two, or name fewer platforms",
    )
