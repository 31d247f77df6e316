import asyncio
import json
import logging
import os
import threading
import zipfile
from pathlib import Path

import pytest

from flowdeps.vulnerabilities.load import Advisories
from flowdeps.vulnerabilities.osv import Builder
from flowdeps.vulnerabilities.read import Bounds, LoadError, RecordReader
from tests.unit.vulnerabilities.builders import archive, osv, write


def ids(advisories: Advisories) -> list[str]:
    assert advisories.current
    flaws = advisories.current.vulnerabilities.values()
    return sorted(one.id for each in flaws for advisories in each for one in advisories)


async def test_a_directory_is_read_with_all_below_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Records and archives at any depth count; other files, hidden ones and other ecosystems
    don't."""
    write(tmp_path / "1.json", osv(1))
    write(tmp_path / "a" / "b" / "2.json", osv(2, name="beta"))
    write(tmp_path / "a" / "note.txt", osv(3))
    write(tmp_path / ".hidden.json", osv(4))
    write(tmp_path / "..data" / "5.json", osv(5))
    write(tmp_path / "npm.json", osv(6, ecosystem="npm"))
    (tmp_path / "a" / "all.zip").write_bytes(archive(osv(7), osv(8), readme_txt=b"no"))
    advisories = Advisories(str(tmp_path))
    assert advisories.version == ""
    assert str(advisories.problem) == f"{tmp_path}: not read yet"
    assert await advisories.load()
    assert advisories.problem is None
    assert ids(advisories) == ["GHSA-1", "GHSA-2", "GHSA-7", "GHSA-8"]
    assert advisories.version.startswith("sha256:")
    assert not _warnings(caplog)


async def test_one_archive_or_file_is_a_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The location may be the file itself, behind a link too."""
    (tmp_path / "all.zip").write_bytes(archive(osv(1)))
    (tmp_path / "current.zip").symlink_to(tmp_path / "all.zip")
    write(tmp_path / "2.json", osv(2))
    for name, expected in (("all.zip", "GHSA-1"), ("current.zip", "GHSA-1"), ("2.json", "GHSA-2")):
        advisories = Advisories(str(tmp_path / name))
        await advisories.load()
        assert ids(advisories) == [expected]
    assert not _warnings(caplog)


async def test_files_are_read_again_only_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unchanged files aren't read; a new, changed or removed one is seen; the same content in
    another file is no change."""
    read: list[object] = []
    add = Builder.add

    def noted(self: Builder, record: object) -> None:
        read.append(record)
        add(self, record)

    monkeypatch.setattr(Builder, "add", noted)
    advisories = Advisories(str(tmp_path))
    write(tmp_path / "1.json", osv(1))
    assert await advisories.load()
    assert not await advisories.load()
    assert len(read) == 1

    write(tmp_path / "2.json", osv(2))
    assert await advisories.load()
    assert ids(advisories) == ["GHSA-1", "GHSA-2"]
    for stamp in (1, 2):
        os.utime(write(tmp_path / "2.json", osv(2 + stamp)), ns=(stamp, stamp))
        assert await advisories.load()
    os.utime(write(tmp_path / "other", osv(5)), ns=(2, 2))
    (tmp_path / "other").replace(tmp_path / "2.json")
    assert await advisories.load()
    (tmp_path / "2.json").unlink()
    assert await advisories.load()
    assert ids(advisories) == ["GHSA-1"]

    (tmp_path / "1.json").rename(tmp_path / "one.json")
    before = len(read)
    assert not await advisories.load()
    assert len(read) == before + 1


