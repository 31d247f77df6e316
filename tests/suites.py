"""Runs the test suites, two at once, and shows what they print one after the other.

python -m tests.suites

Most tests wait most of the time: for pods, for an API server, for a poll. So each suite is a pytest
of its own, with clusters and servers of its own. What the first suite prints is shown while it
comes, that of each other one when all before it have ended; then the slowest tests and the closing
line of each suite, and a line that adds them up. The exit status is the worst.

Each suite is in a session of its own: Ctrl-C reaches only this process, which asks each suite once
to end and waits until all have taken back what they started.
"""

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.cluster import signals

# More at once are slower on two cores, and tests run out of time: each suite has an API server and
# Prefect of its own, and a node takes a third of a core idle.
AT_ONCE = 2
_RESOLVER = "tests/integration/resolver"  # needs no cluster
SUITES = {  # the longest first: each of the others starts as soon as one has ended
    "integration": ("tests/integration", f"--ignore={_RESOLVER}"),
    "e2e": ("tests/e2e",),
    "unit": ("tests/unit",),
    "resolver and property": (_RESOLVER, "tests/property"),
}
SLOWEST = 20
INTERRUPTED = 130
_POLL_SECONDS = 0.1
# Such as "==== 3 failed, 5 passed in 1.23s ====" and "1.23s call     tests/unit/…".
_CLOSING = re.compile(r"(?m)^=* ?((?:\d+ \w+, )*\d+ \w+ in [\d.]+s.*?)[ =]*$")
_DURATION = re.compile(r"(?m)^([\d.]+)s (?:call|setup|teardown) .*$")
_PLURAL = {"error": "errors", "warning": "warnings"}


def main() -> int:
    """Run all suites."""
    pytest = (sys.executable, "-m", "pytest", f"--durations={SLOWEST}")
    return run({name: (*pytest, *arguments) for name, arguments in SUITES.items()})


def run(suites: Mapping[str, Sequence[str]]) -> int:
    """Run commands, some at once, and return the worst of their exit statuses."""
    begun = time.monotonic()
    waiting = list(suites.items())
    started: list[_Suite] = []
    with tempfile.TemporaryDirectory(prefix="flowdeps-suites-") as directory:

        def start_next() -> None:
            while waiting and sum(not suite.ended for suite in started) < AT_ONCE:
                name, command = waiting.pop(0)
                with signals.deferred():
                    output = Path(directory, str(len(started)))
                    started.append(_Suite(name, command, output=output))

        try:
            with signals.terminable():
                start_next()
                for suite in started:  # grows meanwhile
                    suite.show(meanwhile=start_next)
        except KeyboardInterrupt:
            _say("interrupted: waiting until all have taken back what they started")
            for suite in started:
                suite.interrupt()
            for suite in started:
                suite.show()
            return INTERRUPTED
        finally:
            for suite in started:
                suite.close()
    texts = [suite.text for suite in started]
    _say(f"the {SLOWEST} slowest")
    print("\n".join(slowest(texts)))
    for suite in started:
        found = closing(suite.text) or "no closing line"
        _say(f"{suite.name}: {found}; exit status {suite.status}")
    print(f" {total(texts)} in {time.monotonic() - begun:.2f}s ".center(80, "="))
    return max((suite.status for suite in started), default=0)


class _Suite:
    """A command that runs, and what of its output has been shown."""

    def __init__(self, name: str, command: Sequence[str], *, output: Path) -> None:
        self.name = name
        self.text = ""
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._output = output.open(errors="replace")

    @property
    def status(self) -> int:
        return abs(self._process.wait())

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def show(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Show what it prints, from where this was last left, until it has ended."""
        if not self.text:
            _say(f"what {self.name} prints")
        ended = False
        while not ended:
            meanwhile()
            ended = self.ended
            new = self._output.read()
            self.text += new
            print(new, end="", flush=True)
            time.sleep(0 if ended else _POLL_SECONDS)

    def interrupt(self) -> None:
        """Ask it to end."""
        if not self.ended:
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self._output.close()


def closing(text: str) -> str:
    """Return pytest's closing line without its frame, "" where there is none."""
    found: list[str] = _CLOSING.findall(text)
    return found[-1] if found else ""


def total(texts: Iterable[str]) -> str:
    """Add up what the closing lines count, the failures first."""
    counts: Counter[str] = Counter()
    for text in texts:
        for number, word in re.findall(r"(\d+) ([a-z]+)", closing(text).partition(" in ")[0]):
            counts[_PLURAL.get(word, word)] += int(number)
    order = sorted(counts, key=lambda word: (word not in {"failed", "errors"}, word))
    return ", ".join(f"{counts[word]} {word}" for word in order) or "no tests"


def slowest(texts: Iterable[str], count: int = SLOWEST) -> list[str]:
    """Return the lines of the tests that took longest."""
    found = [match for text in texts for match in _DURATION.finditer(text)]
    found.sort(key=lambda match: -float(match[1]))
    return [match[0] for match in found[:count]]


def _say(text: str) -> None:
    print(f"test: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
