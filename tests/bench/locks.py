"""How long a lock takes, against uv run by hand with the same files and flags, and how large it is.

Each round asks both ways, in turns, for the same packages of uv's default index: for a first lock
where nothing is cached, for one where what packages require is cached, and for one that keeps all
pins of the lock before. Each way has a cache of its own, so neither fills the other's. What the
index takes to answer is part of both.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from flowdeps.locks.access import Access
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from flowdeps.resolver import command
from flowdeps.resolver.child import Limits
from flowdeps.resolver.resolve import Resolver
from flowdeps.state.config_maps import config_maps
from flowdeps.state.locations import primary_location
from flowdeps.state.records import record_of
from flowdeps.state.store import Store
from tests.cluster import tools
from tests.cluster.progress import say
from tests.support.sets import set_body

_AMD64, _ARM64 = "linux/amd64", "linux/arm64"
_PYTHON = "3.11"

# About 200 pins, and about 300.
MIDDLE = (
    *("pandas", "pyarrow", "scikit-learn", "xgboost", "lightgbm", "mlflow", "jupyterlab"),
    *("dask[complete]", "sqlalchemy", "boto3", "fastapi", "httpx", "aiohttp", "pydantic"),
    *("google-cloud-storage", "requests", "matplotlib", "seaborn", "plotly", "polars", "duckdb"),
    *("kubernetes", "azure-identity"),
)
LARGE = (
    *MIDDLE,
    *("s3fs", "gcsfs", "google-cloud-bigquery", "azure-storage-blob"),
    *("great-expectations", "dbt-core", "transformers", "datasets", "spacy", "nltk"),
    *("opencv-python-headless", "statsmodels", "celery", "django"),
    *("sentry-sdk", "openai", "snowflake-connector-python", "streamlit"),
)
_LISTS = (MIDDLE, LARGE)

COLD, WARM, KEPT = "first, nothing cached", "first, metadata cached", "nothing changed"
STATES = (COLD, WARM, KEPT)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Seconds of one lock in both ways, by state."""

    flowdeps: Mapping[str, float]
    by_hand: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Size:
    """Bytes of a lock's text, and of its ConfigMap as the operator writes it."""

    platforms: int
    pins: int
    hashes: Mapping[int, int]  # number of pins by their number of hashes
    text: int
    config_map: int


@dataclass(frozen=True, kw_only=True)
class Locks:
    """What was measured for a list of requirements."""

    inputs: int
    rounds: Sequence[Taken]
    sizes: Sequence[Size]


def measure(*, rounds: int) -> Iterator[Locks]:
    """Each list of requirements: rounds for one platform, sizes for one and for two."""
    for lines in _LISTS:
        with tempfile.TemporaryDirectory(prefix="flowdeps-bench-") as name:
            directory = Path(name)
            taken = []
            for number in range(1, rounds + 1):
                taken.append(_round(_request(lines), directory / str(number), turn=number))
                say(f"{len(lines)} requirements, round {number}: {_told(taken[-1])}")
            resolver = _resolver(directory / "sizes")
            sizes = [
                _size(_resolved(resolver, _request(lines, *platforms), previous=None))
                for platforms in ((_AMD64,), (_AMD64, _ARM64))
            ]
        yield Locks(inputs=len(lines), rounds=taken, sizes=sizes)


def _request(lines: Sequence[str], *platforms: str) -> LockRequest:
    return LockRequest(requirements=tuple(lines), target=Target(_PYTHON, platforms or (_AMD64,)))


def _round(request: LockRequest, directory: Path, *, turn: int) -> Taken:
    ours = _Ours(request, directory / "flowdeps")
    theirs = _ByHand(request, directory / "by-hand")
    found: dict[str, dict[str, float]] = {"ours": {}, "theirs": {}}
    for state in STATES:
        ways = (("ours", ours), ("theirs", theirs))
        for name, way in ways if turn % 2 else ways[::-1]:
            started = time.monotonic()
            way.lock(keep=state == KEPT)
            found[name][state] = time.monotonic() - started
    return Taken(flowdeps=found["ours"], by_hand=found["theirs"])


class _Ours:
    """The operator's resolver."""

    def __init__(self, request: LockRequest, cache: Path) -> None:
        self._request, self._resolver = request, _resolver(cache)
        self._last: Lock | None = None

    def lock(self, *, keep: bool) -> None:
        before = self._last if keep else None
        self._last = _resolved(self._resolver, self._request, previous=before)
        if before and self._last != before:
            raise RuntimeError("a lock that should have stayed has changed")


class _ByHand:
    """uv alone, in a directory where its last output stays or not."""

    def __init__(self, request: LockRequest, directory: Path) -> None:
        self._directory = directory / "work"
        self._directory.mkdir(parents=True)
        [platform] = request.target.platforms
        self._files = command.files(request, {}, platform=platform, access=Access(), trusted="")
        arguments = command.arguments(
            request,
            platform=platform,
            cache=directory / "cache",
            stubs=None,
            now=datetime.now(UTC),
        )
        self._command = [str(tools.uv()), *arguments]
        self._environment = command.child_environment(
            os.environ,
            directory=str(directory),
            timeout=Limits().timeout,
            access=Access(),
            proxies={},
        )

    def lock(self, *, keep: bool) -> None:
        if not keep:
            (self._directory / command.OUTPUT).unlink(missing_ok=True)
        for name, text in self._files.items():
            (self._directory / name).write_text(text)
        subprocess.run(
            self._command,
            cwd=self._directory,
            env=self._environment,
            check=True,
            capture_output=True,
        )


def _resolver(cache: Path) -> Resolver:
    return Resolver(limits=Limits(), cache=cache)


def _resolved(resolver: Resolver, request: LockRequest, *, previous: Lock | None) -> Lock:
    return asyncio.run(resolver.resolve(request, previous=previous)).lock


def _size(lock: Lock) -> Size:
    body = set_body("bench", [])
    body["metadata"] |= {"uid": str(UUID(int=0)), "resourceVersion": "1"}
    store = Store()
    key = store.put_set(body)
    assert key is not None
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    record = record_of(
        lock,
        inputs=lock.digest,
        index=Index(),
        resolved_at=now,
        refreshed_at=now,
        refresh="",
    )
    _, current = config_maps(store.sets[key], primary_location(key), record, summary="")
    return Size(
        platforms=len(lock.target.platforms),
        pins=len(lock.pins),
        hashes=Counter(len(pin.hashes) for pin in lock.pins),
        text=len(lock.render().encode()),
        config_map=len(json.dumps(current.body(lock.render())).encode()),
    )


def _told(taken: Taken) -> str:
    return "; ".join(
        f"{state} {taken.flowdeps[state]:.1f} s, by hand {taken.by_hand[state]:.1f} s"
        for state in STATES
    )
