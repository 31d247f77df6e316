import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import parse_spec
from flowdeps.locks.requirements import RequirementError, parse_requirement
from tests.integration.crd.api import Refused, Sets
from tests.unit.api.sets import BAD, FINE, GOOD, Bad, changed

pytestmark = pytest.mark.cluster
EXAMPLES = [
    document
    for path in sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if document["kind"] == GOOD["kind"]
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.why)
def test_the_api_server_refuses_a_bad_set_and_says_what_to_do(case: Bad, sets: Sets) -> None:
    """Each bad set is refused, at its field, in the words of `flowdeps validate` or its own."""
    with pytest.raises(Refused) as caught:
        sets.create(case.body, dry=True)
    message = str(caught.value)
    assert (case.server or case.says) in message
    assert (case.server_path or case.path) in message


@pytest.mark.parametrize(
    "case", [case for case in BAD if "secret" in str(case.value)], ids=lambda case: case.why
)
def test_the_api_server_repeats_no_password(case: Bad, sets: Sets) -> None:
    """What a URL holds before its host is in no message of the API server."""
    with pytest.raises(Refused) as caught:
        sets.create(case.body, dry=True)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("body", EXAMPLES, ids=lambda body: body["metadata"]["name"])
def test_the_api_server_takes_the_examples(body: dict[str, Any], sets: Sets) -> None:
    """Every example is accepted by the API server."""
    body = copy.deepcopy(body)
    body["metadata"].pop("namespace", None)
    sets.create(body, dry=True)


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        *EXAMPLES,
        changed("spec.index", {}),
        changed("spec.interval", None),
        changed("spec.suspend", None),
        changed("spec.workPools", None),
        changed("spec.python", {"version": "3.10", "platforms": None}),
        changed("spec.workPools", [{"name": "a", "key": None, "default": None}]),
        *(changed("spec", spec) for spec in FINE.values()),
    ],
)
def test_defaults_are_the_same_with_and_without_an_api_server(
    body: dict[str, Any], sets: Sets
) -> None:
    """A set means the same whether an API server has put in its defaults or flowdeps does."""
    body = copy.deepcopy(body)
    body["metadata"].pop("namespace", None)
    stored = sets.create(body, dry=True)
    assert parse_spec(stored) == parse_spec(body)
    assert stored["spec"]["interval"]


VERSION = st.from_regex(
    r"[0-9]{1,3}(\.[0-9]{1,2}){0,3}((a|b|rc)[0-9])?(\.post[0-9])?", fullmatch=True
)
CLAUSE = (
    st.builds(
        "{}{}{}".format,
        st.sampled_from(("==", ">=", "<=", "!=", "<", ">", "===")),
        st.sampled_from(("", " ")),
        VERSION,
    )
    | st.builds("~={}.1".format, st.integers(0, 9))
    | st.builds("=={}.*".format, st.integers(0, 9))
)
NAME = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True)
EXTRAS = st.lists(NAME, max_size=3).map(lambda names: f"[{', '.join(names)}]") | st.just("")
MARKER = st.sampled_from(
    (
        "",
        ' ; python_version < "3.13"',
        '; platform_machine == "x86_64" and (extra == "a" or os_name != "nt")',
        ";python_full_version>='3.11.2'",
    )
)
SPACE = st.sampled_from(("", " ", "  "))
LINE = st.builds(
    lambda name, extras, clauses, marker, space, brackets: (
        space
        + name
        + space
        + extras
        + space
        + (f"({f'{space},{space}'.join(clauses)})" if brackets else f"{space},".join(clauses))
        + marker
        + space
    ),
    NAME,
    EXTRAS,
    st.lists(CLAUSE, max_size=3),
    MARKER,
    SPACE,
    st.booleans(),
)


def _accepted(line: str) -> bool:
    try:
        parse_requirement(line)
    except RequirementError:
        return False
    return True


