"""Reads where recipes are: base job templates and deployments, in files or in Prefect."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from flowdeps.api.config import Config
from flowdeps.cli.failure import CommandError
from flowdeps.cli.pip_words import PipReader
from flowdeps.cli.recipe import read_words
from flowdeps.cli.settings import read_document, read_text
from flowdeps.cli.shell import read_script
from flowdeps.delivery.placeholders import mapping
from flowdeps.locks.legible import printable

_REQUIREMENTS = "pip_install_requirements"
_SHELL = "run_shell_script"


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


def read_files(files: Sequence[str], pool: str) -> tuple[list[Source], list[Deployed]]:
    """Return the templates and deployments in files; `pool`: that of those that name none."""
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


async def read_live(config: Config, name: str) -> tuple[list[Source], list[Deployed]]:
    """Return the template and the deployments of a live pool."""
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


def read_step(step: Any, reader: PipReader, where: str) -> None:
    """Read what a pull step installs."""
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
