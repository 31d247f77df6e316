"""What a lock is made from, and what is said where something of it isn't given."""

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from flowdeps.api.config import Config, parse_config
from flowdeps.cli.failure import CommandError
from flowdeps.cli.lock_inputs import Given, read_inputs
from flowdeps.cli.main import main
from flowdeps.locks.request import LockRequest, Prereleases

SET = """\
apiVersion: flowdeps.dev/v1alpha1
kind: FlowDependencySet
metadata: {{name: {name}, namespace: flows}}
spec:
  python: {{{python}}}
  workPools: [{{name: k}}]
  {fields}
"""
CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: lines, namespace: flows}
data: {in: "httpx\\npandas>=2", bad: "-r other.txt"}
"""
OF_CONFIG_MAP = "configMapKeyRef: {name: lines, key: %s}"
INSPECT = """\
{"environment": {"python_full_version": "3.12.1", "sys_platform": "linux",
 "platform_machine": "aarch64"}, "installed": [{"metadata": {"name": "six", "version": "1.0"}}]}
"""

Write = Callable[..., str]


def set_of(fields: str, *, name: str = "ml", python: str = 'version: "3.11"') -> str:
    return SET.format(name=name, fields=fields, python=python)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file in the directory that is the current one; returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, *texts: str) -> str:
        (tmp_path / name).write_text("---\n".join(texts))
        return name

    return write


def request(
    *beside: str,
    config: Config | None = None,
    variables: dict[str, str] | None = None,
    image_packages: str | None = None,
    python: str | None = None,
) -> LockRequest:
    given = Given(
        file="set.yaml",
        beside=beside,
        variables=variables or {},
        image_packages=image_packages,
        python=python,
    )
    wanted = read_inputs(given, config or Config())[0].wanted
    assert isinstance(wanted, LockRequest)
    return wanted


def refused(*beside: str, image_packages: str | None = None, python: str | None = None) -> str:
    with pytest.raises(CommandError) as caught:
        request(*beside, image_packages=image_packages, python=python)
    return str(caught.value)


def test_config_maps_stand_in_the_sets_file_or_beside_it(write: Write) -> None:
    """Requirements and constraints are those of the set and of its sources together."""
    text = set_of(
        f"requirements: [numpy]\n  requirementsFrom: [{{{OF_CONFIG_MAP % 'in'}}}]\n"
        f"  constraintsFrom: [{{{OF_CONFIG_MAP % 'in'}}}]"
    )
    write("set.yaml", text)
    write("sources.yaml", CONFIG_MAP)
    beside = request("sources.yaml")
    assert beside.requirements == ("httpx", "numpy", "pandas>=2")
    assert beside.constraints == ("httpx", "pandas>=2")
    write("set.yaml", text, CONFIG_MAP)
    assert request() == beside


def test_included_sets_are_locked_together(write: Write) -> None:
    """Also what they include; each once."""
    write("set.yaml", set_of("includes: [{name: a}, {name: b}]"))
    a = set_of("includes: [{name: b}]\n  requirements: [numpy]", name="a")
    b = set_of("requirements: [pandas]\n  constraints: [six<2]", name="b")
    write("others.yaml", a, b)
    found = request("others.yaml")
    assert (found.requirements, found.constraints) == (("numpy", "pandas"), ("six<2",))


def test_prefect_variables_are_given_as_files(write: Write) -> None:
    """A text as in EXTRA_PY_DEPS, or a JSON list."""
    write("set.yaml", set_of("requirementsFrom: [{prefectVariable: {name: extra}}]"))
    write("list.json", '["pandas>=2", "httpx"]')
    write("words", "httpx pandas>=2")
    for file in ("list.json", "words"):
        assert request(variables={"extra": file}).requirements == ("httpx", "pandas>=2")


def test_all_that_decides_about_a_lock_reaches_the_resolver(write: Write) -> None:
    """The set's fields, and the configuration's where the set is silent."""
    write(
        "set.yaml",
        set_of(
            "requirements: [six]\n  shadow: [six]\n"
            "  index: {cooldown: 2d, cooldownExempt: [Six], prereleases: Allow}",
            python="image: flows",
        ),
    )
    write("image", "six==1.0\n")
    found = request(image_packages="image", python="3.11")
    assert found.image
    assert found.image.versions == {"six": "1.0"}
    assert (found.shadow, found.cooldown, found.cooldown_exempt, found.prereleases) == (
        ("six",),
        timedelta(days=2),
        ("six",),
        Prereleases.ALLOW,
    )
    write("set.yaml", set_of("requirements: [six]"))
    config = parse_config({"index": {"url": "https://example.com/simple", "cooldown": "7d"}})
    found = request(config=config)
    assert (found.cooldown, found.index) == (timedelta(days=7), config.index)
    write("set.yaml", set_of("requirements: [six]\n  index: {cooldown: 0s}"))
    assert request(config=config).cooldown is None


def test_the_image_is_the_target_where_the_set_names_none(write: Write) -> None:
    """Interpreter and platform of `pip inspect`; platforms that the set names go before."""
    write("image", INSPECT)
    write("set.yaml", set_of("requirements: [six]", python="image: flows"))
    found = request(image_packages="image")
    assert (found.target.python, found.target.platforms) == ("3.12", ("linux/arm64",))
    write("image", "six==1.0\n")
    found = request(image_packages="image", python="3.13")
    assert (found.target.python, found.target.platforms) == ("3.13", ("linux/amd64",))


@pytest.mark.parametrize(
    ("fields", "python", "says"),
    [
        (
            f"requirementsFrom: [{{{OF_CONFIG_MAP % 'in'}}}]",
            'version: "3.11"',
            'SourceNotFound: spec.requirementsFrom[0]: there is no key "in" of ConfigMap'
            " flows/lines in the files; give its file after the set's",
        ),
        (
            "constraintsFrom: [{prefectVariable: {name: extra}}]\n  requirements: [six]",
            'version: "3.11"',
            'SourceNotFound: spec.constraintsFrom[0]: the value of Prefect variable "extra" is not'
            " known here; give a file with it: --variable extra=FILE",
        ),
        (
            "includes: [{name: a}]",
            'version: "3.11"',
            "IncludeNotFound: spec.includes: ml → a: there is no set of that name in the files",
        ),
        (
            f"lockFrom: {{{OF_CONFIG_MAP % 'in'}}}",
            "",
            'SourceNotFound: spec.lockFrom: there is no key "in" of ConfigMap flows/lines in the',
        ),
        ("requirements: [six]", "image: flows", "give it with --image-packages FILE"),
        ("requirements: [six]", "", "give it with --image-packages FILE"),
    ],
)
def test_what_is_not_given_is_asked_for_by_its_field(
    write: Write, fields: str, python: str, says: str
) -> None:
    """The operator would look into a cluster, at Prefect or into an image; here are only files."""
    write("set.yaml", set_of(fields, python=python))
    assert says in refused()


def test_what_is_optional_may_be_left_out(write: Write) -> None:
    """As in the operator, it asks for nothing."""
    sources = [
        "{configMapKeyRef: {name: lines, key: in, optional: true}}",
        "{prefectVariable: {name: extra, optional: true}}",
    ]
    write("set.yaml", set_of(f"requirements: [six]\n  requirementsFrom: [{', '.join(sources)}]"))
    assert request().requirements == ("six",)


def test_a_source_with_a_line_that_is_refused_names_the_line(write: Write) -> None:
    """The field, the line, and the way out."""
    write("set.yaml", set_of(f"requirementsFrom: [{{{OF_CONFIG_MAP % 'bad'}}}]"), CONFIG_MAP)
    assert refused().startswith(
        'SourceInvalid: spec.requirementsFrom[0]: key "bad" of ConfigMap flows/lines: line 1:'
        ' "-r other.txt": '
    )


def test_a_cycle_is_named(write: Write) -> None:
    """Sets that include each other can't be locked."""
    write("set.yaml", set_of("includes: [{name: a}]"))
    write("a.yaml", set_of("includes: [{name: ml}]", name="a"))
    assert "spec.includes: ml → a → ml: a cycle" in refused("a.yaml")


