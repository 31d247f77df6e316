"""The operator and `flowdeps lock` answer alike: the same request and lock, or the same refusal."""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

from flowdeps.api.config import parse_config
from flowdeps.cli.failure import CommandError
from flowdeps.cli.lock import make_lock
from flowdeps.cli.lock_inputs import Given, read_inputs
from flowdeps.locks.access import Access
from flowdeps.locks.lock import Lock, Pin
from flowdeps.locks.request import LockRequest
from flowdeps.locks.requirements import requirement_name
from flowdeps.locks.target import Target
from flowdeps.resolver.resolve import Resolution
from flowdeps.vulnerabilities.load import Advisories
from tests.unit.locks.builders import digest, pylock_text
from tests.unit.reconcile.simulation import MemoryImage, MemoryIndex, Simulation
from tests.unit.scheduling import virtual
from tests.unit.state.bodies import set_body

IMAGE = "registry.example.com/flows:1"
OF_IMAGE = {"image": IMAGE}
OF_LINES = {"configMapKeyRef": {"name": "lines", "key": "in"}}
OPTIONAL = {"configMapKeyRef": {"name": "lines", "key": "in", "optional": True}}
OF_VARIABLE = {"prefectVariable": {"name": "extra"}}
OF_LOCK = {"configMapKeyRef": {"name": "locks", "key": "lock"}}
HELPER = {
    "url": "https://packages.example.com/a",
    "namespaces": ["flows"],
    "command": ["/helper"],
}
ALLOWED = {"index": {"allowed": ["https://packages.example.com"]}}


def lock_text(*pins: str, python: str = "3.11", base: Sequence[tuple[str, str]] = ()) -> str:
    """A lock as `flowdeps lock` prints it."""
    platforms = ("linux/amd64",)
    made = [(requirement_name(pin), pin.partition("==")[2]) for pin in pins]
    return Lock(
        Target(python, platforms),
        tuple(Pin(name, version, (digest(name),), platforms) for name, version in made),
        tuple((canonicalize_name(name), version) for name, version in base),
    ).render()


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A set, and what is around it; `says` is part of the refusal or of the lock."""

    says: str
    spec: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    image: Mapping[str, str] | None = None
    netrc: str = ""
    flaw: Mapping[str, str] | None = None
    """The events of a flaw of the package alpha, which has a release 2.0."""
    hint: bool = False
    """Only what to do about it differs: create something, or give a file."""


@dataclass(frozen=True)
class Answer:
    """A lock or a refusal as text, and what a resolver was asked for it."""

    text: str
    requests: tuple[LockRequest, ...]
    images: tuple[Mapping[str, str], ...]
    access: Access | None


def answer(text: str, asked: Sequence[tuple[LockRequest, Access | None]]) -> Answer:
    """The answer; of images only what is installed, since pip says less than a probe."""
    return Answer(
        text,
        tuple(replace(request, image=None, shadow=()) for request, _ in asked),
        tuple(
            {**request.image.versions, "shadow": ",".join(request.shadow)}
            for request, _ in asked
            if request.image
        ),
        asked[0][1] if asked else None,
    )


def database(situation: Situation, directory: Path) -> Path:
    """A database with the situation's flaw."""
    package = {"ecosystem": "PyPI", "name": "alpha"}
    events = [{key: version} for key, version in (situation.flaw or {}).items()]
    affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    directory.mkdir()
    (directory / "GHSA-1.json").write_text(json.dumps({"id": "GHSA-1", "affected": [affected]}))
    return directory


def by_operator(situation: Situation, directory: Path) -> Answer:
    """What the operator, with a cluster, a Prefect and an index in memory, makes of a set."""
    advisories = None
    if situation.flaw:
        advisories = Advisories(str(database(situation, directory / "operator")))
        asyncio.run(advisories.load())

    async def main() -> Answer:
        sim = Simulation(**situation.config)
        sim.index.release = 2
        if situation.image is not None:
            sim.cluster.pods.images[IMAGE] = MemoryImage(packages=dict(situation.image))
        for name, data in situation.config_maps.items():
            sim.cluster.put_foreign_map("flows", name, data)
        if situation.netrc:
            netrc = base64.b64encode(situation.netrc.encode()).decode()
            sim.cluster.put_foreign_secret("flows", "index", {"netrc": netrc})
        sim.prefect.variable_values |= situation.variables
        async with sim.operator() as service:
            for name, spec in situation.sets.items():
                sim.cluster.apply(name, **{"suspend": True, **spec})
            await asyncio.sleep(60)
            service.context.advisories = advisories  # it was read before: no thread, no real time
            sim.cluster.apply("ml", **situation.spec)
            await asyncio.sleep(120)
        conditions = sim.cluster.sets["flows", "ml"]["status"]["conditions"]
        resolved = next(one for one in conditions if one["type"] == "Resolved")
        if resolved["status"] == "False":
            return answer(f"{resolved['reason']}: {resolved['message']}", sim.index.asked)
        published = sim.cluster.maps["flows", "flowdeps-ml"]["data"]["requirements.txt"]
        return answer(published, sim.index.asked)

    return virtual.run(main())