@given(lines=st.lists(LINE.filter(_accepted), min_size=100, max_size=256))
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
def test_no_requirement_that_flowdeps_takes_is_refused(lines: list[str], sets: Sets) -> None:
    """The schema is never stricter than the parser: what flowdeps reads, the API server takes."""
    sets.create(changed("spec.requirements", lines), dry=True)


WORDS = st.text(st.sampled_from("abz09-.:/@?#[] dhms"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("at", "whole"),
    [
        ("spec.interval", lambda text: text),
        ("spec.index", lambda text: {"cooldown": text}),
        ("spec.verify", lambda text: {"timeout": text}),
        ("spec.verify", lambda text: {"imports": [text]}),
        ("spec.python", lambda text: {"image": text}),
        ("spec.index", lambda text: {"cooldownExempt": [text]}),
        ("spec.index", lambda text: {"credentialsSecretRef": {"name": text}}),
        ("spec.requirementsFrom", lambda text: [{"prefectVariable": {"name": text}}]),
        (
            "spec.requirementsFrom",
            lambda text: [{"configMapKeyRef": {"name": "a", "key": text}}],
        ),
        ("spec.includes", lambda text: [{"name": text}]),
        ("spec.index", lambda text: {"url": f"https://{text}"}),
        ("spec.workPools", lambda text: [{"name": "a", "key": text}]),
        ("spec.workPools", lambda text: [{"name": text}]),
        ("metadata.name", lambda text: text),
    ],
    ids=[
        "interval",
        "cooldown",
        "timeout",
        "module",
        "image",
        "package",
        "object",
        "variable",
        "config-key",
        "include",
        "index",
        "key",
        "pool",
        "name",
    ],
)
def test_both_sides_agree_on_any_text(at: str, whole: Any, sets: Sets) -> None:
    """What the API server takes, flowdeps reads, and what it refuses, flowdeps refuses."""

    @given(text=WORDS)
    @settings(max_examples=150, deadline=None)
    def agree(text: str) -> None:
        body = changed(at, whole(text))
        try:
            sets.create(body, dry=True)
            served = True
        except Refused:
            served = False
        try:
            parse_spec(body)
            read = True
        except InvalidError:
            read = False
        assert served == read, text

    agree()


def test_the_largest_set_stays_within_the_cost_budget(sets: Sets) -> None:
    """A set that fills every bound is checked, not refused for the cost of its rules."""
    line = "p{}>=" + "1" * 240
    url = "https://example.com/" + "a" * 1000
    long = "a" * 253
    sources = [
        {"configMapKeyRef": {"name": long, "key": long, "optional": True}} for _ in range(16)
    ]
    body = changed(
        "spec",
        {
            "requirements": [line.format(number) for number in range(256)],
            "requirementsFrom": sources,
            "constraints": [line.format(number) for number in range(256)],
            "constraintsFrom": [{"prefectVariable": {"name": long}}] * 16,
            "includes": [{"name": f"{number:03}" + "k" * 37} for number in range(16)],
            "python": {"image": "a" * 1024, "platforms": ["linux/amd64", "linux/arm64"]},
            "shadow": [f"{number:03}" + "s" * 125 for number in range(64)],
            "index": {
                "url": url,
                "extraUrls": [url] * 8,
                "packages": [
                    {"names": [f"{one:02}{two:02}" + "s" * 124 for two in range(64)], "url": url}
                    for one in range(16)
                ],
                "credentialsSecretRef": {"name": long},
                "cooldown": "00364d00023h00059m00059s",
                "cooldownExempt": ["s" * 128] * 64,
            },
            "updates": "Manual",
            "verify": {"imports": ["a." * 127 + "a"] * 64, "timeout": "00000d00000h00059m00059s"},
            "interval": "99999d23h59m59s",
            "revision": "k" * 40 + "-0123456789",
            "revisionHistoryLimit": 50,
            "workPools": [
                {"name": f"{number:03}" + "p" * 250, "key": f"{number:03}" + "k" * 37}
                for number in range(32)
            ],
        },
    )
    parse_spec(sets.create(body, dry=True))
