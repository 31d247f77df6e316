"""Looks things up for the gathering of `flowdeps lock`: in files.

The operator asks a cluster for ConfigMaps and included sets, Prefect for variables and a pod for
what an image has. Here people give them as files; if one is missing, the error names the field
that needs it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from flowdeps.api.config import Config
from flowdeps.api.helperconfig import helpers_for
from flowdeps.api.outcome import Outcome
from flowdeps.api.problems import InvalidError
from flowdeps.api.resource import parse_spec
from flowdeps.api.spec import DEFAULT_PLATFORMS, OnVulnerable, SetSpec
from flowdeps.cli.failure import CommandError
from flowdeps.cli.manifests import Manifest, Manifests, read_manifests
from flowdeps.cli.settings import read_text
from flowdeps.gather import sources
from flowdeps.gather.credentials import NETRC_FILE
from flowdeps.gather.inputs import Inputs, gather
from flowdeps.gather.tokens import Token
from flowdeps.locks.image import ImageError
from flowdeps.locks.inspection import parse_image_packages
from flowdeps.state.store import PoolView, SetKey
from flowdeps.trials.image import Image, ImageRef

_NEVER = datetime.max.replace(tzinfo=UTC)
_HOW = "`flowdeps lock --help` says how to make the file"


@dataclass(frozen=True, kw_only=True)
class Given:
    """The files that a command line names, as `flowdeps lock --help` explains them."""

    file: str
    beside: Sequence[str] = ()
    image_packages: str | None = None
    python: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    netrc: str | None = None


@dataclass(frozen=True, kw_only=True)
class FileLookup:
    """The `flowdeps.gather.sources.Lookup` of the set in `manifest`, in files."""

    key: SetKey
    config: Config
    given: Given
    manifest: Manifest
    sets: Sequence[Manifest]
    config_maps: Sequence[Manifest]
    of_image: Image | None

    def need_sources(self, refs: frozenset[sources.SourceRef]) -> None:
        pass

    def need_image(self, ref: ImageRef | None) -> None:
        pass

    def source(self, ref: sources.SourceRef) -> sources.Content:
        match ref:
            case sources.SecretName():
                return sources.Present({NETRC_FILE: read_text(self.given.netrc or "")})
            case sources.IndexToken():
                return sources.Present(Token(netrc="", expires=_NEVER, renewed=_NEVER))
            case sources.PrefectVariable(name):
                if file := self.given.variables.get(name):
                    return sources.variable_content(read_text(file))
                return sources.Absent(
                    f"the value of {ref} is not known here; give a file with it:"
                    f" --variable {name}=FILE"
                )
            case sources.ConfigMapKey():
                lacking = f"there is no {ref} in the files; give its file after the set's"
                maps = self._of(self.config_maps, ref.name)
                return min(
                    (sources.key_content(ref, one.body) for one in maps),
                    key=lambda one: isinstance(one, sources.Absent),
                    default=sources.Absent(lacking),
                )

    def included(self, name: str) -> SetSpec | sources.Absent | sources.Unreadable:
        found = list(self._of(self.sets, name))
        if not found:
            return sources.Absent(
                "there is no set of that name in the files; give its file after the set's, or"
                " remove it here"
            )
        if len(found) > 1:
            return sources.Unreadable(f"{len(found)} sets of that name in the files; keep one")
        try:
            return parse_spec(found[0].body)
        except InvalidError as error:
            return sources.Unreadable("; ".join(map(str, error.problems)))

    def image_ref(self, spec: SetSpec) -> ImageRef | None:
        return self.of_image.ref if self.of_image and not spec.target else None

    def image(self, ref: ImageRef) -> Image | None:
        return self.of_image if ref else None

    def pools(self) -> Mapping[str, PoolView]:
        return {}

    def _of(self, manifests: Sequence[Manifest], name: str) -> Iterator[Manifest]:
        """Those of a name that may be in the set's namespace: not all documents say theirs."""
        for one in manifests:
            namespaces = {one.namespace, self.manifest.namespace} - {None}
            if one.name == name and len(namespaces) < 2:
                yield one


