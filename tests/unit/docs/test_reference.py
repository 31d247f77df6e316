"""The tables of the reference are made from the code, and nothing can get past them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flowdeps.api.conditions import ConditionType
from flowdeps.api.events import Event
from flowdeps.telemetry.metrics import Metrics
from scripts.chart import CHART
from scripts.chart.comments import leaves, read_values
from scripts.reference import BLOCKS, DOCS, ROOT, UnknownTableError, pages, used, with_tables
from scripts.reference.cel import messages
from tests.unit.docs.paths import known_paths

_SOURCES = sorted((ROOT / "operator" / "flowdeps").rglob("*.py"))
_PROSE = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_tables_are_up_to_date(page: Path) -> None:
    """Each is what `make reference` makes of the code as it is."""
    assert page.read_text() == with_tables(page.read_text())


def test_every_table_is_shown() -> None:
    """One that no page asks for would document nothing."""
    shown = [name for page in pages() for name in used(page.read_text())]
    assert sorted(shown) == sorted(BLOCKS)


def test_a_table_that_there_is_not_is_refused() -> None:
    """A misspelt name ends the making, and leaves no page with an old table."""
    with pytest.raises(UnknownTableError, match=r"'metric'.*metrics"):
        with_tables("<!-- reference: metric -->\n<!-- end of reference -->")


@pytest.mark.parametrize("page", _PROSE, ids=lambda page: page.name)
def test_no_metric_is_named_that_is_gone(page: Path) -> None:
    """Whatever a page calls a metric of ours is scraped under that name."""
    families = Metrics().registry.collect()
    known = {one.name for one in families}
    named = set(re.findall(r"\b(flowdeps_[a-z_]+[a-z])\b", page.read_text()))
    bare = {re.sub(r"_(total|info|bucket|sum|count)$", "", name) for name in named}
    assert not {name for name in bare if name not in known}


def test_events_are_posted_from_the_list_alone() -> None:
    """One function reaches the API, and what it is given is an Event by name or the reason of a
    condition: no event can be posted that the page does not have."""
    trees = [ast.parse(path.read_text()) for path in _SOURCES]
    calls = [call for tree in trees for call in _calls(tree)]
    assert _callers(calls, "create_event") == {"post_event"}
    assert _callers(calls, "post_event") == {"post", "_post_events", "remove", "_warn", "_tell"}
    passed_on, conditions = (
        {"reason", "event"},
        {"ready.reason", "vulnerable.reason", "built.reason"},
    )
    given = {_reason(call) for _, call in calls if _name(call) in {"post_event", "post"}}
    posted = given - passed_on - conditions
    assert posted == {"Event.LOCK_PUBLISHED", "Event.REVISION_PROPOSED", "Event.INSTALL_KILLED"}
    named = {ast.unparse(one) for tree in trees for one in ast.walk(tree) if _is_event(one)}
    assert named == {f"Event.{one.name}" for one in Event}


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """The calls in a module, each with the function that it is in."""
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    yield function.name, node


def _name(call: ast.Call) -> str:
    found = call.func
    return found.attr if isinstance(found, ast.Attribute) else getattr(found, "id", "")


def _reason(call: ast.Call) -> str:
    named = [one.value for one in call.keywords if one.arg == "reason"]
    return ast.unparse(named[0] if named else call.args[1])


def _is_event(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Event"


def _callers(calls: list[tuple[str, ast.Call]], name: str) -> set[str]:
    return {function for function, call in calls if _name(call) == name}


def test_every_label_and_annotation_is_explained() -> None:
    """docs/reference/objects.md has a row for each name under flowdeps.dev/ in the code, and no
    other."""
    own = re.compile(r"^(?:flowdeps\.dev|\{GROUP\})(/[a-z-]+)$")
    code = {
        f"flowdeps.dev{found[1]}"
        for path in _SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if (found := own.match(_text(node)))
    }
    rows = re.findall(r"^\|[^|]*`(flowdeps\.dev/[a-z-]+)`", _page("objects"), re.MULTILINE)
    not_ours = {"flowdeps.dev/operator", "flowdeps.dev/v1alpha1"}
    assert set(rows) == code - not_ours


def _text(node: ast.AST) -> str:
    """A text in the code, with the names of its parts."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (
            f"{{{ast.unparse(one.value)}}}" if isinstance(one, ast.FormattedValue) else _text(one)
            for one in node.values
        )
        return "".join(parts)
    return ""


def _page(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text()


def test_every_condition_is_explained() -> None:
    """docs/reference/conditions.md has a row for each, and no other."""
    rows = re.findall(r"^\| `(\w+)` \|", _page("conditions"), re.MULTILINE)
    assert sorted(rows) == sorted(ConditionType)


@pytest.mark.parametrize("page", _PROSE, ids=lambda page: page.name)
def test_no_field_is_named_that_there_is_not(page: Path) -> None:
    """Whatever a page writes as the path of a field is one of the resource, the configuration or
    the chart's values."""
    known = known_paths()
    first = {path.partition(".")[0] for path in known}
    spans = re.findall(r"`([a-zA-Z]+(?:\[\])?(?:\.[a-zA-Z]+(?:\[\])?)+)`", page.read_text())
    named = {span for span in spans if span.partition(".")[0] in first and not _is_file(span)}
    assert not named - known


def _is_file(span: str) -> bool:
    return span.rpartition(".")[2] in {"json", "lock", "log", "md", "py", "toml", "txt", "yaml"}


def test_every_value_of_the_chart_is_in_the_table() -> None:
    """The page of the values is the chart's README, made by `make chart`; it names each."""
    readme = (CHART / "README.md").read_text()
    values = read_values((CHART / "values.yaml").read_text())
    assert not [one.path for one in leaves(values) if f"`{'.'.join(one.path)}`" not in readme]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        (
            "self == 'a' ? 'it is a' : has(self.b) ? 'it has b' : 'neither'",
            ["it is a", "it has b", "neither"],
        ),
        ("'\"' + self + '\" is wrong; mend it'", ['"…" is wrong; mend it']),
        ("'remove ' + (has(self.a) ? 'a, ' : '') + 'or b'", ["remove a, or b"]),
        ("(has(self.a) ? 'two' : 'no') + ' places'", ["two/no places"]),
    ],
)
def test_messages_of_rules_are_read(expression: str, told: list[str]) -> None:
    """A choice gives each of its texts, a sum one text with `…` for what is put in."""
    assert messages({"messageExpression": expression}) == told


def test_every_rule_of_the_resource_has_words() -> None:
    """The page tells what each rule in crds/ says to whom it refuses."""
    page = _page("resource")
    document = yaml.safe_load((ROOT / "crds" / "flowdependencysets.yaml").read_text())
    told = {text for rule in _rules(document) for text in messages(rule)}
    assert len(told) > 30
    assert not {text for text in told if text.removeprefix("metadata.name: ") not in page}


def _rules(node: object) -> Iterator[dict[str, str]]:
    if isinstance(node, dict):
        yield from node.get("x-kubernetes-validations", ())
        for part in node.values():
            yield from _rules(part)
    elif isinstance(node, list):
        for part in node:
            yield from _rules(part)
