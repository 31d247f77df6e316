from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import parse_meta, parse_spec
from flowdeps.api.spec import (
    ConfigMapSource,
    IndexSpec,
    OnVulnerable,
    PythonSpec,
    SetSpec,
    Updates,
    VariableSource,
    VerifySpec,
    WorkPoolRef,
)
from flowdeps.locks.index import Index, PackageIndex
from flowdeps.locks.request import Prereleases
from flowdeps.locks.target import Target
from tests.unit.api.sets import BAD, FINE, GOOD, Bad, changed

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "metadata",
    "metadata.name",
    "spec",
    "spec.requirements",
    "spec.requirementsFrom",
    "spec.constraints",
    "spec.constraintsFrom",
    "spec.includes",
    "spec.lockFrom",
    "spec.lockFrom.configMapKeyRef",
    "spec.python",
    "spec.python.image",
    "spec.python.version",
    "spec.python.platforms",
    "spec.index",
    "spec.index.url",
    "spec.index.extraUrls",
    "spec.index.packages",
    "spec.index.credentialsSecretRef",
    "spec.index.cooldown",
    "spec.index.cooldownExempt",
    "spec.index.prereleases",
    "spec.shadow",
    "spec.updates",
    "spec.verify",
    "spec.verify.imports",
    "spec.verify.installTimeout",
    "spec.verify.timeout",
    "spec.vulnerabilities",
    "spec.interval",
    "spec.suspend",
    "spec.revision",
    "spec.revisionHistoryLimit",
    "spec.workPools",
)


def test_what_is_left_out_gets_its_default() -> None:
    """A set with only what is required has the schema's defaults and its own name as key."""
    assert parse_spec(GOOD) == SetSpec(
        requirements=("pandas>=2.2,<3", "pyarrow"),
        constraints=(),
        python=PythonSpec(version="3.12"),
        index=IndexSpec(),
        interval=timedelta(hours=24),
        suspend=False,
        revision_history_limit=5,
        work_pools=(WorkPoolRef("kubernetes", "ml-extras", default=False),),
    )


def test_each_field_arrives() -> None:
    """Every field of a set that has all of them stands in the parsed spec."""
    body = changed(
        "spec",
        {
            "requirements": ["pandas"],
            "constraints": ["numpy<2"],
            "python": {"version": "3.11", "platforms": ["linux/arm64", "linux/amd64"]},
            "index": {
                "url": "https://packages.example.com/simple",
                "extraUrls": ["https://more.example.com:8443/simple/"],
                "packages": [
                    {"names": ["Torch_Vision", "torch"], "url": "https://torch.example.com/cpu"}
                ],
            },
            "interval": "1d12h",
            "suspend": True,
            "revision": "ml-extras-3f9a1c20de",
            "revisionHistoryLimit": 0,
            "workPools": [{"name": "a", "key": "ml", "default": True}, {"name": "b c"}],
        },
    )
    assert parse_spec(body) == SetSpec(
        requirements=("pandas",),
        constraints=("numpy<2",),
        python=PythonSpec(version="3.11", platforms=("linux/amd64", "linux/arm64")),
        index=IndexSpec(
            index=Index(
                "https://packages.example.com/simple",
                ("https://more.example.com:8443/simple/",),
                (PackageIndex("https://torch.example.com/cpu", ("torch", "torch-vision")),),
            )
        ),
        interval=timedelta(hours=36),
        suspend=True,
        revision="ml-extras-3f9a1c20de",
        revision_history_limit=0,
        work_pools=(WorkPoolRef("a", "ml", default=True), WorkPoolRef("b c", "ml-extras")),
    )


def test_each_way_to_ask_arrives() -> None:
    """Sources, included sets, the image and what goes with it stand in the parsed spec."""
    body = changed(
        "spec",
        {
            "requirementsFrom": [
                {"configMapKeyRef": {"name": "files", "key": "a.txt", "optional": True}},
                {"prefectVariable": {"name": "packages"}},
            ],
            "constraintsFrom": [{"prefectVariable": {"name": "limits", "optional": True}}],
            "includes": [{"name": "base"}],
            "python": {"image": "registry.example.com/flows:1"},
            "shadow": ["Python_DateUtil", "*"],
            "index": {
                "credentialsSecretRef": {"name": "packages"},
                "cooldown": "7d",
                "cooldownExempt": ["Our.Package"],
                "prereleases": "Disallow",
            },
            "updates": "Manual",
            "verify": {"mode": "Disabled", "imports": ["google.cloud"], "timeout": "90s"},
            "vulnerabilities": "Block",
        },
    )
    assert parse_spec(body) == SetSpec(
        requirements_from=(
            ConfigMapSource("files", "a.txt", optional=True),
            VariableSource("packages"),
        ),
        constraints_from=(VariableSource("limits", optional=True),),
        includes=("base",),
        python=PythonSpec(image="registry.example.com/flows:1"),
        shadow=("python-dateutil", "*"),
        index=IndexSpec(
            credentials="packages",
            cooldown=timedelta(days=7),
            cooldown_exempt=("our-package",),
            prereleases=Prereleases.DISALLOW,
        ),
        updates=Updates.MANUAL,
        verify=VerifySpec(enabled=False, imports=("google.cloud",), timeout=timedelta(seconds=90)),
        vulnerabilities=OnVulnerable.BLOCK,
    )


