"""What the demo prints: headings, commands as one would type them, and what they answer."""

import sys
import time

_STARTED = time.monotonic()
_BOLD, _DIM, _PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def heading(text: str) -> None:
    seconds = time.monotonic() - _STARTED
    print(f"\n{_BOLD}== {text}{_PLAIN} {_DIM}[{seconds:.0f} s]{_PLAIN}", flush=True)


def say(text: str) -> None:
    print(text, flush=True)


def command(text: str) -> None:
    print(f"{_BOLD}$ {text}{_PLAIN}", flush=True)


def output(text: str) -> None:
    """What a command or a run said, set apart."""
    for line in text.rstrip().splitlines():
        print(f"    {line}", flush=True)
