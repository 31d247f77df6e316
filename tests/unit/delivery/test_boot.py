"""What a run's interpreter begins with: its image's own order, with the set in its place.

Each test installs by the install container's command and starts a program as the flow's container
does; what the set brings is put into its directory by hand.
"""

import json
from pathlib import Path

import pytest

from tests.unit.delivery.flow_images import KINDS, FlowImage, whole
from tests.unit.delivery.install_pod import Pod, bake, child


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_chooses_nothing_is_as_if_we_were_not_there(
    pod: Pod, tmp_path: Path, kind: str
) -> None:
    """Search path, modules, flags and all variables are the same, whatever the image is."""
    pod.choose(KINDS[kind](tmp_path), "none")
    assert pod.saw() == pod.saw(ours=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_behind_pythons_own_modules_and_before_the_images_packages(
    pod: Pod, tmp_path: Path, kind: str
) -> None:
    """Everything else on the path is where the image has it, and what the image runs as Python
    starts is run."""
    pod.choose(KINDS[kind](tmp_path))
    ours, own = pod.saw(), pod.saw(ours=False)
    site = str(pod.home / "site")
    assert [entry for entry in ours["path"] if entry != site] == own["path"]
    assert ours["path"][ours["path"].index(site) - 1].endswith("lib-dynload")
    assert ours["flags"] == own["flags"]
    changed = {"PYTHONPATH", "FLOWDEPS_BOOT"}
    assert ours["env"].items() >= {k: v for k, v in own["env"].items() if k not in changed}.items()


@pytest.mark.parametrize("given", ["", ":", "/srv", ":/srv", "src:/srv:"])
@pytest.mark.parametrize("chosen", ["none", "ml"])
def test_a_search_path_of_the_template_is_as_if_we_were_not_there(
    pod: Pod, tmp_path: Path, chosen: str, given: str
) -> None:
    """It takes the place of the image's, which it hides, and goes first."""
    pod.environment["PYTHONPATH"] = "/image"
    pod.choose(whole(tmp_path), chosen)
    led = f"{pod.home}/boot:{pod.home}/site" + (f":{given}" if given else "")
    ours, own = pod.saw(PYTHONPATH=led), pod.saw(ours=False, PYTHONPATH=given)
    if chosen == "none":
        assert ours == own
    assert [one for one in ours["path"] if one != f"{pod.home}/site"] == own["path"]


@pytest.mark.parametrize("chosen", ["none", "ml"])
@pytest.mark.parametrize("form", ["/srv:{}", "{}:/srv", "{}:"])
def test_a_script_of_the_image_may_add_to_the_search_path(
    pod: Pod, image: FlowImage, chosen: str, form: str
) -> None:
    """An entrypoint with PYTHONPATH=/srv:$PYTHONPATH."""
    pod.environment["PYTHONPATH"] = "/1::/2"
    pod.choose(image, chosen)
    ours = pod.saw(PYTHONPATH=form.format(pod.python_path))
    own = pod.saw(ours=False, PYTHONPATH=form.format("/1::/2"))
    assert [one for one in ours["path"] if one != f"{pod.home}/site"] == own["path"]


def test_code_of_the_image_goes_before_a_stray_module_of_the_set(
    pod: Pod, image: FlowImage, tmp_path: Path
) -> None:
    """A team's own utils, and a wheel that brings one by mistake."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/utils.py").touch()
    pod.environment["PYTHONPATH"] = str(tmp_path / "app")
    pod.choose(image)
    (pod.home / "site/utils.py").touch()
    assert pod.said("import utils; print(utils.__file__)") == f"{tmp_path}/app/utils.py"


def test_nothing_of_a_set_hides_pythons_own_modules(served: Pod) -> None:
    """Also what no list of names knows."""
    (served.home / "site/dataclasses.py").write_text("1 / 0\n")
    served.said("import dataclasses")


def test_a_set_goes_before_the_images_packages(served: Pod, image: FlowImage) -> None:
    """Where it is meant to; by import and by metadata."""
    bake(image.site_packages, "alpha", "1.0")
    bake(served.home / "site", "alpha", "2.0")
    code = "import alpha, importlib.metadata as m; print(alpha.__file__, m.version('alpha'))"
    assert served.said(code) == f"{served.home}/site/alpha/__init__.py 2.0"


def test_path_configuration_files_of_a_set_work(served: Pod, image: FlowImage) -> None:
    """Directories that they name come behind the set and before the image's packages; code in them
    runs, that of old namespaces too."""
    site = served.home / "site"
    for name in ("named", "of_code"):
        (site / name).mkdir()
    (site / "ns/sub").mkdir(parents=True)
    (site / "ns/sub/__init__.py").touch()
    (site / "a.pth").write_text("named\n/nonexistent\n")
    (site / "b.pth").write_text("import os; os.environ['RAN'] = 'b'\n")
    (site / "c-nspkg.pth").write_text(
        "import sys, types, os; p = os.path.join(sys._getframe(1).f_locals['sitedir'], 'ns'); "
        "m = sys.modules.setdefault('ns', types.ModuleType('ns')); "
        "m.__dict__.setdefault('__path__', []).append(p)\n"
    )
    seen = json.loads(
        served.said(
            "import json, os, sys, ns.sub\nprint(json.dumps([sys.path, os.environ['RAN']]))",
        )
    )
    at = seen[0].index(str(site))
    assert seen[0][at : at + 3] == [str(site), f"{site}/named", str(image.site_packages)]
    assert seen[1] == "b"


def test_programs_of_a_set_are_found_behind_those_of_the_image(served: Pod) -> None:
    """By what the flow starts, once however many interpreters are between."""
    scripts = served.home / "site/bin"
    scripts.mkdir()
    for name in ("only-there", "uv"):
        (scripts / name).write_text("#!/bin/sh\n")
        (scripts / name).chmod(0o755)
    inner = "import os; print(os.environ['PATH'])"
    code = "import shutil\nprint(shutil.which('only-there'), shutil.which('uv'))\n" + child(inner)
    first, path = served.said(code).splitlines()[:2]
    assert first == f"{scripts}/only-there {served.programs}/uv"
    assert path == f"{served.programs}:/usr/bin:/bin:{scripts}"


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"python": {}}'])
def test_whatever_fails_is_one_line_and_the_order_of_before(
    served: Pod, manifest: str | None
) -> None:
    """In each tree of processes."""
    bake(served.home / "site", "alpha", "1.0")
    (served.home / "manifest.json").unlink()
    if manifest is not None:
        (served.home / "manifest.json").write_text(manifest)
    done = served.flow("import alpha\n" + child("import alpha"))
    assert (done.returncode, done.stdout) == (0, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("flowdeps: warning: cannot arrange Python's path")


def test_an_interpreter_without_its_site_module_has_the_order_of_before(served: Pod) -> None:
    """python -S runs nothing of ours."""
    bake(served.home / "site", "alpha", "1.0")
    assert served.said(child("import alpha", "-S")) == ""


def test_a_working_directory_that_is_gone_is_no_failure(
    pod: Pod, image: FlowImage, tmp_path: Path
) -> None:
    """Relative entries of the image lead nowhere then."""
    pod.environment["PYTHONPATH"] = "src:"
    pod.choose(image)
    (tmp_path / "gone").mkdir()
    code = (
        "import os\n"
        f"os.chdir('{tmp_path}/gone'); os.rmdir('{tmp_path}/gone')\n"
        f"os.environ['PYTHONPATH'] = '{pod.python_path}'\n" + child("print('runs')")
    )
    assert pod.said(code) == "runs"
