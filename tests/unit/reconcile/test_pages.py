"""Pages of locks as text."""

import json
from dataclasses import replace

import pytest
from packaging.utils import canonicalize_name

from flowdeps.api.status import EnvironmentStatus, VulnerabilityStatus
from flowdeps.locks.index import Index
from flowdeps.locks.lock import Lock, Pin, parse_lock
from flowdeps.locks.target import Target
from flowdeps.reconcile.announcements import page as module
from flowdeps.reconcile.announcements.board import Content
from flowdeps.reconcile.announcements.page import Page, document_of, is_of, render
from flowdeps.state.records import record_of
from flowdeps.state.store import SetKey
from tests.unit.locks.builders import digest

TARGET = Target("3.12", ("linux/amd64", "linux/arm64"))
HOSTILE = (
    "a|b `x` [here](https://evil.example.com) <img src=x> **b** ![](y) www.evil.example.com"
    "\n\n```\n\n# Title\n\n```json\n{}\n```\n"
)


def lock(pins: int = 2) -> Lock:
    return Lock(
        TARGET,
        tuple(
            Pin(
                canonicalize_name(f"package-{number:04}"),
                "1.0+local.1",
                (digest(str(number)),),
                TARGET.platforms,
            )
            for number in range(pins)
        ),
        ((canonicalize_name("numpy"), "2.0"),),
    )


def page(of: Lock, text: str = "x") -> Page:
    record = record_of(
        of,
        inputs="",
        index=Index(url="https://index.example.com/simple"),
        resolved_at="2026-01-01T00:00:00+00:00",
        refreshed_at="",
        refresh="",
        image=text,
        credentials=True,
    )
    found = VulnerabilityStatus(id=text, package=text, version=text, fixed=text, summary=text)
    content = Content(
        record=record,
        served_since=text,
        summary=text,
        environment=EnvironmentStatus(digest=text, reference=text, image=text),
        vulnerabilities=(found,),
    )
    return Page(pool=text, key="ml", set=SetKey("flows", "ml"), content=content)


def rendered(one: Page, of: Lock, *, notes: tuple[str, ...] = ()) -> str:
    return render(one, of, of.render(notes), owner="flowdeps/flowdeps", cluster="c")


def test_no_text_of_others_is_markup_or_ends_the_document() -> None:
    """Pool, image, summary, vulnerabilities and notes: all of it is text, and in one line."""
    made = lock()
    one = page(made, HOSTILE)
    data = rendered(one, made, notes=(HOSTILE,))
    people, fence, rest = data.partition("```json\n")
    assert fence
    assert rest.count("\n") == 2
    assert rest.endswith("\n```\n")
    for markup in ("<", "](", "`x`", "**", "https:", "www.", "```", "a|b"):
        assert markup not in people.replace("\\<", "").replace("\\`", "'").replace("\\|", "/")
    assert [line for line in people.splitlines() if line.startswith("#")] == [
        "# ml",
        "## Changes",
        "## Vulnerabilities",
        "## Packages",
        "## Document",
    ]
    found = document_of(data)
    assert found["pool"] == HOSTILE
    assert is_of(found, artifact=one.artifact, owner="flowdeps/flowdeps", cluster="c")
    assert parse_lock(found["requirements.txt"]).digest == found["digest"] == made.digest
    assert "evil" not in one.description or "https:" not in one.description


def test_the_document_has_no_credentials() -> None:
    """A lock that needs some says so, and where its packages are."""
    made = lock()
    manifest = document_of(rendered(page(made), made))["lock.json"]
    assert manifest["credentials"] is True
    assert manifest["index"]["url"] == "https://index.example.com/simple"


def test_a_lock_that_is_too_large_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so, its tables end, and its digest stays."""
    made = lock(1200)
    data = rendered(page(made), made)
    assert data.count("\n| package-") == 1000
    assert "and 200 more" in data
    assert len(parse_lock(document_of(data)["requirements.txt"]).pins) == 1200
    monkeypatch.setattr(module, "_MOST_BYTES", 1000)
    found = document_of(rendered(page(made), made))
    assert "requirements.txt" not in found
    assert "too large" in found["problem"]
    assert found["digest"] == made.digest


@pytest.mark.parametrize(
    "data",
    [
        "",
        "# x",
        "```json\n",
        "```json\n{}",
        "```json\n[1]\n```\n",
        "```json\n" + "[" * 10**5 + "\n```\n",
        "```json\n{\n```\n",
        '```json\n{"pool": 1, "key": ["ml"]}\n```\n',
    ],
)
def test_what_is_no_page_of_ours_is_nobodys_to_delete(data: str) -> None:
    """Whatever an artifact holds."""
    found = document_of(data)
    assert not is_of(found, artifact="flowdeps-ml-0000000000", owner="o", cluster="")


def test_only_its_own_operator_takes_a_page_for_its_own() -> None:
    """By owner, cluster, and a key that follows from pool and key."""
    made = lock()
    one = replace(page(made), pool="k")
    found = document_of(rendered(one, made))
    ours = {"artifact": one.artifact, "owner": "flowdeps/flowdeps", "cluster": "c"}
    assert is_of(found, **ours)
    for name in ours:
        assert not is_of(found, **{**ours, name: "other"})
    assert json.loads(json.dumps(found)) == found
