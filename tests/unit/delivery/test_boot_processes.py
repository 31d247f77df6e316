"""A run has more than one interpreter, and more than one thing that begins in each.

Processes that it starts see the set, other interpreters do not, and other modules that Python runs
as it starts are run.
"""

import ast
import json
import venv
from pathlib import Path

import pytest

from tests.cluster import prefect_env
from tests.unit.delivery.flow_images import KINDS, FlowImage, virtual, whole
from tests.unit.delivery.install_pod import PYTHON, Pod, bake, child


def test_an_interpreter_that_a_flow_starts_sees_the_same(pod: Pod, image: FlowImage) -> None:
    """And those that this one starts, with more entries than the template leads to."""
    pod.environment["PYTHONPATH"] = "/1:/2:/3::/5:/6"
    pod.choose(image)
    path = "import json, sys; print(json.dumps(sys.path[1:]))"
    found = [
        json.loads(line)
        for line in pod.said(f"{path}\n{child(path)}\n{child(child(path))}").splitlines()
    ]
    assert len(found) == 3
    assert found[0] == found[1] == found[2]
    assert found[0][:6] == ["/1", "/2", "/3", str(pod.lock), "/5", "/6"]


@pytest.mark.parametrize("given", ["/1:src:/3::/5:/6", None])
@pytest.mark.parametrize("chosen", ["none", "ml"])
def test_another_interpreter_in_a_process_sees_the_same(
    pod: Pod, image: FlowImage, chosen: str, given: str | None
) -> None:
    """It begins with the path that the process was given, and with the variables of now."""
    if given is not None:
        pod.environment["PYTHONPATH"] = given
    pod.choose(image, chosen)
    path = "import json, os, sys; print(json.dumps([sys.path, os.environ.get('PYTHONPATH')]))"
    code = (
        "try:\n    import _interpreters as interpreters\nexcept ImportError:\n"
        "    import _xxsubinterpreters as interpreters\n"
        f"{path}\nsys.stdout.flush()\ninterpreters.run_string(interpreters.create(), {path!r})\n"
    )
    ours, own = (
        [json.loads(line) for line in pod.said(code, ours=ours).splitlines()]
        for ours in (True, False)
    )
    assert ours[0][1] == ours[1][1]
    for (seen, _), (expected, _) in zip(ours, own, strict=True):
        assert [one for one in seen if one != f"{pod.home}/site"] == expected
    assert ours[1][0] == ours[0][0][-len(ours[1][0]) :]


def test_a_pool_of_processes_sees_the_same(served: Pod) -> None:
    """As multiprocessing and Dask's workers begin: spawned, with the parent's path."""
    bake(served.home / "site", "alpha", "1.0", modules={"alpha.py": "def f(x): return x + 1\n"})
    code = (
        "import alpha\nfrom concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(1, get_context('spawn')) as pool:\n"
        "        print(pool.submit(alpha.f, 1).result())\n"
    )
    assert served.said(code) == "2"


@pytest.mark.parametrize("all_entries", [True, False])
def test_the_process_that_prefect_starts_for_a_flow_sees_the_same(
    pod: Pod, tmp_path: Path, *, all_entries: bool
) -> None:
    """By Prefect's own code, which makes PYTHONPATH of entries of sys.path: of all, or of those
    that a pull step has added. The set is not before Python's own modules."""
    image = virtual(tmp_path)
    [packages] = prefect_env.bin_directory().parent.glob("lib/python*/site-packages")
    (image.site_packages / "prefect.pth").write_text(f"{packages}\n")
    pod.environment |= {"PYTHONPATH": "/app:src", "PREFECT_HOME": str(tmp_path / "prefect")}
    pod.choose(image)
    (pod.home / "site/more").mkdir()
    (pod.home / "site/a.pth").write_text("more\n")
    path = "import json, os, sys; print(json.dumps([sys.path, os.environ['PYTHONPATH']]))"
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom types import SimpleNamespace\n"
        "from prefect.runner._workspace_starter import workspace_environment\n"
        "workspace = SimpleNamespace(working_directory=Path('/work'), environment=os.environ,\n"
        f"    sys_path=sys.path if {all_entries} else ['/pulled'])\n"
        "environment = workspace_environment(workspace)\n"
        + child(path, "-P", environment="environment")
    )
    seen, given = json.loads(pod.said(code))
    assert seen[0] == "/work"
    site = str(pod.home / "site")
    at = seen.index(site)
    assert seen[at - 1].endswith("lib-dynload")
    assert seen[at : at + 3] == [site, f"{site}/more", str(image.site_packages)]
    assert seen.index("/app") < seen.index(f"{pod.lock}/src") < at
    assert not [one for one in seen[: at - 1] if one.startswith(str(pod.home))]
    assert given.startswith(f"{pod.home}/boot:{site}:/work:")


def test_what_python_would_run_as_it_starts_is_never_run_of_a_set(served: Pod) -> None:
    """Neither in its directory nor where its .pth files lead."""
    for directory in (served.home / "site", served.home / "site/more"):
        directory.mkdir(exist_ok=True)
        for name in ("sitecustomize", "usercustomize"):
            (directory / f"{name}.py").write_text("print(__file__)\n")
    (served.home / "site/a.pth").write_text("more\n")
    assert served.said("") == ""


def test_a_sitecustomize_of_the_image_that_fails_does_so_as_without_us(
    pod: Pod, image: FlowImage
) -> None:
    """Python says so and goes on."""
    (image.site_packages / "sitecustomize.py").write_text("1 / 0\n")
    pod.choose(image)
    ours, own = pod.flow("print(1)"), pod.flow("print(1)", ours=False)
    assert ours.stdout == own.stdout == "1\n"
    assert "Error in sitecustomize" in own.stderr
    assert ours.stderr.splitlines()[-1] == own.stderr.splitlines()[-1]


