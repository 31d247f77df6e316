"""`flowdeps adopt`: the sets that replace packages which runs install when they start."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.cli.draft import yaml_of
from flowdeps.cli.main import main
from flowdeps.clients.prefect.client import Deployment, Pool, Pools
from tests.unit.cli.recipes import PREFECT_YAML, with_own, with_recipe
from tests.unit.delivery.samples import pool, same

Adopt = Callable[..., tuple[list[Any], str, str]]


@pytest.fixture
def adopt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Adopt:
    """Runs `flowdeps adopt` on files, and `flowdeps validate` on the sets; gives documents, output
    and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWDEPS_CONFIG", raising=False)

    def run(*flags: str, **files: Any) -> tuple[list[Any], str, str]:
        names = []
        for name, content in files.items():
            file = name.replace("_", ".")
            text = content if isinstance(content, str) else json.dumps(content)
            Path(file).write_text(text)
            names += [file] if name in {"base_json", "prefect_yaml"} else []
        before = {one.name: one.read_bytes() for one in Path().iterdir()}
        assert main(["adopt", *names, "--pool", "kubernetes", *flags]) == 0
        captured = capsys.readouterr()
        assert {one.name: one.read_bytes() for one in Path().iterdir()} == before
        if "diff" in flags or "template" in flags:
            return [], captured.out, captured.err
        Path("review.yaml").write_text(captured.out)
        assert main(["validate", "review.yaml"]) == 0, capsys.readouterr().out
        capsys.readouterr()
        Path("review.yaml").unlink()
        return list(yaml.safe_load_all(captured.out)), captured.out, captured.err

    return run


def test_an_init_container_becomes_the_default_of_its_pool(adopt: Adopt) -> None:
    """With the packages of its variable and the indexes of its script, where jobs run."""
    [found], _, err = adopt(base_json=with_recipe())
    assert found == {
        "apiVersion": "flowdeps.dev/v1alpha1",
        "kind": "FlowDependencySet",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {
            "requirements": ["pandas>=2.2", "pyarrow"],
            "index": {
                "url": "https://packages.example.com/simple",
                "extraUrls": ["https://more.example.com/simple"],
            },
            "workPools": [{"name": "kubernetes", "default": True}],
        },
    }
    assert "defaultNamespaces" in err
    assert "warning" not in err


def test_the_template_is_what_it_was_before_the_recipe(adopt: Adopt) -> None:
    """Container, volumes, mounts, PYTHONPATH and variable go, and nothing else changes."""
    _, out, _ = adopt("-o", "template", base_json=with_recipe())
    assert same(json.loads(out), with_own())


def test_the_pool_that_prefect_prints_is_taken_too(adopt: Adopt) -> None:
    """Its name counts more than --pool, and a template is what comes out."""
    whole = {"name": "k8s", "type": "kubernetes", "base_job_template": with_recipe()}
    [found], _, _ = adopt(base_json=whole)
    assert found["spec"]["workPools"][0]["name"] == "k8s"
    _, out, _ = adopt("-o", "template", base_json=whole)
    assert same(json.loads(out), with_own())


def test_the_diff_takes_out_the_recipe(adopt: Adopt) -> None:
    """As a diff alone, and as comments below the sets."""
    _, diff, _ = adopt("-o", "diff", base_json=with_recipe())
    removed = [
        line for line in diff.splitlines() if line.startswith("-") and "install-deps" in line
    ]
    assert len(removed) == 1
    _, review, _ = adopt(base_json=with_recipe())
    assert "".join(f"# {line}".rstrip() + "\n" for line in diff.splitlines()) in review