def test_a_finished_lock_arrives() -> None:
    """lockFrom stands in the parsed spec, which asks for nothing else."""
    body = changed("spec", {"lockFrom": {"configMapKeyRef": {"name": "locks", "key": "a.lock"}}})
    assert parse_spec(body) == SetSpec(lock_from=ConfigMapSource("locks", "a.lock"))


@pytest.mark.parametrize("spec", FINE.values(), ids=FINE)
def test_what_the_schema_allows_is_read(spec: dict[str, Any]) -> None:
    """Each combination that makes sense is taken."""
    parse_spec(changed("spec", spec))


def test_a_target_is_known_where_a_version_is_given() -> None:
    """With python.version the target is known, for amd64 by default; with an image it is not."""
    assert parse_spec(GOOD).target == Target("3.12", ("linux/amd64",))
    assert parse_spec(changed("spec.python", {"image": "flows:1"})).target is None


@pytest.mark.parametrize(
    ("at", "zero"), [("spec.index.cooldown", "0s"), ("spec.index.cooldown", "0d0h")]
)
def test_a_cooldown_of_zero_is_not_the_operators(at: str, zero: str) -> None:
    """`0s` means any age, whatever the operator's default."""
    assert parse_spec(changed(at, zero)).index.cooldown == timedelta(0)


@pytest.mark.parametrize("text", ["0s", "0m", "0h0s"])
def test_an_interval_of_zero_means_only_on_change(text: str) -> None:
    """A zero interval in any unit is no interval."""
    assert parse_spec(changed("spec.interval", text)).interval is None


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.why)
def test_a_bad_set_is_refused_with_its_path_and_a_way_out(case: Bad) -> None:
    """Each bad set gives exactly one problem, at its field, that says what to do."""
    with pytest.raises(InvalidError) as caught:
        parse_spec(case.body)
    [problem] = caught.value.problems
    assert problem.path == case.path
    assert case.says in problem.message
    assert ";" in problem.message


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.why)
def test_no_message_repeats_a_password(case: Bad) -> None:
    """What a URL holds before its host is in no message."""
    with pytest.raises(InvalidError) as caught:
        parse_spec(case.body)
    assert "secret" not in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    """A set with several mistakes is told all of them, in the order of its fields."""
    body = changed(
        "spec", {"requirements": ["-r x", "a", "./b"], "interval": "1", "python": {"version": "3"}}
    )
    with pytest.raises(InvalidError) as caught:
        parse_spec(body)
    assert [problem.path for problem in caught.value.problems] == [
        "spec.requirements[0]",
        "spec.requirements[2]",
        "spec.python.version",
        "spec.interval",
    ]


@given(at=st.sampled_from(FIELDS), value=JSON)
def test_any_json_is_parsed_or_refused(at: str, value: Any) -> None:
    """Whatever JSON stands at a field, the answer is a spec or InvalidError."""
    with suppress(InvalidError):
        parse_spec(changed(at, value))


def test_metadata_of_the_api_server_is_read() -> None:
    """The metadata of an object from an API server arrives as values."""
    meta = parse_meta(
        {
            "metadata": {
                "namespace": "flows",
                "name": "ml-extras",
                "uid": "b6f0",
                "generation": 3,
                "creationTimestamp": "2026-01-31T08:00:00Z",
                "deletionTimestamp": "2026-01-31T09:00:00Z",
                "finalizers": ["flowdeps.dev/cleanup"],
                "annotations": {"a": "b"},
                "resourceVersion": "17",
            }
        }
    )
    assert meta.created_at == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert (meta.namespace, meta.name, meta.uid) == ("flows", "ml-extras", "b6f0")
    assert (meta.generation, meta.resource_version) == (3, "17")
    assert meta.deleting
    assert meta.finalizers == ("flowdeps.dev/cleanup",)
    assert meta.annotations == {"a": "b"}


def test_sparse_metadata_is_no_failure() -> None:
    """Metadata with only a name, as of an object not yet created, is read too."""
    meta = parse_meta({"metadata": {"name": "a"}})
    assert meta.generation == 0
    assert not meta.deleting
    assert meta.created_at.tzinfo is UTC
