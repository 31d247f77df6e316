"""Whatever a person gives a command, the answer is words and an exit status."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flowdeps.cli.main import main

SET = """\
apiVersion: flowdeps.dev/v1alpha1
kind: FlowDependencySet
metadata: {name: ml}
spec:
  requirements: [pandas]
  python: {version: "3.12"}
  workPools: [{name: k}]
"""

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: u, user: {token: hunter2}}]
"""


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """`flowdeps run` sets up logs for its process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own, with one good set, and no cluster and no Prefect to be found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "PREFECT_API_URL", "FLOWDEPS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "set.yaml").write_text(SET)
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a command says when it refuses: exit status 1, on standard error, nothing beside."""
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(line.startswith("flowdeps: ") for line in captured.err.splitlines())
    return captured.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"foo: 1", "config: foo: unknown field; known: prefect, "),
        (b"prefect: {apiURL: http://p.example.com}", "config: prefect.apiURL: unknown field"),
        (b"httpPort: x", "config: httpPort: 'x' is not a whole number"),
        (b"workPools: [{}]", "config: workPools[0].name: missing"),
        (b"1: 2", "config: 1: unknown field"),
        (b"- a", "config: not a mapping"),
        (b"a: [", "config: not YAML: "),
        (b"a: 2026-13-45", "config: not YAML: "),
        (b"\xff\xfe", "config: not YAML: "),
        (b"[" * 3000, "config: nested too deeply"),
    ],
)
@pytest.mark.parametrize(
    "command", [["run"], ["lock", "set.yaml"], ["template", "set.yaml", "--pool", "k"]]
)
def test_a_wrong_configuration_is_told_by_its_field(
    command: list[str],
    text: bytes,
    says: str,
    nowhere: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every command that reads the configuration says what is wrong with it, and where."""
    (nowhere / "config").write_bytes(text)
    assert f"flowdeps: {says}" in refused(capsys, *command, "--config", "config")


def test_every_problem_of_a_configuration_is_a_line(
    nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who mends a file sees all that is wrong with it at once."""
    (nowhere / "config").write_text("foo: 1\nhttpPort: 0\nindex: {url: ftp://x}\n")
    lines = refused(capsys, "run", "--config", "config").splitlines()
    assert len(lines) == 3


@pytest.mark.parametrize("file", ["missing.yaml", "."])
@pytest.mark.parametrize(
    "command",
    [
        ["run", "--config"],
        ["lock"],
        ["lock", "set.yaml", "--previous"],
        ["template", "--pool", "k", "--base", "base.json"],
        ["template", "set.yaml", "--pool", "k", "--base"],
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    command: list[str], file: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing file and a directory are told with their name and the reason."""
    (nowhere / "base.json").write_text('{"job_configuration": {}}')
    says = refused(capsys, *command, file)
    assert file in says
    assert "No such file or directory" in says or "Is a directory" in says


@pytest.mark.parametrize("command", [["lock"], ["template", "--pool", "k", "--base", "base.json"]])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c", "bad.yaml:1: document 1: not YAML: "),
        ("{{ if .Values.sets }}\na: b", "bad.yaml:1: document 1: not YAML: "),
        ("[" * 3000, "nested too deeply"),
        ("- a", "not an object of Kubernetes"),
        (SET.replace("v1alpha1", "v9"), "apiVersion: 'flowdeps.dev/v9' is not known"),
        (SET.replace("[pandas]", "[-r x]"), "spec.requirements[0]: "),
        (SET.split("spec:")[0] + "spec: x", "spec: a text is given where fields are needed"),
        (SET.replace("[{name: k}]", "5"), "spec.workPools: "),
        (SET.replace("{name: k}", "{name: k, key: {a: b}}"), "spec.workPools[0].key: "),
        (SET.replace("{name: ml}", "[]"), "metadata.name: missing"),
        (SET.replace("{name: ml}", "{name: [ml]}"), "metadata.name: missing"),
    ],
)
def test_a_set_that_cannot_be_used_is_told_by_its_field(
    command: list[str],
    text: str,
    says: str,
    nowhere: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Broken YAML, another kind of object and a mistake in a spec are lines with their place."""
    (nowhere / "bad.yaml").write_text(text)
    (nowhere / "base.json").write_text('{"job_configuration": {}}')
    assert says in refused(capsys, command[0], "bad.yaml", *command[1:])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it has no job_configuration; give the template, or what `prefect work-pool inspect"),
        ("{", "neither JSON nor YAML: "),
        ("a: 1\n---\nb: 2", "neither JSON nor YAML: "),
        ("job_configuration: {since: 2026-01-01}", "it has a date"),
        ("job_configuration: {ratio: .nan}", "neither JSON nor YAML: "),
        ("WorkPool(\n    id='0a1b',\n    name='k')", "prefect work-pool inspect -o json"),
        ('{"base_job_template": {}}', "it has no job_configuration"),
        ('{"name": "other", "base_job_template": {}}', 'it is of work pool "other", not "k"'),
        (
            '{"name": "k", "type": "docker", "base_job_template": {"job_configuration": {}}}',
            'NotKubernetes: the pool\'s type is "docker"; only kubernetes pools',
        ),
        ("[" * 100_000, "nested too deeply"),
        ("5", "it has no job_configuration"),
        ("[]", "it has no job_configuration"),
        ('{"job_configuration": 5}', "NotKubernetes: "),
        ('{"job_configuration": {"job_manifest": []}, "variables": 7}', "NotKubernetes: "),
        (
            '{"job_configuration": {"job_manifest": {"kind": "Job", "spec": {"template": {"spec":'
            ' {"containers": [5]}}}}}}',
            "NoPrefectJob: ",
        ),
    ],
)
def test_a_base_that_is_no_template_is_refused_with_a_reason(
    text: str, says: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can't carry the fragment is told with the reason that a condition would have."""
    (nowhere / "base.json").write_text(text)
    assert says in refused(capsys, "template", "set.yaml", "--pool", "k", "--base", "base.json")


@pytest.mark.parametrize("number", [0, 2])
def test_lock_wants_exactly_one_set(
    number: int, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None or several sets in the file: it says how many there are."""
    (nowhere / "sets.yaml").write_text("---\n".join([SET] * number))
    assert f"{number} FlowDependencySets" in refused(capsys, "lock", "sets.yaml")


@pytest.mark.parametrize("text", ["", "pandas==2.3.3", "# python: 3.12\n# platforms: x\n"])
def test_a_previous_lock_that_is_none_is_refused(
    text: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a lock of ours has pins to keep; another file is told, and nothing is resolved."""
    (nowhere / "old.lock").write_text(text)
    assert "old.lock: " in refused(capsys, "lock", "set.yaml", "--previous", "old.lock")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["unknown"],
        ["lock"],
        ["template", "set.yaml"],
        ["run", "--log-level", "loud"],
        ["status", "one", "two"],
        ["validate", "--strict", "set.yaml"],
    ],
)
def test_wrong_usage_is_exit_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the command line itself gets wrong is told with the usage."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: flowdeps" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["run"], ["validate"], ["lock"], ["template"], ["status"]])
def test_help_teaches(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Every command's help says what it does and every flag, and fits a terminal."""
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: flowdeps")
    assert len(text.splitlines()) > 8
    assert all(len(line) <= 100 for line in text.splitlines())
    if command in ([], ["validate"], ["lock"], ["template"]):
        assert "examples:" in text
    if command[:1] in (["validate"], ["lock"], ["template"], ["status"]):
        assert "Exit status: 0" in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the program and its version."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("flowdeps 0.")


# Outside systems that are not there


def test_no_kubeconfig_is_told_with_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a kubeconfig, the file that was looked for and the variable are named."""
    for argv in (["status"], ["run"]):
        says = refused(capsys, *argv)
        assert ".kube/config" in says
        assert "KUBECONFIG" in says


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"5",
        b"a: [",
        b"\xff\xfe",
        b"apiVersion: v1\nkind: Config\ncurrent-context: x\n",
        b"current-context: x\ncontexts: 5\n",
        KUBECONFIG.replace("https://127.0.0.1:9", "bogus:///").encode(),
        KUBECONFIG.replace("9\"", '9", certificate-authority-data: "!!!"').encode(),
        KUBECONFIG.replace("9\"", '9", certificate-authority: /nope').encode(),
        KUBECONFIG.replace("{token: hunter2}", "5").encode(),
    ],
)  # fmt: skip
def test_a_broken_kubeconfig_is_told_in_a_line(
    text: bytes, nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in the file, the answer names it or says that nothing answers."""
    (nowhere / "kubeconfig").write_bytes(text)
    monkeypatch.setenv("KUBECONFIG", str(nowhere / "kubeconfig"))
    [line] = refused(capsys, "status").splitlines()
    assert "kubeconfig" in line or "did not answer" in line


def test_a_cluster_that_does_not_answer_is_told(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens at the server's address: said so, without the token."""
    monkeypatch.setenv("KUBECONFIG", str(nowhere / "kubeconfig"))
    says = refused(capsys, "status")
    assert "the API server did not answer: " in says
    assert "hunter2" not in says


def test_no_prefect_is_told_with_what_to_set(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an address of Prefect, both places for one are named."""
    assert "prefect.apiUrl" in refused(capsys, "template", "set.yaml", "--pool", "k")
    monkeypatch.setenv("KUBECONFIG", str(nowhere / "kubeconfig"))
    assert "PREFECT_API_URL" in refused(capsys, "run")


def test_a_prefect_that_does_not_answer_is_told(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens at Prefect's address: said so."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (nowhere / "config").write_text("prefect: {apiUrl: 'http://127.0.0.1:9/api'}")
    says = refused(capsys, "template", "set.yaml", "--pool", "k", "--config", "config")
    assert "the Prefect API did not answer: " in says


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_in_use_is_told(
    taken_port: int,
    nowhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The operator does not run without its health endpoints: it names the port and ends."""
    monkeypatch.setenv("KUBECONFIG", str(nowhere / "kubeconfig"))
    config = {"httpPort": taken_port, "prefect": {"apiUrl": "http://127.0.0.1:9/api"}}
    (nowhere / "config").write_text(yaml.safe_dump(config))
    says = refused(capsys, "run", "--config", "config")
    assert f"can't serve port {taken_port}: " in says