def by_command(situation: Situation, directory: Path) -> Answer:
    """What `flowdeps lock` makes of the set in a file, with what it refers to in others."""
    index = MemoryIndex()
    index.release, index.seconds = 2, 0.0
    config = parse_config(
        situation.config
        if situation.flaw is None
        else {
            **situation.config,
            "vulnerabilities": {"database": str(database(situation, directory / "command"))},
        }
    )
    try:
        inputs, spec, _ = read_inputs(files(situation, directory), config)

        async def ask(request: LockRequest) -> Resolution:
            return await index.resolve(request, previous=None, keep=True, access=inputs.access)

        made = asyncio.run(make_lock(inputs, spec, config, ask=ask))
    except CommandError as error:
        return answer(str(error), index.asked)
    return answer(made.lock.render(), index.asked)


def files(situation: Situation, directory: Path) -> Given:
    """The situation as files."""

    def write(name: str, text: str) -> str:
        (directory / name).write_text(text)
        return str(directory / name)

    def variable(value: object) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    beside = [set_body(name, **spec) for name, spec in situation.sets.items()]
    beside += [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "flows"},
            "data": dict(data),
        }
        for name, data in situation.config_maps.items()
    ]
    inspected = {
        "environment": {
            "python_full_version": "3.11.9",
            "sys_platform": "linux",
            "platform_machine": "x86_64",
        },
        "installed": [
            {"metadata": {"name": name, "version": version}}
            for name, version in (situation.image or {}).items()
        ],
    }
    of_image = situation.image is not None
    return Given(
        file=write("set.yaml", yaml.safe_dump(set_body("ml", **situation.spec))),
        beside=[write("beside.yaml", yaml.safe_dump_all(beside))],
        image_packages=write("image.json", json.dumps(inspected)) if of_image else None,
        variables={
            name: write(name, variable(value)) for name, value in situation.variables.items()
        },
        netrc=write("netrc", situation.netrc) if situation.netrc else None,
    )


