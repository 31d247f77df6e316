import pytest

from flowdeps.locks.requirements import RequirementError, normalize, parse_requirement

PUBLISH = "publish the package to an index and name it with a version"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("pandas", "pandas"),
        ("  Typing_Extensions >= 4.0 ", "typing-extensions>=4"),
        ("a.b[Z,x_y] <3.0, >=2", "a-b[x-y,z]<3,>=2"),
        ("foo==1.0.*", "foo==1.0.*"),
        ("foo~=1.0", "foo~=1.0"),
        ("foo===1.0", "foo===1.0"),
        ("foo>1,>1.0", "foo>1"),
        ("foo ; python_version<'3.13'", 'foo ; python_version < "3.13"'),
    ],
)
def test_a_requirement_has_one_normal_text(text: str, normal: str) -> None:
    """Spelling, order and spaces don't matter; what changes the meaning stays."""
    assert normalize(parse_requirement(text)) == normal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", '"": a requirement can\'t be empty; remove the line'),
        ("a\nb", '"a b": a requirement is one line; make it one entry for each package'),
        ("a\x0bb", '"a b": a requirement is one line; make it one entry for each package'),
        ("-r other.txt", '"-r other.txt": a flag is not allowed; list the packages themselves'),
        ("-e .", '"-e .": a flag is not allowed; list the packages themselves'),
        ("--pre", '"--pre": a flag is not allowed; list the packages themselves'),
        ("# later", '"# later": a comment is not allowed here; leave it out'),
        ("a # why", '"a # why": a comment is not allowed here; leave it out'),
        ("./a", f'"./a": a path is not allowed; {PUBLISH}'),
        ("/srv/a.whl", f'"/srv/a.whl": a path is not allowed; {PUBLISH}'),
        ("dist/a", f'"dist/a": a path is not allowed; {PUBLISH}'),
        ("~/a", f'"~/a": a path is not allowed; {PUBLISH}'),
        ("a-1-py3-none-any.whl", f'"a-1-py3-none-any.whl": a path is not allowed; {PUBLISH}'),
        (
            "a @ https://example.com/a",
            f'"a @…": a URL is not allowed; {PUBLISH}',
        ),
        ("a@file:///a", f'"a@…": a URL is not allowed; {PUBLISH}'),
        ("a @ ./b", f'"a @…": a URL is not allowed; {PUBLISH}'),
        (
            f"a; {'(' * 17}os_name=='b'{')' * 17}",
            f"\"a; {'(' * 17}os_name=='b'{')' * 17}\": it has more than 16 parentheses;"
            " write the marker with fewer",
        ),
        ("a==1 --hash=x", '"a==1 --hash=x": a hash is not allowed; the lock records the hashes'),
        (
            "a===${HOME}",
            "\"a===${HOME}\": the character '$' is not allowed; write a package name and versions",
        ),
    ],
)
def test_what_is_not_a_name_is_refused_with_what_to_do_instead(text: str, message: str) -> None:
    """Flags, paths, URLs, comments and several lines are refused, each with its own advice."""
    with pytest.raises(RequirementError) as caught:
        parse_requirement(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text", ["a b", "a==", "a=1", "a[", "a; python", "a>=x", "1 == 2 3", "'a'"]
)
def test_a_malformed_requirement_shows_an_example(text: str) -> None:
    """What isn't a requirement at all is refused with one that is."""
    with pytest.raises(RequirementError, match=r"as in pandas>=2\.2,<3$"):
        parse_requirement(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a @ git+https://me:p@ss@example.com/a", '"a @…": a URL'),
        ("a[b] @ https://example.com/a-1-py3-none-any.whl?token=p", '"a[b] @…": a URL'),
        ("git+https://me:p/ss@example.com/a", '"git+https://…": a URL'),
        ("//me:p/ss@example.com/a", '"…": a URL'),
        ("--index-url=https://example.com/p", '"…": a flag'),
        ("a\nb @ https://example.com/p", '"…": a requirement is one line'),
    ],
)
def test_a_refused_url_is_not_shown(text: str, shown: str) -> None:
    """A password may stand before its host with a slash in it, a token in its path or query: no
    message holds more than what stands before a URL."""
    with pytest.raises(RequirementError) as caught:
        parse_requirement(text)
    assert str(caught.value).startswith(shown)


def test_a_long_line_is_cut_in_the_message() -> None:
    """A message stays short whatever was written."""
    with pytest.raises(RequirementError) as caught:
        parse_requirement("a " * 5000)
    assert len(str(caught.value)) < 300
