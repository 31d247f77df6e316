"""What a terminal of 80 columns shows of a set, and what JSON holds."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from flowdeps.api.names import mounted_name
from flowdeps.api.reasons import Reason
from flowdeps.api.times import format_time
from flowdeps.cli.diagnosis import Diagnosis, Observed, diagnose
from flowdeps.cli.lease import LeaseReport
from flowdeps.cli.main import build_parser, main
from flowdeps.cli.report import to_json, to_text
from tests.unit.cli.test_diagnosis import DIGEST, NOW, OURS, POOL, READY, body, condition

_UV = (
    "spec.requirements: Because pandas 3 depends on numpy>=2 and the image has numpy 1.26.4,"
    " pandas>=3 cannot be used. Widen one side, or correct a name"
)
_HELD = LeaseReport(
    "held", "flowdeps-7c9f-x2k holds the Lease flowdeps/flowdeps; it was renewed 2 s ago"
)


def shown(found: Diagnosis) -> list[str]:
    """The lines of a terminal of 80 columns."""
    return to_text(found, now=NOW, width=80).splitlines()


def test_a_ready_set_fits_a_screen() -> None:
    """What is in service, what runs get, and which operator is active."""
    event = {"reason": "LockPublished", "message": "ml-aaaaaaaaaa: +pandas 2.3.3"}
    event["eventTime"] = format_time(NOW - timedelta(minutes=5))
    read = Observed(
        body=body(READY, pools=(POOL,)), mounted=OURS, offered={"k": ["ml"]}, events=[event]
    )
    found = replace(diagnose(read, now=NOW), lease=_HELD)
    assert shown(found) == [
        "flows/ml is ready, since 2026-01-31T09:00:00Z, 3 h ago",
        "",
        "In service",
        "  ml-aaaaaaaaaa: 12 packages for Python 3.12, resolved 2 d ago",
        '  work pool "k": runs that choose "ml" get ml-aaaaaaaaaa from ConfigMap',
        f"    {mounted_name('ml', pool='k')}",
        "",
        "Operator",
        "  flowdeps-7c9f-x2k holds the Lease flowdeps/flowdeps; it was renewed 2 s ago",
        "",
        "Recent events",
        "  5 min ago: LockPublished: ml-aaaaaaaaaa: +pandas 2.3.3",
    ]


@pytest.mark.parametrize(
    ("delivery", "said"),
    [
        ("Image", ", in a ready environment"),
        ("Install", ", and install it"),
        ("Volume", ", in a ready environment on a claim"),
        ("Cache", ", from the pool's cache"),
    ],
)
def test_how_runs_get_their_packages_is_said(delivery: str, said: str) -> None:
    """Where there are environments at all."""
    read = Observed(
        body=body(READY, pools=({**POOL, "delivery": delivery},)),
        mounted=OURS,
        offered={"k": ["ml"]},
    )
    found = diagnose(read, now=NOW)
    text = " ".join(line.strip() for line in shown(found))
    assert f"{mounted_name('ml', pool='k')}{said}" in text
    assert to_json(found)["serving"][0]["delivery"] == delivery


def test_the_environment_of_a_lock_is_shown_with_what_it_costs() -> None:
    """By its reference, which can be copied to a registry's tools; as JSON too."""
    reference = f"registry.example.com/flowdeps/flows@{DIGEST}"
    environment = {
        "digest": DIGEST,
        "reference": reference,
        "image": "registry.example.com/flows:1",
        "size": 81_250_000,
        "files": 4210,
        "importSeconds": 1.25,
    }
    image = {
        "image": "registry.example.com/flows:1",
        "reference": reference.replace("4", "5"),
        "digest": f"sha256:{'5' * 64}",
        "size": 281_250_000,
    }
    given = body(READY, environment=environment, images=[image])
    found = diagnose(Observed(body=given), now=NOW)
    text = " ".join(line.strip() for line in shown(found))
    assert f"environment {reference}: 81.2 MB to pull, 4210 files, imports take 1.25 s" in text
    assert to_json(found)["environment"] == environment
    more = f"image {image['reference']}: {image['image']} with it, 281.2 MB in all"
    assert more in text
    assert to_json(found)["images"] == [image]


def test_a_set_that_waits_for_a_person_reads_well() -> None:
    """Why and what to do come after what is in service; long lines hang under their beginning."""
    read = Observed(
        body=body(
            condition("Ready", "False", "Unsatisfiable", _UV),
            condition("Stalled", "True", "Unsatisfiable", _UV),
            condition("Resolved", "False", "Unsatisfiable", _UV),
            lock=False,
            pools=(POOL,),
        ),
        unread=["its events: 403"],
    )
    assert shown(diagnose(read, now=NOW)) == [
        "flows/ml is not ready, and waits for a person (Unsatisfiable), since",
        "  2026-01-31T09:00:00Z, 3 h ago",
        "",
        "In service",
        "  nothing: no lock was published yet",
        '  work pool "k": runs that choose "ml" get nothing: there is no lock yet',
        "",
        "Why",
        "  Resolved: Unsatisfiable: No versions fit together, a package does not exist,",
        "    or has no wheel for the Python and platforms",
        "    | spec.requirements: Because pandas 3 depends on numpy>=2 and the image has",
        "    | numpy 1.26.4, pandas>=3 cannot be used. Widen one side, or correct a name",
        "    What to do: uv's explanation says what clashes: widen one side, correct the",
        "      name, or ask for fewer platforms; source distributions are never built.",
        "",
        "Operator",
        "  not known: name the operator's configuration with --config to read its Lease",
        "",
        "Could not be read",
        "  its events: 403",
    ]