@pytest.mark.parametrize(
    "place", ["env of the container", "env of the configuration", "default of env"]
)
def test_extra_pip_packages_becomes_a_set(adopt: Adopt, place: str) -> None:
    """Wherever the template sets it; other variables stay."""
    own, template = pool(), pool()
    configuration = template["job_configuration"]
    flow = configuration["job_manifest"]["spec"]["template"]["spec"]["containers"][0]
    own_flow = own["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"][0]
    value = "pandas 'httpx[http2]<1' -i https://packages.example.com/simple"
    if place == "env of the container":
        flow["env"] = [{"name": "A", "value": "1"}, {"name": "EXTRA_PIP_PACKAGES", "value": value}]
        own_flow["env"] = [{"name": "A", "value": "1"}]
    elif place == "env of the configuration":
        configuration["env"] = {"EXTRA_PIP_PACKAGES": value, "A": "1"}
        own["job_configuration"]["env"] = {"A": "1"}
    else:
        template["variables"]["properties"]["env"]["default"] = {"EXTRA_PIP_PACKAGES": value}
        own["variables"]["properties"]["env"]["default"] = {}
    [found], _, _ = adopt(base_json=template)
    assert found["spec"]["requirements"] == ["pandas", "httpx[http2]<1"]
    assert found["spec"]["index"] == {"url": "https://packages.example.com/simple"}
    _, out, _ = adopt("-o", "template", base_json=template)
    assert same(json.loads(out), own)


def _flow(template: dict[str, Any]) -> dict[str, Any]:
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    found: dict[str, Any] = pod["containers"][0]
    return found


def test_a_variable_whose_value_is_not_known_stays_and_is_named(adopt: Adopt) -> None:
    """Nothing that runs install is dropped in silence."""
    template = with_recipe()
    secret = {"secretKeyRef": {"name": "packages", "key": "list"}}
    entry = {"name": "EXTRA_PIP_PACKAGES", "valueFrom": secret}
    _flow(template)["env"].append(entry)
    _, out, err = adopt("--output", "template", base_json=template)
    assert "left out: EXTRA_PIP_PACKAGES, whose value comes from elsewhere" in err
    assert entry in _flow(json.loads(out))["env"]


def test_a_command_that_a_job_variable_gives_is_named(adopt: Adopt) -> None:
    """Its packages are in the set, and it would install them still."""
    template = with_own()
    command = 'sh -c "pip install polars && prefect flow-run execute"'
    template["variables"]["properties"]["command"]["default"] = command
    [found], _, err = adopt(base_json=template)
    assert found["spec"]["requirements"] == ["polars"]
    assert "the job variable command still installs; take pip install out" in err


def test_variables_that_are_not_of_the_recipe_stay(adopt: Adopt) -> None:
    """Also empty ones."""
    template = with_own()
    env = {"EXTRA_PIP_PACKAGES": "pandas", "FOO": "", "PYTHONPATH": ""}
    template["variables"]["properties"]["env"]["default"] = env
    _, out, _ = adopt("--output", "template", base_json=template)
    cleaned = json.loads(out)["variables"]["properties"]["env"]["default"]
    assert cleaned == {"FOO": "", "PYTHONPATH": ""}


