import pytest

from flowdeps.locks.prefect_variable import parse_variable
from flowdeps.locks.requirements_file import (
    MAX_BYTES,
    MAX_LINES,
    RequirementsFile,
    parse_requirements_file,
)

PUBLISH = "publish the package to an index and name it with a version"
MORE = "add the file as another item of requirementsFrom"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ()),
        ("\n \n\t\n", ()),
        ("pandas\npyarrow\n", ("pandas", "pyarrow")),
        ("pandas\r\npyarrow\rsix", ("pandas", "pyarrow", "six")),
        ("\ufeffpandas", ("pandas",)),
        ("# first\npandas # why\n  # and\npyarrow", ("pandas", "pyarrow")),
        ("pandas \\\n  >=2, \\\n  <3\nsix", ("pandas<3,>=2", "six")),
        ("pan\\\ndas", ("pandas",)),
        ("pandas \\\n# ends it\n>=2", None),
        ("pandas \\", ("pandas",)),
        ("pandas # a comment \\\nsix", ("pandas",)),
        ("pandas \\\n# a comment \\\nsix", ("pandas", "six")),
        ("six\nA.b [X, y]>=1 ; os_name=='posix'", ("six", 'a-b[x,y]>=1 ; os_name == "posix"')),
        ("b\nA\nB>=0\na", ("b", "a", "b>=0")),
    ],
)
def test_a_file_is_read_as_pip_reads_it(text: str, lines: tuple[str, ...] | None) -> None:
    """Comments, empty lines, continuations, any line ends and a BOM mean what they mean to pip."""
    found = parse_requirements_file(text)
    if lines is None:
        assert found.problems
    else:
        assert (found.lines, found.problems) == (lines, ())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("-r other.txt", f'"-r other.txt": a flag is not allowed; {MORE}'),
        ("-rother.txt", f'"-r other.txt": a flag is not allowed; {MORE}'),
        ("--requirement=a/b.txt", f'"--requirement a/b.txt": a flag is not allowed; {MORE}'),
        (
            "-c limits.txt",
            '"-c limits.txt": a flag is not allowed; add the file as an item of constraintsFrom',
        ),
        ("-e .", f'"-e .": a flag is not allowed; {PUBLISH}'),
        (
            "--index-url https://example.com/simple",
            '"--index-url …": a flag is not allowed; set spec.index.url',
        ),
        ("--index x", '"--index …": a flag is not allowed; set spec.index.url'),
        (
            "--extra-index-url=https://example.com/simple",
            '"--extra-index-url …": a flag is not allowed; set spec.index.extraUrls',
        ),
        ("--pre", '"--pre": a flag is not allowed; set spec.index.prereleases to Allow'),
        (
            "--strange",
            '"--strange": a flag is not allowed; remove it and list the packages themselves',
        ),
        (
            "pandas==2 --hash=sha256:00",
            '"--hash=…": a hash is not allowed; export without hashes (uv: --no-hashes, Poetry:'
            " --without-hashes, pip-compile: without --generate-hashes); the lock records those of"
            " the index",
        ),
        ("pandas @ https://example.com/p", f'"pandas @…": a URL is not allowed; {PUBLISH}'),
        ("git+ssh://git@example.com/p", f'"git+ssh://…": a URL is not allowed; {PUBLISH}'),
        ("./pandas", f'"./pandas": a path is not allowed; {PUBLISH}'),
        ("a.whl", f'"a.whl": a path is not allowed; {PUBLISH}'),
        (
            "pandas==${VERSION}",
            '"${VERSION}": a variable is not filled in; write what it stands for',
        ),
        (
            "a b",
            '"a b": Expected semicolon (after name with no version specifier) or end; write a'
            " package name and versions, as in pandas>=2.2,<3",
        ),
    ],
)
def test_a_refused_line_is_named_with_its_number_and_the_way_out(line: str, problem: str) -> None:
    """What we refuse doesn't keep the other lines from being read."""
    found = parse_requirements_file(f"six\n\n{line}\nattrs")
    assert (found.lines, found.problems) == (("six", "attrs"), (f"line 3: {problem}",))


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://me:hush@example.com/simple",
        "--index-url https://me:very/hush@example.com/simple",
        "--extra-index-url https://example.com/hush/simple",
        "-ihttps://me:hush@example.com",
        "--find-links=//example.com/hush",
        "-e git+https://hush@example.com/a",
        "-r https://me:hush@example.com/a.txt",
        "a @ https://me:very/hush@example.com/a",
        "https://me:very/hush@example.com/a.whl",
        "me:hush@example.com:a",
        "a[b]@hush",
        "a --config-settings token=hush",
    ],
)
def test_no_secret_is_shown(line: str) -> None:
    """Nothing of a URL, nor of what follows a flag, reaches a message, whatever its form."""
    for found in (parse_requirements_file(line), parse_variable(line), parse_variable([line])):
        assert found.problems
        assert "hush" not in "".join(found.problems)


def test_a_continued_line_is_named_by_its_first_number() -> None:
    """People find the line where the requirement begins."""
    found = parse_requirements_file("six\na \\\n b\n--pre")
    assert [problem.partition(":")[0] for problem in found.problems] == ["line 2", "line 4"]


