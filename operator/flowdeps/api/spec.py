"""What a FlowDependencySet asks for, as values: `flowdeps.api.resource.parse_spec` makes them.

Texts are as `flowdeps.api.rules` accepts them, and names of packages are canonical. A field
that is None or empty was not given, and the default is somebody else's: the pool's, the
operator's or the image's.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property

from flowdeps.locks.index import Index
from flowdeps.locks.request import Prereleases
from flowdeps.locks.requirements import RequirementLine, normal_lines
from flowdeps.locks.target import Target

DEFAULT_PLATFORMS = ("linux/amd64",)
DEFAULT_INTERVAL = timedelta(hours=24)
DEFAULT_REVISION_HISTORY_LIMIT = 5
DEFAULT_VERIFY_TIMEOUT = timedelta(minutes=5)
DEFAULT_INSTALL_TIMEOUT = timedelta(minutes=15)
ANY_PACKAGE = "*"


class Updates(StrEnum):
    """What a refresh that finds newer versions does: publish them, or propose them."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class OnVulnerable(StrEnum):
    """What a pin with a known vulnerability does: be reported, or keep a lock back as well."""

    REPORT = "Report"
    BLOCK = "Block"


@dataclass(frozen=True)
class ConfigMapSource:
    """The text under `key` of a ConfigMap in the set's namespace."""

    name: str
    key: str
    optional: bool = False


@dataclass(frozen=True)
class VariableSource:
    """The value of a Prefect variable."""

    name: str
    optional: bool = False


Source = ConfigMapSource | VariableSource
"""Where requirements or constraints stand that the set does not list itself. `optional`: what
does not exist asks for nothing."""


@dataclass(frozen=True, kw_only=True)
class PythonSpec:
    """The interpreter: what `image` has, or `version`; without both, what the pool's image has.

    `platforms` empty: that of the image, else `DEFAULT_PLATFORMS`.
    """

    image: str | None = None
    version: str | None = None
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class IndexSpec:
    """Where packages come from. `credentials` names a Secret of the set's namespace.

    `cooldown` None: the operator's default; zero: none.
    """

    index: Index = field(default_factory=Index)
    credentials: str | None = None
    cooldown: timedelta | None = None
    cooldown_exempt: tuple[str, ...] = ()
    prereleases: Prereleases = Prereleases.IF_NECESSARY


@dataclass(frozen=True, kw_only=True)
class VerifySpec:
    """How a lock is tried in its image. `imports` None: the modules of the requirements."""

    enabled: bool = True
    imports: tuple[str, ...] | None = None
    timeout: timedelta = DEFAULT_VERIFY_TIMEOUT
    """How long the imports may take, after the installation."""
    asked_install_timeout: timedelta | None = None

    @property
    def install_timeout(self) -> timedelta:
        """How long the installation may take. `timeout` was for both before each had its own."""
        return self.asked_install_timeout or max(DEFAULT_INSTALL_TIMEOUT, self.timeout)


@dataclass(frozen=True)
class WorkPoolRef:
    """A pool that offers a set under `key`; `default`: runs that choose nothing get it."""

    name: str
    key: str
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class SetSpec:
    """What is asked for.

    `includes` names sets of the same namespace. `lock_from` is a finished lock, and excludes
    all that says how to make one; `shadow` says what it may put before the image's own.
    `interval` None: pins are refreshed only on change. `revision`: serve this one, resolve
    nothing.
    """

    requirements: tuple[str, ...] = ()
    requirements_from: tuple[Source, ...] = ()
    constraints: tuple[str, ...] = ()
    constraints_from: tuple[Source, ...] = ()
    includes: tuple[str, ...] = ()
    lock_from: ConfigMapSource | None = None
    python: PythonSpec = field(default_factory=PythonSpec)
    shadow: tuple[str, ...] = ()
    index: IndexSpec = field(default_factory=IndexSpec)
    interval: timedelta | None = DEFAULT_INTERVAL
    updates: Updates = Updates.AUTOMATIC
    suspend: bool = False
    revision: str | None = None
    revision_history_limit: int = DEFAULT_REVISION_HISTORY_LIMIT
    verify: VerifySpec = field(default_factory=VerifySpec)
    vulnerabilities: OnVulnerable = OnVulnerable.REPORT
    work_pools: tuple[WorkPoolRef, ...] = ()

    @cached_property
    def own_lines(self) -> tuple[tuple[RequirementLine, ...], tuple[RequirementLine, ...]]:
        """The set's own requirements and constraints, in their normal form."""
        return normal_lines(self.requirements), normal_lines(self.constraints)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return where the set reads requirements and constraints from."""
        return (*self.requirements_from, *self.constraints_from)

    @property
    def target(self) -> Target | None:
        """What a lock is made for where python.version says it; None where an image does."""
        if self.python.version is None:
            return None
        return Target(self.python.version, self.python.platforms or DEFAULT_PLATFORMS)
