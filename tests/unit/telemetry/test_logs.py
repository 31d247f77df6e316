import json
import logging
from collections.abc import Callable, Iterator

import pytest

from flowdeps.telemetry.logs import JsonFormatter, set_up_logs


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """What is set up here is the whole process's."""
    root = logging.getLogger()
    names = ("httpx", "kopf", "aiohttp.access")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, its in levels.items():
        logging.getLogger(name).setLevel(its)


Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    """What was written to standard error since it was last asked."""
    return lambda: capsys.readouterr().err


def test_a_log_line_is_one_json_object(written: Written) -> None:
    """Time with a zone, level, logger and message; line breaks stay inside the line."""
    set_up_logs(form="json", level="info")
    logging.getLogger("flowdeps.x").warning("two\nlines of %s", "“text”")
    [line] = written().splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {"level": "warning", "logger": "flowdeps.x", "message": "two\nlines of “text”"}
    assert "“text”" in line


def test_a_line_about_a_set_or_a_pool_names_it() -> None:
    """`set` and `pool` are fields of their own, so that a log can be filtered by them."""
    record = logging.makeLogRecord({"msg": "x", "set": "flows/ml", "pool": "k"})
    entry = json.loads(JsonFormatter().format(record))
    assert (entry["set"], entry["pool"]) == ("flows/ml", "k")
    assert (
        not {"set", "pool"} & json.loads(JsonFormatter().format(logging.makeLogRecord({}))).keys()
    )


def test_an_error_is_logged_with_its_place(written: Written) -> None:
    """A traceback is a field of the line."""
    set_up_logs(form="json", level="info")
    try:
        print(1 / 0)
    except ZeroDivisionError:
        logging.getLogger("flowdeps").exception("failed")
    entry = json.loads(written())
    assert entry["exception"].startswith("Traceback")
    assert entry["exception"].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x00\x1b[31m\x9b1m", "��[31m�1m"),
        ("a\u200bb", "a�b"),
        ("\u202eevil", "�evil"),
        ("\ud800", "�"),
        ("\N{SNOWMAN}", "\N{SNOWMAN}"),
    ],
)
def test_no_character_breaks_a_line(text: str, shown: str, written: Written) -> None:
    """Whatever a message, a field or an error holds, it steers no terminal, and can be written."""
    line = JsonFormatter().format(logging.makeLogRecord({"msg": text, "set": text}))
    entry = json.loads(line)
    assert (entry["message"], entry["set"]) == (shown, shown)
    assert "\n" not in line
    line.encode()
    set_up_logs(form="text", level="info")
    try:
        raise ValueError(text)  # noqa: TRY301 - to be caught
    except ValueError:
        logging.getLogger("flowdeps").exception("before\n%s", text)
    first, *traceback = written().splitlines()
    assert first.endswith(f"flowdeps: before {shown}")
    assert traceback[-1] == f"ValueError: {shown}"


def test_text_is_for_people(written: Written) -> None:
    """The other form: a plain line with time, level, logger, message."""
    set_up_logs(form="text", level="info")
    logging.getLogger("flowdeps").info("hello")
    assert written().endswith("INFO    flowdeps: hello\n")


@pytest.mark.parametrize(("level", "lines"), [("debug", 3), ("info", 2), ("warning", 1)])
def test_the_level_decides_what_is_written(level: str, lines: int, written: Written) -> None:
    """Below the level nothing is written."""
    set_up_logs(form="json", level=level)
    log = logging.getLogger("flowdeps")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert len(written().splitlines()) == lines


def test_libraries_do_not_log_each_request(written: Written) -> None:
    """httpx logs each URL, kopf each object: at info they are silent, so nothing of theirs leaks
    into the log."""
    set_up_logs(form="json", level="info")
    for name in ("httpx", "kopf", "kopf.objects", "aiohttp.access"):
        logging.getLogger(name).info("GET http://user:hunter2@packages.example.com")
    assert written() == ""