@pytest.mark.parametrize("chosen", ["none", "ml"])
def test_a_sitecustomize_that_goes_first_and_hands_on_changes_nothing(
    pod: Pod, image: FlowImage, tmp_path: Path, chosen: str
) -> None:
    """As ddtrace's does: it takes its directory off the path and imports the next."""
    injected = tmp_path / "injected"
    injected.mkdir()
    (injected / "sitecustomize.py").write_text(
        "import os, sys\nhere = os.path.dirname(__file__)\n"
        "sys.path = [one for one in sys.path if one != here]\n"
        "this = sys.modules.pop('sitecustomize')\n"
        "import sitecustomize\nos.environ['INJECTED'] = '1'\n"
    )
    pod.environment["PYTHONPATH"] = ":/app"
    pod.choose(image, chosen)
    ours = pod.saw(PYTHONPATH=f"{injected}:{pod.python_path}")
    own = pod.saw(ours=False)
    assert [one for one in ours["path"] if one != f"{pod.home}/site"] == own["path"]
    assert ours["env"]["INJECTED"] == "1"


def test_a_sitecustomize_that_does_not_hand_on_leaves_the_order_of_before(
    pod: Pod, image: FlowImage, tmp_path: Path
) -> None:
    """In a virtual environment: the set goes first, then what the image has."""
    (tmp_path / "injected").mkdir()
    (tmp_path / "injected/sitecustomize.py").touch()
    pod.environment["PYTHONPATH"] = "/app"
    pod.choose(image)
    bake(pod.home / "site", "alpha", "1.0")
    path = f"{tmp_path}/injected:{pod.python_path}"
    seen = json.loads(
        pod.said("import json, sys, alpha; print(json.dumps(sys.path))", PYTHONPATH=path)
    )
    assert seen[1:5] == [
        f"{tmp_path}/injected",
        *(f"{pod.home}/{name}" for name in ("boot", "site", "image/0")),
    ]


@pytest.mark.parametrize("chosen", ["none", "ml"])
def test_a_sitecustomize_that_does_not_hand_on_changes_nothing_where_there_is_a_user_site(
    pod: Pod, tmp_path: Path, chosen: str
) -> None:
    """Python runs usercustomize there in any case, and ours goes on with the image's."""
    image = KINDS["customized"](tmp_path)
    (tmp_path / "injected").mkdir()
    (tmp_path / "injected/sitecustomize.py").write_text(
        "import os, sys\nsys.path.append('/sitecustomize')\nos.environ['sitecustomize'] = ''\n"
    )
    pod.environment["PYTHONPATH"] = "/app"
    pod.choose(image, chosen)
    ours = pod.saw(PYTHONPATH=f"{tmp_path}/injected:{pod.python_path}")
    own = pod.saw(ours=False, PYTHONPATH=f"{tmp_path}/injected:/app")
    assert [one for one in ours["path"] if one != f"{pod.home}/site"] == own["path"]
    assert ours["env"]["usercustomize"] == own["env"]["usercustomize"]
    if chosen == "none":
        assert ours == own


def test_another_interpreter_has_its_own_packages_and_one_line_says_so(
    pod: Pod, image: FlowImage, tmp_path: Path
) -> None:
    """Another virtual environment, as `uv run` makes one; once however many it starts."""
    pod.environment["PYTHONPATH"] = "/app"
    pod.choose(image)
    venv.create(tmp_path / "other", symlinks=True)
    path = "import json, sys; print(json.dumps(sys.path[1:]))"
    pod.programs = tmp_path / "other/bin"
    done = pod.flow(f"{path}\n{child(path)}")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == second == pod.saw(ours=False)["path"][1:]
    assert first[0] == "/app"
    assert done.stderr.splitlines() == [
        f"flowdeps: {pod.programs}/python3 (Python {PYTHON}) goes without the packages of "
        f"team-a/ml: they are for the Python {PYTHON} of {image.programs.parent}, which is first "
        "on the image's PATH"
    ]


def test_another_interpreter_of_a_run_that_chooses_nothing_says_nothing(
    pod: Pod, image: FlowImage, tmp_path: Path
) -> None:
    """Nothing was installed for anybody."""
    pod.choose(image, "none")
    venv.create(tmp_path / "other", symlinks=True)
    pod.programs = tmp_path / "other/bin"
    assert pod.saw() == pod.saw(ours=False)


def test_an_interpreter_older_than_any_lock_is_left_alone(served: Pod) -> None:
    """Its syntax is that of Python 3.6: what runs a tool of the image may be as old."""
    ast.parse((served.home / "boot/sitecustomize.py").read_text(), feature_version=(3, 6))


def test_the_same_interpreter_by_another_name_is_the_same(
    served: Pod, image: FlowImage, tmp_path: Path
) -> None:
    """A link to its environment."""
    (tmp_path / "link").symlink_to(image.programs.parent)
    bake(served.home / "site", "alpha", "1.0")
    served.programs = tmp_path / "link/bin"
    assert served.said("import alpha") == ""


def test_an_interpreter_with_a_home_of_its_own_is_the_same(pod: Pod, tmp_path: Path) -> None:
    """PYTHONHOME has no effect on the isolated interpreter that installs."""
    image = whole(tmp_path)
    pod.environment["PYTHONHOME"] = str(tmp_path / "prefix")
    (tmp_path / "prefix").symlink_to(image.programs.parent)
    pod.choose(image)
    bake(pod.home / "site", "alpha", "1.0")
    assert pod.said("import alpha") == ""
