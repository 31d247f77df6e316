"""`flowdeps lock`, with the real uv against a local index."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from flowdeps.locks.lock import parse_lock
from flowdeps.locks.size import size_of
from tests.cluster.index import Index
from tests.integration.cli.support import Shell, set_text

BOTH = ("linux/amd64", "linux/arm64")


_OPEN = {"index": {"allowedNetworks": ["127.0.0.0/8"]}}
"""Of a configuration: indexes may be on this machine."""


@pytest.fixture
def stocked(index: Index) -> Index:
    """beta needs alpha; alpha has two versions."""
    index.add("alpha", "1.0")
    index.add("alpha", "1.1")
    index.add("beta", "2.0", requires=["alpha"])
    return index


def test_the_lock_is_on_standard_output_and_the_talk_on_standard_error(
    shell: Shell, stocked: Index
) -> None:
    """What is printed is a lock, byte for byte; how it went is said beside it."""
    shell.write("set.yaml", set_text(["beta"], index=stocked.url))
    done = shell.flowdeps("lock", "set.yaml")
    assert done.status == 0
    lock = parse_lock(done.out)
    assert lock.render() == done.out
    assert [f"{pin.name}=={pin.version}" for pin in lock.pins] == ["alpha==1.1", "beta==2.0"]
    assert set(dict(lock.sizes)) == {"alpha", "beta"}
    told = f"2 pins, {size_of(lock)}, {lock.digest}"
    assert done.err.splitlines() == ["resolving 1 requirement …", told]


def test_what_uv_passes_over_is_told_in_the_lock_and_in_the_diff(
    shell: Shell, stocked: Index
) -> None:
    """On standard error, as comments of the lock, and where two locks are compared."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    assert shell.flowdeps("lock", "set.yaml", "--output", "old.lock").status == 0
    stocked.add("alpha", "1.2", requires_python="<3.10")
    shell.write("set.yaml", set_text(["alpha[fast]"], index=stocked.url))
    done = shell.flowdeps("lock", "set.yaml", "--previous", "old.lock", "--output", "new.lock")
    notes = ["alpha 1.1 has no extra fast: correct it, or leave it out"]
    assert done.err.splitlines()[1:-1] == [f"note: {one}" for one in notes]
    shell.write("set.yaml", set_text(["alpha[fast]"], index=stocked.url))
    done = shell.flowdeps("lock", "set.yaml", "--output", "new.lock")
    notes.append("alpha 1.2 says that it is not for Python 3.11 (<3.10), so alpha 1.1 was taken")
    assert done.err.splitlines()[1:-1] == [f"note: {one}" for one in notes]
    assert [one for one in shell.read("new.lock").splitlines() if "note" in one] == [
        f"# note: {one}" for one in notes
    ]
    diff = shell.flowdeps("diff", "old.lock", "new.lock")
    assert diff.out.splitlines() == ["no change", *(f"note: {one}" for one in notes)]


def test_an_empty_file_is_no_image(shell: Shell, stocked: Index) -> None:
    """`docker run … > image.json` leaves one where it fails, also with --python."""
    text = set_text(["alpha"], index=stocked.url).replace(
        "python: {version: \"3.11\", platforms: ['linux/amd64']}", "python: {image: flows}"
    )
    shell.write("set.yaml", text)
    shell.write("image.json", "\n")
    for more in ((), ("--python", "3.11")):
        done = shell.flowdeps("lock", "set.yaml", "--image-packages", "image.json", *more)
        assert done.status == 1
        assert "image.json: empty: the command that should have written it failed" in done.err


def test_the_same_set_gives_the_same_bytes(shell: Shell, stocked: Index) -> None:
    """A lock in a pull request changes only with what it locks."""
    shell.write("set.yaml", set_text(["beta", "alpha"], index=stocked.url, platforms=BOTH))
    shell.write("other.yaml", set_text(["alpha", "beta"], index=stocked.url, platforms=BOTH[::-1]))
    first, second = (shell.flowdeps("lock", name) for name in ("set.yaml", "other.yaml"))
    assert first.status == second.status == 0
    assert first.out == second.out


