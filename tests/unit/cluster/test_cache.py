"""Cache entries: made once, never half."""

import threading
import time
from pathlib import Path

import pytest

from tests.cluster import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLOWDEPS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_an_entry_is_made_once_by_many_who_want_it_at_once() -> None:
    made: list[Path] = []

    def make(at: Path) -> None:
        made.append(at)
        time.sleep(0.2)
        (at / "file").write_text("content")

    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append((cache.entry("a/b", make) / "file").read_text())
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found == ["content"] * 4


def test_what_failed_half_way_is_made_anew() -> None:
    def fail(at: Path) -> None:
        (at / "rubbish").touch()
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        cache.entry("one", fail)
    at = cache.entry("one", lambda path: (path / "good").touch())
    assert sorted(path.name for path in at.iterdir()) == [".complete", "good"]


def test_a_digest_tells_parts_apart(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("ab")
    assert cache.digest("ab") == cache.digest(b"ab") == cache.digest(file)
    assert cache.digest("a", "b") != cache.digest("ab")


def test_the_cache_is_where_the_environment_says(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.root() == own_cache
    monkeypatch.delenv("FLOWDEPS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.root() == Path("/elsewhere/flowdeps")
