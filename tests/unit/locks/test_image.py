import json
from dataclasses import replace

import pytest

from flowdeps.locks.image import MOST_CHARACTERS, Distribution, ImageError, ImageFacts
from flowdeps.locks.inspection import parse_freeze, parse_image_packages, parse_inspect, parse_probe
from flowdeps.locks.installed_requirements import all_installed_requirements
from tests.unit.locks.builders import AMD64

MARKERS = {"python_full_version": "3.11.9", "sys_platform": "linux", "platform_machine": "x86_64"}
HEAD = {
    "python": "3.11.9",
    "implementation": "cpython",
    "platform": "linux/amd64",
    "libc": "glibc",
    "libcVersion": "2.36",
    "tools": ["uv", "pip"],
    "pythonPath": ["/opt/x"],
    "markers": MARKERS,
}
SIX = {"name": "six", "version": "1.17.0", "requires": [], "extras": []}
PREFECT = {"name": "Prefect", "version": "3.8.8", "requires": ["six>=1"], "extras": ["Redis_X"]}


def printed(*records: object, count: int | None = None) -> str:
    """What a probe prints: its records, and how many distributions there were."""
    end = {"distributions": len(records) - 1 if count is None else count}
    return "".join(f"flowdeps-probe: {json.dumps(one)}\n" for one in (*records, end))


FACTS = ImageFacts(
    python="3.11",
    full_version="3.11.9",
    platform=AMD64,
    libc_version="2.36",
    tools=("uv", "pip"),
    python_path=("/opt/x",),
    markers=MARKERS,
    distributions=(
        Distribution("prefect", "3.8.8", ("six>=1",), ("redis-x",)),
        Distribution("six", "1.17.0"),
    ),
)


def test_a_probe_tells_what_an_image_has() -> None:
    """Names, versions and extras in their normal form, requirements as the metadata have them."""
    assert parse_probe(printed(HEAD, SIX, PREFECT)) == FACTS


def test_what_else_is_in_a_probes_output_does_not_matter() -> None:
    """A warning of the image's Python, before the mark or between the lines."""
    text = printed(HEAD, SIX, PREFECT).replace("\n", "\nDeprecationWarning: x\n")
    assert parse_probe(f"hello\n{text}") == FACTS


def test_of_a_name_that_is_there_twice_the_first_counts() -> None:
    """As an import finds the first on the path."""
    older = SIX | {"version": "1.0", "name": "SIX"}
    assert parse_probe(printed(HEAD, SIX, PREFECT, older)) == FACTS
    assert parse_probe(printed(HEAD, older, PREFECT, SIX)).versions["six"] == "1.0"


@pytest.mark.parametrize(
    "odd",
    [
        {"name": None, "version": None},
        {"version": "1.0"},
        {"name": "six"},
        {"name": "six", "version": "unknown"},
        {"name": "six\nflowdeps", "version": "1.0"},
        {"name": "-r x", "version": "1.0"},
        {"name": ["six"], "version": "1.0"},
        {"name": "six", "version": 5},
    ],
)
def test_a_distribution_that_can_not_be_compared_is_passed_over(odd: object) -> None:
    """A leftover in site-packages neither breaks the probe nor hides what comes after it."""
    assert parse_probe(printed(HEAD, odd, SIX, PREFECT)) == FACTS


def test_of_what_has_no_version_that_can_be_compared_the_name_is_known() -> None:
    """From the probe and from pip; it survives being stored."""
    odd = {"name": "My_Odd", "version": "1.16-custom-build"}
    facts = parse_probe(printed(HEAD, odd, SIX, PREFECT))
    assert facts == replace(FACTS, unreadable=("my-odd",))
    assert ImageFacts.from_json(facts.to_json()) == facts
    listed = json.dumps(INSPECT | {"installed": [{"metadata": odd}]})
    assert parse_inspect(listed).unreadable == ("my-odd",)