def test_previous_pins_stay_and_a_new_lock_moves_them(shell: Shell, index: Index) -> None:
    """--previous: what is still allowed keeps its version; without it the newest is taken."""
    index.add("alpha", "1.0")
    shell.write("set.yaml", set_text(["alpha"], index=index.url))
    assert shell.flowdeps("lock", "set.yaml", "--output", "ml.lock").out == ""
    index.add("alpha", "1.1")
    index.add("beta", "2.0", requires=["alpha"])
    shell.write("set.yaml", set_text(["alpha", "beta"], index=index.url))
    kept = shell.flowdeps("lock", "set.yaml", "--previous", "ml.lock", "--output", "ml.lock")
    assert (kept.status, kept.out) == (0, "")
    assert "alpha==1.0 " in shell.read("ml.lock")
    assert "beta==2.0 " in shell.read("ml.lock")
    assert "alpha==1.1 " in shell.flowdeps("lock", "set.yaml").out


def test_a_set_from_standard_input_is_locked(shell: Shell, stocked: Index) -> None:
    """`-` reads the set, so that `kubectl get fds ml -o yaml` can be piped in."""
    text = set_text(["alpha"], index=stocked.url)
    done = shell.flowdeps("lock", "-", stdin=text)
    assert done.status == 0
    assert "alpha==1.1 " in done.out
    assert "stdin" in shell.flowdeps("lock", "-", stdin="a: b: c").err


def test_the_index_of_the_configuration_holds_for_sets_that_name_none(
    shell: Shell, stocked: Index
) -> None:
    """As in the operator; by --config or FLOWDEPS_CONFIG."""
    shell.write("set.yaml", set_text(["alpha"]))
    shell.write("config.yaml", yaml.safe_dump({"index": {"url": stocked.url}}))
    by_flag = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    by_variable = shell.flowdeps("lock", "set.yaml", FLOWDEPS_CONFIG="config.yaml")
    assert by_flag.status == by_variable.status == 0
    assert by_flag.out == by_variable.out
    assert "alpha==1.1 " in by_flag.out


def test_requirements_that_cannot_be_met_end_with_uvs_reason(shell: Shell, stocked: Index) -> None:
    """Exit status 1, nothing on standard output, the file as it was, and why in uv's words."""
    shell.write("set.yaml", set_text(["beta", "alpha<1"], index=stocked.url))
    shell.write("ml.lock", "kept")
    done = shell.flowdeps("lock", "set.yaml", "--output", "ml.lock")
    assert (done.status, done.out) == (1, "")
    assert "flowdeps: Unsatisfiable: " in done.err
    assert "alpha" in done.err
    assert shell.read("ml.lock") == "kept"


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("never-published", "Unsatisfiable"),
        ("only-source", "Unsatisfiable"),
    ],
)
def test_each_way_to_fail_is_told(
    shell: Shell, stocked: Index, requirement: str, reason: str
) -> None:
    """A package that the index lacks, and one without wheels, are named."""
    stocked.add_sdist("only-source", "1.0")
    shell.write("set.yaml", set_text([requirement], index=stocked.url))
    done = shell.flowdeps("lock", "set.yaml")
    assert done.status == 1
    assert requirement in done.err
    assert any(f"flowdeps: {one}: " in done.err for one in reason.split("|"))


def test_an_index_that_is_away_is_told(shell: Shell, stocked: Index) -> None:
    """Nothing answers at the index's address: said so, after uv's own tries."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    stocked.down()
    done = shell.flowdeps("lock", "set.yaml")
    assert done.status == 1
    assert "flowdeps: IndexUnavailable: " in done.err


def test_the_environment_of_the_shell_changes_no_lock(shell: Shell, stocked: Index) -> None:
    """uv's and pip's own variables and files do not decide what a set gets."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    shell.write("uv.toml", "exclude-newer = '2000-01-01T00:00:00Z'\n")
    plain = shell.flowdeps("lock", "set.yaml")
    noisy = shell.flowdeps(
        "lock",
        "set.yaml",
        UV_INDEX_URL="http://127.0.0.1:9/simple",
        UV_CONSTRAINT="nowhere.txt",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        UV_PRERELEASE="allow",
    )
    assert noisy.status == plain.status == 0
    assert noisy.out == plain.out


@pytest.mark.parametrize("output", ["missing/ml.lock", "."])
def test_an_output_that_cannot_be_written_is_told(
    shell: Shell, stocked: Index, output: str
) -> None:
    """A folder that is not there, or a folder in the file's place: said so, with its name."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    done = shell.flowdeps("lock", "set.yaml", "--output", output)
    assert done.status == 1
    assert f"flowdeps: {output}: " in done.err


def test_a_reader_that_goes_is_no_traceback(shell: Shell, stocked: Index) -> None:
    """`flowdeps lock … | true` ends quietly."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    with shell.start("lock", "set.yaml", stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.close()
        process.wait(timeout=120)
    assert "Traceback" not in shell.read("stderr")