def read_inputs(given: Given, config: Config) -> tuple[Inputs, SetSpec, list[str]]:
    """Return what a lock is made from, the set's spec, and notes. Raises CommandError."""
    files = _read([given.file])
    if len(files.sets) != 1:
        raise CommandError(
            f"{given.file}: {len(files.sets)} FlowDependencySets; "
            "give a file with exactly one, and what it includes as further files"
        )
    [manifest] = files.sets
    try:
        spec = parse_spec(manifest.body)
    except InvalidError as error:
        raise CommandError(*(f"{given.file}: {one}" for one in error.problems)) from None
    beside = _read(given.beside)
    notes = list(_notes(given, spec, config))
    if spec.python.image is None:
        config = replace(config, images=replace(config.images, allowed=()))
    if given.netrc or spec.index.credentials:
        config = replace(config, credential_helpers=())
    key = SetKey(manifest.namespace or "default", manifest.name)
    lookup = FileLookup(
        key=key,
        config=config,
        given=given,
        manifest=manifest,
        sets=beside.sets,
        config_maps=[*files.config_maps, *beside.config_maps],
        of_image=_read_image(given, spec, key.namespace),
    )
    secret = given.netrc and (spec.index.credentials or given.netrc)
    spec = replace(spec, index=replace(spec.index, credentials=secret))
    inputs = gather(lookup, spec)
    if isinstance(inputs, Outcome):
        raise refused(inputs)
    helpers = helpers_for(config.credential_helpers, inputs.index, namespace=key.namespace)
    if helpers:
        notes.append("the token of index.credentialHelpers isn't asked for here; give --netrc FILE")
    return inputs, spec, [*notes, *inputs.notes]


def refused(outcome: Outcome) -> CommandError:
    """Return the error for what the operator would report as a reason and a message."""
    return CommandError(f"{outcome.reason}: {outcome.message}")


def _read(files: Sequence[str]) -> Manifests:
    found = read_manifests(list(files))
    if found.problems:
        raise CommandError(*found.problems)
    return found


def _notes(given: Given, spec: SetSpec, config: Config) -> Iterator[str]:
    """What the operator would look up, and nobody can here."""
    if spec.index.credentials and given.netrc is None:
        yield f"the Secret {spec.index.credentials} isn't read here; give --netrc FILE"
    if spec.lock_from and given.image_packages is None:
        yield (
            "the lock is not compared with what the image has installed; give that with"
            f" --image-packages FILE ({_HOW})"
        )
    elif spec.target is None and spec.python.image is None and config.images.allowed:
        yield "whether images.allowed holds the image is not checked: only its work pool names it"
    if spec.vulnerabilities is OnVulnerable.BLOCK and not config.vulnerabilities.database:
        yield (
            "spec.vulnerabilities is Block, but the configuration names no database"
            " (vulnerabilities.database): nothing is held back"
        )


def _read_image(given: Given, spec: SetSpec, namespace: str) -> Image | None:
    """What the file about the set's image says; None: the lock is for no image, or not known."""
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
    file = given.image_packages
    if file is None:
        if spec.lock_from:
            return None
        raise CommandError(
            f"{given.file}: spec.python: the lock is for an image, and what that has "
            f"installed is not known here; give it with --image-packages FILE ({_HOW})"
        )
    platform = (*spec.python.platforms, *DEFAULT_PLATFORMS)[0]
    try:
        facts = parse_image_packages(read_text(file), python=given.python or "", platform=platform)
    except ImageError as error:
        raise CommandError(f"{file}: {error}") from None
    if not facts.python:
        raise CommandError(
            f"{file}: it does not contain the image's Python; give that with --python, "
            f"or the JSON of `pip inspect` ({_HOW})"
        )
    if given.python and facts.python != given.python:
        raise CommandError(f"{file}: it is of Python {facts.python}, not --python")
    # An image that only a work pool names is called by its file.
    return Image(ImageRef(namespace, spec.python.image or file), "", facts)