@pytest.mark.parametrize(
    "odd", [{"requires": None}, {"extras": None}, {"requires": [5, None], "extras": [None]}]
)
def test_odd_metadata_are_no_metadata(odd: dict[str, object]) -> None:
    """What isn't a text says nothing."""
    assert parse_probe(printed(HEAD, SIX | odd, PREFECT)) == FACTS


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the probe reported nothing about the image's Python"),
        ("Traceback …", "the probe reported nothing about the image's Python"),
        (printed(HEAD, SIX).replace("3.11.9", '3"11'), "the probe reported nothing"),
        (printed(HEAD, SIX, count=2), "the probe's output ends early"),
        (printed(HEAD, SIX).rsplit("flowdeps-probe", 1)[0], "the probe's output ends early"),
        (printed(HEAD, SIX).rsplit("flowdeps-probe", 2)[0], "the probe's output ends early"),
        (printed(HEAD | {"implementation": "pypy"}), "the image's Python is pypy; use one with"),
        (printed(HEAD | {"platform": None}), "the probe's output can't be read"),
        (printed(HEAD | {"markers": 5}), "the probe's output can't be read"),
        (printed(HEAD | {"tools": "uv"}), "the probe's output can't be read"),
    ],
)
def test_a_probe_that_tells_too_little_is_refused(text: str, says: str) -> None:
    """Half a list of packages would make a lock for another image."""
    with pytest.raises(ImageError) as caught:
        parse_probe(text)
    assert str(caught.value).startswith(says)


def test_facts_survive_being_stored() -> None:
    """JSON and back; the digest names them."""
    assert ImageFacts.from_json(FACTS.to_json()) == FACTS
    assert FACTS.digest == (
        "sha256:2f0835042e9d55c27e3f8ca5e505d1f313aa36fa58e3f7fc9269f75d8ac7e6b7"
    )


def test_facts_that_an_earlier_version_stored_can_be_read() -> None:
    """They don't say which glibc there is, nor what has a version that can't be compared."""
    stored = json.loads(FACTS.to_json())
    del stored["libcVersion"], stored["unreadable"]
    assert ImageFacts.from_json(json.dumps(stored)) == replace(FACTS, libc_version="")


@pytest.mark.parametrize(
    ("version", "glibc"),
    [("2.36", 36), ("2.31", 31), ("2.30", 28), ("2.28", 28), ("2.99", 40), ("", 28), ("x", 28)],
)
def test_wheels_may_need_the_images_glibc(version: str, glibc: int) -> None:
    """Or the newest before it that uv knows; where it isn't known, the oldest of all images."""
    facts = replace(FACTS, libc_version=version)
    assert (facts.glibc, facts.problem) == (glibc, None)


@pytest.mark.parametrize("text", ["", "{}", "[]", "5", '{"python": 5}', "[" * 100_000])
def test_stored_facts_that_are_damaged_are_refused(text: str) -> None:
    """Whatever stands there, it is one kind of error."""
    with pytest.raises(ImageError):
        ImageFacts.from_json(text)


def test_the_digest_depends_on_each_fact() -> None:
    """Another interpreter, marker or package is another image."""
    others = [
        FACTS,
        replace(FACTS, python="3.12"),
        replace(FACTS, full_version="3.11.10"),
        replace(FACTS, platform="linux/arm64"),
        replace(FACTS, libc="musl"),
        replace(FACTS, libc_version=""),
        replace(FACTS, tools=("pip",)),
        replace(FACTS, python_path=()),
        replace(FACTS, markers={}),
        replace(FACTS, distributions=()),
        replace(FACTS, unreadable=("odd",)),
        replace(FACTS, distributions=(Distribution("six", "1.17.0", ("x",)),)),
        replace(FACTS, distributions=(Distribution("six", "1.17.0", (), ("x",)),)),
    ]
    assert len({one.digest for one in others}) == len(others)


