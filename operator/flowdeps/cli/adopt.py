"""`flowdeps adopt`: find packages that runs install at their start, and write sets for them."""

import argparse
import asyncio
import copy
import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from flowdeps.api.config import Config
from flowdeps.cli.draft import Draft, key_of, yaml_of
from flowdeps.cli.failure import CommandError
from flowdeps.cli.new import check, warn
from flowdeps.cli.pip_words import PipReader
from flowdeps.cli.recipe import (
    JOB_VARIABLE,
    clean,
    clean_environment,
    directories_of,
    installs,
    read_words,
)
from flowdeps.cli.settings import add_config, read_config, read_document, read_text
from flowdeps.cli.shell import read_script, split
from flowdeps.cli.terminal import say, say_aside, say_json
from flowdeps.delivery.choice import NONE, find
from flowdeps.delivery.kinds import for_type, unsupported
from flowdeps.delivery.kinds.kubernetes import KUBERNETES
from flowdeps.delivery.placeholders import mapping, properties
from flowdeps.locks.legible import printable

SUMMARY = "find packages that runs install at their start, and write sets for them"
DESCRIPTION = """\
Find what runs install when they start, and print the sets that replace it, as YAML, and below them
as comments what to remove, as a diff. Nothing is changed.

It reads base job templates (JSON or YAML, also as `prefect work-pool inspect NAME -o json` prints
a pool) and prefect.yaml, or with --pool alone the live pool and its deployments. It finds init
containers with `pip install --target`, EXTRA_PIP_PACKAGES and EXTRA_PY_DEPS, `pip install` in the
command of the flow's container and in pull steps, and the requirements files that they name.

What a set cannot express is left out, with a warning on standard error that names it.
"""
EPILOG = """\
examples:
  flowdeps adopt --pool kubernetes > review.yaml
  flowdeps adopt base.json prefect.yaml --pool kubernetes
  flowdeps adopt base.json --pool kubernetes --output template > clean.json

Exit status: 0 a recipe was found, 1 there is none.
"""
_REQUIREMENTS = "pip_install_requirements"
_SHELL = "run_shell_script"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="a base job template, or a prefect.yaml"
    )
    parser.add_argument(
        "--pool",
        default="",
        metavar="NAME",
        help="the work pool; without FILE, as it is in Prefect",
    )
    parser.add_argument(
        "-n", "--namespace", default="", metavar="NAMESPACE", help="the namespace of the sets"
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=["review", "sets", "diff", "template"],
        default="review",
        help="sets and diff, one of them, or the template that is left (default: review)",
    )
    add_config(parser)


@dataclass
class Source:
    """What a template or a prefect.yaml says, and what is left of it."""

    file: str
    before: Any
    after: Any
    is_template: bool


@dataclass
class Deployed:
    """A deployment: where it runs, and the steps that fetch its code."""

    name: str
    where: str
    pool: str
    job_variables: Mapping[str, Any]
    write: Callable[[dict[str, Any]], None]
    """Takes the job variables that it should have."""
    pull: Sequence[Any]
    read: Callable[[str], str | None]


@dataclass
class Adoption:
    """The sets that replace what was found."""

    namespace: str
    documents: list[dict[str, Any]] = field(default_factory=list)
    warnings: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    """The names of sets by what they require."""

    def add(self, draft: Draft, *, pool: str, image: str = "", default: bool = False) -> str:
        """Write a set, unless one requires the same already; return its name."""
        name = key_of(draft.name)
        draft.name = ""
        content = yaml_of(draft.manifests(pool=pool, image=image))
        if content not in self._keys:
            taken = set(self._keys.values())
            numbered = (key_of(f"{name[:36]}-{number}") for number in range(2, 1000))
            draft.name = name if name not in taken else next(n for n in numbered if n not in taken)
            self._keys[content] = draft.name
            found = draft.manifests(
                pool=pool, image=image, namespace=self.namespace, default=default
            )
            check(draft, found)
            self.documents += found
        self.warnings |= draft.warnings
        return self._keys[content]


def run(args: argparse.Namespace) -> int:
    """Print what was found; 1 if nothing was."""
    config = read_config(args.config)
    if args.files:
        sources, deployed = _read(args.files, args.pool)
    elif args.pool:
        sources, deployed = asyncio.run(_fetch(config, args.pool))
    else:
        raise CommandError("give FILEs, or the name of a live work pool with --pool")
    adoption = _adopt(sources, deployed, args)
    warn(adoption.warnings)
    for note in adoption.notes:
        say_aside(f"note: {note}")
    # What others wrote must not end a comment.
    changes = [line for one in sources for text in _diff(one) for line in text.splitlines() or [""]]
    if not adoption.documents and not changes:
        say_aside("flowdeps: nothing is installed at the start of runs, as far as was found")
        return 1
    _print(args.output, adoption, sources, changes)
    return 0