@pytest.mark.parametrize(
    ("listed", "python", "says"),
    [
        ("six\n", "image: flows", "image: line 1: 'six' is not name==version"),
        ("six==1.0\n", "image: flows", "image: it does not contain the image's Python"),
        (INSPECT.replace("linux", "win32"), "image: flows", "platform 'win32/aarch64' is not"),
        ("{}", "image: flows", "image: not the JSON of `pip inspect`"),
    ],
)
def test_image_packages_that_can_not_be_used_are_refused(
    write: Write, listed: str, python: str, says: str
) -> None:
    """The file is named, and what is wrong with it."""
    write("set.yaml", set_of("requirements: [six]", python=python))
    write("image", listed)
    assert says in refused(image_packages="image")
    assert "No such file" in refused(image_packages="missing")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_changes_nothing(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    """What `>` writes in Windows PowerShell: the packages of an image, a lock, a template."""
    write("set.yaml", set_of("requirements: [six]", python="image: flows"))
    (tmp_path / "image").write_text(INSPECT, encoding)
    assert request(image_packages="image").target.python == "3.12"
    text = "# python: 3.12\n# platforms: linux/amd64\n"
    (tmp_path / "a.lock").write_text(text, encoding)
    assert main(["diff", "a.lock", write("b.lock", text)]) == 0
    assert capsys.readouterr().out == "no change\n"
    (tmp_path / "base").write_text("{}", encoding)
    assert main(["template", "set.yaml", "--pool", "k", "--base", "base"]) == 1
    assert "not a base job template" in capsys.readouterr().err


def test_a_python_that_is_not_the_images_is_refused(write: Write) -> None:
    """--python fills in what is missing, and contradicts nothing."""
    write("set.yaml", set_of("requirements: [six]", python="image: flows"))
    write("image", INSPECT)
    assert "it is of Python 3.12, not --python" in refused(image_packages="image", python="3.11")
    write("image", "six==1.0")
    assert "Python 'x' is not supported" in refused(image_packages="image", python="x")


def test_a_set_with_a_python_of_its_own_takes_none_of_an_image(write: Write) -> None:
    """The operator would look into no image, so a lock on top of one would be another lock."""
    write("set.yaml", set_of("requirements: [six]"))
    write("image", "six==1.0")
    said = "set.yaml: spec.python.version: the lock is for no image and has every package"
    assert refused(image_packages="image").startswith(said)
    assert "set.yaml: spec.python.version is 3.11, not --python" in refused(python="9")
    assert request(python="3.11") == request()


def test_a_config_map_of_a_file_in_utf_16_is_read(write: Write) -> None:
    """As the operator reads it: kubectl puts such a file under binaryData."""
    encoded = base64.b64encode("httpx\r\n".encode("utf-16")).decode()
    made = f"{CONFIG_MAP}binaryData: {{wide: {encoded}, latin: 6Q==}}\n"
    write("set.yaml", set_of(f"requirementsFrom: [{{{OF_CONFIG_MAP % 'wide'}}}]"), made)
    assert request().requirements == ("httpx",)
    write("set.yaml", set_of(f"requirementsFrom: [{{{OF_CONFIG_MAP % 'latin'}}}]"), made)
    assert (
        'key "latin" of ConfigMap flows/lines is there, but not a text file in UTF-8; save it as'
        " one" in refused()
    )


def notes(*beside: str, config: dict[str, object] | None = None) -> list[str]:
    given = Given(file="set.yaml", beside=beside)
    return read_inputs(given, parse_config(config or {}))[2]


def test_what_nobody_can_look_up_here_is_noted(write: Write) -> None:
    """A Secret, the database of the operator, the image of a lock from elsewhere and of a pool."""
    fields = "requirements: [six]\n  vulnerabilities: Block\n"
    write("set.yaml", set_of(f"{fields}  index: {{credentialsSecretRef: {{name: index}}}}"))
    secret, database = notes()
    assert secret == "the Secret index isn't read here; give --netrc FILE"
    assert database.startswith("spec.vulnerabilities is Block, but the configuration names no data")
    write("set.yaml", set_of(fields))
    assert notes(config={"vulnerabilities": {"database": "/var/lib/osv"}}) == []

    lock = "# python: 3.12\\n# platforms: linux/amd64\\n"
    write("set.yaml", set_of(f"lockFrom: {{{OF_CONFIG_MAP % 'lock'}}}", python=""))
    write("lock.yaml", CONFIG_MAP.replace("{in:", f'{{lock: "{lock}", in:'))
    [image] = notes("lock.yaml")
    assert image.startswith("the lock is not compared with what the image has installed; give that")


def test_an_image_that_only_a_pool_names_is_not_compared_with_those_allowed(write: Write) -> None:
    """Nobody asks the pool here, so the file about its image is taken as it is, with a note; what
    the set names is refused as in the operator."""
    config = parse_config({"images": {"allowed": ["registry.example.com"]}})
    given = Given(file="set.yaml", image_packages="image")
    write("image", INSPECT)
    write("set.yaml", set_of("requirements: [six]", python=""))
    inputs, _, (note, _) = read_inputs(given, config)
    assert note.startswith("whether images.allowed holds the image is not checked")
    assert inputs.image
    assert inputs.image.facts.versions == {"six": "1.0"}
    write("set.yaml", set_of("requirements: [six]", python="image: flows"))
    with pytest.raises(CommandError, match=r"ImageNotAllowed: .* flows is not among"):
        read_inputs(given, config)


def test_namespaces_keep_files_apart(write: Write) -> None:
    """What another namespace has is not there; a document that names none may be in any."""
    write("set.yaml", set_of(f"requirementsFrom: [{{{OF_CONFIG_MAP % 'in'}}}]"))
    write("sources.yaml", CONFIG_MAP.replace("namespace: flows", "namespace: team"))
    assert "SourceNotFound: " in refused("sources.yaml")
    write("sources.yaml", CONFIG_MAP.replace(", namespace: flows", ""))
    assert request("sources.yaml").requirements == ("httpx", "pandas>=2")


def test_a_key_is_taken_from_the_file_that_has_it(write: Write) -> None:
    """Where none has it, the keys that there are are listed, as by the operator."""
    write("set.yaml", set_of(f"requirementsFrom: [{{{OF_CONFIG_MAP % 'in'}}}]"))
    other = CONFIG_MAP.replace("in:", "out:")
    write("sources.yaml", other, CONFIG_MAP)
    assert request("sources.yaml").requirements == ("httpx", "pandas>=2")
    write("sources.yaml", other)
    assert "lines; its keys: bad, out; create it" in refused("sources.yaml")


def test_a_set_that_the_files_have_twice_is_not_included(write: Write) -> None:
    """Nobody can say which is meant."""
    write("set.yaml", set_of("includes: [{name: a}]"))
    one = set_of("requirements: [six]", name="a")
    write("others.yaml", one, one)
    assert "IncludeInvalid: spec.includes: ml → a: 2 sets of that name" in refused("others.yaml")


def test_a_token_of_the_configuration_is_not_fetched_here(write: Write) -> None:
    """A command of the operator is not run by whoever makes a lock: a note says what to give."""
    helper = {"url": "https://a.example.com", "namespaces": ["*"], "command": ["/not/there"]}
    config: dict[str, object] = {"index": {"credentialHelpers": [helper]}}
    write("set.yaml", set_of("requirements: [six]\n  index: {url: https://a.example.com/simple}"))
    assert notes(config=config) == [
        "the token of index.credentialHelpers isn't asked for here; give --netrc FILE"
    ]
    assert notes() == []
