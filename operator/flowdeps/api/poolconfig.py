"""`workPools` of the configuration: who may offer sets to a pool, and how they are installed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from flowdeps.api import rules
from flowdeps.api.fields import Fields
from flowdeps.api.trialconfig import checked_resources

_check_variable = rules.matching(
    r"[A-Za-z_][A-Za-z0-9_]*", "is not a variable's name; use letters, digits and '_'"
)
_check_python = rules.matching(
    r"3\.[0-9]{1,2}", 'is not a minor version of Python; write one such as "3.12", in quotes'
)
_check_literal = rules.rule(
    lambda text: "{{" not in text,
    "'{{' starts a placeholder of Prefect's template; write the value itself",
    hide=True,
)


@dataclass(frozen=True)
class EnvVar:
    """An environment variable of a container."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class InstallConfig:
    """How our init container runs. Empty mappings: our defaults."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    security_context: Mapping[str, Any] = field(default_factory=dict)
    env: tuple[EnvVar, ...] = ()
    """Variables that it gets besides ours."""


@dataclass(frozen=True, kw_only=True)
class PoolConfig:
    """What applies to the pools whose name matches `name`, exactly or as a glob."""

    name: str = "*"
    namespaces: tuple[str, ...] = ()
    """Globs of the namespaces whose sets the pools may offer. Empty: all watched."""
    job_namespaces: tuple[str, ...] = ()
    """Where the runs are. Empty: what the pools' templates say."""
    image: str | None = None
    """Of runs that name none. None: what the pool's template says, or else their worker."""
    worker_python: str = "3.11"
    """The Python of the pools' workers, by which they choose an image; Prefect's charts have it."""
    variable: str = "dependency_set"
    extra_packages: bool = True
    """Whether a run may add packages of its own, unpinned."""
    install: InstallConfig = field(default_factory=InstallConfig)

    def admits(self, namespace: str) -> bool:
        """Tell whether the pools may offer sets of `namespace`."""
        return not self.namespaces or any(fnmatchcase(namespace, glob) for glob in self.namespaces)


def parse_pool(fields: Fields) -> PoolConfig:
    """Parse one entry of `workPools`."""
    return fields.build(
        PoolConfig,
        name=fields.text("name", required=True, limit=253),
        namespaces=fields.texts("namespaces", most=1000, limit=253),
        job_namespaces=fields.texts(
            "jobNamespaces", most=32, limit=63, check=rules.check_namespace
        ),
        image=fields.text("image", limit=1024, check=rules.check_image),
        worker_python=fields.text("workerPython", check=_check_python),
        variable=fields.text("variable", limit=63, check=_check_choice),
        extra_packages=fields.text("extraPackages", check=rules.one_of("Allowed", "Forbidden"))
        != "Forbidden",
        install=_parse_install(fields.child("install")),
    )


def _parse_install(fields: Fields) -> InstallConfig:
    return fields.build(
        InstallConfig,
        resources=checked_resources(fields.child("resources")),
        security_context=_checked_context(fields.child("securityContext")),
        env=tuple(_parse_variable(item) for item in fields.children("env", most=64)),
    )


def _parse_variable(fields: Fields) -> EnvVar:
    return fields.build(
        EnvVar,
        name=fields.text("name", required=True, check=_check_variable) or "",
        value=fields.text("value", limit=4096, check=_check_literal) or "",
    )


def _checked_context(fields: Fields) -> Mapping[str, Any]:
    for name in (
        "allowPrivilegeEscalation",
        "privileged",
        "readOnlyRootFilesystem",
        "runAsNonRoot",
    ):
        fields.boolean(name)
    for name in ("runAsUser", "runAsGroup"):
        fields.integer(name, least=0, most=2**31 - 1)
    fields.text("procMount")
    for name in ("appArmorProfile", "capabilities", "seLinuxOptions", "seccompProfile"):
        fields.child(name)
    fields.close()
    return fields.values


def _check_choice(text: str) -> str | None:
    if text == "extra_py_deps":
        return f"{text!r} is the variable for extra packages; choose another name"
    return _check_variable(text)
