"""How much is tried: in `make test` a sample, in `make faults` (Hypothesis' profile) all of it."""

from hypothesis import settings

NIGHT = settings.get_current_profile_name() == "faults"


def examples(day: int, *, share: float = 1.0) -> int:
    """How many examples of a property are tried by day, and by night: a share of all."""
    return max(1, round(settings().max_examples * share)) if NIGHT else day
