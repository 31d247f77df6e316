"""Names of things in a cluster are spelled once, in `flowdeps.api.names`."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowdeps.api import names
from flowdeps.api.rules import check_key, check_revision

OPERATOR = Path(names.__file__).parents[1]
_NAME = re.compile(r"^/?flowdeps-|flowdeps\.dev|kubernetes\.io/managed-by")
_MARK = re.compile(r"flowdeps-\w+:")
"""How a line of a script's output begins; the scripts cannot import the names."""


def spelled(source: str) -> Iterator[str]:
    """Yield the literals of a module that spell a name; docstrings may."""
    tree = ast.parse(source)
    prose = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    literals = (one for one in ast.walk(tree) if isinstance(one, ast.Constant))
    for one in literals:
        text = one.value if isinstance(one.value, str) and id(one) not in prose else ""
        if _NAME.search(text) and not _MARK.fullmatch(text):
            yield text


def test_no_other_module_spells_a_name() -> None:
    """Whoever renames one changes one line."""
    exempt = {OPERATOR / "api" / "names.py", *(OPERATOR / "delivery" / "in_image").iterdir()}
    modules = sorted(set(OPERATOR.rglob("*.py")) - exempt)
    assert len(modules) > 100
    found = {str(path.relative_to(OPERATOR)): list(spelled(path.read_text())) for path in modules}
    assert {path: texts for path, texts in found.items() if texts} == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('name = "flowdeps-lock"', ["flowdeps-lock"]),
        ('name = f"flowdeps-{key}"', ["flowdeps-"]),
        ('text = f"ConfigMap {namespace}/flowdeps-{key}"', ["/flowdeps-"]),
        ('LABEL = "flowdeps.dev/set"', ["flowdeps.dev/set"]),
        ('LABEL = "app.kubernetes.io/managed-by"', ["app.kubernetes.io/managed-by"]),
        ('MARK = "flowdeps-probe:"', []),
        ('"""The ConfigMap `flowdeps-<key>`, labelled flowdeps.dev/set."""', []),
        ('text = "flowdeps: the index is away"', []),
    ],
)
def test_a_spelled_name_is_found(line: str, says: list[str]) -> None:
    """In plain and in formatted literals, and nowhere else."""
    assert list(spelled(line)) == says


@pytest.mark.parametrize("pool", ["", "kubernetes", "a pool: of others, 1.2"])
@pytest.mark.parametrize("choice", ["ml-extras", names.revision_choice("ml", "3f9a1c20de")])
def test_a_choice_is_found_in_the_name_that_its_runs_mount(choice: str, pool: str) -> None:
    """`choice_of` is the inverse of `mounted_name`, whichever pool it is for."""
    name = names.mounted_name(choice, pool=pool)
    assert re.fullmatch(rf"flowdeps-([0-9a-f]{{10}}\.)?{choice}", name)
    assert ("." in name) == bool(pool)
    assert names.choice_of(name) == choice


def test_the_name_that_runs_mount_says_which_pool_they_are_of() -> None:
    """One for each pool and choice; the hash is of the pool's name and never changes."""
    assert names.mounted_name("ml") == "flowdeps-ml"
    assert names.mounted_name("ml", pool="kubernetes") == "flowdeps-94abcb2d27.ml"
    found = {names.mounted_name(c, pool=p) for c in ("a", "b") for p in ("", "a", "b", "A")}
    assert len(found) == 8


def test_no_set_can_be_named_like_something_that_a_pool_mounts() -> None:
    """The name of a set, or a revision of it, that would need a dot, which neither has."""
    for pool, choice in itertools.product(("a", "b"), ("ml", "ml-3f9a1c20de")):
        name = names.mounted_name(choice, pool=pool).removeprefix("flowdeps-")
        assert check_key(name) is not None
        assert check_revision(name) is not None
        assert check_key(name.replace(".", "-")) is None or choice != "ml"


def test_no_set_can_be_named_like_what_earlier_versions_told_runs_by() -> None:
    """Its own ConfigMap would have the name of one that is deleted."""
    choice = names.choice_of(names.EARLIER_ENVIRONMENTS)
    assert names.mounted_name(choice) == names.EARLIER_ENVIRONMENTS
    assert check_key(choice) is not None
    assert check_revision(choice) is not None
    pool, _, _ = choice.partition(".")
    assert not re.fullmatch("[0-9a-f]{10}", pool)


@pytest.mark.parametrize("name", ["kube-root-ca.crt", "", "flowdeps"])
def test_what_is_named_otherwise_is_of_no_choice(name: str) -> None:
    """Somebody else's ConfigMap."""
    assert names.choice_of(name) == ""


def test_what_the_operator_makes_for_a_set_is_known_by_its_labels() -> None:
    """The labels of a set's object say that it is managed, and the selector finds it."""
    labels = names.set_labels(namespace="flows", name="ml")
    assert labels[names.SET_LABEL] == "ml"
    assert labels[names.NAMESPACE_LABEL] == "flows"
    assert names.is_managed(labels)
    assert not names.is_managed({**labels, names.MANAGED_BY_LABEL: "helm"})
    assert not names.is_managed({})
    assert f"{names.MANAGED_BY_LABEL}={labels[names.MANAGED_BY_LABEL]}" == names.OURS
