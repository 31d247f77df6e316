"""What the operator's configuration says about work pools: who may offer sets, and how they are
installed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from flowdeps.api.fields import Fields
from flowdeps.api.rules import check_image, check_namespace
from flowdeps.api.trialconfig import check_resources

_EXTRAS = "extra_py_deps"
"""The job variable of packages for one run, as templates have it."""


@dataclass(frozen=True)
class EnvVar:
    """An environment variable of a container."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class InstallConfig:
    """Our init container's resources and security context (empty: ours), and added variables."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    security_context: Mapping[str, Any] = field(default_factory=dict)
    env: tuple[EnvVar, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """What holds for the pools whose name matches `name` (exact, or a glob).

    `namespaces`: globs of the namespaces that may offer sets to them; empty: all watched.
    `job_namespaces`: where their runs are; empty: what their templates say. `extra_packages`:
    whether a run may add packages of its own, unpinned.
    """

    name: str = "*"
    namespaces: tuple[str, ...] = ()
    job_namespaces: tuple[str, ...] = ()
    image: str | None = None
    variable: str = "dependency_set"
    extra_packages: bool = True
    install: InstallConfig = field(default_factory=InstallConfig)

    def admits(self, namespace: str) -> bool:
        """Whether sets of `namespace` may be offered."""
        return not self.namespaces or any(fnmatchcase(namespace, glob) for glob in self.namespaces)


def parse_pool(fields: Fields) -> PoolConfig:
    """The pools that one entry of `workPools` is about."""
    default = PoolConfig()
    name = fields.text("name", required=True, limit=253)
    namespaces = fields.texts("namespaces", most=1000, limit=253)
    job_namespaces = fields.texts("jobNamespaces", most=32, limit=63, check=check_namespace)
    image = fields.text("image", limit=1024, check=check_image)
    variable = fields.text("variable", limit=63, check=_check_choice)
    extra = fields.text("extraPackages", check=_check_extra)
    install = _install(fields.child("install"))
    fields.close()
    return PoolConfig(
        name=name or default.name,
        namespaces=namespaces or (),
        job_namespaces=job_namespaces or (),
        image=image,
        variable=variable or default.variable,
        extra_packages=extra != "Forbidden",
        install=install,
    )


def _install(fields: Fields) -> InstallConfig:
    resources = fields.mapping("resources")
    check_resources(fields.child("resources"))
    context = fields.mapping("securityContext")
    _check_context(fields.child("securityContext"))
    env = []
    for item in fields.children("env", most=64):
        name = item.text("name", required=True, check=_check_variable)
        value = item.text("value", limit=4096, check=_check_literal)
        item.close()
        env.append(EnvVar(name or "", value or ""))
    fields.close()
    return InstallConfig(resources=resources or {}, security_context=context or {}, env=tuple(env))


def _check_context(fields: Fields) -> None:
    for name in ("allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem"):
        fields.boolean(name)
    fields.boolean("runAsNonRoot")
    for name in ("runAsUser", "runAsGroup"):
        fields.integer(name, least=0, most=2**31 - 1)
    fields.text("procMount")
    for name in ("appArmorProfile", "capabilities", "seLinuxOptions", "seccompProfile"):
        fields.mapping(name)
    fields.close()


def _check_variable(text: str) -> str | None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        return None
    return f"{text!r} is not a variable's name; use letters, digits and '_'"


def _check_choice(text: str) -> str | None:
    if text == _EXTRAS:
        return f"{text!r} is the variable for extra packages; choose another name"
    return _check_variable(text)


def _check_extra(text: str) -> str | None:
    if text in ("Allowed", "Forbidden"):
        return None
    return f"{text!r} is not known; write Allowed or Forbidden"


def _check_literal(text: str) -> str | None:
    if "{{" in text:
        return "'{{' starts a placeholder of Prefect's template; write the value itself"
    return None