async def test_reading_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are parsed in another thread."""
    threads = set[int]()
    monkeypatch.setattr(Builder, "add", lambda *_: threads.add(threading.get_ident()))
    write(tmp_path / "1.json", osv(1))
    await Advisories(str(tmp_path)).load()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_what_cannot_be_read_is_logged_once_and_harms_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken JSON, data that is no record, a broken archive, a pipe, a dangling link."""
    write(tmp_path / "good.json", osv(1))
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "c.json").write_text("[" * 200_000)
    write(tmp_path / "d.json", {"no": "id"})
    (tmp_path / "e.json").write_text("9" * 5000)
    (tmp_path / "f.zip").write_bytes(b"PK nothing")
    os.mkfifo(tmp_path / "g.json")
    (tmp_path / "h.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "i.zip").write_bytes(archive(osv(2), bad_json=b"{"))
    advisories = Advisories(str(tmp_path))
    assert await advisories.load()
    assert ids(advisories) == ["GHSA-1", "GHSA-2"]
    assert advisories.problem is None
    (warning,) = _warnings(caplog)
    assert warning.startswith(f"{tmp_path}: 9 can't be read, first 'a.json' (")

    write(tmp_path / "more.json", osv(3))
    assert await advisories.load()
    assert len(_warnings(caplog)) == 1


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


async def test_no_database_is_a_problem(tmp_path: Path) -> None:
    """A missing place, an empty one, and one without a record about Python say so."""
    missing = Advisories(str(tmp_path / "missing"))
    assert not await missing.load()
    assert missing.problem == f"{tmp_path}/missing: there is no such file or directory"
    advisories = Advisories(str(tmp_path))
    assert not await advisories.load()
    assert advisories.problem == f"{tmp_path}: there is no *.json or *.zip file in it"
    write(tmp_path / "a.json", osv(1, ecosystem="npm"))
    assert not await advisories.load()
    assert advisories.problem == f"{tmp_path}: no advisory about PyPI packages"
    (tmp_path / "a.json").write_text("{")
    assert not await advisories.load()
    assert advisories.problem
    assert "no advisory about PyPI packages; 1 can't be read, first 'a.json'" in advisories.problem
    assert advisories.current is None


async def test_the_last_good_database_stays(tmp_path: Path) -> None:
    """A location that empties doesn't make vulnerabilities vanish; when it is back, all is well."""
    path = write(tmp_path / "1.json", osv(1))
    advisories = Advisories(str(tmp_path))
    await advisories.load()
    version = advisories.version
    path.rename(tmp_path / "kept")
    assert not await advisories.load()
    assert advisories.problem
    assert advisories.version == version
    (tmp_path / "kept").rename(path)
    assert not await advisories.load()
    assert advisories.problem is None


async def test_a_large_record_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a file and in an archive, where it may be small as long as it is packed."""
    large = json.dumps(osv(1) | {"details": " " * 100_000})
    write(tmp_path / "good.json", osv(2))
    (tmp_path / "large.json").write_text(large)
    (tmp_path / "all.zip").write_bytes(archive(osv(3), large_json=large.encode()))
    advisories = Advisories(str(tmp_path), bounds=Bounds(record=50_000))
    await advisories.load()
    assert ids(advisories) == ["GHSA-2", "GHSA-3"]
    (warning,) = _warnings(caplog)
    assert "2 can't be read, first 'all.zip/large.json' ('more than 50,000 bytes')" in warning


@pytest.mark.parametrize("packed", [True, False])
async def test_all_records_together_are_bounded(tmp_path: Path, packed: bool) -> None:
    """A bomb of many records ends the reading; nothing of it is used."""
    records = [osv(number) | {"details": " " * 10_000} for number in range(20)]
    if packed:
        (tmp_path / "all.zip").write_bytes(archive(*records))
        assert (tmp_path / "all.zip").stat().st_size < 20_000
    else:
        for number, record in enumerate(records):
            write(tmp_path / f"{number}.json", record)
    advisories = Advisories(str(tmp_path), bounds=Bounds(total=150_000))
    assert not await advisories.load()
    assert advisories.problem == f"{tmp_path}: more than 150,000 bytes, unpacked"
    assert await Advisories(str(tmp_path), bounds=Bounds(total=250_000)).load()


async def test_a_member_that_lies_about_its_size_is_left_out(tmp_path: Path) -> None:
    """What the archive says decides how much is read, so a lie is a checksum that doesn't fit."""
    data = archive(osv(1), large_json=json.dumps(osv(2) | {"details": " " * 90_000}).encode())
    size = len(json.dumps(osv(2) | {"details": " " * 90_000})).to_bytes(4, "little")
    assert data.count(size) >= 2
    (tmp_path / "all.zip").write_bytes(data.replace(size, (1000).to_bytes(4, "little")))
    advisories = Advisories(str(tmp_path), bounds=Bounds(record=50_000))
    await advisories.load()
    assert ids(advisories) == ["GHSA-1"]


async def test_a_long_list_of_members_is_not_read(tmp_path: Path) -> None:
    """Its length is bounded before anything of it is in memory."""
    (tmp_path / "all.zip").write_bytes(archive(*(osv(number) for number in range(100))))
    advisories = Advisories(str(tmp_path), bounds=Bounds(listing=1000))
    assert not await advisories.load()
    assert advisories.problem
    assert "its list of members is too long" in advisories.problem
    assert await Advisories(str(tmp_path), bounds=Bounds(listing=10_000)).load()


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
async def test_unusual_compressions_are_left_out(tmp_path: Path, compression: int) -> None:
    """Some need as much memory as the archive says."""
    (tmp_path / "a.zip").write_bytes(archive(osv(1), compression=compression))
    (tmp_path / "b.zip").write_bytes(archive(osv(2), compression=zipfile.ZIP_STORED))
    advisories = Advisories(str(tmp_path))
    await advisories.load()
    assert ids(advisories) == ["GHSA-2"]


def test_reading_stops_when_it_is_told(tmp_path: Path) -> None:
    """A thread doesn't go on for an operator that ends."""
    stopped = threading.Event()
    reading = RecordReader(Bounds(), stopped)
    path = write(tmp_path / "1.json", osv(1))
    reading.file("1", path)
    stopped.set()
    with pytest.raises(LoadError, match="stopped"):
        reading.file("1", path)


async def test_a_cancelled_load_waits_for_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record that is being read is the last one; the next load is whole."""
    for number in range(3):
        write(tmp_path / f"{number}.json", osv(number))
    begun, go_on, read = threading.Event(), threading.Event(), list[object]()
    add = Builder.add

    def slowly(self: Builder, record: object) -> None:
        begun.set()
        assert go_on.wait(30)
        add(self, record)
        read.append(record)

    monkeypatch.setattr(Builder, "add", slowly)
    advisories = Advisories(str(tmp_path))
    task = asyncio.create_task(advisories.load())
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(read) == 1
    assert await advisories.load()
    assert len(ids(advisories)) == 3
