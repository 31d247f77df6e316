"""What an annotation tells of an environment is believed only where it is whole and in place."""

import json
from dataclasses import replace

import pytest

from flowdeps.state.environment import Environment, read_environment

_HEX = "0123456789abcdef" * 4
_REPOSITORY = "registry.example.com/flowdeps/team-a"
_KNOWN = Environment(
    reference=f"{_REPOSITORY}@sha256:{_HEX}",
    lock=f"sha256:{_HEX}",
    image="example.com/flow:1",
    image_id=f"example.com/flow@sha256:{_HEX}",
    size=10,
    unpacked=30,
    files=3,
    import_seconds=0.5,
)


def test_what_is_written_is_read() -> None:
    assert read_environment(_KNOWN.to_json(), repository=_REPOSITORY) == _KNOWN
    assert _KNOWN.digest == f"sha256:{_HEX}"


def test_a_derived_image_is_where_its_environment_is() -> None:
    """Nothing of it is written where there is none, as an older operator reads that."""
    assert "derived" not in _KNOWN.to_json()
    found = replace(_KNOWN, derived=f"sha256:{'f' * 64}", derived_size=9)
    assert read_environment(found.to_json(), repository=_REPOSITORY) == found
    assert found.derived_reference == f"{_REPOSITORY}@sha256:{'f' * 64}"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "[" * 100_000,
        json.dumps({"reference": _KNOWN.reference}),
        json.dumps({**vars(_KNOWN), "more": 1}),
        json.dumps({**vars(_KNOWN), "size": "10"}),
        json.dumps({**vars(_KNOWN), "files": -1}),
        json.dumps({**vars(_KNOWN), "import_seconds": float("nan")}),
        json.dumps({**vars(_KNOWN), "reference": 1}),
        replace(_KNOWN, lock="sha256:1").to_json(),
        replace(_KNOWN, image="two words").to_json(),
        replace(_KNOWN, image_id="a\nline").to_json(),
        replace(_KNOWN, image="a" * 1025).to_json(),
        replace(_KNOWN, derived="sha256:1").to_json(),
        replace(_KNOWN, derived=f"evil.example.com/x@sha256:{_HEX}").to_json(),
        replace(_KNOWN, underived="a" * 1025).to_json(),
        json.dumps({**vars(_KNOWN), "derived": None}),
        json.dumps({**vars(_KNOWN), "derived_size": -1}),
        json.dumps({**vars(_KNOWN), "underived": 1}),
    ],
)
def test_a_damaged_text_tells_of_none(text: str | None) -> None:
    assert read_environment(text, repository=_REPOSITORY) is None


@pytest.mark.parametrize(
    "reference",
    [
        f"evil.example.com/flowdeps/team-a@sha256:{_HEX}",
        f"{_REPOSITORY}-b@sha256:{_HEX}",
        f"{_REPOSITORY}/../team-b@sha256:{_HEX}",
        f"{_REPOSITORY}:latest",
        f"{_REPOSITORY}@sha256:{_HEX}\n",
        f"{_REPOSITORY}@sha256:{_HEX} other",
    ],
)
def test_an_environment_is_in_the_repository_of_its_namespace(reference: str) -> None:
    text = replace(_KNOWN, reference=reference).to_json()
    assert read_environment(text, repository=_REPOSITORY) is None