SITUATIONS = {
    "an index that is not allowed": Situation(
        spec={"index": {"url": "https://example.org/simple"}},
        config=ALLOWED,
        says="IndexNotAllowed: spec.index.url: https://example.org/simple is not among",
    ),
    "a further index that is not allowed": Situation(
        spec={
            "index": {
                "url": "https://packages.example.com/simple",
                "extraUrls": ["https://packages.example.com/x", "https://example.org/simple"],
            }
        },
        config=ALLOWED,
        says="IndexNotAllowed: spec.index.extraUrls[1]: https://example.org/simple",
    ),
    "the index of the configuration": Situation(
        spec={},
        config={"index": {"url": "https://example.com/simple", "allowed": ["https://e.com"]}},
        says="pandas==2.0",
    ),
    "an index of packages that is not allowed": Situation(
        spec={"index": {"packages": [{"names": ["alpha"], "url": "https://example.org/simple"}]}},
        config=ALLOWED,
        says="IndexNotAllowed: spec.index.packages[0].url: https://example.org/simple",
    ),
    "an index of packages beside that of the configuration": Situation(
        spec={"index": {"packages": [{"names": ["Al_Pha"], "url": "https://example.org/simple"}]}},
        config={
            "index": {
                "url": "https://example.com/simple",
                "packages": [{"names": ["beta"], "url": "https://example.org/beta"}],
                "allowed": ["*"],
            }
        },
        says="pandas==2.0",
    ),
    "an index on the host of a token, for which it is not": Situation(
        spec={"index": {"url": HELPER["url"], "extraUrls": ["https://packages.example.com/b"]}},
        config={"index": {"credentialHelpers": [HELPER]}},
        says="IndexNotAllowed: spec.index: https://packages.example.com/b is on the host of",
    ),
    "an image that is not allowed": Situation(
        spec={"python": {"image": "elsewhere.example.com/flows:1"}},
        config={"images": {"allowed": ["registry.example.com"]}},
        image={"prefect": "3.0"},
        says="ImageNotAllowed: spec.python.image: elsewhere.example.com/flows:1 is not among",
    ),
    "an included set": Situation(
        spec={"includes": [{"name": "base"}, {"name": "more"}]},
        sets={
            "base": {"requirements": ["alpha"], "constraints": ["beta<3"]},
            "more": {"requirements": ["beta"], "includes": [{"name": "base"}]},
        },
        says="beta==2.0",
    ),
    "an included set that is missing": Situation(
        spec={"includes": [{"name": "base"}]},
        says="IncludeNotFound: spec.includes: ml → base: ",
        hint=True,
    ),
    "sets that include each other": Situation(
        spec={"includes": [{"name": "base"}]},
        sets={"base": {"includes": [{"name": "ml"}]}},
        says="IncludeCycle: spec.includes: ml → base → ml: a cycle; remove one of them",
    ),
    "an included set that is not valid": Situation(
        spec={"includes": [{"name": "base"}]},
        sets={"base": {"requirements": ["-r other.txt"]}},
        says='IncludeInvalid: spec.includes: ml → base: spec.requirements[0]: "-r other.txt": ',
    ),
    "an included set with a lock from elsewhere": Situation(
        spec={"includes": [{"name": "base"}]},
        sets={"base": {"requirements": None, "python": {}, "lockFrom": OF_LOCK}},
        says="IncludeInvalid: spec.includes: ml → base: it has a finished lock (lockFrom)",
    ),
    "a source": Situation(
        spec={"requirementsFrom": [OF_LINES], "constraintsFrom": [OF_LINES]},
        config_maps={"lines": {"in": "alpha>=1\nbeta\n"}},
        says="alpha==2.0",
    ),
    "a source that is missing": Situation(
        spec={"requirementsFrom": [OF_LINES]},
        says="SourceNotFound: spec.requirementsFrom[0]: there is no ",
        hint=True,
    ),
    "an optional source that is missing": Situation(
        spec={"requirementsFrom": [OPTIONAL]}, says="pandas==2.0"
    ),
    "a source with a line that is refused": Situation(
        spec={"constraintsFrom": [OF_LINES]},
        config_maps={"lines": {"in": "alpha\n-e .\n"}},
        says='SourceInvalid: spec.constraintsFrom[0]: key "in" of ConfigMap flows/lines: line 2: ',
    ),
    "a source of an included set that is refused": Situation(
        spec={"includes": [{"name": "base"}]},
        sets={"base": {"requirementsFrom": [OF_LINES]}},
        config_maps={"lines": {"in": "alpha @ https://example.org/alpha.whl\n"}},
        says="SourceInvalid: included set base: spec.requirementsFrom[0]: key",
    ),
    "a variable with a list": Situation(
        spec={"requirementsFrom": [OF_VARIABLE]},
        variables={"extra": ["alpha>=1", "beta"]},
        says="beta==2.0",
    ),
    "a variable that is missing": Situation(
        spec={"requirementsFrom": [OF_VARIABLE]},
        says="SourceNotFound: spec.requirementsFrom[0]: ",
        hint=True,
    ),
    "a variable that is refused": Situation(
        spec={"requirementsFrom": [OF_VARIABLE]},
        variables={"extra": ["alpha", "-r x"]},
        says='SourceInvalid: spec.requirementsFrom[0]: Prefect variable "extra": item 2: ',
    ),
    "requirements that do not fit together": Situation(
        spec={"requirements": ["impossible"], "constraints": ["alpha<1"]},
        says="Unsatisfiable: spec.requirements, spec.constraints: impossible does not fit"
        " together. Widen one side, or correct a name",
    ),
    "a cooldown of the configuration": Situation(
        spec={}, config={"index": {"cooldown": "7d"}}, says="pandas==2.0"
    ),
    "a cooldown of the set": Situation(
        spec={"index": {"cooldown": "0s", "cooldownExempt": ["alpha"]}},
        config={"index": {"cooldown": "7d"}},
        says="pandas==2.0",
    ),
    "pre-releases": Situation(spec={"index": {"prereleases": "Allow"}}, says="pandas==2.0"),
    "shadow": Situation(
        spec={"requirements": ["alpha", "beta"], "shadow": ["alpha"], "python": OF_IMAGE},
        image={"prefect": "3.0", "alpha": "1.0"},
        says="beta==2.0",
    ),
    "a Python with platforms": Situation(
        spec={"python": {"version": "3.13", "platforms": ["linux/arm64", "linux/amd64"]}},
        says="# platforms: linux/amd64",
    ),
    "platforms of an image": Situation(
        spec={"python": {**OF_IMAGE, "platforms": ["linux/arm64"]}},
        image={"prefect": "3.0"},
        says="# platforms: linux/arm64",
    ),
    "a lock from elsewhere": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": lock_text("beta==1.0", base=[("alpha", "1.0")])}},
        image={"prefect": "3.0", "alpha": "1.0"},
        says="beta==1.0",
    ),
    "a lock from elsewhere for no image": Situation(
        spec={"requirements": None, "python": {}, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": lock_text("beta==1.0")}},
        says="beta==1.0",
    ),
    "a pylock.toml for the image": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": pylock_text("alpha==1.0", "beta==1.0")}},
        image={"prefect": "3.0", "alpha": "1.0"},
        says="# image: alpha==1.0",
    ),
    "a pylock.toml that moves a package of the image": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": pylock_text("alpha==2.0")}},
        image={"prefect": "3.0", "alpha": "1.0"},
        says="LockInvalid: spec.lockFrom: the lock puts other versions before those of " + IMAGE,
    ),
    "a pylock.toml for no image": Situation(
        spec={"requirements": None, "python": {}, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": pylock_text("alpha==2.0")}},
        says="LockInvalid: spec.lockFrom: no image says which Python it is for",
    ),
    "a pylock.toml that is none": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": 'lock-version = "1.0"\n[['}},
        image={"prefect": "3.0"},
        says="LockInvalid: spec.lockFrom: not a pylock.toml: ",
    ),
    "a lock from elsewhere that is none": Situation(
        spec={"requirements": None, "python": {}, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": "beta==1.0\n"}},
        says="LockInvalid: spec.lockFrom: ",
    ),
    "a lock from elsewhere that names an extra": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": lock_text("alpha==1.0").replace("alpha=", "alpha[x]=")}},
        image={"prefect": "3.0", "alpha": "2.0"},
        says="LockInvalid: spec.lockFrom: line 4: 'alpha[x]': a pin has no extras; name alpha",
    ),
    "a lock from elsewhere for another Python": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": lock_text("beta==1.0", python="3.12")}},
        image={"prefect": "3.0"},
        says="LockInvalid: spec.lockFrom: the lock is for Python 3.12, " + IMAGE,
    ),
    "a lock from elsewhere that moves a package of the image": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": lock_text("alpha==2.0")}},
        image={"prefect": "3.0", "alpha": "1.0"},
        says="LockInvalid: spec.lockFrom: the lock puts other versions before those of " + IMAGE,
    ),
    "a lock from elsewhere that builds on what the image lacks": Situation(
        spec={"requirements": None, "python": OF_IMAGE, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": lock_text("beta==1.0", base=[("alpha", "1.0")])}},
        image={"prefect": "3.0"},
        says="LockInvalid: spec.lockFrom: the lock builds on alpha 1.0, which " + IMAGE,
    ),
    "a lock from elsewhere that fits no ConfigMap": Situation(
        spec={"requirements": None, "python": {}, "lockFrom": OF_LOCK},
        config_maps={"locks": {"lock": lock_text(*(f"{'a' * 400}{n}==1.0" for n in range(2_200)))}},
        says="LockTooLarge: the lock of 2200 packages has ",
    ),
    "a package of which every version is vulnerable": Situation(
        spec={"requirements": ["alpha"], "vulnerabilities": "Block"},
        flaw={"introduced": "0"},
        says="Vulnerable: the lock is not published, as spec.vulnerabilities is Block: alpha 2.0",
    ),
    "a vulnerable version that is only reported": Situation(
        spec={"requirements": ["alpha"]}, flaw={"introduced": "0"}, says="alpha==2.0"
    ),
    "a vulnerable version that the search avoids": Situation(
        spec={"requirements": ["alpha"], "vulnerabilities": "Block"},
        flaw={"introduced": "2.0"},
        says="alpha==1.0",
    ),
    "a vulnerable lock from elsewhere": Situation(
        spec={
            "requirements": None,
            "python": {},
            "lockFrom": OF_LOCK,
            "vulnerabilities": "Block",
        },
        config_maps={"locks": {"lock": lock_text("alpha==1.0")}},
        flaw={"introduced": "0", "fixed": "1.5"},
        says="Vulnerable: the lock is not published, as spec.vulnerabilities is Block: alpha 1.0",
    ),
    "credentials": Situation(
        spec={
            "index": {
                "url": "https://packages.example.com/simple",
                "credentialsSecretRef": {"name": "index"},
            }
        },
        netrc="machine packages.example.com login me password secret\n",
        says="pandas==2.0",
    ),
    "credentials that can not be used": Situation(
        spec={
            "index": {
                "url": "https://packages.example.com/simple",
                "credentialsSecretRef": {"name": "index"},
            }
        },
        netrc=" \n",
        says='CredentialsInvalid: spec.index.credentialsSecretRef: Secret index: key "netrc" is',
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_the_operator_and_the_command_answer_alike(situation: Situation, tmp_path: Path) -> None:
    """The same lock after the same questions with the same credentials, or the same refusal."""
    operator = by_operator(situation, tmp_path)
    command = by_command(situation, tmp_path)
    assert situation.says in operator.text
    if situation.hint:
        assert command.text.startswith(situation.says)
        operator = replace(operator, text=command.text)
    assert command == operator
