"""Reads what pip and uv read: the words of `pip install`, and requirements files.

Options that say which packages, from where, become fields of a set. Options that say where and how
they are installed have no meaning for it. Every other option is left out with a warning.
"""

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from flowdeps.cli.draft import Draft
from flowdeps.locks.requirements import PUBLISH
from flowdeps.locks.requirements_file import logical_lines

_MOST_FILES = 50

_INDEX = {"-i", "--index-url", "--pypi-url", "--default-index"}
_EXTRA = {"--extra-index-url", "--index"}
_FILES = {"-r", "--requirement", "--requirements"}
_CONSTRAINTS = {"-c", "--constraint", "--constraints"}
_REFUSED = {
    "-e": PUBLISH,
    "--editable": PUBLISH,
    "-f": PUBLISH,
    "--find-links": PUBLISH,
    "--trusted-host": "give its certificate authority in the Secret of"
    " spec.index.credentialsSecretRef",
    "--no-index": "name an index in spec.index.url",
    "--no-binary": "only wheels are used",
    "--no-deps": "a lock has what its packages require",
    "--override": "write what you need as requirements or constraints",
    "--overrides": "write what you need as requirements or constraints",
    "--config-settings": "only wheels are used",
    "-C": "only wheels are used",
}
_WITH_VALUE = {
    *_INDEX, *_EXTRA, *_FILES, *_CONSTRAINTS,
    "-e", "--editable", "-f", "--find-links", "--trusted-host", "--no-binary", "--override",
    "--overrides", "--config-settings", "-C",
}  # fmt: skip
_MEANINGLESS_WITH_VALUE = {
    "-t", "--target", "--prefix", "--root", "--src", "--cache-dir", "--progress-bar", "--timeout",
    "--retries", "--log", "--upgrade-strategy", "--only-binary", "--python", "-p",
    "--python-version", "--platform", "--implementation", "--abi", "--report", "--use-feature",
    "--root-user-action", "--link-mode", "--index-strategy", "--keyring-provider", "--proxy",
}  # fmt: skip
_MEANINGLESS = {
    "-q", "--quiet", "-v", "--verbose", "-U", "--upgrade", "--user", "--system", "--no-cache-dir",
    "--no-cache", "--no-input", "--no-color", "--disable-pip-version-check", "-I",
    "--ignore-installed", "--force-reinstall", "--reinstall", "--break-system-packages",
    "--no-warn-script-location", "--no-warn-conflicts", "--require-hashes", "--verify-hashes",
    "--prefer-binary", "--compile", "--compile-bytecode", "--no-compile", "--no-build-isolation",
    "--isolated", "--use-pep517", "--no-progress", "-qq", "-n", "--exact", "--no-build",
}  # fmt: skip
_PRE = {"--pre", "--prerelease=allow"}
_OPTION = re.compile(r"\s--?[A-Za-z]")


@dataclass
class PipReader:
    """Reads words and files into a draft."""

    draft: Draft
    read: Callable[[str], str | None]
    """Returns the text of a file; None if it is not here."""
    _seen: set[str] = field(default_factory=set)

    def words(self, words: Iterable[str], where: str, *, base: str = "") -> None:
        """Read the words after `pip install`; files are named relative to `base`."""
        waiting = list(words)
        while waiting:
            word = waiting.pop(0)
            if not word.startswith("-") or word == "-":
                self.draft.require(word, where)
                continue
            name, value = _option(word)
            if name in _WITH_VALUE | _MEANINGLESS_WITH_VALUE and value is None:
                value = waiting.pop(0) if waiting else ""
            self._option(name, value or "", where, base)

    def _option(self, name: str, value: str, where: str, base: str) -> None:
        draft = self.draft
        if name in _INDEX:
            draft.add_index(value, where)
        elif name in _EXTRA:
            draft.add_index(
                value.rpartition("=")[2] if name == "--index" else value, where, extra=True
            )
        elif name in _FILES | _CONSTRAINTS:
            self.file(_beside(base, value), where, constraints=name in _CONSTRAINTS)
        elif name == "--pre" or (name == "--prerelease" and value == "allow"):
            draft.prereleases = True
        elif name in _REFUSED:
            draft.warn(where, f"left out: {name}{_shown(value)}: {_REFUSED[name]}")
        elif name == "--hash":
            draft.warn(
                where.partition(" line ")[0],
                "left out: its hashes; the lock records those of the index",
            )
        elif name not in _MEANINGLESS | _MEANINGLESS_WITH_VALUE:
            draft.warn(where, f"left out: {name}, an option that a set has no field for")

    def file(self, path: str, where: str, *, constraints: bool = False) -> None:
        """Read a requirements file."""
        if path in self._seen or len(self._seen) >= _MOST_FILES:
            return
        self._seen.add(path)
        text = None if "://" in path else self.read(path)
        if text is None:
            self.draft.warn(
                where,
                f"left out: the file {_shown(path).strip()}, which is not here; add what it lists",
            )
            return
        self.text(text, path, constraints=constraints)

    def text(self, text: str, path: str, *, constraints: bool = False) -> None:
        """Read the text of a requirements file."""
        base = str(PurePosixPath(path).parent)
        for number, line in logical_lines(text):
            where = f"{path} line {number}"
            bare, options = line, ""
            if found := _OPTION.search(f" {line}"):
                bare, options = line[: max(found.start() - 1, 0)], line[max(found.start() - 1, 0) :]
            if bare.strip():
                add = self.draft.constrain if constraints else self.draft.require
                add(bare, where)
            try:
                words = shlex.split(options)
            except ValueError:
                words = options.split()
            self.words(words, where, base=base)


def _option(word: str) -> tuple[str, str | None]:
    """Return an option's name, and the value that is in the same word."""
    if word.startswith("--"):
        name, separator, value = word.partition("=")
        return name, value if separator else None
    known = word[:2] in _WITH_VALUE | _MEANINGLESS_WITH_VALUE
    return (word[:2], word[2:].lstrip("=") or None) if known else (word, None)


def _beside(base: str, path: str) -> str:
    return path if "://" in path or not base else str(PurePosixPath(base) / path)


def _shown(value: str) -> str:
    """Return what may be shown of a value: a URL may hold a password."""
    if "://" in value or "@" in value:
        name = re.search(r"[#&]egg=([\w.-]+)", value)
        return f" {value.partition('://')[0]}://…{f' ({name[1]})' if name else ''}"
    return f" {value[:80]}" if value else ""
