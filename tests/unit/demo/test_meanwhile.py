"""What `make demo` says of the time that is left, while programs are being built."""

from pathlib import Path

import pytest

from demo import meanwhile
from demo.meanwhile import Estimate, about
from tests.cluster import binaries

_PLAN = {"a": 60.0, "b": 300.0, "c": 40.0}


def test_the_estimate_begins_with_what_was_measured() -> None:
    """Until something is built, the plan holds."""
    estimate = Estimate(_PLAN)
    assert estimate.seconds(set(), elapsed=0, last="c") == 400
    assert estimate.seconds(set(), elapsed=30, last="c") == 370
    assert estimate.seconds(set(), elapsed=30, last="a") == 30


def test_a_slow_machine_is_expected_to_stay_slow() -> None:
    """What took twice as long as planned doubles what is left, and what overruns is never less than
    nothing."""
    estimate = Estimate(_PLAN)
    assert estimate.seconds(set(), elapsed=120, last="b") == 600
    assert estimate.seconds({"a"}, elapsed=120, last="c") == 680
    assert estimate.seconds({"a"}, elapsed=320, last="c") == 480
    assert estimate.seconds({"a"}, elapsed=900, last="b") == 0
    assert estimate.seconds({"a"}, elapsed=900, last="c") == 80


def test_nothing_is_left_when_all_is_built() -> None:
    """Whatever it took."""
    assert Estimate(_PLAN).seconds(set(_PLAN), elapsed=1, last="c") == 0
    assert Estimate(_PLAN).seconds({"a", "b"}, elapsed=1, last="b") == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "less than a minute"),
        (60, "less than a minute"),
        (61, "about 2 min"),
        (840, "about 14 min"),
    ],
)
def test_durations_are_said_in_minutes(seconds: float, text: str) -> None:
    """Nobody can know more."""
    assert about(seconds) == text


def test_the_news_say_what_is_built_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First until a run, then until pods can run; what environments need comes after that."""
    monkeypatch.setenv("FLOWDEPS_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    building = meanwhile.Building()
    building.prepare()
    assert building.news() == (
        "(meanwhile: building etcd, 1 of 14; about 7 min until the first run, "
        "about 16 min until pods can run)"
    )
    control_plane = ("etcd", "kube-apiserver", "kubectl")
    _make(tmp_path, *(binaries._entry(name) for name in control_plane))
    news = building.news()
    assert news.startswith("(meanwhile: building kube-controller-manager, 4 of 14; ")
    assert "first run" not in news
    _make(tmp_path, *(binaries._entry(name) for name in binaries.NODE))
    assert "building the images of runs, 12 of 14" in building.news()
    _make(tmp_path, "images/flow-0123")
    assert building.news() == "(meanwhile: all that pods need is there)"


def _make(cache: Path, *entries: str) -> None:
    for entry in entries:
        (cache / entry).mkdir(parents=True, exist_ok=True)
        (cache / entry / ".complete").touch()
