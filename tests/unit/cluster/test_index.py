"""The package index as its real clients, uv and pip, see it."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.cluster import tools
from tests.cluster.index import Index


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as one:
        one.add("demo-base", "1.0")
        one.add("demo-base", "1.1", upload_time=datetime(2025, 6, 1, tzinfo=UTC))
        one.add(
            "Demo.App",
            "2.0",
            requires=["demo-base>=1"],
            extras={"fast": ["demo-speed; python_version >= '3'"]},
        )
        one.add("demo-speed", "3.0", tags=["cp311-cp311-manylinux_2_17_x86_64", "py3-none-any"])
        yield one


def compile_with(index: Index, tmp_path: Path, *lines: str, options: tuple[str, ...] = ()) -> str:
    """The lock that uv makes of requirement lines, or uv's reason."""
    command = [tools.uv(), "pip", "compile", "-", "--no-config", "--no-header", "--no-annotate"]
    command += ["--cache-dir", tmp_path / "uv", "--default-index", index.url, "--generate-hashes"]
    command += ["--no-python-downloads", "--only-binary", ":all:", "--python", sys.executable]
    done = subprocess.run(
        [*map(str, command), *options],
        input="\n".join(lines),
        env=tools.environment(without=("UV_", "PIP_")),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else done.stderr


@pytest.fixture
def python(images: dict[str, Path]) -> Path:
    """The interpreter of an environment with pip."""
    return images["pip"] / "python"


def pip_download(
    python: Path, url: str, tmp_path: Path, *wanted: str, netrc: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What pip does when it is asked to download."""
    command = [python, "-m", "pip", "download", "--no-cache-dir", "--no-deps", "--retries", "0"]
    command += ["--disable-pip-version-check", "--index-url", url, "--only-binary", ":all:"]
    return subprocess.run(
        [*map(str, command), "--dest", str(tmp_path / "got"), *wanted],
        env=tools.environment({"NETRC": str(netrc)} if netrc else {}, without=("UV_", "PIP_")),
        capture_output=True,
        text=True,
        check=False,
    )


def get(url: str, accept: str = "*/*") -> httpx.Response:
    return httpx.get(url, headers={"Accept": accept}, timeout=10, trust_env=False)


def test_uv_resolves_and_locks_with_hashes(index: Index, tmp_path: Path) -> None:
    """A lock made twice, from two indexes with the same packages, is the same text."""
    first = compile_with(index, tmp_path, "demo-app[fast]")
    assert "demo-app[fast]==2.0" in first or "demo-app==2.0" in first
    assert "demo-base==1.1" in first
    speed = first[first.index("demo-speed==3.0") :]
    assert speed.count("--hash=sha256:") == 2
    again = compile_with(index, tmp_path / "other", "demo-app[fast]")
    assert again == first


def test_uv_reads_metadata_without_downloading_wheels(index: Index, tmp_path: Path) -> None:
    compile_with(index, tmp_path, "demo-app")
    assert any(path.endswith(".metadata") for path in index.requests)
    assert not any(path.endswith(".whl") for path in index.requests)


def test_upload_times_make_a_cooldown_work(index: Index, tmp_path: Path) -> None:
    lock = compile_with(
        index, tmp_path, "demo-base", options=("--exclude-newer", "2025-01-01T00:00:00Z")
    )
    assert "demo-base==1.0" in lock


def test_a_source_distribution_alone_is_no_wheel(index: Index, tmp_path: Path) -> None:
    index.add_sdist("demo-source", "1.0")
    assert "demo-source" in compile_with(index, tmp_path, "demo-source")
    assert "no usable wheels" in compile_with(index, tmp_path, "demo-source").replace("\n", " ")


def test_pip_installs_what_the_index_serves(index: Index, tmp_path: Path, python: Path) -> None:
    done = pip_download(python, index.url, tmp_path, "demo-app", "demo-speed")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got" / "demo_app-2.0-py3-none-any.whl").exists()


def test_a_corrupted_file_is_refused_by_its_hash_and_heals(
    index: Index, tmp_path: Path, python: Path
) -> None:
    index.corrupt("demo-base", "1.0")
    refused = pip_download(python, index.url, tmp_path, "demo-base==1.0")
    assert refused.returncode != 0
    assert "DO NOT MATCH" in refused.stderr
    index.heal()
    assert pip_download(python, index.url, tmp_path, "demo-base==1.0").returncode == 0


def test_credentials_are_asked_for_and_enough(tmp_path: Path, python: Path) -> None:
    with Index(username="reader", password="s3cret") as index:
        index.add("demo-base", "1.0")
        assert "401" in compile_with(index, tmp_path, "demo-base")
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {index.host} login reader password s3cret\n")
        netrc.chmod(0o600)
        assert pip_download(python, index.url, tmp_path, "demo-base", netrc=netrc).returncode == 0


def test_a_closed_index_refuses_connections_and_comes_back_on_its_port(index: Index) -> None:
    url = index.url
    get(url)
    index.down()
    with pytest.raises(httpx.ConnectError):
        get(url)
    index.up()
    assert index.url == url
    assert get(url).status_code == 200


def test_a_failing_index_answers_with_the_status(index: Index) -> None:
    index.fail(503)
    assert get(index.url).status_code == 503
    index.fail(None)
    assert get(index.url).status_code == 200


def test_stopping_a_slow_index_does_not_wait_and_leaves_no_thread() -> None:
    before = threading.active_count()
    index = Index()
    index.start()
    index.slow(60)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            get(index.url)
        except httpx.HTTPError as error:
            failures.append(error)

    client = threading.Thread(target=ask)
    client.start()
    while not index.requests:
        threading.Event().wait(0.01)
    index.stop()
    client.join(timeout=5)
    assert failures
    assert threading.active_count() == before


def test_both_forms_of_a_project_page_agree(index: Index) -> None:
    """HTML and JSON name the same files, hashes, yanks and Python bounds."""
    index.add("demo-old", "1.0", requires_python=">=3.8,<4", yanked="broken & withdrawn")
    found = get(f"{index.url}demo-old/", "application/vnd.pypi.simple.v1+json").json()
    [file] = found["files"]
    page = get(f"{index.url}demo-old/").text
    assert file["yanked"] == "broken & withdrawn"
    assert 'data-yanked="broken &amp; withdrawn"' in page
    assert 'data-requires-python="&gt;=3.8,&lt;4"' in page
    assert f"{file['filename']}#sha256={file['hashes']['sha256']}" in page
    metadata = get(f"{index.base_url}{file['url']}.metadata").text
    assert "Requires-Python: >=3.8,<4" in metadata


def test_a_removed_release_is_gone(index: Index) -> None:
    index.remove("demo-base", "1.1")
    assert "demo_base-1.1" not in get(f"{index.url}demo-base/").text
    index.remove("demo-base")
    assert get(f"{index.url}demo-base/").status_code == 404
