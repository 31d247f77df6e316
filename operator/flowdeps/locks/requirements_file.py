"""Reads requirements files: as pip does, but without anything that pip would fetch.

A comment begins at a line's start or after a space; a backslash at a line's end joins it with the
next one. Flags, URLs, paths, environment variables and hashes are refused, with the line's number
and what to do: somebody relies on the hashes, and a lock records those of the index.

Nothing of a URL or of a flag's value but a file's plain name is ever shown: it may hold a password.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flowdeps.locks.legible import printable
from flowdeps.locks.requirements import (
    PUBLISH,
    RequirementError,
    RequirementLine,
    before_url,
    normalize,
    parse_requirement,
)

MAX_LINES = 2_000
MAX_BYTES = 256 * 1024
_MAX_LENGTH = 512
_MAX_PROBLEMS = 20

_COMMENT = re.compile(r"(?<!\S)#")
_FLAG = re.compile(r"(?<!\S)-")
_VARIABLE = re.compile(r"\$\{?\w+\}?")
_PLAIN = re.compile(r"[\w./-]{1,80}")

_REMOVE = "remove it and list the packages themselves"
_HASHES = (
    "export without hashes (uv: --no-hashes, Poetry: --without-hashes, pip-compile: without "
    "--generate-hashes); the lock records those of the index"
)
_INSTEAD = {
    flag: instead
    for flags, instead in {
        "-r --requirement": "add the file as another item of requirementsFrom",
        "-c --constraint": "add the file as an item of constraintsFrom",
        "-e --editable -f --find-links": PUBLISH,
        "-i --index-url --pypi-url --no-index": "set spec.index.url",
        "--extra-index-url": "set spec.index.extraUrls",
        "--trusted-host": "give its certificate authority in the Secret of"
        " spec.index.credentialsSecretRef",
        "--pre": "set spec.index.prereleases to Allow",
        "--prefer-binary --only-binary --no-binary": "remove it, only wheels are used",
        "--require-hashes": "remove it, the hashes of a lock are always checked",
        "--hash": _HASHES,
    }.items()
    for flag in flags.split()
}
_OF_FILES = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable")


@dataclass(frozen=True)
class RequirementsFile:
    """The requirements of a text, normalized, in its order and each once; and what is wrong.

    A problem is one line for people, such as ``line 3: "-r other.txt": a flag is not allowed; add
    the file as another item of requirementsFrom``. With any problem the text should not be used.
    """

    lines: tuple[RequirementLine, ...]
    problems: tuple[str, ...]


def parse_requirements_file(text: str) -> RequirementsFile:
    """Read ``text``, at most 2,000 lines and 256 KiB; never raises."""
    if problem := too_large(text):
        return RequirementsFile((), (problem,))
    return collect((f"line {number}", line) for number, line in logical_lines(text))


def too_large(text: str) -> str | None:
    """Return why ``text`` is too long to be read, if it is."""
    size, lines = len(text.encode(errors="replace")), len(text.splitlines())
    if size > MAX_BYTES:
        return f"the text has {size // 1024:,} KiB, {MAX_BYTES // 1024} are allowed; divide it"
    if lines > MAX_LINES:
        return f"the text has {lines:,} lines, {MAX_LINES:,} are allowed; divide it"
    return None


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line's number and text: joined, without its comment, none of them empty."""
    first, parts = 0, list[str]()
    for number, line in enumerate([*text.removeprefix("\ufeff").splitlines(), ""], start=1):
        comment = line.lstrip().startswith("#")
        first = first if parts else number
        parts.append("" if comment else line.rstrip("\\"))
        if line.endswith("\\") and not comment:
            continue
        joined = "".join(parts)
        found = _COMMENT.search(joined)
        if bare := (joined[: found.start()] if found else joined).strip():
            yield first, bare
        parts.clear()


def collect(items: Iterable[tuple[str, str]]) -> RequirementsFile:
    """Return the requirements in ``items``: pairs of a place, such as ``line 3``, and a text."""
    lines, places = dict[RequirementLine, None](), dict[str, list[str]]()
    for number, (where, text) in enumerate(items):
        if number == MAX_LINES:  # a line of a variable may have many
            problem = f"{where}: more than {MAX_LINES:,} requirements; divide the text"
            return RequirementsFile((), (problem,))
        try:
            lines[normalize(parse_requirement(_checked(text)))] = None
        except RequirementError as error:
            places.setdefault(printable(str(error)), []).append(where)
    problems = [
        f"{where[0]}{f' and {len(where) - 1} more' if where[1:] else ''}: {text}"
        for text, where in places.items()
    ]
    if (more := len(problems) - _MAX_PROBLEMS) > 0:
        problems[_MAX_PROBLEMS:] = [f"and {more} more lines with problems"]
    return RequirementsFile(tuple(lines), tuple(problems))


def _checked(text: str) -> str:
    """Return ``text``, unless it holds what only a file can, or what must not be shown."""
    if found := _FLAG.search(text):
        raise RequirementError(_flag(text[found.start() :]))
    if "://" in text or "@" in text:
        raise RequirementError(f'"{before_url(text)}…": a URL is not allowed; {PUBLISH}')
    if found := _VARIABLE.search(text):
        raise RequirementError(
            f'"{found[0][:40]}": a variable is not filled in; write what it stands for'
        )
    if len(text) > _MAX_LENGTH:
        raise RequirementError(
            f'"{text[:40]}…": the requirement is too long; {_MAX_LENGTH} characters are allowed'
        )
    return text


def _flag(text: str) -> str:
    word = text.split(maxsplit=1)[0]
    name = word.partition("=")[0] if word.startswith("--") else word[:2]
    value = text[len(name) :].lstrip(" =\t")
    if name == "--hash":
        return f'"--hash=…": a hash is not allowed; {_HASHES}'
    if not re.fullmatch(r"-[A-Za-z]|--[a-z-]{1,30}", name):
        return f'"-…": no word may begin with a dash; {_REMOVE}'
    if name not in _OF_FILES or not _PLAIN.fullmatch(value):
        value = "…" if value else ""
    # pip takes a flag by its first letters, too.
    found = {one for flag, one in _INSTEAD.items() if len(name) > 2 and flag.startswith(name)}
    instead = _INSTEAD.get(name) or (found.pop() if len(found) == 1 else _REMOVE)
    return f'"{f"{name} {value}".strip()}": a flag is not allowed; {instead}'
