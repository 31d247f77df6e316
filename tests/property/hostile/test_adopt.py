"""Templates, scripts and requirements files of somebody else, as `flowdeps adopt` reads them."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from flowdeps.api.resource import parse_spec
from flowdeps.cli.draft import Draft
from flowdeps.cli.pip_words import PipReader
from flowdeps.cli.recipe import clean, installs
from flowdeps.cli.shell import read_script
from tests.property.hostile.strategies import json_values, mutated, spoilt, texts
from tests.unit.cli.recipes import SCRIPT, with_recipe

_TEMPLATE = with_recipe()


def _is_valid(draft: Draft) -> bool:
    """Whether what is written is a set that the API takes, or nothing."""
    draft.name = "a"
    return draft.is_empty or bool(parse_spec(draft.manifests(pool="kubernetes")[0]))


@given(mutated(_TEMPLATE, json_values(_TEMPLATE)), mutated({"env": {"A": "b"}}, json_values()))
def test_any_template_is_read_and_cleaned(template: Any, given: Any) -> None:
    """What is found makes a valid set, and what is left has nothing more to find."""
    template = template if isinstance(template, dict) else {}
    draft = Draft()
    installs(
        template,
        given if isinstance(given, dict) else {},
        PipReader(draft, lambda _: None),
        where="x",
    )
    assert _is_valid(draft)
    left = clean(template, lambda _: None)
    assert clean(left, lambda _: None) == left


@given(spoilt(SCRIPT) | texts)
@example("pip install 'a; b' && c; " * 50)
def test_any_script_is_read(text: str) -> None:
    """What is left installs nothing."""
    left = read_script(text).rest
    assert read_script(left).installs == []


@given(
    spoilt("-i https://example.com/simple\n-r a.txt\na>=1 --hash=sha256:0\n-e .\n") | texts,
    st.sampled_from(["", "-r a.txt\nb"]),
)
def test_any_requirements_file_makes_a_valid_set(text: str, other: str) -> None:
    """Whatever the files hold."""
    draft = Draft()
    PipReader(draft, lambda _: other).text(text, "requirements.txt")
    assert _is_valid(draft)
