"""`pip install` in commands and scripts."""

import pytest

from flowdeps.cli.shell import expand, read_command, read_script, targets


@pytest.mark.parametrize(
    ("script", "installs", "rest"),
    [
        ("pip install a b", [["a", "b"]], ""),
        ("pip3.12 install a", [["a"]], ""),
        ("/venv/bin/python -m pip install a", [["a"]], ""),
        ("uv pip install --system a", [["--system", "a"]], ""),
        ("PIP_INDEX_URL=x pip install a", [["a"]], ""),
        ("pip install 'a; os_name == \"posix\"' && run", [['a; os_name == "posix"']], "run"),
        ("pip install a >/dev/null 2>&1", [["a"]], ""),
        ("pip install a > log.txt; run", [["a"]], "run"),
        ("pip install a | tee log", [["a"]], ""),
        ("pip install a || exit 1", [["a"]], ""),
        ("pip install a || exit 1 && run", [["a"]], "run"),
        ("start && pip install a && run", [["a"]], "start && run"),
        ("pip install \\\n  a \\\n  b\nrun", [["a", "b"]], "run"),
        ("if x; then pip install a; fi", [["a"]], "if x; then :; fi"),
        ("if x; then\n  pip install a\nfi", [["a"]], "if x; then\nfi"),
        ("pip install a # why", [["a"]], ""),
        ("# pip install a", [], "# pip install a"),
        ("echo pip install a", [], "echo pip install a"),
        ("pip download a", [], "pip download a"),
        ("echo 'it is; pip install a", [], "echo 'it is; pip install a"),
    ],
)
def test_installations_are_found_and_taken_out(
    script: str, installs: list[list[str]], rest: str
) -> None:
    """What else the script does stays, to the letter."""
    found = read_script(script)
    assert found.installs == installs
    assert found.rest == rest


@pytest.mark.parametrize(
    ("rest", "harmless"),
    [
        ("set -e\nmkdir -p /a && echo done", True),
        ("if [ -n x ]; then :; fi", True),
        ("", True),
        ("./prepare.sh", False),
        ("set -e; cp a b", False),
    ],
)
def test_what_matters_beside_an_installation_is_known(rest: str, harmless: bool) -> None:
    """A container that does nothing else may go as a whole."""
    assert read_script(f"pip install a\n{rest}").harmless is harmless


@pytest.mark.parametrize(
    ("words", "installs", "place"),
    [
        (["pip", "install", "a"], [["a"]], None),
        (["python", "-m", "pip", "install", "a"], [["a"]], None),
        (["/bin/bash", "-ec", "pip install a"], [["a"]], 2),
        (["prefect", "flow-run", "execute"], [], None),
        (["sh", "install.sh"], [], None),
        ([], [], None),
    ],
)
def test_commands_are_read_as_containers_have_them(
    words: list[str], installs: list[list[str]], place: int | None
) -> None:
    """A list of words, or a shell with its script."""
    found, number = read_command(words)
    assert (found.installs, number) == (installs, place)


def test_a_script_that_is_too_long_is_left_alone() -> None:
    """Somebody else may have written it, and it is read piece by piece."""
    text = "'" + ";" * 40_000 + "pip install a"
    assert (read_script(text).installs, read_script(text).rest) == ([], text)


def test_variables_are_filled_in() -> None:
    """As a shell or Kubernetes does; those that nobody knows are named."""
    environment = {"PACKAGES": "a 'b; x' c", "DIR": "/opt"}
    words = ["--target=$DIR/d", "$PACKAGES", "$(PACKAGES)", "${MORE:-d e}", "x==$VERSION"]
    found, unknown = expand(words, environment)
    packages = ["a", "b; x", "c"]
    assert found == ["--target=/opt/d", *packages, *packages, "d", "e", "x=="]
    assert unknown == ["VERSION"]


def test_directories_of_an_installation_are_found() -> None:
    """In each way to write the option."""
    assert targets(["-t", "/a/", "--target=/b", "--target", "/c", "x"]) == ["/a", "/b", "/c"]
