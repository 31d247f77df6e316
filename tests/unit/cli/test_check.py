"""What `flowdeps check` notes of sets that pools refuse something; the rest needs a cluster."""

import argparse
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.config import parse_config
from flowdeps.cli import run
from flowdeps.cli.check import refusals
from flowdeps.cli.failure import CommandError
from flowdeps.cli.settings import read_config
from flowdeps.clients.prefect.client import Pool
from tests.unit.delivery.samples import pool as template
from tests.unit.state.bodies import set_body


def pools(**namespaces: str) -> dict[str, Pool]:
    """Pools and where their templates run jobs."""
    found = {}
    for name, namespace in namespaces.items():
        base = copy.deepcopy(template())
        base["variables"]["properties"]["namespace"]["default"] = namespace
        found[name] = Pool(name, "kubernetes", base)
    return found


def notes(config: dict[str, Any], *sets: dict[str, Any], **namespaces: str) -> list[str]:
    """The notes."""
    return list(refusals(parse_config(config), sets, pools(**namespaces)))


def test_an_operator_that_can_not_pack_environments_does_not_start(tmp_path: Path) -> None:
    """The same file makes locks without it; `flowdeps run` says which field is missing."""
    file = tmp_path / "config.yaml"
    file.write_text("environments: {repository: registry.example.com/flowdeps}", encoding="utf-8")
    assert read_config(str(file)).environments.repository
    with pytest.raises(CommandError, match=r"environments\.image: missing; write the operator's"):
        run.run(argparse.Namespace(config=str(file)))


def test_each_refusal_has_the_line_that_ends_it() -> None:
    """A set of another namespace, a default and credentials: with all of the lines in the
    configuration nothing is noted."""
    index = {"url": "https://index.example.com", "credentialsSecretRef": {"name": "index"}}
    body = set_body(pools=[{"name": "k", "default": True}], index=index)
    entry: dict[str, Any] = {}
    for field in ("namespaces", "defaultNamespaces", "jobNamespaces"):
        found = notes({"workPools": [entry] if entry else []}, body, k="jobs")
        assert found
        assert found[0].startswith('flows/ml in work pool "k": ')
        [line] = yaml.safe_load(found[0][found[0].index("workPools:") :])["workPools"]
        assert list(line) == ["name", field]
        entry |= line
    assert notes({"workPools": [entry]}, body, k="jobs") == []


def test_what_is_admitted_or_cannot_be_known_is_not_noted() -> None:
    """A set beside its runs, and one whose pool does not exist."""
    sets = [set_body("a", pools=["k"]), set_body("b", pools=["missing"]), set_body("c", pools=[])]
    assert notes({}, *sets, k="flows") == []