def test_streams_that_are_closed_are_no_traceback(shell: Shell, stocked: Index) -> None:
    """Without an output a command is refused before its work; what goes to standard error is in no
    lock where that is closed; an input that is closed is empty."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    for command in (("lock", "set.yaml"), ("diff", "a.lock", "b.lock"), ("validate", "set.yaml")):
        done = shell.flowdeps(*command, redirection=">&-")
        assert done.status == 1
        assert done.err.startswith("flowdeps: standard output is closed; ")
        assert done.err.count("\n") == 1
    done = shell.flowdeps("lock", "set.yaml", redirection="2>&-")
    assert parse_lock(done.out).render() == done.out
    assert shell.flowdeps("validate", "-", redirection="<&-").status == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told(shell: Shell, stocked: Index) -> None:
    """Output that can't be written is exit status 1 with the reason, not half a lock and a 0."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    with Path("/dev/full").open("w") as full:
        with shell.start("lock", "set.yaml", stdout=full.fileno()) as process:
            process.wait(timeout=120)
        assert process.returncode == 1
    err = shell.read("stderr")
    assert "No space left on device" in err
    assert "Traceback" not in err


IMAGE = """\
{"version": "1",
 "environment": {"python_full_version": "3.11.9", "python_version": "3.11",
   "sys_platform": "linux", "platform_machine": "x86_64"},
 "installed": [{"metadata": {"name": "alpha", "version": "1.0"}},
   {"metadata": {"name": "prefect", "version": "3.8.8", "requires_dist": ["alpha<1.1"]}}]}
"""
OF_VERSION = "python: {version: \"3.11\", platforms: ['linux/amd64']}"
OF_IMAGE = "python: {image: 'flows:1'}"


@pytest.mark.parametrize("listed", [IMAGE, "# pip freeze\nalpha==1.0\nprefect==3.8.8\n"])
def test_image_packages_are_left_out(shell: Shell, stocked: Index, listed: str) -> None:
    """--image-packages: the lock has what the image lacks, and names what it builds on."""
    text = set_text(["beta"], index=stocked.url).replace(OF_VERSION, OF_IMAGE)
    shell.write("set.yaml", text)
    shell.write("image", listed)
    command = ("lock", "set.yaml", "--image-packages", "image", "--python", "3.11")
    done = shell.flowdeps(*command)
    assert done.status == 0
    lock = parse_lock(done.out)
    assert [f"{pin.name}=={pin.version}" for pin in lock.pins] == ["beta==2.0"]
    assert lock.base == (("alpha", "1.0"),)
    assert done.err.splitlines()[-1] == (
        f"1 pin on 1 package of the image, {size_of(lock)}, {lock.digest}"
    )
    shell.write("set.yaml", text.replace("beta", "alpha>1"))
    done = shell.flowdeps(*command)
    assert done.status == 1
    assert "flowdeps: Unsatisfiable: spec.requirements: alpha 1.0 is in the image" in done.err
    assert ("prefect 3.8.8 requires alpha<1.1" in done.err) == (listed == IMAGE)


def test_an_image_says_which_python_a_lock_is_for(shell: Shell, stocked: Index) -> None:
    """Without python.version, what pip inspect says of the interpreter is the target."""
    text = set_text(["beta"], index=stocked.url).replace(OF_VERSION, OF_IMAGE)
    shell.write("set.yaml", text)
    shell.write("image.json", IMAGE)
    done = shell.flowdeps("lock", "set.yaml", "--image-packages", "image.json")
    target = parse_lock(done.out).target
    assert (target.python, target.platforms) == ("3.11", ("linux/amd64",))


def test_credentials_of_an_index_are_given_in_a_file(shell: Shell) -> None:
    """--netrc opens a private index; without it the command says what it lacks."""
    with Index(username="me", password="correct-horse") as private:
        private.add("alpha", "1.0")
        text = set_text(["alpha"], index=private.url)
        reference = "index: {credentialsSecretRef: {name: index}, url:"
        shell.write("set.yaml", text.replace("index: {url:", reference))
        shell.write("netrc", "machine 127.0.0.1 login me password correct-horse")
        assert shell.flowdeps("lock", "set.yaml", "--netrc", "netrc").status == 0
        done = shell.flowdeps("lock", "set.yaml")
    assert done.status == 1
    assert "note: the Secret index isn't read here; give --netrc FILE" in done.err
    assert "flowdeps: IndexUnauthorized: " in done.err