def _print(
    output: str, adoption: Adoption, sources: Sequence[Source], changes: Sequence[str]
) -> None:
    if output == "template":
        templates = [one for one in sources if one.is_template]
        if len(templates) != 1:
            raise CommandError(f"there are {len(templates)} templates; give exactly one")
        say_json(mapping(templates[0].after).get("base_job_template", templates[0].after))
        return
    if output in {"review", "sets"}:
        say(yaml_of(adoption.documents) if adoption.documents else "# no set is needed\n", end="")
    if output == "diff":
        say("".join(f"{line}\n" for line in changes), end="")
    elif output == "review":
        say("# What to change, once the sets are ready:\n#")
        say("".join(f"# {line}".rstrip() + "\n" for line in changes), end="")


def _adopt(
    sources: Sequence[Source], deployed: Sequence[Deployed], args: argparse.Namespace
) -> Adoption:
    adoption = Adoption(args.namespace)
    templates: dict[str, Mapping[str, Any]] = {}
    for source in (one for one in sources if one.is_template):
        pool = _pool_of(source, args.pool)
        template = mapping(source.before.get("base_job_template", source.before))
        kind = for_type(source.before.get("type", KUBERNETES.type))
        if kind is None:
            adoption.notes[f"{source.file}: {unsupported(source.before['type'])}"] = None
        elif not adoption.namespace:
            adoption.namespace = kind.view(template).location or ""
        templates[pool] = template
        left = clean(
            template,
            lambda text, file=source.file: adoption.warnings.update({f"{file}: {text}": None}),
        )  # type: ignore[misc]
        if "base_job_template" in source.before:
            source.after = {**source.before, "base_job_template": left}
        else:
            source.after = left
    defaults = {pool: _pool_set(adoption, pool, template) for pool, template in templates.items()}
    for one in deployed:
        _deployment(adoption, one, templates.get(one.pool, {}), defaults.get(one.pool, ""))
    return adoption


def _pool_set(adoption: Adoption, pool: str, template: Mapping[str, Any]) -> str:
    """Write the set that replaces what all runs of a pool install; return its name, or nothing."""
    draft = Draft(name=pool or "packages")
    installs(template, {}, PipReader(draft, lambda _: None), where=f'work pool "{pool}"')
    adoption.warnings |= draft.warnings
    if draft.is_empty:
        return ""
    name = adoption.add(draft, pool=pool, default=True)
    adoption.notes[
        f"{name} is the default of its pool: workPools[].defaultNamespaces of the operator's"
        " configuration must have its namespace"
    ] = None
    return name


def _deployment(
    adoption: Adoption, one: Deployed, template: Mapping[str, Any], default: str
) -> None:
    """Write the set of a deployment that installs something else than its pool's other runs, and
    change its job variables."""
    draft = Draft(name=one.name)
    reader = PipReader(draft, one.read)
    given = dict(one.job_variables)
    installs(template, given, reader, where=one.where)
    is_ours = find(template) is not None
    if isinstance(given.get(JOB_VARIABLE), str) and not is_ours:
        read_words(split(given[JOB_VARIABLE]), {}, reader, f"{one.where}: {JOB_VARIABLE}")
    for step in one.pull:
        _step(step, reader, one.where)
    adoption.warnings |= draft.warnings
    image = given.get("image") if isinstance(given.get("image"), str) else ""
    gone = properties(template).keys() - properties(clean(template, lambda _: None)).keys()
    if isinstance(given.get("env"), dict):
        given["env"] = clean_environment(given["env"], directories_of(template))
        if not given["env"]:
            del given["env"]
    for name in gone if is_ours else {*gone, JOB_VARIABLE}:
        given.pop(name, None)
    key = NONE if default else ""
    if not draft.is_empty:
        key = adoption.add(draft, pool=one.pool, image=image or "")
    if key != default:
        given["dependency_set"] = key
    one.write(given)
    if key and not one.pool:
        adoption.notes[f"{one.where}: no work pool is named; add workPools to {key}"] = None


def _step(step: Any, reader: PipReader, where: str) -> None:
    for name, given in mapping(step).items():
        kind = str(name).rpartition(".")[2]
        if kind == _REQUIREMENTS:
            directory = str(mapping(given).get("directory") or "")
            file = str(mapping(given).get("requirements_file") or "requirements.txt")
            base = "" if "{{" in directory or directory.startswith("/") else directory
            reader.file(str(PurePosixPath(base) / file), f"{where}: {kind}")
        elif kind == _SHELL:
            env = {str(k): str(v) for k, v in mapping(mapping(given).get("env")).items()}
            for words in read_script(str(mapping(given).get("script") or "")).installs:
                read_words(words, env, reader, f"{where}: {kind}")