def test_what_no_lock_can_be_made_for_is_said() -> None:
    """An image without glibc, or too old a one, of an unknown machine, or with too old a Python."""
    assert FACTS.problem is None
    assert "C library is musl" in str(replace(FACTS, libc="musl").problem)
    assert replace(FACTS, libc_version="2.17").problem == (
        "the image's C library is glibc 2.17, and locks are made for 2.28 and newer; use a newer "
        "image, such as one of Debian 10"
    )
    assert "'linux/riscv64' is not supported" in str(
        replace(FACTS, platform="linux/riscv64").problem
    )
    assert replace(FACTS, python="3.9").problem == (
        "the image can't be used: Python '3.9' is not supported; use a minor version from 3.10 on, "
        "as in 3.12"
    )


INSPECT = {
    "version": "1",
    "environment": MARKERS,
    "installed": [
        {"metadata": {"name": "six", "version": "1.17.0"}},
        {
            "metadata": {
                "name": "prefect",
                "version": "3.8.8",
                "requires_dist": ["six>=1"],
                "provides_extra": ["redis-x"],
            }
        },
    ],
}


def test_pip_inspect_tells_the_same() -> None:
    """Interpreter, platform, packages and what they require."""
    found = parse_image_packages(json.dumps(INSPECT), python="3.8", platform="linux/arm64")
    assert found == replace(FACTS, tools=("pip",), python_path=(), libc_version="")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{",
            "{}",
            '{"environment": {}, "installed": []}',
            json.dumps(INSPECT | {"installed": 5}),
        ),
        json.dumps(INSPECT | {"installed": [{"metadata": 5}]}),
    ],
)
def test_another_json_is_not_that_of_pip_inspect(text: str) -> None:
    """It says what is wanted."""
    with pytest.raises(ImageError, match="not the JSON of `pip inspect`"):
        parse_inspect(text)


def test_pip_freeze_tells_names_and_versions() -> None:
    """Comments and blank lines are passed over; what is required stays unknown."""
    text = "# made by hand\n\nsix == 1.17.0  # why\nPrefect==3.8.8\n"
    facts = parse_image_packages(text, python="3.11", platform=AMD64)
    assert facts.versions == {"prefect": "3.8.8", "six": "1.17.0"}
    assert (facts.python, facts.platform, facts.markers) == ("3.11", AMD64, {})


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("-e git+https://me:secret@example.com/x.git#egg=x", "-e git+https"),
        ("six @ file:///tmp/six-1.17.0-py3-none-any.whl", "six"),
        ("six", "six"),
        ("six>=1", "six>=1"),
        ("six==", "six=="),
        ("six==one", "six==one"),
        ("==1.0", "==1.0"),
    ],
)
def test_a_line_without_a_version_is_refused_with_the_way_out(line: str, shown: str) -> None:
    """What a lock shall build on must be known; another form of the list has it."""
    with pytest.raises(ImageError) as caught:
        parse_freeze(f"a==1.0\n{line}\n", python="3.11", platform=AMD64)
    assert str(caught.value) == (
        f"line 2: {shown!r} is not name==version; "
        "give the JSON of `pip inspect`, or the lines of `pip list --format=freeze`"
    )


_DEEP = "a; " + "(" * 500 + 'os_name=="posix"' + ")" * 500
_EXTRAS = [f"e{number}" for number in range(600)]


