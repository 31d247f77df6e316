"""Durations and quantities as Kubernetes users write them.

duration = [days "d"] [hours "h"] [minutes "m"] [seconds "s"]    24h, 90m, 1h30m, 7d, 0s
quantity = digits ["." digits] [unit]                            2Gi, 512Mi, 1500M, 1.5Gi
unit     = "Ki" | "Mi" | "Gi" | "Ti" | "k" | "M" | "G" | "T"
"""

import re
from datetime import timedelta

_DURATION = re.compile(
    r"(?=[0-9])(?:([0-9]{1,5})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,5})s)?"
)
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)(Ki|Mi|Gi|Ti|k|M|G|T)?")
_DECIMAL = {None: 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS = {**_DECIMAL, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_duration(text: str) -> timedelta:
    """The duration that `text` writes. Raises ValueError with a message that shows the form."""
    match = _DURATION.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a duration; write numbers with d, h, m or s, such as 24h or 1h30m"
        raise ValueError(msg)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def parse_bytes(text: str) -> int:
    """The bytes that a quantity such as `2Gi` writes. Raises ValueError with the form."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not an amount of memory; write it such as 512Mi or 2Gi"
        raise ValueError(msg)
    return int(float(match[1]) * _UNITS[match[2]])
