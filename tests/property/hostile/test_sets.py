"""Specs, sources, locks and files with them."""

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings

from flowdeps.api.config import parse_config
from flowdeps.api.outcome import Outcome
from flowdeps.api.problems import InvalidError
from flowdeps.api.reasons import Reason
from flowdeps.api.resource import parse_spec
from flowdeps.cli.manifests import read_manifests
from flowdeps.gather.external_lock import external_lock
from flowdeps.gather.sources import ConfigMapKey, Present, key_content, variable_content
from flowdeps.locks.image import ImageFacts
from flowdeps.locks.requirements import RequirementLine, normal_lines
from flowdeps.locks.requirements_file import RequirementsFile
from flowdeps.state.config_maps import config_maps
from flowdeps.state.locations import Location
from flowdeps.state.records import lock_in_service
from flowdeps.state.store import SetKey, Store, view_config_map
from flowdeps.trials.image import Image, ImageRef
from tests.property.hostile.strategies import json_values, mutated, spoilt, texts, written
from tests.unit.locks.builders import lock, pin
from tests.unit.state.bodies import set_body
from tests.unit.state.builders import NOW, applied, entry, record

_GOOD: dict[str, Any] = {
    "requirements": ["pandas>=2.2,<3", "pyarrow; python_version > '3.10'"],
    "requirementsFrom": [{"configMapKeyRef": {"name": "files", "key": "in", "optional": True}}],
    "constraintsFrom": [{"prefectVariable": {"name": "extra"}}],
    "includes": [{"name": "base"}],
    "python": {"image": "registry.example.com/flows:1", "platforms": ["linux/amd64"]},
    "shadow": ["six"],
    "index": {
        "url": "https://example.com/simple",
        "extraUrls": ["https://example.com/extra"],
        "credentialsSecretRef": {"name": "index"},
        "cooldown": "1d",
        "cooldownExempt": ["a"],
    },
    "interval": "1h",
    "revisionHistoryLimit": 3,
    "verify": {"mode": "Enabled", "imports": ["a.b"], "timeout": "1m"},
    "workPools": [{"name": "kubernetes", "key": "ml", "default": True}],
}
_CONFIG: dict[str, Any] = {
    "watchNamespaces": ["flows"],
    "index": {"url": "https://example.com/simple", "allowed": ["https://example.com/"]},
    "images": {"allowed": ["registry.example.com/"], "recheck": "1h"},
    "workPools": [{"name": "k*", "namespaces": ["flows"], "jobNamespaces": ["jobs"]}],
    "prefect": {"apiUrl": "https://example.com/api", "pollInterval": "30s"},
    "resolver": {"timeout": "5m", "memory": "2Gi", "concurrency": 2},
    "pods": {"resources": {"limits": {"cpu": 1}}, "tolerations": [{"key": "a"}]},
}


def _names(value: Any) -> set[str]:
    """The names of all fields in it."""
    if isinstance(value, dict):
        return {*value}.union(*map(_names, value.values()))
    return set[str]().union(*map(_names, value)) if isinstance(value, list) else set()


_FIELDS = _names(_GOOD) | {"lockFrom", "constraints", "version", "suspend", "revision", "updates"}


def _shown(problems: object) -> None:
    """What is shown is one line each that can be written."""
    for text in map(str, problems if isinstance(problems, list | tuple) else [problems]):
        assert text.isprintable()
        text.encode()


@given(json_values(_FIELDS) | mutated(_GOOD, json_values(_FIELDS)))
@example({"requirements": ["a; " + "(" * 120 + "os_name == 'b'" + ")" * 120]})
def test_any_spec_is_read_or_refused(spec: Any) -> None:
    """As the operator keeps it, too; each problem names a field."""
    body = {**set_body(), "spec": spec}
    with suppress(InvalidError):
        found = parse_spec(body)
        assert all(isinstance(one, RequirementLine) for lines in found.own_lines for one in lines)
    store = Store()
    key = store.put_set(body)
    assert key is not None
    kept = store.sets[key]
    assert kept.problems or kept.spec
    assert isinstance(kept.pool_refs, tuple)
    _shown(kept.problems)
    assert store.includers(SetKey("flows", "base")) <= {key}


@given(mutated(_CONFIG, json_values(_CONFIG)))
def test_any_configuration_is_read_or_refused(config: Any) -> None:
    """With the fields that are wrong."""
    try:
        parse_config(config if isinstance(config, dict) else {"index": config})
    except InvalidError as error:
        _shown(error.problems)


