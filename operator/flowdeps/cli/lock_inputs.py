"""What `flowdeps lock` makes a lock from: a set in a file, and what it refers to in further files.

The operator asks a cluster for ConfigMaps and included sets, Prefect for variables and a pod for
what an image has. Here people give them as files; what isn't given is asked for by its field.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flowdeps.api.config import Config
from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import ConfigMapSource, SetSpec, Source, parse_spec
from flowdeps.api.spec import DEFAULT_PLATFORMS
from flowdeps.cli.failure import CommandError
from flowdeps.cli.files import read_text
from flowdeps.cli.manifests import Manifest, Reading, read_manifests
from flowdeps.gather.texts import TextError, text_under
from flowdeps.locks.image import ImageError, ImageFacts, parse_image_packages
from flowdeps.locks.prefect_variable import parse_variable
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements_file import parse_requirements_file
from flowdeps.locks.target import Target

_HOW = "`flowdeps lock --help` says how to make the file"


@dataclass(frozen=True, kw_only=True)
class Given:
    """The files of a command line: the set's, those beside it, what the image has (`python` where
    that doesn't tell its Python), and files with the values of Prefect variables by name."""

    file: str
    beside: Sequence[str] = ()
    image_packages: str | None = None
    python: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


def read_request(given: Given, config: Config) -> tuple[LockRequest, SetSpec]:
    """What a resolver is to be asked, and the set's spec. Raises CommandError."""
    reading = _reading([given.file])
    if len(reading.manifests) != 1:
        raise CommandError(
            f"{given.file}: {len(reading.manifests)} FlowDependencySets; "
            "give a file with exactly one, and what it includes as further files"
        )
    [manifest] = reading.manifests
    spec = _spec(manifest)
    if spec.lock_from:
        raise CommandError(
            f"{given.file}: spec.lockFrom: the lock is made already; "
            "lock a set that lists requirements"
        )
    beside = _reading(list(given.beside)) if given.beside else Reading()
    config_maps = [*reading.config_maps, *beside.config_maps]
    family = list(_family(manifest, spec, beside.manifests))
    image = _image(given, spec)
    cooldown = config.cooldown if spec.index.cooldown is None else spec.index.cooldown
    requirements: list[str] = []
    constraints: list[str] = []
    for member, one in family:
        gather = _Gather(member, config_maps, given.variables)
        requirements += one.requirements
        requirements += gather.lines(one.requirements_from, path="spec.requirementsFrom")
        constraints += one.constraints
        constraints += gather.lines(one.constraints_from, path="spec.constraintsFrom")
    request = LockRequest(
        requirements=tuple(requirements),
        constraints=tuple(constraints),
        target=_target(spec, image),
        index=spec.index.index if spec.index.index.url else config.index,
        image=image,
        shadow=spec.shadow,
        cooldown=cooldown or None,
        cooldown_exempt=spec.index.cooldown_exempt,
        prereleases=spec.index.prereleases,
    )
    return request, spec


@dataclass(frozen=True)
class _Gather:
    """The lines that the sources of one set hold."""

    manifest: Manifest
    config_maps: Sequence[Manifest]
    variables: Mapping[str, str]

    def lines(self, sources: Sequence[Source], *, path: str) -> Iterator[str]:
        for number, source in enumerate(sources):
            place = f"{self.manifest.place.file}: {path}[{number}]"
            text = (
                self._config_map(source, place)
                if isinstance(source, ConfigMapSource)
                else self._variable(source.name, place, optional=source.optional)
            )
            if text is None:
                continue
            parse = (
                parse_requirements_file if isinstance(source, ConfigMapSource) else parse_variable
            )
            found = parse(text)
            if found.problems:
                raise CommandError(*(f"{place}: {problem}" for problem in found.problems))
            yield from found.lines

    def _config_map(self, source: ConfigMapSource, place: str) -> str | None:
        for one in self.config_maps:
            if one.name == source.name and _together(one, self.manifest):
                try:
                    text = text_under(one.body, source.key)
                except TextError as error:
                    raise CommandError(f"{place}: key {source.key!r}: {error}") from None
                if text is not None:
                    return text
        if source.optional:
            return None
        raise CommandError(
            f"{place}: there is no key {source.key!r} of a ConfigMap {source.name!r} in the files; "
            "give the file that has it after the set's"
        )

    def _variable(self, name: str, place: str, *, optional: bool) -> str | None:
        if file := self.variables.get(name):
            return read_text(file)
        if optional:
            return None
        raise CommandError(
            f"{place}: the value of the Prefect variable {name!r} is not known here; "
            f"give a file with it: --variable {name}=FILE"
        )