def _without_steps(steps: Any) -> Any:
    """Return pull steps without those that install; what another step does stays."""
    if not isinstance(steps, list):
        return steps
    kept = []
    for step in steps:
        left = {}
        for name, given in mapping(step).items():
            kind = str(name).rpartition(".")[2]
            if kind == _SHELL and isinstance(mapping(given).get("script"), str):
                script = read_script(given["script"])
                if script.installs and script.harmless:
                    continue
                given = {**given, "script": script.rest} if script.installs else given
            if kind != _REQUIREMENTS:
                left[name] = given
        if left or not isinstance(step, dict):
            kept.append(left if isinstance(step, dict) else step)
    return kept


def _read(files: Sequence[str], pool: str) -> tuple[list[Source], list[Deployed]]:
    sources, deployed = list[Source](), list[Deployed]()
    for file in files:
        found = read_document(file)
        if isinstance(found, dict) and isinstance(found.get("deployments"), list):
            after = copy.deepcopy(found)
            sources.append(Source(file, found, after, is_template=False))
            deployed += _deployments(file, found, after, pool)
        elif isinstance(found, dict) and found.keys() & {"job_configuration", "base_job_template"}:
            sources.append(Source(file, found, found, is_template=True))
        else:
            raise CommandError(
                f"{file}: neither a base job template (job_configuration) nor a prefect.yaml"
                " (deployments); give one of them"
            )
    return sources, deployed


def _deployments(
    file: str, found: Mapping[str, Any], after: dict[str, Any], pool: str
) -> Iterator[Deployed]:
    """Yield the deployments of a prefect.yaml, and take their steps out of `after`."""
    for before, one in zip(found["deployments"], after["deployments"], strict=True):
        if not isinstance(one, dict):
            continue
        work_pool = mapping(one.get("work_pool"))
        name = str(one.get("name") or "deployment")
        steps = before.get("pull", found.get("pull"))
        if "pull" in one:
            one["pull"] = _without_steps(one["pull"])
        yield Deployed(
            name,
            f"{file}: deployment {printable(name)}",
            str(work_pool.get("name") or pool),
            mapping(work_pool.get("job_variables")),
            partial(_write, one),
            steps if isinstance(steps, list) else [],
            _reader(Path(file).parent),
        )
    if "pull" in after:
        after["pull"] = _without_steps(after["pull"])


def _write(deployment: dict[str, Any], given: dict[str, Any]) -> None:
    work_pool = {**mapping(deployment.get("work_pool")), "job_variables": given}
    if not given:
        del work_pool["job_variables"]
    if work_pool or "work_pool" in deployment:
        deployment["work_pool"] = work_pool


def _reader(directory: Path) -> Callable[[str], str | None]:
    """Return what reads files below a directory."""

    def read(path: str) -> str | None:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            return None
        try:
            return read_text(str(directory / path))
        except CommandError:
            return None

    return read


async def _fetch(config: Config, name: str) -> tuple[list[Source], list[Deployed]]:
    from flowdeps.clients.prefect.client import Pools
    from flowdeps.clients.prefect.errors import PoolsError

    try:
        async with Pools.connect(config.prefect.api_url) as pools:
            pool = await pools.read(name)
            found = await pools.deployments(name) if pool else []
    except PoolsError as error:
        raise CommandError(str(error)) from None
    if pool is None:
        raise CommandError(f'there is no work pool "{name}"')
    whole = {"name": pool.name, "type": pool.type, "base_job_template": dict(pool.template)}
    sources = [Source(f'work pool "{name}"', whole, whole, is_template=True)]
    deployed = []
    for one in sorted(found, key=lambda one: one.name):
        before = {"job_variables": dict(one.job_variables), "pull": list(one.pull_steps)}
        after = {**copy.deepcopy(before), "pull": _without_steps(before["pull"])}
        where = f"deployment {printable(one.name)}"
        sources.append(Source(where, before, after, is_template=False))
        # A file that a deployment names is in its code, which is not here.
        deployed.append(
            Deployed(
                one.name,
                where,
                name,
                one.job_variables,
                partial(after.__setitem__, "job_variables"),
                one.pull_steps,
                lambda _: None,
            )
        )
    return sources, deployed


def _pool_of(source: Source, name: str) -> str:
    named = source.before.get("name")
    return named if "base_job_template" in source.before and isinstance(named, str) else name


def _diff(source: Source) -> Iterator[str]:
    """Yield the difference between what there is and what is left, both written alike."""
    texts = []
    for one in (source.before, source.after):
        shown = mapping(one).get("base_job_template", one) if source.is_template else one
        as_json = source.is_template
        text = json.dumps(shown, indent=2, ensure_ascii=False) if as_json else yaml_of([shown])
        texts.append(text.splitlines())
    yield from difflib.unified_diff(
        *texts, fromfile=source.file, tofile=f"{source.file} without the recipe", lineterm=""
    )
