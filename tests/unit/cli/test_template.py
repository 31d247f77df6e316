import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowdeps.api.reasons import Reason
from flowdeps.cli.main import main
from flowdeps.clients.prefect.client import Pool, Pools, PoolsError
from flowdeps.delivery.choice import find
from tests.unit.delivery.samples import customised, pool, prefect_template, same, with_flow

Template = dict[str, Any]


def a_set(name: str, *pools: Any, namespace: str | None = "flows", **metadata: Any) -> Template:
    """A set that offers itself to pools (names or items of spec.workPools)."""
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "flowdeps.dev/v1alpha1",
        "kind": "FlowDependencySet",
        "metadata": {"name": name, **place, **metadata},
        "spec": {
            "requirements": ["pandas"],
            "python": {"version": "3.12"},
            "workPools": [{"name": p} if isinstance(p, str) else p for p in pools],
        },
    }


OPEN = [{"name": "k", "namespaces": ["*"], "defaultNamespaces": ["*"]}]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `flowdeps template` on sets and a base; gives exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWDEPS_CONFIG", raising=False)

    def run(
        base: Template, *flags: str, sets: list[Template] | None = None, **given: Any
    ) -> tuple[int, str, str]:
        config = {"workPools": OPEN, **given}
        Path("base.json").write_text(json.dumps(base))
        argv = ["template", "--pool", "k", "--base", "base.json", *flags]
        if sets is not None:
            Path("sets.yaml").write_text(yaml.safe_dump_all(sets))
            argv.append("sets.yaml")
        Path("config.yaml").write_text(yaml.safe_dump(config))
        argv += ["--config", "config.yaml"]
        status = main(argv)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_merged_template_is_printed_as_json(template: Run) -> None:
    """The template comes out with the sets' keys, and can be taken in again by Prefect."""
    status, out, err = template(pool(), sets=[a_set("ml", "k"), a_set("etl", "k"), a_set("x", "y")])
    assert (status, err) == (0, "")
    found = find(json.loads(out))
    assert found is not None
    assert found.keys == ("etl", "ml")
    assert found.default == "none"
    assert found.owner == "flowdeps/flowdeps"


def test_remove_gives_the_base_back_to_the_letter(template: Run) -> None:
    """Merged and removed, a customised template is what it was, with the order of its keys."""
    base = customised()
    _, merged, _ = template(base, sets=[a_set("ml", "k")])
    status, out, _ = template(json.loads(merged), "--remove")
    assert status == 0
    assert same(json.loads(out), base)


def test_characters_of_all_languages_stay_readable(template: Run) -> None:
    """JSON is written as text, not as escapes: a diff against the pool shows only our part."""
    base = pool() | {"note": "für alle – 中文"}
    _, out, _ = template(base, sets=[a_set("ml", "k")])
    assert '"für alle – 中文"' in out


def test_check_compares_and_prints_nothing(template: Run) -> None:
    """--check: exit 1 and a line on standard error where something would change, else 0."""
    sets = [a_set("ml", "k")]
    status, out, err = template(pool(), "--check", sets=sets)
    assert (status, out) == (1, "")
    assert err == 'flowdeps: the template of work pool "k" would change\n'
    _, merged, _ = template(pool(), sets=sets)
    assert template(json.loads(merged), "--check", sets=sets) == (0, "", "")
    assert template(json.loads(merged), "--check", "--remove")[0] == 1
    assert template(pool(), "--check", "--remove") == (0, "", "")


def test_sets_and_remove_exclude_each_other(template: Run) -> None:
    """Either files to merge or --remove: both or none is refused."""
    for given in (template(pool()), template(pool(), "--remove", sets=[a_set("ml", "k")])):
        assert given == (1, "", "flowdeps: give either FILEs to merge or --remove\n")


def test_a_pool_that_no_set_names_is_refused(template: Run) -> None:
    """A misspelt --pool is an error; it would else take everything out."""
    status, _, err = template(pool(), sets=[a_set("ml", "other")])
    assert status == 1
    assert 'no set in these files offers itself to work pool "k"' in err
    assert err.endswith("name it in their spec.workPools, or --pool one of: other\n")


def test_a_pool_whose_pods_go_by_their_label_has_no_template(template: Run) -> None:
    """What is printed would be a template that nobody keeps in line."""
    pool_ = {"name": "k", "labels": True, "image": "flows:1", "jobNamespaces": ["jobs"]}
    environments = {"repository": "registry.example.com/environments"}
    given = {"workPools": [pool_], "environments": environments}
    status, out, err = template(pool(), sets=[a_set("ml", "k")], **given)
    assert (status, out) == (1, "")
    assert "get sets by their label" in err