@pytest.mark.parametrize(
    ("packages", "says"),
    [
        ([(f"p{number}", ()) for number in range(5001)], "5,001 packages, 5,000 are allowed"),
        ([("p", ("a",) * 20_001)], "20,001 requirements of its packages, 20,000 are allowed"),
        ([("p", ("a" * 4000,) * 226)], "904,000 characters of them, 900,000 are allowed"),
        ([("p", (f"a[{','.join(_EXTRAS)}]; " + "or extra=='b'" * 90,) * 20)], "comparisons in"),
        ([("p", ("a" * 5000,))], "which has 5,000 characters and 0 parentheses; 4,096 and 16"),
        ([("p", (_DEEP,))], "1,019 characters and 500 parentheses; 4,096 and 16 are allowed"),
    ],
)
def test_what_an_image_reports_has_a_budget(
    packages: list[tuple[str, tuple[str, ...]]], says: str
) -> None:
    """The message has the limit and what to do: of a pod, stored, and of `pip inspect`."""
    distributions = [Distribution(name, "1.0", requires) for name, requires in packages]
    records = [
        {"name": one.name, "version": one.version, "requires": one.requires}
        for one in distributions
    ]
    metadata = [
        {"name": one.name, "version": one.version, "requires_dist": one.requires}
        for one in distributions
    ]
    stored = json.loads(FACTS.to_json())
    stored["distributions"] = [[one.name, one.version, one.requires, []] for one in distributions]
    inspected = {"environment": MARKERS, "installed": [{"metadata": one} for one in metadata]}
    for read, text in (
        (parse_probe, printed(HEAD, *records)),
        (ImageFacts.from_json, json.dumps(stored)),
        (parse_inspect, json.dumps(inspected)),
    ):
        with pytest.raises(ImageError) as caught:
            read(text)
        if len(text) <= MOST_CHARACTERS:  # a longer one is no JSON as far as it is read
            assert says in str(caught.value)
            assert "use an image with" in str(caught.value)
            assert str(caught.value).isprintable()


def test_a_probe_that_never_ends_is_not_read() -> None:
    """A pod's log is longer than what is stored of it."""
    record = {"name": "p", "version": "1.0", "requires": ["a" * 4000] * 200}
    with pytest.raises(ImageError, match=r"more than 1,800,000 characters; use an image"):
        parse_probe(printed(HEAD, record, record, record))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("distributions", [["Six", "1.0", [], []]]),
        ("distributions", [["six", "one", [], []]]),
        ("distributions", [["six", "1." + "0" * 5000 + "1", [], []]]),
        ("distributions", [["six", "1.0", ["a", 5], []]]),
        ("markers", {"python_version": 5}),
    ],
)
def test_stored_facts_that_somebody_edited_are_read_again(field: str, value: object) -> None:
    """What is compared later can be compared; else a pod looks again."""
    stored = {**json.loads(FACTS.to_json()), field: value}
    with pytest.raises(ImageError):
        ImageFacts.from_json(json.dumps(stored))


def test_no_text_of_an_image_is_shown_or_stored_as_it_was_written() -> None:
    """Lone surrogates, which JSON may hold, can be written nowhere."""
    odd = "a; os_name == '\ud800\x1b[31m'"
    record = {**SIX, "requires": [odd]}
    head = {**HEAD, "pythonPath": ["/a\ud800"], "libc": "\u202emusl"}
    facts = parse_probe(printed(head, record))
    [six] = facts.distributions
    assert six.requires == ("a; os_name == '��[31m'",)
    assert (facts.python_path, facts.libc) == (("/a�",), "�musl")
    assert ImageFacts.from_json(facts.to_json()) == facts


def test_each_requirement_is_evaluated_only_for_the_extras_that_it_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that facts of 50 KiB, which anybody may write, do not take seconds."""
    evaluated = 0

    def count(*_: object, **__: object) -> bool:
        nonlocal evaluated
        evaluated += 1
        return True

    monkeypatch.setattr("flowdeps.locks.installed_requirements.marker_holds", count)
    requires = tuple(f"b{number}; extra == 'e{number}'" for number in range(500))
    asks = f"p[{','.join(f'e{number}' for number in range(500))}]"
    facts = replace(FACTS, distributions=(Distribution("p", "1.0", (*requires, asks)),))
    assert len(list(all_installed_requirements(facts, platform=AMD64))) == evaluated
    # Each alone and with its extra; nothing for each extra of the others.
    assert evaluated == 2 * len(requires) + 1