@pytest.mark.parametrize(
    ("found", "first"),
    [
        (body(condition("Ready", "False", "Resolving")), "flows/ml is not ready yet; flowdeps is"),
        (
            body(condition("Ready", "False", "IndexUnavailable")),
            "flows/ml is not ready; flowdeps keeps trying (IndexUnavailable), since",
        ),
        (
            body(condition("Ready", "True", "Suspended")),
            "flows/ml is suspended: what is published stays, and nothing else happens",
        ),
        (body(lock=False), "flows/ml has no status"),
        (
            body(READY, meta={"deletionTimestamp": format_time(NOW)}),
            "flows/ml is being deleted",
        ),
    ],
)
def test_the_first_line_says_what_happens_next(found: dict[str, object], first: str) -> None:
    """In every state, and no line is wider than the terminal."""
    lines = shown(diagnose(Observed(body=found), now=NOW))
    assert lines[0].startswith(first)
    assert max(map(len, lines)) <= 80


def test_a_long_event_is_cut() -> None:
    """It repeats the message of a condition, which is shown whole."""
    event = {"reason": "Unsatisfiable", "message": "because " * 90}
    lines = shown(diagnose(Observed(body=body(READY), events=[event]), now=NOW))
    block = lines[lines.index("Recent events") + 1 :]
    assert len(block) == 2
    assert block[-1].endswith("…")


def test_a_message_that_says_no_more_than_the_reason_is_left_out() -> None:
    """As of a step that is under way."""
    message = Reason.RESOLVING.description.rstrip(".")
    steps = (condition("Ready", "False", "Resolving"), condition("Resolved", "False", "Resolving"))
    lines = shown(
        diagnose(Observed(body=body(*({**one, "message": message} for one in steps))), now=NOW)
    )
    assert [line for line in lines if message in line] == [f"  Resolved: Resolving: {message}."]


def test_a_long_word_is_not_broken() -> None:
    """A digest or an address can be copied."""
    image = f"registry.example.com/{'x' * 90}@{DIGEST}"
    stuck = body(condition("Ready", "False", "ImageUnavailable", f"{image}: not found"))
    lines = shown(diagnose(Observed(body=stuck), now=NOW))
    assert any(f"{image}:" in line for line in lines)


def test_json_has_the_same_answer() -> None:
    """Names as Kubernetes writes them, times in RFC 3339."""
    read = Observed(body=body(READY, pools=(POOL,)), mounted=OURS, unread=["its pods: 403"])
    answer = json.loads(json.dumps(to_json(diagnose(read, now=NOW))))
    assert answer == {
        "set": "flows/ml",
        "state": "done",
        "ready": True,
        "reason": "Ready",
        "since": "2026-01-31T09:00:00Z",
        "revision": "ml-aaaaaaaaaa",
        "packages": 12,
        "python": "3.12",
        "resolvedAt": "2026-01-29T12:00:00Z",
        "environment": None,
        "images": [],
        "notes": [],
        "troubles": [],
        "serving": [
            {
                "pool": "k",
                "key": "ml",
                "configMap": mounted_name("ml", pool="k"),
                "revision": "ml-aaaaaaaaaa",
                "problem": "",
                "delivery": "",
            }
        ],
        "lease": {
            "state": "unknown",
            "message": "not known: name the operator's configuration with --config to read its"
            " Lease",
            "holder": "",
            "since": None,
        },
        "pods": [],
        "events": [],
        "notLookedAt": ["its pods: 403"],
    }


def test_the_old_name_of_the_command_still_works(capsys: pytest.CaptureFixture[str]) -> None:
    """For one release, with a line on standard error; it is on no list."""
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    old = capsys.readouterr()
    assert old.err == "flowdeps: `explain` is deprecated; use `flowdeps status NAME`\n"
    with pytest.raises(SystemExit):
        main(["status", "--help"])
    new = capsys.readouterr()
    assert (new.out, new.err) == (old.out, "")
    assert "explain" not in build_parser().format_help()


def test_json_of_all_sets_is_left_to_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    """-o json is about one set, and says so before it looks for a cluster."""
    assert main(["status", "-o", "json"]) == 1
    assert "-o json is about one set" in capsys.readouterr().err