def test_a_set_that_the_configuration_keeps_out_is_not_told_to_name_the_pool(
    template: Run,
) -> None:
    """It does name it; the advice leads to the configuration, and there it ends."""
    sets, pools = [a_set("ml", "k", namespace="team")], [{"name": "k", "namespaces": ["flows"]}]
    status, _, err = template(pool(), sets=sets, workPools=pools)
    assert status == 1
    assert 'work pool "k": team/ml: the pool takes sets from flows, not from namespace team' in err
    line = 'workPools: [{name: "k", namespaces: ["flows", "team"]}]'
    assert err.endswith(f"{line}\n")
    assert template(pool(), sets=sets, **yaml.safe_load(line))[0] == 0


def test_sets_come_from_where_jobs_run_unless_the_configuration_says_otherwise(
    template: Run,
) -> None:
    """As the operator has it: by the template, or by `jobNamespaces`; others are noted."""
    sets = [a_set("ml", "k", namespace="jobs"), a_set("etl", "k", namespace="team")]
    base = pool()
    base["variables"]["properties"]["namespace"]["default"] = "jobs"
    for pools in ([], [{"name": "k"}], [{"name": "k", "jobNamespaces": ["jobs"]}]):
        status, out, err = template(base, sets=sets, workPools=pools)
        assert status == 0
        found = find(json.loads(out))
        assert found is not None
        assert found.keys == ("ml",)
        assert "team/etl: the pool takes sets from jobs, not from namespace team" in err
    elsewhere = [{"name": "k", "jobNamespaces": ["team"]}]
    assert "jobs/ml: the pool takes" in template(base, sets=sets, workPools=elsewhere)[2]


def test_a_default_needs_leave(template: Run) -> None:
    """A set that asks to be the default from elsewhere is offered, and a note says the line."""
    sets = [a_set("ml", {"name": "k", "default": True})]
    status, out, err = template(pool(), sets=sets, workPools=[{"name": "k", "namespaces": ["*"]}])
    assert status == 0
    found = find(json.loads(out))
    assert found is not None
    assert (found.keys, found.default) == (("ml",), "none")
    assert 'workPools: [{name: "k", defaultNamespaces: ["flows"]}]' in err


def test_the_configuration_of_the_pool_counts(template: Run) -> None:
    """Owner, variable, image and trusted namespaces are those of the operator's configuration."""
    status, out, _ = template(
        pool(image=None),
        sets=[a_set("ml", "k"), a_set("foreign", "k", namespace="elsewhere")],
        owner="team/flowdeps",
        workPools=[
            {
                "name": "k*",
                "namespaces": ["flows"],
                "variable": "packages",
                "image": "registry.example.com/flows:2",
            }
        ],
    )
    assert status == 0
    merged = json.loads(out)
    found = find(merged)
    assert found is not None
    assert (found.owner, found.variable, found.keys) == ("team/flowdeps", "packages", ("ml",))
    image = merged["variables"]["properties"]["image"]
    assert image["default"] == "registry.example.com/flows:2"


def test_a_template_that_cannot_take_the_fragment_is_refused(template: Run) -> None:
    """The reason is the one that the set's condition would have, with what to do."""
    status, out, err = template(with_flow(name="mine"), sets=[a_set("ml", "k")])
    assert (status, out) == (1, "")
    assert err.startswith('flowdeps: work pool "k": NoPrefectJob: ')


@pytest.mark.parametrize(
    ("flags", "config", "image"),
    [
        (["--prefect", "3.8.8"], {}, "prefecthq/prefect:3.8.8-python3.11"),
        (["--prefect", "v3.8.8"], {}, "prefecthq/prefect:3.8.8-python3.11"),
        (["--prefect", "3.8.8"], {"workerPython": "3.13"}, "prefecthq/prefect:3.8.8-python3.13"),
        ([], {}, f"prefecthq/prefect:{metadata.version('prefect')}-python3.11"),
    ],
)
def test_without_a_default_image_runs_get_that_of_their_worker(
    template: Run, flags: list[str], config: Template, image: str
) -> None:
    """By the version that is given, else the one installed here, which is said."""
    pools = [{**OPEN[0], **config}]
    base = pool(image=None)
    status, out, err = template(base, *flags, sets=[a_set("ml", "k")], workPools=pools)
    assert status == 0
    assert json.loads(out)["variables"]["properties"]["image"]["default"] == image
    assert err.startswith(f'flowdeps: work pool "k": runs that name no image get {image}, ')
    assert ("give --prefect" in err) == (not flags)
    assert template(json.loads(out), "--remove")[1].strip() == json.dumps(base, indent=2)


def test_a_python_that_ignores_its_environment_is_told(template: Run) -> None:
    """Its runs would see no set, whatever they choose."""
    base = with_flow(command=["python", "-I", "-m", "prefect.engine"])
    status, _, err = template(base, sets=[a_set("ml", "k")])
    assert status == 0
    assert 'work pool "k": its command starts Python with -I, so that its runs see no set' in err
    assert template(pool(), sets=[a_set("ml", "k")])[2] == ""


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
def test_the_base_may_be_all_of_the_pool(
    template: Run, tmp_path: Path, write: Callable[[Any], str]
) -> None:
    """As `prefect work-pool inspect -o json` prints it, or several as the API lists them, or a
    template alone; in JSON or YAML."""
    sets, base = [a_set("ml", "k")], customised()
    wanted = json.loads(template(base, sets=sets)[1])
    inspected = {"name": "k", "type": "kubernetes", "base_job_template": base, "is_paused": False}
    for given in (base, inspected, [{**inspected, "name": "j"}, inspected]):
        (tmp_path / "given").write_text(write(given))
        status, out, err = template(base, "--base", "given", sets=sets)
        assert (status, err) == (0, "")
        assert json.loads(out) == wanted