def test_a_text_that_is_too_long_is_not_read() -> None:
    """Lines and bytes are bounded, and the bounds themselves pass."""
    assert len(parse_requirements_file("a\n" * MAX_LINES).lines) == 1
    assert parse_requirements_file("a\n" * (MAX_LINES + 1)) == RequirementsFile(
        (), ("the text has 2,001 lines, 2,000 are allowed; divide it",)
    )
    assert parse_requirements_file("a #" + "é" * (MAX_BYTES // 2 - 2)).lines == ("a",)
    assert parse_requirements_file("a #" + "é" * (MAX_BYTES // 2)) == RequirementsFile(
        (), ("the text has 256 KiB, 256 are allowed; divide it",)
    )


def test_a_requirement_that_is_too_long_is_refused() -> None:
    """Neither long lines nor deep markers reach the parser."""
    deep = "a; " + "(" * 40 + 'os_name=="posix"' + ")" * 40
    for line, says in (("a" * 600, "too long"), (deep, "more than 16 parentheses")):
        (problem,) = parse_requirements_file(line).problems
        assert says in problem
        assert len(problem) < 250


def test_a_problem_of_many_lines_is_told_once() -> None:
    """Each line of an export has hashes; others keep their own places."""
    text = "".join(f"a{number}==1 --hash=sha256:00\n" for number in range(50))
    first, second = parse_requirements_file(f"{text}--pre\n{text}").problems
    assert first.startswith('line 1 and 99 more: "--hash=…": a hash is not allowed; export without')
    assert second.startswith('line 51: "--pre": ')


def test_many_problems_are_counted() -> None:
    """A file that is wrong throughout gives a message of bounded length."""
    problems = parse_requirements_file("".join(f"a b{n}\n" for n in range(500))).problems
    assert len(problems) == 21
    assert problems[-1] == "and 480 more lines with problems"


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ("", ()),
        ("pandas pyarrow", ("pandas", "pyarrow")),
        ("pandas  \t pyarrow\nsix", ("pandas", "pyarrow", "six")),
        ("pandas >=2", ("pandas>=2",)),
        ("pandas >= 2, <3 pyarrow", ("pandas<3,>=2", "pyarrow")),
        ("pandas (>=2) pyarrow", ("pandas>=2", "pyarrow")),
        ("pandas>=2 pyarrow==21.* six", ("pandas>=2", "pyarrow==21.*", "six")),
        ("foo[a, b] [c]", None),
        ("foo[a, b] bar[ c ]", ("foo[a,b]", "bar[c]")),
        ("six pandas ; os_name=='posix'\na", ("six", 'pandas ; os_name == "posix"', "a")),
        ("# mine\npandas >=2 # why\npyarrow \\\n >=15", ("pandas>=2", "pyarrow>=15")),
        (["pandas >=2", " pyarrow "], ("pandas>=2", "pyarrow")),
        ([], ()),
        ('["pandas >=2", "pyarrow"]', ("pandas>=2", "pyarrow")),
        ('\ufeff\n [\n "pandas"\n]\n', ("pandas",)),
    ],
)
def test_a_variable_is_a_text_a_file_or_a_list(
    value: object, lines: tuple[str, ...] | None
) -> None:
    """Spaces divide requirements, but not what belongs to one; a list may stand in a text."""
    found = parse_variable(value)
    if lines is None:
        assert found.problems
    else:
        assert (found.lines, found.problems) == (lines, ())


_WRITE = 'write a text such as "pandas>=2 pyarrow", or a list of texts'


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        (None, (f"the value is empty; {_WRITE}",)),
        (True, (f"the value is true or false; {_WRITE}",)),
        (2.5, (f"the value is a number; {_WRITE}",)),
        ({"a": 1}, (f"the value is an object; {_WRITE}",)),
        (object(), (f"the value is of an unknown kind; {_WRITE}",)),
        (["a", 1, ["b"]], (f"item 2: a number; {_WRITE}", f"item 3: a list; {_WRITE}")),
        (["a", "--pre"], ('item 2: "--pre": a flag is not allowed; set spec.index.prereleases'
                          " to Allow",)),
        ('["a", ', (f"the text begins like a JSON list, but is none; {_WRITE}",)),
        ("[" * 200_000, (f"the text begins like a JSON list, but is none; {_WRITE}",)),
        (["a"] * 2001, ("the list has 2,001 items, 2,000 are allowed; divide it",)),
        (["a" * 1024] * 300, ("the text has 300 KiB, 256 are allowed; divide it",)),
        ("a\n--pre b", ('line 2: "--pre …": a flag is not allowed; set spec.index.prereleases'
                        " to Allow",)),
    ],
)  # fmt: skip
def test_any_other_variable_is_refused_with_what_to_write(
    value: object, problems: tuple[str, ...]
) -> None:
    """Each kind of value that isn't a list of requirements has a message of its own."""
    assert parse_variable(value).problems == problems


def test_what_follows_a_flag_in_a_variable_is_its_own() -> None:
    """A flag's value is never taken for a package."""
    found = parse_variable("six --index-url https://example.com/simple attrs")
    assert found.lines == ("six",)
    assert found.problems == ('line 1: "--index-url …": a flag is not allowed; set spec.index.url',)
