"""A cache on a volume: runs of one lock and image install once, and nothing half made is used.

The install script runs in processes of its own, with a directory as the volume.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.index import Index
from tests.unit.delivery import install_pod
from tests.unit.delivery.flow_images import virtual
from tests.unit.delivery.install_pod import COMMAND, Pod, Step, at, child, look_at_lock, pin

ME = f"user-{os.geteuid()}"
LONG_AGO = time.time() - 8 * 24 * 3600
TOLD = "import alpha; print(alpha.__file__)"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return virtual(tmp_path_factory.mktemp("image")).programs


@pytest.fixture
def pod(programs: Path, tmp_path: Path) -> Pod:
    """A run in an image with uv."""
    for name in ("lock", "home"):
        (tmp_path / name).mkdir()
    return Pod(
        programs=programs,
        lock=tmp_path / "lock",
        home=tmp_path / "home",
        secret=tmp_path / "secret",
    )


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    directory = tmp_path / "volume"
    directory.mkdir()
    return directory


@pytest.fixture
def cached(pod: Pod, index: Index, volume: Path) -> Pod:
    """A run of a pool with a cache, which has nothing yet."""
    pod.environment["FLOWDEPS_CACHE"] = str(volume)
    lines = [pin(index, "alpha", "1.0", modules={"alpha.py": "x = 1\n", "more/deep.py": "y = 2\n"})]
    pod.write(*lines, index=at(index), image="flows:1")
    return pod


def ok(pod: Pod) -> Step:
    outcome = pod.run()
    assert outcome.code == 0, outcome.lines
    return outcome


def entries(volume: Path) -> list[str]:
    return sorted(one.name for one in (volume / ME).iterdir() if one.name.isalnum())


def entry(volume: Path) -> Path:
    [name] = entries(volume)
    return volume / ME / name


def temporary(volume: Path) -> list[Path]:
    return list((volume / ME).glob("*.tmp"))


def downloads(index: Index) -> list[str]:
    return [one for one in index.requests if one.endswith(".whl")]


def is_from_cache(pod: Pod) -> bool:
    return (pod.home / "site").is_symlink()


def with_script(pod: Pod, old: str, new: str) -> subprocess.Popen[str]:
    """Start the install script with another text in one place."""
    assert COMMAND[-1].count(old) == 1, old
    return subprocess.Popen(
        [*COMMAND[:-1], COMMAND[-1].replace(old, new)],
        env={
            **pod.image_environment,
            "FLOWDEPS_SET": "ml",
            "FLOWDEPS_SOURCE": str(pod.lock),
            "FLOWDEPS_HOME": str(pod.home),
            "FLOWDEPS_CREDENTIALS": str(pod.secret),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate()
    assert "Traceback" not in output
    return output


def another(pod: Pod, number: int) -> Pod:
    """One more run, with a volume of its own and all else the same."""
    home = pod.home.with_name(f"home-{number}")
    home.mkdir()
    return Pod(
        programs=pod.programs,
        lock=pod.lock,
        home=home,
        secret=pod.secret,
        environment=dict(pod.environment),
    )


def test_the_second_run_asks_no_index(cached: Pod, index: Index, volume: Path) -> None:
    """It has the same packages, by a link, with bytecode, and they are its own by their path."""
    first = ok(cached)
    files = sorted(str(one.relative_to(first.site)) for one in first.site.rglob("*"))
    assert first.last.startswith("flowdeps: installed 1 package of ml")
    assert cached.said(TOLD) == str(cached.home / "site/alpha.py")
    index.down()
    second = ok(cached)
    assert "from the cache" in second.last
    assert is_from_cache(cached)
    kept = entry(volume) / "site"
    assert sorted(str(one.relative_to(kept)) for one in kept.rglob("*")) == files
    assert any(one.endswith(".pyc") for one in files)
    assert cached.said(TOLD) == str(cached.home / "site/alpha.py")
    assert cached.said("import alpha; print(alpha.__cached__)").endswith(".pyc")


def test_the_bytecode_of_the_cache_is_used(cached: Pod, volume: Path) -> None:
    """No source is looked at, so it need not be right."""
    ok(cached)
    (entry(volume) / "site/alpha.py").write_text("x = 'source'\n")
    ok(cached)
    assert cached.said("import alpha; print(alpha.x)") == "1"


def test_runs_that_start_at_once_install_once(cached: Pod, index: Index, volume: Path) -> None:
    """One asks the index, the others wait for it."""
    pods = [another(cached, number) for number in range(4)]
    runs = [with_script(pod, "CACHE_FORMAT = 1", "CACHE_FORMAT = 1 ") for pod in pods]
    outputs = [said(one) for one in runs]
    assert [one.returncode for one in runs] == [0] * 4, outputs
    assert len(downloads(index)) == 1
    assert sum("from the cache" in one for one in outputs) == 3
    assert len(entries(volume)) == 1
    assert temporary(volume) == []
    for pod in pods:
        assert pod.said("import alpha; print(alpha.x)") == "1"


# Where a maker is killed: before the text, and what there is of the entry then.
STEPS = [
    ("cache.make_room(site)", False),
    ("compile_all([site])\n        cache.keep", False),
    ('copy_synced(site, made / "site")', False),
    ('about = {"madeFrom": self.made_from, "names"', False),
    ("sync(written)", False),
    ("made.rename(self.entry)", False),
    ("sync(self.home)", True),
]


@pytest.mark.parametrize(("step", "there"), STEPS, ids=[str(n) for n in range(len(STEPS))])
def test_a_maker_that_is_killed_leaves_nothing_half_made(
    cached: Pod, index: Index, volume: Path, step: str, there: bool
) -> None:
    """Its lock is free at once; the next one removes what it left and makes the entry, or has it
    where it was complete."""
    killed = with_script(cached, step, f"os.kill(os.getpid(), 9); {step}")
    said(killed)
    assert killed.returncode == -signal.SIGKILL
    assert len(entries(volume)) == int(there)
    before = len(downloads(index))
    after = ok(another(cached, 1))
    assert ("from the cache" in after.last) is there
    assert len(downloads(index)) - before == int(not there)
    assert temporary(volume) == []
    modules = sorted(one.stem for one in (entry(volume) / "site").rglob("*.py"))
    assert modules == ["alpha", "deep"]


def test_all_of_an_entry_is_on_the_disk_before_it_has_its_name(cached: Pod, volume: Path) -> None:
    """Files, then the directories that name them, then the entry, and last the name of that."""
    log = volume.parent / "log"
    note = (
        f"os.write(os.open({str(log)!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY),"
        " (os.readlink(f'/proc/self/fd/{file}') + '\\n').encode()); os.fsync(file)"
    )
    run = with_script(cached, "os.fsync(file)", note)
    assert "flowdeps: installed" in said(run)
    synced = log.read_text().splitlines()
    made = next(one for one in synced if one.endswith(".tmp"))
    assert synced[-1] == str(volume / ME)
    assert synced[-2] == made
    assert synced[-3] == f"{made}/manifest.json"
    found = {str(one.relative_to(entry(volume))) for one in entry(volume).rglob("*")} | {"."}
    assert {os.path.relpath(one, made) for one in synced[:-1]} == found
    for number, one in enumerate(synced[:-3]):
        assert not any(below.startswith(f"{one}/") for below in synced[number + 1 :]), one


FULL = [
    ("shutil.copyfile(source, target, follow_symlinks=False)", "raise OSError(errno.ENOSPC, 'x')"),
    ("sync(target)", "raise OSError(errno.EDQUOT, 'x')"),
    ('written.write_text(json.dumps(about), "utf-8")', "raise OSError(errno.ENOSPC, 'x')"),
    ("volume.f_bavail * volume.f_frsize <", "0 <"),
]


@pytest.mark.parametrize(("step", "fault"), FULL)
def test_a_full_volume_is_one_line_and_the_run_goes_on(
    cached: Pod, index: Index, volume: Path, step: str, fault: str
) -> None:
    """It has what it installed; of the entry nothing is left, and the next one tries again."""
    run = with_script(cached, step, fault)
    [warning, last] = said(run).splitlines()
    assert run.returncode == 0
    assert warning == (
        "flowdeps: warning: the cache is not used, so this run installs by itself: it has no space "
        "left: make the volume larger, or lower cache.unusedFor of the pool"
    )
    assert last.startswith("flowdeps: installed 1 package of ml")
    assert cached.said("import alpha; print(alpha.x)") == "1"
    assert not is_from_cache(cached)
    assert (entries(volume), temporary(volume)) == ([], [])
    ok(cached)
    assert len(downloads(index)) == 2
    assert len(entries(volume)) == 1


def test_an_installation_that_fails_leaves_nothing(cached: Pod, index: Index, volume: Path) -> None:
    """Its line is the one that it has without a cache, and the next run installs."""
    index.down()
    outcome = cached.run()
    assert outcome.code == 1
    assert "cannot be reached" in outcome.last
    assert (entries(volume), temporary(volume)) == ([], [])


def test_who_waits_for_too_long_installs_by_itself(cached: Pod, index: Index, volume: Path) -> None:
    """A maker that hangs holds up nobody for good."""
    hangs = with_script(
        cached, "cache.make_room(site)", "print('made', flush=True); time.sleep(600)"
    )
    assert hangs.stdout is not None
    assert hangs.stdout.readline() == "made\n"
    run = with_script(
        another(cached, 1), "LONGEST_WAIT, CACHE_PAUSE = 180.0", "LONGEST_WAIT, CACHE_PAUSE = 0.5"
    )
    output = said(run)
    hangs.kill()
    hangs.communicate()
    assert run.returncode == 0
    assert "waits for another run" in output
    assert "another run has been filling it for too long" in output
    assert len(downloads(index)) == 2
    assert entries(volume) == []


@pytest.mark.parametrize("what", ["lock", "image", "python"])
def test_another_lock_or_image_has_another_entry(
    cached: Pod, index: Index, volume: Path, baked: Path, what: str, tmp_path: Path
) -> None:
    """What is compared is what the packages depend on; the first one stays."""
    line = (cached.lock / "requirements.txt").read_text().splitlines()[0]
    install_pod.bake(baked, "six", "1.0")
    ok(cached)
    first = entries(volume)
    if what == "lock":
        cached.write(line, pin(index, "beta", "1.0"), index=at(index))
    elif what == "image":
        cached.write("# image: six==1.0", line, packages=1, index=at(index))
    else:
        cached.programs = virtual(tmp_path / "other").programs
    outcome = ok(cached)
    assert "from the cache" not in outcome.last
    assert len(entries(volume)) == 2
    assert set(first) < set(entries(volume))


def test_what_does_not_matter_to_packages_shares_them(cached: Pod) -> None:
    """The key under which the set is offered, and the name of its image."""
    ok(cached)
    about = json.loads((cached.lock / "lock.json").read_text())
    (cached.lock / "lock.json").write_text(json.dumps({**about, "key": "x", "image": "flows:2"}))
    assert "from the cache" in ok(cached).last
    assert json.loads((cached.home / "manifest.json").read_text())["image"] == "flows:2"


def damage_manifest(entry: Path) -> None:
    about = json.loads((entry / "manifest.json").read_text())
    about["madeFrom"]["lock"] = "sha256:" + "0" * 64
    (entry / "manifest.json").write_text(json.dumps(about))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "another manifest": damage_manifest,
    "no JSON": lambda entry: (entry / "manifest.json").write_text("{"),
    "a list": lambda entry: (entry / "manifest.json").write_text("[]"),
    "no manifest": lambda entry: (entry / "manifest.json").unlink(),
    "no packages": lambda entry: shutil.rmtree(entry / "site"),
    "a package less": lambda entry: shutil.rmtree(entry / "site/more"),
}


def test_an_entry_that_is_not_whole_is_made_anew(cached: Pod, index: Index, volume: Path) -> None:
    """It is never used, and is in nobody's way."""
    ok(cached)
    for number, (what, damage) in enumerate(DAMAGES.items()):
        damage(entry(volume))
        assert "from the cache" not in ok(cached).last, what
        assert len(downloads(index)) == number + 2
    assert "from the cache" in ok(cached).last
    assert temporary(volume) == []
    assert cached.said("import alpha, more.deep; print(alpha.x, more.deep.y)") == "1 2"


