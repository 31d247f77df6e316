"""Finds `pip install` in commands and scripts, and takes it out.

Nothing is run. A script is read line by line; what the reader does not understand stays as it is.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_SEPARATOR = re.compile(r"(&&|\|\||;)")
_LONGEST = 1_000
"""Characters that may be one command."""
_MOST = 32_000
"""Characters of a script or a word that is read: somebody else may have written it."""
_PIP = re.compile(r"pip[\d.]*")
_PYTHON = re.compile(r"python[\d.]*")
_SHELLS = {"sh", "bash", "ash", "dash"}
_KEYWORDS = {"then", "else", "do", "{", "exec", "sudo", "time"}
_NEED_A_COMMAND = {"then", "else", "do"}
_HARMLESS = {
    "", ":", "set", "echo", "mkdir", "if", "elif", "fi", "then", "else", "[", "[[", "test",
    "true", "exit",
    "export", "cd", "ls", "chmod", "printf", "do", "done", "}",
}  # fmt: skip
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_REDIRECTION = re.compile(r"\d?>>?(&\d)?|<")
_REFERENCE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|\((\w+)\)|(\w+))")


@dataclass
class Script:
    """What a command does, apart from what it installs."""

    installs: list[list[str]] = field(default_factory=list)
    """The words after `pip install`, of each."""
    rest: str = ""
    """What is left of the script."""

    @property
    def harmless(self) -> bool:
        """Whether nothing of what is left matters without the packages."""
        lines = self.rest.splitlines()
        return all(_first(one) in _HARMLESS for line in lines for one, _ in _commands(line))


def read_script(text: str) -> Script:
    """Return what a shell's script installs, and what is left of it."""
    if len(text) > _MOST:
        return Script(rest=text)
    found = Script()
    lines = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        kept = _without(line, found.installs)
        if kept.strip() or not line.strip():
            lines.append(kept)
    found.rest = "\n".join(lines).strip("\n")
    return found


def read_command(words: Sequence[str]) -> tuple[Script, int | None]:
    """Return what a container's command does, and which of the words is a shell's script."""
    if words and words[0].rpartition("/")[2] in _SHELLS:
        for number, word in enumerate(words[1:], start=1):
            if re.fullmatch(r"-[a-z]*c", word) and number + 1 < len(words):
                return read_script(words[number + 1]), number + 1
        return Script(rest=shlex.join(words)), None
    installed = _installed(list(words))
    if installed is None:
        return Script(rest=shlex.join(words)), None
    return Script(installs=[installed]), None


def expand(words: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return words with their variables filled in, and the names of variables not known."""
    unknown = list[str]()

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[3] or found[4]
        known = environment.get(name)
        if known is None and found[2] is None:
            unknown.append(name)
        return known or found[2] or ""

    expanded = list[str]()
    for word in words:
        if "$" not in word or len(word) > _MOST:
            expanded.append(word)
            continue
        text = _REFERENCE.sub(value, word)
        # A shell splits what a variable holds, and most variables hold several packages.
        expanded += split(text) if _REFERENCE.fullmatch(word) else [text]
    return [one for one in expanded if one], unknown


def split(text: str) -> list[str]:
    """Return the words of a text, as a shell would; by spaces, where it is none of a shell's."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def targets(words: Sequence[str]) -> list[str]:
    """Return the directories that `pip install` is given."""
    found = []
    for number, word in enumerate(words):
        if word in {"-t", "--target", "--prefix"} and number + 1 < len(words):
            found.append(words[number + 1])
        elif word.startswith(("--target=", "--prefix=")):
            found.append(word.partition("=")[2])
    return [one.rstrip("/") or "/" for one in found]


def _without(line: str, installs: list[list[str]]) -> str:
    kept = list[str]()
    before = len(installs)
    skip = False
    for command, separator in _commands(line):
        if skip:  # what is done where the installation fails
            skip = separator == "||"
            continue
        words = _words(command)
        installed = None if words is None else _installed(words)
        if installed is None:
            kept += [command, separator]
            continue
        installs.append(installed)
        skip = separator == "||"
        if (first := _first(command)) in _NEED_A_COMMAND:
            kept += [f" {first} :", separator]
    if len(installs) == before:
        return line
    text = "".join(kept).strip()
    for separator in ("&&", "||", ";"):
        text = text.removesuffix(separator).rstrip()
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}{text}" if text else ""


def _commands(line: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a line, each with what separates it from the next one."""
    parts = [*_SEPARATOR.split(line), ""]
    held = ""
    for command, separator in zip(parts[::2], parts[1::2], strict=True):
        # A separator inside quotes is none.
        if separator and _words(held + command) is None and len(held) < _LONGEST:
            held += command + separator
            continue
        yield held + command, separator
        held = ""


def _words(command: str) -> list[str] | None:
    try:
        return shlex.split(command, comments=True)
    except ValueError:
        return None


def _first(command: str) -> str:
    words = (_words(command) or command.split() or [""]) if command.strip() else [""]
    return words[0]


def _installed(words: list[str]) -> list[str] | None:
    """Return the words after `pip install`; None for another command."""
    while words and (words[0] in _KEYWORDS or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    programs = [one.rpartition("/")[2] for one in words[:4]]
    if len(programs) > 2 and _PYTHON.fullmatch(programs[0]) and programs[1] == "-m":
        words, programs = words[2:], programs[2:]
    if programs[:1] == ["uv"]:
        words, programs = words[1:], programs[1:]
    if len(programs) < 2 or not _PIP.fullmatch(programs[0]) or programs[1] != "install":
        return None
    found = list[str]()
    waiting = words[2:]
    while waiting:
        word = waiting.pop(0)
        if word in {"|", "&"}:
            break
        if redirection := _REDIRECTION.match(word):
            if redirection[0] == word and not redirection[1] and waiting:
                waiting.pop(0)
            continue
        found.append(word)
    return found
