"""Parses the parts of a spec: each function takes the fields of one and returns its value.

What is wrong is among the fields' problems, and the value is then of no use.
"""

from enum import StrEnum
from typing import TypeVar

from packaging.utils import canonicalize_name

from flowdeps.api import rules
from flowdeps.api.fields import Check, Fields
from flowdeps.api.spec import (
    ConfigMapSource,
    IndexSpec,
    PythonSpec,
    Source,
    VariableSource,
    VerifySpec,
    WorkPoolRef,
)
from flowdeps.locks.index import Index, PackageIndex
from flowdeps.locks.request import Prereleases
from flowdeps.locks.target import PLATFORMS

PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SOURCES_LIMIT = 16

E = TypeVar("E", bound=StrEnum)


def choice(fields: Fields, name: str, default: E) -> E:
    """Return the value of an enumeration that the field `name` spells, or its default."""
    kind = type(default)
    text = fields.text(name, check=_one_of(*kind))
    return default if text is None else kind(text)


def parse_sources(fields: Fields, name: str) -> tuple[Source, ...]:
    """Parse the list `name` of sources: ConfigMap keys and Prefect variables."""
    sources: list[Source] = []
    for index, item in enumerate(fields.children(name, most=SOURCES_LIMIT)):
        both = item.has("configMapKeyRef"), item.has("prefectVariable")
        if item.given and sum(both) != 1:
            found = "two places" if all(both) else "no place"
            wrong = f"{found} to read from; write one of configMapKeyRef and prefectVariable"
            fields.problem(f"{name}[{index}]", wrong)
        config_map, variable = item.child("configMapKeyRef"), item.child("prefectVariable")
        if both[0]:
            sources.append(_config_map_key(config_map, bool(config_map.boolean("optional"))))
        if both[1]:
            variable_name = variable.text(
                "name", required=True, limit=253, check=rules.check_variable
            )
            optional = bool(variable.boolean("optional"))
            sources.append(VariableSource(variable_name or "", optional))
        for part in (config_map, variable, item):
            part.close()
    return tuple(sources)


def parse_lock_from(fields: Fields) -> ConfigMapSource | None:
    """Parse `lockFrom`: where a finished lock is."""
    found = fields.child("configMapKeyRef", required=fields.given)
    source = _config_map_key(found, False) if found.given else None
    found.close()
    fields.close()
    return source


def parse_includes(fields: Fields, *, set_name: str) -> tuple[str, ...]:
    """Parse the names of the sets in `includes`."""
    names: list[str] = []
    for item in fields.children("includes", most=SOURCES_LIMIT):
        name = item.text("name", required=True, check=rules.check_key)
        item.close()
        if name is None:
            continue
        if name == set_name:
            item.problem("name", f"{name!r} is this set itself; remove it")
        elif name in names:
            item.problem("name", f"{name!r} is named twice; name each set once")
        names.append(name)
    return tuple(names)


def parse_python(fields: Fields) -> PythonSpec:
    """Parse `python`."""
    platforms = fields.texts("platforms", most=len(PLATFORMS), check=_one_of(*PLATFORMS))
    if platforms == ():
        fields.problem("platforms", "empty; remove it, or choose " + " and ".join(PLATFORMS))
    if fields.has("image") and fields.has("version"):
        fields.problem("version", "the image has its own Python; remove version, or image")
    return fields.build(
        PythonSpec,
        image=fields.text("image", limit=1024, check=rules.check_image),
        version=fields.text("version", check=_one_of(*PYTHON_VERSIONS)),
        platforms=tuple(sorted({*(platforms or ())})),
    )


def parse_packages(fields: Fields, name: str, check: Check) -> tuple[str, ...]:
    """Parse the list `name` of packages; `*` is kept as it is."""
    found = fields.texts(name, most=64, limit=128, check=check)
    return tuple(canonicalize_name(one) for one in found or ())


def parse_index_urls(fields: Fields) -> Index:
    """Parse `url`, `extraUrls` and `packages` of an index."""
    url = fields.text("url", limit=1024, check=rules.check_index_url)
    extra_urls = fields.texts("extraUrls", most=8, limit=1024, check=rules.check_index_url)
    if extra_urls and not fields.has("url"):
        fields.problem("extraUrls", "no url says which index is asked first; add url")
    packages = _package_indexes(fields)
    return Index(url, (extra_urls or ()) if url else (), packages)


def _package_indexes(fields: Fields) -> tuple[PackageIndex, ...]:
    found: list[PackageIndex] = []
    named: set[str] = set()
    for item in fields.children("packages", most=16):
        names = parse_packages(item, "names", rules.check_package)
        url = item.text("url", required=True, limit=1024, check=rules.check_index_url)
        item.close()
        if item.given and not names:
            item.problem("names", "empty; name the packages that come from this index")
        for name in names:
            if name in named:
                item.problem("names", f"{name!r} is named twice; name each package once")
            named.add(name)
        if url and names:
            found.append(PackageIndex(url, tuple(sorted({*names}))))
    return tuple(found)


def parse_index(fields: Fields) -> IndexSpec:
    """Parse `index`."""
    index = parse_index_urls(fields)
    secret = fields.child("credentialsSecretRef")
    credentials = secret.text(
        "name", required=secret.given, limit=253, check=rules.check_object_name
    )
    secret.close()
    exempt = parse_packages(fields, "cooldownExempt", rules.check_package)
    return fields.build(
        IndexSpec,
        index=index,
        credentials=credentials,
        cooldown=fields.duration("cooldown", check=rules.check_cooldown),
        cooldown_exempt=exempt,
        prereleases=choice(fields, "prereleases", Prereleases.IF_NECESSARY),
    )


def parse_verify(fields: Fields) -> VerifySpec:
    """Parse `verify`."""
    return fields.build(
        VerifySpec,
        enabled=fields.text("mode", check=_one_of("Enabled", "Disabled")) != "Disabled",
        imports=fields.texts("imports", most=64, limit=256, check=rules.check_module),
        asked_install_timeout=fields.duration("installTimeout", check=rules.check_verify_timeout),
        timeout=fields.duration("timeout", check=rules.check_verify_timeout),
    )


def parse_work_pools(fields: Fields, *, set_name: str) -> tuple[WorkPoolRef, ...]:
    """Parse the pools in `workPools`."""
    pools: list[WorkPoolRef] = []
    for item in fields.children("workPools", most=32):
        name = item.text("name", required=True, limit=253, check=rules.check_pool)
        key = item.text("key", check=rules.check_key)
        default = item.boolean("default")
        item.close()
        if name is None:
            continue
        if any(pool.name == name for pool in pools):
            item.problem("name", f"{name!r} is named twice; name each pool once")
        pools.append(WorkPoolRef(name, key or set_name, default=bool(default)))
    return tuple(pools)


def _config_map_key(fields: Fields, optional: bool) -> ConfigMapSource:
    name = fields.text("name", required=True, limit=253, check=rules.check_object_name)
    key = fields.text("key", required=True, limit=253, check=rules.check_config_key)
    return ConfigMapSource(name or "", key or "", optional)


def _one_of(*choices: str) -> Check:
    known = ", ".join(f'"{one}"' for one in choices)
    return rules.rule(choices.__contains__, f"is not supported; choose from {known}")