def _reading(files: list[str]) -> Reading:
    reading = read_manifests(files)
    if reading.problems:
        raise CommandError(*reading.problems)
    return reading


def _spec(manifest: Manifest) -> SetSpec:
    try:
        return parse_spec(manifest.body)
    except InvalidError as error:
        raise CommandError.invalid(manifest.place.file, error) from None


def _family(
    manifest: Manifest, spec: SetSpec, others: Sequence[Manifest]
) -> Iterator[tuple[Manifest, SetSpec]]:
    """A set and those that it includes, each once."""
    seen: set[str] = set()
    waiting: list[tuple[Manifest, SetSpec, tuple[str, ...]]] = [(manifest, spec, (manifest.name,))]
    while waiting:
        one, its_spec, way = waiting.pop()
        if way[-1] in seen:
            continue
        seen.add(way[-1])
        yield one, its_spec
        for name in its_spec.includes:
            path = f"{manifest.place.file}: spec.includes: {' → '.join((*way, name))}"
            if name in way:
                raise CommandError(f"{path}: a cycle; remove one of them")
            found = [o for o in others if o.name == name and _together(o, manifest)]
            if len(found) != 1:
                raise CommandError(
                    f"{path}: {len(found)} sets of that name in the files; "
                    "give the file that has it after the set's"
                )
            included = _spec(found[0])
            if included.lock_from:
                raise CommandError(f"{path}: it has a finished lock (lockFrom); include another")
            waiting.append((found[0], included, (*way, name)))


def _image(given: Given, spec: SetSpec) -> ImageFacts | None:
    if version := spec.python.version:
        if given.image_packages is not None:
            raise CommandError(
                f"{given.file}: spec.python.version: the lock is for no image and has every "
                "package; leave --image-packages out, or name the image in spec.python.image"
            )
        if given.python not in (None, version):
            raise CommandError(
                f"{given.file}: spec.python.version is {version}, not --python; leave that out"
            )
        return None
    if given.image_packages is None:
        raise CommandError(
            f"{given.file}: spec.python: the lock is for an image, and what that has "
            f"installed is not known here; give it with --image-packages FILE ({_HOW})"
        )
    text = read_text(given.image_packages)
    platform = (*spec.python.platforms, *DEFAULT_PLATFORMS)[0]
    try:
        facts = parse_image_packages(text, python=given.python or "", platform=platform)
    except ImageError as error:
        raise CommandError(f"{given.image_packages}: {error}") from None
    if not facts.python:
        raise CommandError(
            f"{given.image_packages}: it doesn't tell the image's Python; give that with --python, "
            f"or the JSON of `pip inspect` ({_HOW})"
        )
    if given.python and facts.python != given.python:
        raise CommandError(f"{given.image_packages}: it is of Python {facts.python}, not --python")
    if problem := facts.problem:
        raise CommandError(f"{given.image_packages}: {problem}")
    return facts


def _target(spec: SetSpec, image: ImageFacts | None) -> Target:
    if spec.target:
        return spec.target
    if image is None:
        raise LookupError("without python.version the image's packages are asked for")
    return Target(image.python, spec.python.platforms or (image.platform,))


def _together(one: Manifest, other: Manifest) -> bool:
    """Whether two documents may be of one namespace; not all name one."""
    return None in (one.namespace, other.namespace) or one.namespace == other.namespace