def test_an_own_entrypoint_keeps_what_else_it_does(adopt: Adopt) -> None:
    """`pip install` goes, and the flow is started as before."""
    template = pool()
    flow = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"][
        0
    ]
    flow["args"] = ["bash", "-c", "uv pip install --system pandas && exec prefect flow-run execute"]
    [found], _, _ = adopt(base_json=template)
    assert found["spec"]["requirements"] == ["pandas"]
    _, out, _ = adopt("-o", "template", base_json=template)
    left = json.loads(out)["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert left["containers"][0]["args"] == ["bash", "-c", "exec prefect flow-run execute"]


def test_an_init_container_that_does_more_keeps_that(adopt: Adopt) -> None:
    """A warning names it."""
    template = with_recipe()
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["initContainers"][1]["args"] = ["pip install -t /opt/pydeps pandas\n./fetch-models.sh"]
    [found], _, err = adopt(base_json=template)
    assert found["spec"]["requirements"] == ["pandas"]
    assert "init container install-deps does more than install packages" in err
    _, out, _ = adopt("-o", "template", base_json=template)
    left = json.loads(out)["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert left["initContainers"][1]["args"] == ["./fetch-models.sh"]
    assert "pydeps" in json.dumps(left["volumes"])


def test_a_prefect_variable_becomes_a_source(adopt: Adopt) -> None:
    """The worker filled it in; the operator reads it."""
    [found], _, _ = adopt(base_json=with_recipe("pandas {{ prefect.variables.team_packages }}"))
    assert found["spec"]["requirements"] == ["pandas"]
    assert found["spec"]["requirementsFrom"] == [{"prefectVariable": {"name": "team_packages"}}]


def test_deployments_get_sets_of_their_own(adopt: Adopt) -> None:
    """For what their pull steps and job variables install, beside what their pool does; the steps
    and variables go, and the job variable `dependency_set` comes."""
    sets, out, err = adopt(
        base_json=with_recipe(),
        prefect_yaml=PREFECT_YAML,
        **{"requirements-flows_txt": "duckdb\n-e ./lib\n"},
    )
    named = {one["metadata"]["name"]: one["spec"]["requirements"] for one in sets}
    base = ["pandas>=2.2", "pyarrow"]
    assert named == {
        "kubernetes": base,
        "nightly": [*base, "duckdb"],
        "weekly": [*base, "s3fs", "boto3", "openpyxl>=3", "statsmodels"],
    }
    assert "requirements-flows.txt line 2: left out: -e ./lib" in err
    after = _patched(out)
    nightly, weekly = after["deployments"]
    assert nightly["work_pool"]["job_variables"] == {"dependency_set": "nightly"}
    assert weekly["work_pool"]["job_variables"] == {
        "env": {"REGION": "south"},
        "cpu": 2,
        "dependency_set": "weekly",
    }
    assert [next(iter(one)).rpartition(".")[2] for one in after["pull"]] == ["git_clone"]
    [step] = weekly["pull"]
    assert step["prefect.deployments.steps.run_shell_script"]["script"] == "./prepare.sh"


def test_deployments_with_the_same_packages_share_a_set(adopt: Adopt) -> None:
    """And one that has its pool's needs no choice; one that switched them off chooses none."""
    deployments = [
        {"name": name, "work_pool": {"name": "kubernetes", "job_variables": given}}
        for name, given in {
            "a": {"extra_py_deps": "duckdb"},
            "b": {"extra_py_deps": "duckdb"},
            "c": {},
            "d": {"extra_py_deps": ""},
            "e": {"extra_py_deps": "duckdb", "image": "registry.example.com/other:1"},
        }.items()
    ]
    sets, out, _ = adopt(base_json=with_recipe(), prefect_yaml={"deployments": deployments})
    assert [one["metadata"]["name"] for one in sets] == ["kubernetes", "a", "e"]
    assert sets[2]["spec"]["python"] == {"image": "registry.example.com/other:1"}
    given = {
        one["name"]: one["work_pool"].get("job_variables") for one in _patched(out)["deployments"]
    }
    assert given == {
        "a": {"dependency_set": "a"},
        "b": {"dependency_set": "a"},
        "c": None,
        "d": {"dependency_set": "none"},
        "e": {"image": "registry.example.com/other:1", "dependency_set": "e"},
    }


def test_a_file_outside_the_project_is_not_read(adopt: Adopt) -> None:
    """What a step names is read only below prefect.yaml."""
    Path("../secret.txt").write_text("hunter2\n")
    steps = [
        {
            "prefect.deployments.steps.pip_install_requirements": {
                "requirements_file": "../secret.txt"
            }
        }
    ]
    pulls = {"deployments": [{"name": "a", "pull": steps, "work_pool": {"name": "kubernetes"}}]}
    _, out, err = adopt(prefect_yaml=pulls)
    assert "hunter2" not in out + err
    assert "left out: the file ../secret.txt, which is not here" in err


def test_what_others_wrote_ends_no_comment(adopt: Adopt) -> None:
    """A name or a value with line breaks adds nothing to the sets."""
    evil = "a\n---\nkind: FlowDependencySet\u2028---\x85kind: b"
    given = {"env": {"EXTRA_PIP_PACKAGES": "duckdb", "OTHER": evil}}
    deployments = [{"name": evil, "work_pool": {"name": "kubernetes", "job_variables": given}}]
    template = with_recipe()
    template["variables"]["properties"]["extra_py_deps"]["description"] = evil
    sets, out, _ = adopt(base_json=template, prefect_yaml={"deployments": deployments})
    assert [one["metadata"]["name"] for one in sets] == [
        "kubernetes",
        "a-kind-flowdependencyset-kind-b",
    ]
    assert out.count("\nkind: ") == 2


def test_a_live_pool_is_read_with_its_deployments(
    adopt: Adopt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Prefect's client, which is asked and never writes."""

    class Live:
        async def read(self, name: str) -> Pool:
            return Pool(name, "kubernetes", with_recipe())

        async def deployments(self, name: str) -> list[Deployment]:
            step: dict[str, Any] = {"prefect.deployments.steps.pip_install_requirements": {}}
            assert name == "kubernetes"
            return [
                Deployment("nightly\nkind: b", {"env": {"EXTRA_PIP_PACKAGES": "duckdb"}}, [step])
            ]

    @asynccontextmanager
    async def connect(_: str | None) -> AsyncIterator[Live]:
        yield Live()

    monkeypatch.setattr(Pools, "connect", connect)
    Path("requirements.txt").write_text("hunter2")
    sets, out, err = adopt()
    assert [one["metadata"]["name"] for one in sets] == ["kubernetes", "nightly-kind-b"]
    assert sets[1]["spec"]["requirements"] == ["pandas>=2.2", "pyarrow", "duckdb"]
    assert "the file requirements.txt, which is not here" in err
    assert "hunter2" not in out + err
    assert "+  dependency_set: nightly-kind-b" in out
    assert "\nkind: b" not in out


@pytest.mark.usefixtures("adopt")
def test_a_template_without_a_recipe_has_nothing_to_adopt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit status says so, and nothing is on standard output."""
    Path("base.json").write_text(json.dumps(with_own()))
    assert main(["adopt", "base.json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing is installed at the start of runs" in captured.err


@pytest.mark.usefixtures("adopt")
def test_a_template_of_no_pool_asks_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A set without a pool would reach no run."""
    Path("base.json").write_text(json.dumps(with_recipe()))
    assert main(["adopt", "base.json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "name its work pool with --pool" in captured.err


@pytest.mark.usefixtures("adopt")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "neither a base job template"),
        ("{", "neither JSON nor YAML"),
        ('{"deployments": 3}', "neither"),
    ],
)
def test_other_files_are_refused(capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    """With one line."""
    Path("base.json").write_text(text)
    assert main(["adopt", "base.json"]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert says in captured.err


def _patched(review: str, file: str = "prefect.yaml") -> Any:
    """The file after the patch that is in the comments."""
    lines = [line[2:] for line in review.splitlines() if line.startswith("#")]
    hunks = lines[lines.index(f"+++ {file} without the recipe") + 1 :]
    before = yaml_of([yaml.safe_load(Path(file).read_text())]).splitlines()
    after, place = list[str](), 0
    for line in hunks:
        if found := re.match(r"@@ -(\d+)", line):
            start = int(found[1]) - 1
            after, place = [*after, *before[place:start]], start
        elif not line.startswith("+"):
            assert before[place] == line[1:] or not line
            place += 1
        if line[:1] in {" ", "+", ""}:
            after.append(line[1:])
    return yaml.safe_load("\n".join([*after, *before[place:]]))