def test_the_older_set_has_the_key_and_the_default(template: Run) -> None:
    """Of two sets with one key, or two defaults, the older counts, as in the operator; without
    times, names decide."""
    old = {"creationTimestamp": "2026-01-01T00:00:00Z"}
    new = {"creationTimestamp": "2026-02-01T00:00:00Z"}
    sets = [
        a_set("b", {"name": "k", "key": "x", "default": True}, **new),
        a_set("a", {"name": "k", "key": "x"}, {"name": "j", "default": True}, **old),
        a_set("c", {"name": "k", "default": True}, **new),
    ]
    for order in (sets, sets[::-1]):
        status, out, _ = template(pool(), sets=order)
        assert status == 0
        found = find(json.loads(out))
        assert found is not None
        assert found.keys == ("c", "x")
        schema = json.loads(out)["variables"]["properties"]["dependency_set"]
        assert "x: flows/a: pandas" in schema["description"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"creationTimestamp": "2026-01-01"},
        {"creationTimestamp": "nonsense"},
        {"creationTimestamp": 5},
        {"creationTimestamp": None},
        {"annotations": 5, "finalizers": 7, "labels": []},
        {"resourceVersion": 5, "uid": [], "generation": "x"},
    ],
)
def test_metadata_that_the_command_does_not_need_is_no_trouble(
    template: Run, metadata: dict[str, Any]
) -> None:
    """Files hold what `kubectl get` prints, and what people make of it."""
    sets = [a_set("ml", "k", **metadata), a_set("etl", "k")]
    status, _, err = template(pool(), sets=sets)
    assert (status, err) == (0, "")


def test_a_time_without_quotes_is_a_time(template: Run, tmp_path: Path) -> None:
    """YAML reads a bare time as a date; it counts like the text."""
    status, _, _ = template(pool(), sets=[a_set("ml", "k")])
    text = (tmp_path / "sets.yaml").read_text()
    bare = text.replace("name: ml", "name: ml\n  creationTimestamp: 2026-01-01T00:00:00Z")
    (tmp_path / "sets.yaml").write_text(bare)
    argv = [
        "template",
        "--pool",
        "k",
        "--base",
        "base.json",
        "sets.yaml",
        "--config",
        "config.yaml",
    ]
    assert main(argv) == status == 0


def test_the_same_set_twice_is_refused(template: Run) -> None:
    """Of two sets with one name, kubectl would keep one: which, the files must say."""
    status, _, err = template(pool(), sets=[a_set("ml", "k"), a_set("ml", "k", "j")])
    assert status == 1
    assert "document 2: metadata.name: " in err


def test_what_is_no_version_of_prefect_is_refused(template: Run) -> None:
    """It would become the image of all runs that name none."""
    with pytest.raises(SystemExit):
        template(prefect_template(), "--prefect", "latest", sets=[a_set("ml", "k")])


def test_a_pool_is_merged_whose_workers_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who may read pools alone, or asks a server without events, gets the template, and is told
    what its default image goes by."""

    class OfPoolsAlone:
        async def read(self, name: str) -> Pool:
            return Pool(name, "kubernetes", prefect_template())

        async def workers(self, _: Pool) -> None:
            raise PoolsError(Reason.PREFECT_UNAVAILABLE, "the Prefect API answered 500")

    @asynccontextmanager
    async def connect(_: str | None) -> AsyncIterator[OfPoolsAlone]:
        yield OfPoolsAlone()

    monkeypatch.delenv("FLOWDEPS_CONFIG", raising=False)
    monkeypatch.setattr(Pools, "connect", connect)
    (tmp_path / "sets.yaml").write_text(yaml.safe_dump(a_set("ml", "k", namespace=None)))
    assert main(["template", "--pool", "k", str(tmp_path / "sets.yaml")]) == 0
    captured = capsys.readouterr()
    assert "dependency_set" in json.loads(captured.out)["variables"]["properties"]
    assert "with the Prefect that is installed here; else give --prefect" in captured.err


def test_sets_without_a_namespace_are_those_of_default(template: Run) -> None:
    """As with kubectl, a manifest without a namespace is one of `default`."""
    _, out, _ = template(pool(), sets=[a_set("ml", "k", namespace=None)])
    schema = json.loads(out)["variables"]["properties"]["dependency_set"]
    assert "ml: default/ml: pandas" in schema["description"]