@given(texts | spoilt("alpha>=1 # why\nbeta[c]<2 \\\n ; os_name == 'posix'\n") | json_values())
@example("a " * 3000)
def test_any_source_is_read_or_refused(value: Any) -> None:
    """As a key of a ConfigMap, in base64, and as a variable: what passes is in normal form."""
    ref = ConfigMapKey("flows", "files", "in")
    encoded = base64.b64encode(str(value).encode(errors="surrogatepass")).decode()
    found = [
        variable_content(value),
        variable_content([value]),
        key_content(ref, {"data": {"in": value}}),
        key_content(ref, {"binaryData": {"in": encoded}}),
        key_content(ref, {"data": value, "binaryData": {"in": value}}),
    ]
    for one in found:
        if not isinstance(one, Present):
            _shown(Outcome.failed(Reason.SOURCE_INVALID, one.message).message)
            continue
        file: RequirementsFile = one.content
        _shown(file.problems)
        assert set(normal_lines(map(str, file.lines))) == set(file.lines)


_LOCK = lock(pin("alpha", "1.0"), pin("beta-x", "2.0"))


@given(texts | spoilt(_LOCK.render(["a note"])))
@example("# python: 3.11\n# platforms: linux/amd64\na==" + "9" * 5000)
def test_any_lock_is_read_or_refused(text: str) -> None:
    """What is wrong is one message."""
    found = key_content(ConfigMapKey("flows", "files", "in", lock=True), {"data": {"in": text}})
    assert isinstance(found, Present)
    if isinstance(found.content, str):
        outcome = external_lock(found.content, None, shadow=())
        _shown(outcome.message)  # type: ignore[union-attr]
        assert len(found.content) < 500
    else:
        assert found.content.digest


_PYLOCK = f"""\
# python: 3.11
lock-version = "1.0"
requires-python = ">=3.10"
environments = ["sys_platform == 'linux'"]
created-by = "some-tool"
[[packages]]
name = "alpha"
version = "1.0"
marker = "python_version < '3.13' and 'dev' not in dependency_groups"
[[packages.wheels]]
url = "https://example.com/alpha-1.0-py3-none-any.whl"
hashes = {{ sha256 = "{"0" * 64}" }}
"""


@given(texts.map('lock-version = "1.0"\n'.__add__) | spoilt(_PYLOCK))
@example(_PYLOCK.replace("1.0-py3", "1" * 5000 + "-py3"))
@example(_PYLOCK.replace("3.13", "9" * 5000))
@example(_PYLOCK.replace("https://", "https://["))
def test_any_pylock_is_read_or_refused(text: str) -> None:
    """What is wrong is one message, also where only an image shows it."""
    found = key_content(ConfigMapKey("flows", "files", "in", lock=True), {"data": {"in": text}})
    assert isinstance(found, Present)
    facts = ImageFacts(python="3.11", platform="linux/amd64")
    image = Image(ImageRef("flows", "registry.example.com/flows:1"), "", facts)
    outcome = external_lock(found.content, image, shadow=())
    if isinstance(outcome, Outcome):
        _shown(outcome.message)
        assert len(outcome.message) < 600
    else:
        assert outcome.digest


_MANIFEST = {
    "set": "flows/ml",
    "key": "ml",
    "digest": "sha256:" + "0" * 64,
    "python": "3.12",
    "platforms": ["linux/amd64"],
    "packages": 3,
    "index": {"url": "https://example.com", "extraUrls": []},
    "image": "a",
    "shadow": ["a"],
    "credentials": True,
}


@given(mutated(_MANIFEST, json_values(_MANIFEST)), texts)
def test_any_config_map_with_our_labels_is_looked_at(manifest: Any, text: str) -> None:
    """Whoever has edited it: it is in service, or damaged."""
    location = Location("flows", "ml")
    _, live = config_maps(entry(), location, record())
    body = applied(live)
    for data in (written(manifest), text):
        forged = {**body, "data": {**body["data"], "lock.json": data}}
        views = [view_config_map(forged)]
        lock_in_service(entry(), views, now=NOW)
        for annotation in body["metadata"]["annotations"]:
            meta = body["metadata"]
            odd = {**meta, "annotations": {**meta["annotations"], annotation: text}}
            lock_in_service(entry(), [view_config_map({**body, "metadata": odd})], now=NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=texts | spoilt("kind: FlowDependencySet\nspec: {a: [b, &c d], e: *c}\n---\n- f\n"))
@example(text="[" * 5000)
@example(text="a: 1\n" * 3000)
@example(text="? " * 5000)
def test_any_file_is_read_or_refused(text: str, tmp_path: Path) -> None:
    """YAML or not."""
    file = tmp_path / "sets.yaml"
    file.write_bytes(text.encode(errors="surrogatepass"))
    found = read_manifests([str(file)])
    assert isinstance(found.problems, list)