def test_the_configuration_decides_as_in_the_operator(shell: Shell, stocked: Index) -> None:
    """--config: an index that is not allowed is refused before anything is resolved, a version
    with a known vulnerability is avoided, and Block refuses what has no other."""
    flaw = {"introduced": "1.1"}
    package = {"ecosystem": "PyPI", "name": "alpha"}
    affected = {"package": package, "ranges": [{"type": "ECOSYSTEM", "events": [flaw]}]}
    shell.write("GHSA-1.json", json.dumps({"id": "GHSA-1", "affected": [affected]}))
    database = {"vulnerabilities": {"database": str(shell.directory)}}
    shell.write("config.yaml", yaml.safe_dump({**database, **_OPEN}))
    shell.write("set.yaml", set_text(["beta"], index=stocked.url))
    plain = shell.flowdeps("lock", "set.yaml")
    avoided = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    assert plain.status == avoided.status == 0
    assert "alpha==1.1 " in plain.out
    assert "alpha==1.0 " in avoided.out

    reported = set_text(["alpha>1"], index=stocked.url)
    shell.write("set.yaml", reported)
    done = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    assert done.status == 0
    assert "note: alpha 1.1 has GHSA-1 (no fixed version is known)\n" in done.err
    shell.write("set.yaml", f"{reported}  vulnerabilities: Block\n")
    done = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    assert (done.status, done.out) == (1, "")
    assert "flowdeps: Vulnerable: the lock is not published, as spec.vuln" in done.err
    assert "alpha 1.1 has GHSA-1 (no fixed version is known)" in done.err

    allowed = {"index": {"allowed": ["https://packages.example.com"]}, **database}
    shell.write("config.yaml", yaml.safe_dump(allowed))
    done = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"flowdeps: IndexNotAllowed: spec.index.url: {stocked.url} is not")


def test_the_configuration_guards_the_network(shell: Shell, stocked: Index) -> None:
    """As in the operator; who asks without one asks from their own place."""
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url))
    shell.write("config.yaml", "{}")
    stocked.forget()
    done = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    assert (done.status, done.out, stocked.requests) == (1, "", [])
    assert "flowdeps: IndexNotAllowed: 127.0.0.1:" in done.err
    assert "index.allowedNetworks" in done.err
    shell.write("config.yaml", yaml.safe_dump(_OPEN))
    for argv in (("set.yaml",), ("set.yaml", "--config", "config.yaml")):
        assert shell.flowdeps("lock", *argv).status == 0


def test_a_database_that_can_not_be_read_is_noted(shell: Shell, stocked: Index) -> None:
    """As in the operator: nothing is known then, and nothing held back."""
    config = {"vulnerabilities": {"database": str(shell.directory / "missing")}, **_OPEN}
    shell.write("config.yaml", yaml.safe_dump(config))
    shell.write("set.yaml", set_text(["alpha"], index=stocked.url) + "  vulnerabilities: Block\n")
    done = shell.flowdeps("lock", "set.yaml", "--config", "config.yaml")
    assert done.status == 0
    assert "note: DatabaseUnavailable: " in done.err
    assert "alpha==1.1 " in done.out


def test_a_lock_made_here_fits_as_lock_from(shell: Shell, stocked: Index) -> None:
    """What is printed can be named by spec.lockFrom; the same command compares it with the image,
    and refuses it for another one."""
    text = set_text(["beta"], index=stocked.url).replace(OF_VERSION, OF_IMAGE)
    shell.write("set.yaml", text)
    shell.write("image.json", IMAGE)
    made = shell.flowdeps("lock", "set.yaml", "--image-packages", "image.json")
    assert made.status == 0
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "locks", "namespace": "flows"},
        "data": {"ml": made.out},
    }
    shell.write("locks.yaml", yaml.safe_dump(body))
    lock_from = "lockFrom: {configMapKeyRef: {name: locks, key: ml}}"
    shell.write("set.yaml", text.replace("requirements: ['beta']", lock_from))
    command = ("lock", "set.yaml", "locks.yaml", "--image-packages", "image.json")
    done = shell.flowdeps(*command)
    assert (done.status, done.out) == (0, made.out)
    shell.write("image.json", IMAGE.replace('"version": "1.0"', '"version": "1.1"'))
    done = shell.flowdeps(*command)
    assert (done.status, done.out) == (1, "")
    assert (
        "flowdeps: LockInvalid: spec.lockFrom: the lock builds on alpha 1.0, which flows:1 does not"
        " have" in done.err
    )
    done = shell.flowdeps("lock", "set.yaml", "locks.yaml")
    assert (done.status, done.out) == (0, made.out)
    assert "note: the lock is not compared with what the image has installed" in done.err