def test_what_another_user_made_is_not_used(cached: Pod, volume: Path) -> None:
    """Each has a directory of its own, and who took that of another is found out."""
    if os.geteuid():
        pytest.skip("only root gives files away")
    ok(cached)
    os.chown(volume / ME, 12345, -1)
    outcome = ok(cached)
    assert f"{ME} belongs to user 12345" in outcome.lines[0]
    assert not is_from_cache(cached)
    shutil.rmtree(volume / ME)
    (volume / "elsewhere").mkdir()
    (volume / ME).symlink_to(volume / "elsewhere")
    assert "belongs to user" in ok(cached).lines[0]
    assert list((volume / "elsewhere").iterdir()) == []


def test_a_volume_that_cannot_be_written_is_one_line(cached: Pod, volume: Path) -> None:
    """As one that root owns, in a pod of another user; what is there already is used anyway."""
    volume.chmod(0o555)
    outcome = ok(cached)
    assert "may not write to it" in outcome.lines[0]
    assert not is_from_cache(cached)
    volume.chmod(0o755)
    ok(cached)
    for one in (volume, volume / ME):
        one.chmod(0o555)
    assert "from the cache" in ok(cached).last
    for one in (volume, volume / ME):
        one.chmod(0o755)


def test_a_run_in_another_namespace_than_its_flow_sees_installs_by_itself(
    cached: Pod, volume: Path
) -> None:
    """Its flow could not read what the install container has in the directory of its own."""
    cached.environment["FLOWDEPS_CACHE_NAMESPACE"] = "elsewhere"
    outcome = ok(cached)
    assert "it is for runs in namespace elsewhere" in outcome.lines[0]
    assert not is_from_cache(cached)
    assert list(volume.iterdir()) == []
    cached.environment["FLOWDEPS_CACHE_NAMESPACE"] = "jobs"
    ok(cached)
    assert "from the cache" in ok(cached).last


