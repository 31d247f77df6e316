"""`flowdeps adopt`: find packages that runs install at their start, and write sets for them."""

import argparse
import asyncio
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowdeps.cli.deployments import Deployed, Source, read_files, read_live, read_step
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
from flowdeps.cli.settings import add_config, read_config
from flowdeps.cli.shell import split
from flowdeps.cli.terminal import say, say_aside, say_json
from flowdeps.delivery.choice import NONE, find
from flowdeps.delivery.kinds import for_type, unsupported
from flowdeps.delivery.kinds.kubernetes import KUBERNETES
from flowdeps.delivery.placeholders import mapping, properties

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
        sources, deployed = read_files(args.files, args.pool)
    elif args.pool:
        sources, deployed = asyncio.run(read_live(config, args.pool))
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
        kept = list[str]()
        left = clean(template, kept.append)
        adoption.warnings |= {f"{source.file}: {text}": None for text in kept}
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
    draft = Draft(name=pool)
    installs(template, {}, PipReader(draft, lambda _: None), where=f'work pool "{pool}"')
    adoption.warnings |= draft.warnings
    if draft.is_empty:
        return ""
    if not pool:
        raise CommandError("the template does not say whose it is; name its work pool with --pool")
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
        read_step(step, reader, one.where)
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


def _pool_of(source: Source, name: str) -> str:
    named = source.before.get("name")
    return named if "base_job_template" in source.before and isinstance(named, str) else name


def _diff(source: Source) -> Iterator[str]:
    """Yield the difference between what there is and what is left, both written alike."""

    def lines(content: Any) -> list[str]:
        if not source.is_template:
            return yaml_of([content]).splitlines()
        template = content.get("base_job_template", content)
        return json.dumps(template, indent=2, ensure_ascii=False).splitlines()

    yield from difflib.unified_diff(
        lines(source.before),
        lines(source.after),
        fromfile=source.file,
        tofile=f"{source.file} without the recipe",
        lineterm="",
    )
