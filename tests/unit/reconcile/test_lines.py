"""Lines for runs fit one object, and the newest locks have them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import yaml

from flowdeps.reconcile.runs_namespace.lines import MOST_BYTES, Line, environments, fitting, told_by
from flowdeps.state.environment import Environment, read_environment
from flowdeps.state.store import SetKey
from flowdeps.trials.image import ImageRef
from tests.unit.locks.builders import digest

_CRD = Path(__file__).parents[3] / "crds" / "runenvironments.yaml"


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
    """What is left out is older than all that is in, and the whole is no more than the resource and
    the API server take."""
    lines = [_line(number) for number in range(5000)]
    found = list(fitting(lines))
    assert 1000 < len(found) < 5000
    assert found == sorted(lines, key=lambda one: one.resolved_at, reverse=True)[: len(found)]
    told = {one.choice: one.told for one in found}
    body = environments("jobs", told, owner="a/b")
    assert told_by(body) == told
    # Bytes of an object of etcd, by default; an apply keeps what it says of itself, too.
    assert MOST_BYTES * 0.99 < len(json.dumps(body)) < 1.5 * 2**20 * 0.8


def test_the_resource_takes_as_many_lines_as_fit() -> None:
    """The shortest that there can be."""
    environment = replace(
        _line(1).environment, image="a", reference=f"a/b@{digest('c')}", lock=digest("d")
    )
    lines = [
        replace(_line(number), choice=f"0123456789.{number}", environment=environment)
        for number in range(10_000)
    ]
    [version] = yaml.safe_load(_CRD.read_text())["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert 1000 < len(list(fitting(lines))) <= schema["environments"]["maxProperties"]


def test_a_line_that_is_believed_is_one_that_the_resource_takes() -> None:
    """One that is refused would keep all others of its namespace from being written."""
    [version] = yaml.safe_load(_CRD.read_text())["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    line = schema["environments"]["additionalProperties"]["properties"]
    repository = f"{'r' * 512}/{'n' * 63}"
    longest = {**vars(_line(1).environment), "reference": f"{repository}@{digest('a')}"}
    for image in ("", "i" * 1024, "!~"):
        text = json.dumps({**longest, "image": image})
        environment = read_environment(text, repository=repository)
        assert environment
        told = replace(_line(1), environment=environment).told
        assert told.keys() == line.keys()
        for name, value in told.items():
            assert len(value) <= line[name]["maxLength"]
            assert re.search(line[name].get("pattern", ""), value)


def test_no_team_takes_the_room_of_another() -> None:
    """A namespace with thousands of newer locks leaves another one, which shares the runs'
    namespace, the room for its few."""
    few = [_line(number, "team") for number in range(20)]
    many = [_line(number) for number in range(1000, 6000)]
    found = list(fitting([*few, *many]))
    assert set(few) <= set(found)
    assert len(found) > 1000