def test_a_run_with_extras_installs_by_itself(cached: Pod, index: Index, volume: Path) -> None:
    """Beside its lock, and nothing of that is ever in the cache."""
    index.add("beta", "1.0")
    ok(cached)
    before = sorted(volume.rglob("*"))
    cached.environment["FLOWDEPS_EXTRAS"] = "beta"
    outcome = ok(cached)
    assert {"alpha.py", "beta"} <= set(outcome.installed)
    assert not is_from_cache(cached)
    assert sorted(volume.rglob("*")) == before


def test_a_run_that_chooses_nothing_looks_at_no_cache(cached: Pod, volume: Path) -> None:
    """Nor does one whose lock has no packages."""
    assert cached.run("none").code == 0
    cached.write(packages=0)
    ok(cached)
    assert list(volume.iterdir()) == []


def age(entry: Path, since: float = LONG_AGO) -> None:
    os.utime(entry / "manifest.json", (since, since))


def other_lock(pod: Pod, index: Index, name: str) -> Step:
    pod.write(pin(index, name, "1.0"), index=at(index))
    return ok(pod)


def test_what_nobody_used_for_long_goes_when_something_new_is_made(
    cached: Pod, index: Index, volume: Path
) -> None:
    """With its lock, and what those left that were killed. What was used lately stays."""
    ok(cached)
    unused = entry(volume)
    age(unused)
    other_lock(cached, index, "beta")
    [used] = entries(volume)
    assert used != unused.name
    orphan = volume / ME / f"{'a' * 64}.00.tmp"
    orphan.mkdir()
    other_lock(cached, index, "gamma")
    assert used in entries(volume)
    assert len(entries(volume)) == 2
    assert temporary(volume) == []
    assert sorted(one.stem for one in (volume / ME).glob("*.lock")) == entries(volume)


