"""How much is tried: in `make test` a sample, in `make faults` (Hypothesis' profile) all of it."""

from hypothesis import settings

NIGHT = settings.get_current_profile_name() == "faults"


def examples(day: int) -> int:
    """How many examples of a property are tried, by day and by night."""
    return settings().max_examples if NIGHT else day
