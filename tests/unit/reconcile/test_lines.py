"""Lines for runs fit one ConfigMap, and the newest locks have them."""

from flowdeps.reconcile.runs_namespace.lines import MOST_BYTES, Line, environments_map, fitting
from flowdeps.state.environment import Environment
from flowdeps.state.store import SetKey
from flowdeps.trials.image import ImageRef
from tests.unit.locks.builders import digest


def _line(number: int, namespace: str = "flows") -> Line:
    image = f"registry.example.com/team/flows:{number}"
    lock = digest(f"lock {number}")
    environment = Environment(
        reference=f"registry.example.com/environments/flows@{digest(f'environment {number}')}",
        lock=lock,
        image=image,
        image_id=f"registry.example.com/team/flows@{digest('image')}",
        size=1,
        unpacked=2,
        files=3,
        import_seconds=0.5,
    )
    return Line(
        set=SetKey(namespace, f"set-{number}"),
        pool="k",
        choice=f"0123456789.set-{number}-{lock[7:17]}",
        resolved_at=f"2026-01-01T00:00:00.{number:06}+00:00",
        environment=environment,
        image=ImageRef("flows", image),
    )


def test_of_five_thousand_lines_the_newest_fit() -> None:
    """What is left out is older than all that is in, and the whole stays below a ConfigMap's end,
    also with the keys that the API server keeps once more."""
    lines = [_line(number) for number in range(5000)]
    found = list(fitting(lines))
    assert 1000 < len(found) < 5000
    assert found == sorted(lines, key=lambda one: one.resolved_at, reverse=True)[: len(found)]
    data = {one.choice: one.text for one in found}
    assert sum(2 * len(key) + len(text) for key, text in data.items()) <= MOST_BYTES
    assert environments_map("jobs", data, owner="a/b")["data"] == data


def test_a_line_is_image_reference_and_lock() -> None:
    """As the admission policy splits it."""
    line = _line(1)
    assert line.text.split(" ") == [
        "registry.example.com/team/flows:1",
        line.environment.reference,
        line.environment.lock,
    ]


def test_no_team_takes_the_room_of_another() -> None:
    """A namespace with thousands of newer locks leaves another one, which shares the runs'
    namespace, the room for its few."""
    few = [_line(number, "team") for number in range(20)]
    many = [_line(number) for number in range(1000, 6000)]
    found = list(fitting([*few, *many]))
    assert set(few) <= set(found)
    assert len(found) > 1000