def test_a_start_counts_as_a_use(cached: Pod, index: Index, volume: Path) -> None:
    """Then it is not removed."""
    ok(cached)
    first = entry(volume)
    age(first)
    ok(cached)
    other_lock(cached, index, "beta")
    assert first.name in entries(volume)


@contextmanager
def flow_of(pod: Pod, code: str) -> Iterator[subprocess.Popen[str]]:
    """A flow that has said that it runs, and waits for a line."""
    program = pod.programs / "a-long-flow"
    program.write_text(f"print('runs', flush=True)\ninput()\n{code}\n")
    process = subprocess.Popen(
        [pod.programs / "python3", program],
        env={**pod.image_environment, "PYTHONPATH": pod.python_path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "runs\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_a_live_run_uses_is_not_removed(cached: Pod, index: Index, volume: Path) -> None:
    """However long ago it began: each of its interpreters holds it. Once it has ended, it goes."""
    ok(cached)
    first = entry(volume)
    ok(cached)
    age(first)
    with flow_of(cached, "import alpha; print(alpha.x)") as flow:
        other_lock(another(cached, 1), index, "beta")
        assert first.exists()
        assert flow.communicate("\n")[0] == "1\n"
    age(first)
    other_lock(another(cached, 2), index, "gamma")
    assert not first.exists()


def test_a_child_of_a_run_holds_it_too(cached: Pod, volume: Path) -> None:
    """Prefect runs the flow in a process of its own."""
    ok(cached)
    first = entry(volume)
    ok(cached)
    locks = look_at_lock(first / "manifest.json")
    unheld = subprocess.run(
        [sys.executable, "-c", locks], capture_output=True, text=True, check=True
    )
    assert unheld.stdout == "free\n"
    assert cached.said(child(locks)) == "held"


def test_a_run_whose_packages_are_gone_ends_with_one_line(cached: Pod, volume: Path) -> None:
    """Somebody else removed them, or the cache is not mounted; not with a missing module."""
    ok(cached)
    ok(cached)
    shutil.rmtree(volume / ME)
    done = cached.flow(TOLD)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("flowdeps: the packages of team-a/ml are in the cache no more")


def test_the_number_of_entries_is_bounded(cached: Pod, index: Index, volume: Path) -> None:
    """Where all were used lately, none goes, and none is made: the run installs by itself."""
    cached.environment["FLOWDEPS_CACHE_ENTRIES"] = "1"
    ok(cached)
    first = entry(volume)
    outcome = other_lock(cached, index, "beta")
    assert "it has 1 entries, and all were used lately" in outcome.lines[0]
    assert entry(volume) == first
    age(first)
    other_lock(cached, index, "gamma")
    assert entry(volume) != first


def test_a_restarted_pod_begins_again(cached: Pod, volume: Path) -> None:
    """A link of an earlier start is taken away, and nothing behind it."""
    ok(cached)
    ok(cached)
    before = sorted(volume.rglob("*"))
    ok(cached)
    assert is_from_cache(cached)
    assert cached.run("none").code == 0
    assert not is_from_cache(cached)
    assert sorted(volume.rglob("*")) == before


def test_pip_fills_a_cache_as_uv_does(cached: Pod, images: dict[str, Path], volume: Path) -> None:
    """With bytecode, which pip has made of its own."""
    cached.programs = images["pip"]
    ok(cached)
    assert list((entry(volume) / "site").rglob("*.pyc"))
    assert "from the cache" in ok(cached).last
