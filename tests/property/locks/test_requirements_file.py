from hypothesis import example, given
from hypothesis import strategies as st

from flowdeps.locks.prefect_variable import parse_variable
from flowdeps.locks.requirements import normalize, parse_requirement
from flowdeps.locks.requirements_file import RequirementsFile, parse_requirements_file
from tests.property.locks.strategies import spellings

_REQUIREMENTS = st.lists(spellings().map(lambda pair: pair[1].strip()), max_size=6)
_JOINTS = st.sampled_from(["\n", "\r\n", "\n\n  # a\n", " # why\n", "\t\n \\\n"])
_HOSTILE = st.text(
    st.one_of(
        st.characters(codec=None), st.sampled_from("-re@:/.#$\\\n\r\x0b\u2028\ufeff =<>;[]'\"~{}(,")
    )
)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A requirements file, and the normal texts of what stands in it."""
    requirements = draw(_REQUIREMENTS)
    text = draw(st.sampled_from(["", "\ufeff", "# head\n", "\n"]))
    text += "".join(one + draw(_JOINTS) for one in requirements)
    return text, [normalize(parse_requirement(one)) for one in requirements]


@given(files())
def test_a_file_says_its_requirements_in_order(file: tuple[str, list[str]]) -> None:
    """Whatever stands between them; and a variable with the same text says the same."""
    text, expected = file
    found = parse_requirements_file(text)
    assert (found.lines, found.problems) == (tuple(dict.fromkeys(expected)), ())
    assert parse_variable(text) == parse_requirements_file(text)


@given(files())
def test_a_parsed_file_written_again_parses_equal(file: tuple[str, list[str]]) -> None:
    """As a file, as a variable's text, and as a list."""
    found = parse_requirements_file(file[0])
    assert parse_requirements_file("\n".join(found.lines)) == found
    assert parse_variable("\n".join(found.lines)) == found
    assert parse_variable(list(found.lines)) == found


@given(st.lists(spellings().map(lambda pair: pair[1].partition(";")[0].strip()), max_size=5))
def test_requirements_without_markers_may_stand_in_one_line(requirements: list[str]) -> None:
    """A space divides two requirements and never cuts one."""
    expected = [normalize(parse_requirement(one)) for one in requirements]
    found = parse_variable(" ".join(requirements))
    assert found == RequirementsFile(tuple(dict.fromkeys(expected)), ())


@given(_HOSTILE)
@example("(" * 1000)
@example("a; " + "(" * 500)
@example('["\ud800"]')
@example("a\ud800")
@example("a==" + "9" * 5000)
def test_any_text_is_read_and_only_harmless_lines_come_out(text: str) -> None:
    """Nothing raises; what passes is a requirement; what is shown can be printed and stored."""
    for found in (parse_requirements_file(text), parse_variable(text), parse_variable([text])):
        for line in found.lines:
            assert normalize(parse_requirement(line)) == line
        for problem in found.problems:
            assert problem.isprintable()
            problem.encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | _HOSTILE,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    )
)
def test_any_value_of_a_variable_is_read(value: object) -> None:
    """A value that is no text and no list has a problem, and none raises."""
    found = parse_variable(value)
    assert isinstance(value, str | list) or found.problems


# All that pip knows in a requirements file; from --global-option on behind a requirement.
_FLAGS = (
    "-i", "--index-url", "--pypi-url", "--extra-index-url", "--no-index", "-c", "--constraint",
    "-r", "--requirement", "-e", "--editable", "-f", "--find-links", "--no-binary",
    "--only-binary", "--prefer-binary", "--require-hashes", "--pre", "--all-releases",
    "--only-final", "--trusted-host", "--use-feature", "--global-option", "--install-option",
    "--hash", "-C", "--config-setting", "--config-settings",
)  # fmt: skip


@given(st.sampled_from(_FLAGS), st.sampled_from([" ", "=", ""]), st.sampled_from(["a", "a.txt"]))
def test_every_flag_of_pip_is_refused(flag: str, between: str, value: str) -> None:
    """Alone, with a value, and behind a requirement."""
    for line in (flag, f"{flag}{between}{value}", f"six {flag}{between}{value}"):
        for found in (parse_requirements_file(line), parse_variable(line), parse_variable([line])):
            assert len(found.problems) == 1
            assert not {"a", "a-txt", "index-url"}.intersection(found.lines)
