"""A set that is being written from what other tools read: `flowdeps new` and `flowdeps adopt`.

What a set cannot express is left out, and a warning names it and where it is. What is written
passes `flowdeps validate`. No warning shows more of a URL than its scheme: it may hold a password.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from flowdeps.api.names import API_VERSION, KIND
from flowdeps.api.parts import PYTHON_VERSIONS
from flowdeps.api.rules import KEY_LIMIT, check_index_url, check_key
from flowdeps.locks.external_pylock import is_pylock
from flowdeps.locks.requirements import (
    RequirementError,
    normalize,
    parse_requirement,
    requirement_name,
)

_MOST_ITEMS = 256
_LONGEST_ITEM = 256
_EGG = re.compile(r"[#&]egg=([\w.-]+)")
_PLATFORM = "linux/amd64"


@dataclass
class Draft:
    """A set that is being written."""

    name: str = ""
    requirements: dict[str, None] = field(default_factory=dict)
    constraints: dict[str, None] = field(default_factory=dict)
    variables: dict[str, None] = field(default_factory=dict)
    """Prefect variables that hold requirements."""
    lock: str = ""
    """The text of a finished lock, in place of requirements."""
    index_url: str = ""
    extra_urls: list[str] = field(default_factory=list)
    package_urls: dict[str, list[str]] = field(default_factory=dict)
    """The packages that have an index of their own, by its URL."""
    prereleases: bool = False
    python: str = ""
    """The minor version, if something names it."""
    warnings: dict[str, None] = field(default_factory=dict)
    _places: dict[str, str] = field(default_factory=dict)
    """Where extra indexes are from."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is required."""
        return not (self.requirements or self.variables or self.lock)

    def warn(self, where: str, message: str) -> None:
        """Remember what is left out."""
        self.warnings[f"{where}: {message}"] = None

    def require(self, text: str, where: str) -> None:
        """Add a requirement."""
        self._add(self.requirements, text, where)

    def constrain(self, text: str, where: str) -> None:
        """Add a constraint."""
        self._add(self.constraints, text, where)

    def _add(self, lines: dict[str, None], text: str, where: str) -> None:
        try:
            line = str(normalize(parse_requirement(text)))
        except RequirementError as error:
            egg = _EGG.search(text)
            self.warn(where, f"left out: {f'{egg[1]}: ' if egg else ''}{error}")
            return
        if len(line) > _LONGEST_ITEM:
            name = requirement_name(line)
            self.warn(where, f"left out: {name}: more than {_LONGEST_ITEM} characters; shorten it")
            return
        lines[line] = None

    def add_index(self, url: str, where: str, *, extra: bool = False) -> None:
        """Name an index: the one, or one that is asked after it."""
        if bare := self._bare(url, where):
            if not extra:
                self.index_url = bare
            elif bare not in self.extra_urls:
                self.extra_urls.append(bare)
                self._places[bare] = where

    def add_package_index(self, url: str, names: Iterable[str], where: str) -> None:
        """Name the index of some packages."""
        if bare := self._bare(url, where):
            taken = {name for several in self.package_urls.values() for name in several}
            kept = self.package_urls.setdefault(bare, [])
            kept += [name for name in names if name not in taken]

    def _bare(self, url: str, where: str) -> str:
        """Return a URL without credentials; empty if it is no index's."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if "@" in parts.netloc:
            self.warn(
                where,
                f"left out: the credentials for {parts.netloc.rpartition('@')[2]}; put them in a"
                " Secret and name it in spec.index.credentialsSecretRef",
            )
            url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if wrong := check_index_url(url):
            self.warn(where, f"left out: an index: {wrong}")
            return ""
        return url

    def require_python(self, requires: object, where: str) -> None:
        """Take the oldest version of Python that fits, unless one is named already."""
        if self.python or not isinstance(requires, str) or not requires:
            return
        try:
            specifiers = SpecifierSet(requires)
        except InvalidSpecifier:
            self.warn(where, "left out: requires-python, which is none")
            return
        fits = (one for one in PYTHON_VERSIONS if any(specifiers.filter((one, f"{one}.99"))))
        self.python = next(fits, "")
        if not self.python:
            self.warn(
                where, f"left out: requires-python {requires[:80]!r}: no supported Python fits"
            )

    def manifests(
        self, *, namespace: str = "", pool: str = "", default: bool = False, image: str = ""
    ) -> list[dict[str, Any]]:
        """Return the set, and the ConfigMap that it reads if it needs one."""
        place = {"namespace": namespace} if namespace else {}
        files: dict[str, str] = {}
        spec: dict[str, Any] = {}
        own_python = not image and not pool
        if self.lock:
            spec["lockFrom"] = {
                "configMapKeyRef": {"name": f"{self.name}-files", "key": "pylock.toml"}
            }
            files["pylock.toml"] = self._headed(own_python)
        for field_name, lines in (
            ("requirements", self.requirements),
            ("constraints", self.constraints),
        ):
            if len(lines) > _MOST_ITEMS:
                key = f"{field_name}.txt"
                ref = {"configMapKeyRef": {"name": f"{self.name}-files", "key": key}}
                spec[f"{field_name}From"] = [ref]
                files[key] = "".join(f"{line}\n" for line in lines)
            elif lines:
                spec[field_name] = list(lines)
        if self.variables:
            refs = [{"prefectVariable": {"name": name}} for name in self.variables]
            spec["requirementsFrom"] = [*spec.get("requirementsFrom", ()), *refs]
        if index := self._index():
            spec["index"] = index
        if image:
            spec["python"] = {"image": image}
        elif own_python and not self.lock:
            spec["python"] = {"version": self.python or this_python()}
        if pool:
            spec["workPools"] = [{"name": pool, **({"default": True} if default else {})}]
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": self.name, **place},
            "spec": spec,
        }
        if not files:
            return [body]
        return [
            body,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"{self.name}-files", **place},
                "data": files,
            },
        ]

    def _headed(self, own_python: bool) -> str:
        """Return the finished lock, which says what it is for where no image does."""
        if not own_python or not is_pylock(self.lock):
            return self.lock
        return f"# python: {self.python or this_python()}\n# platforms: {_PLATFORM}\n{self.lock}"

    def _index(self) -> dict[str, Any]:
        index: dict[str, Any] = {}
        if self.index_url:
            index["url"] = self.index_url
        if self.index_url and self.extra_urls:
            index["extraUrls"] = self.extra_urls
        for url in () if self.index_url else self.extra_urls:
            self.warn(
                self._places[url],
                f"left out: the extra index {url}: name the index that is asked first in"
                " spec.index.url and this one in spec.index.extraUrls, or its packages in"
                " spec.index.packages",
            )
        named = {url: names for url, names in self.package_urls.items() if names}
        if named:
            index["packages"] = [{"names": names, "url": url} for url, names in named.items()]
        if self.prereleases and not self.lock:
            index["prereleases"] = "Allow"
        return index


def this_python() -> str:
    """Return the version of the Python that runs flowdeps."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def key_of(text: str) -> str:
    """Return a key like a text: at most 40 lower-case letters, digits and inner '-'."""
    key = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:KEY_LIMIT].strip("-") or "packages"
    return key if check_key(key) is None else f"{key[: KEY_LIMIT - 4].rstrip('-')}-set"


def yaml_of(documents: Iterable[Any]) -> str:
    """Return documents as YAML for people."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as it is, line by line."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)
