"""Try a lock in its image: report what a run would find installed, and import from it.

It runs after the install script, with PYTHONPATH as a run has it. It prints the packages of image
and lock together (see ``inventory``), so that the operator can check what they require of each
other, and imports modules: those asked for, or the top-level modules of the named packages; and, if
the image has Prefect, what a run begins with. They are imported by one interpreter, as a run would,
in a child process that may crash, exit or hang. It starts as a run does: as a program of the
image's, with the same variables and working directory.

    FLOWDEPS_IMPORTS    modules, a JSON list; empty: those of the packages
    FLOWDEPS_NAMES      packages, a JSON list
    FLOWDEPS_TIMEOUT    seconds for installation and imports together

The last line begins with "flowdeps-verify:" and holds JSON: {"ok": true}, or what failed:
{"ok": false, "module": "foo", "error": "ImportError: libfoo.so.1: cannot open ..."}.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib import metadata
from pathlib import Path

from flowdeps.delivery.in_image.inventory import (
    describe,
    distributions,
    say,
)

RESULT_MARK = "flowdeps-verify:"
INSTALLED = Path(os.environ.get("FLOWDEPS_HOME", "/opt/flowdeps"))
LEAST_SECONDS = 10  # for the imports, however long the installation took
MOST_MODULES = 20  # of one package
TAIL_LINES = 25
ENGINE = "prefect.engine"
# What wheels carry beside the modules that they are for.
BESIDE = {"benchmarks", "conftest", "doc", "docs", "example", "examples", "setup", "test", "tests"}

# Notes each module before it is imported: whatever ends the interpreter, the last one is to blame.
# A run's program is in the image's directory of programs, which PYTHONSAFEPATH keeps off the path.
IMPORTER = """\
import importlib, json, os, sys, traceback
programs, notes, *modules = sys.argv[1:]
sys.argv[1:] = []
if os.path.realpath(sys.path[0]) == os.path.realpath(os.path.dirname(__file__)):
    sys.path[0] = os.path.realpath(programs)
sys.stdout.reconfigure(line_buffering=True)
def note(**what):
    with open(notes, "a") as file:
        file.write(json.dumps(what) + chr(10))
def line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
note(path=sys.path)
for module in modules:
    note(module=module)
    try:
        importlib.import_module(module)
    except BaseException as error:
        traceback.print_exc()
        first = error
        while first.__cause__ or (first.__context__ and not first.__suppress_context__):
            first = first.__cause__ or first.__context__
        why = line(error) if first is error else f"{line(error)} (from {line(first)})"
        note(module=module, error=why)
        os._exit(1)
note(done=True)
os._exit(0)
"""


class ImportFailedError(Exception):
    """An import that failed: at which module, and why."""

    def __init__(self, module: str, error: str) -> None:
        super().__init__(error)
        self.module = module


def main() -> int:
    result: dict[str, object]
    try:
        path = begin([])
        describe(path)
        modules = json.loads(os.environ.get("FLOWDEPS_IMPORTS") or "[]") or defaults(path)
        if modules:
            import_as_a_run(modules, path)
            say(f"imported {', '.join(modules)}")
        result = {"ok": True}
    except ImportFailedError as error:
        result = {"ok": False, "module": error.module, "error": str(error)}
    except Exception as error:
        result = {"ok": False, "module": "", "error": f"{type(error).__name__}: {error}"}
    print(f"{RESULT_MARK} {json.dumps(result)}", flush=True)
    return 0 if result["ok"] else 1


def defaults(path: list[str]) -> list[str]:
    """Return the modules of the named packages."""
    found = distributions(path)
    modules: list[str] = []
    for name in json.loads(os.environ.get("FLOWDEPS_NAMES") or "[]"):
        if name in found:
            modules += modules_of(found[name])
        else:  # its marker keeps it from this image; else the requirements' check says so
            say(f"{name} is not installed here, so nothing of it is imported")
    return list(dict.fromkeys(modules))


def modules_of(distribution: metadata.Distribution) -> list[str]:
    """Return what is imported of a package: its outermost packages and the modules beside them.

    That is below a namespace (``google.cloud.storage``), which can be imported in any case.
    """
    packages: set[tuple[str, ...]] = set()
    modules: set[tuple[str, ...]] = set()
    for file in distribution.files or []:
        *parents, last = file.parts
        module = inspect.getmodulename(last)
        if module == "__init__" and parents and all(map(is_public, parents)):
            packages.add(tuple(parents))
        elif module and module != "__init__" and all(map(is_public, [*parents, module])):
            modules.add((*parents, module))
    found = {one for one in packages if not any(one[:end] in packages for end in range(len(one)))}
    found |= {one for one in modules if len(one) == 1}
    if not found:  # namespaces all the way down
        found = modules
    names = [".".join(one) for one in sorted(found, key=lambda one: (len(one), one))]
    if not names:
        text = distribution.read_text("top_level.txt") or ""
        names = [name for name in text.split() if is_public(name)]
    return names[:MOST_MODULES]


def is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and name not in BESIDE


def import_as_a_run(modules: list[str], path: list[str]) -> None:
    """Import the modules beside Prefect, where the image has it. Raises ImportFailedError.

    A lock that hides what Prefect needs would fail each run. An image whose Prefect cannot be
    imported without the lock either, here at least, proves nothing against it.
    """
    lock = f"{INSTALLED}/site/"
    image = distributions([entry for entry in path if not f"{entry}/".startswith(lock)])
    if "prefect" not in image:
        begin(modules)
        return
    try:
        begin([*modules, ENGINE])
    except ImportFailedError as error:
        if error.module != ENGINE:
            raise
        manifest = json.loads((INSTALLED / "manifest.json").read_text("utf-8"))
        try:
            begin([ENGINE], PYTHONPATH=manifest.get("pythonPath", ""))
        except ImportFailedError:
            say(f"{ENGINE} cannot be imported without the lock either: no fault of the lock")
        else:
            raise


def begin(modules: list[str], **variables: str) -> list[str]:
    """Import the modules in a child process; return its search path. Raises ImportFailedError."""
    with tempfile.TemporaryDirectory() as directory:
        notes, log = Path(directory, "notes"), Path(directory, "log")
        program = Path(directory, "bin", "run")
        program.parent.mkdir()
        program.write_text(IMPORTER)
        # Files, not pipes: what a module starts may live on and hold a pipe open.
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, program, sysconfig.get_path("scripts"), notes, *modules],
                env={**environment(directory), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        seconds = seconds_left()
        try:
            ended = ending(child.wait(seconds))
        except subprocess.TimeoutExpired:
            ended = f"it did not end within {seconds:.0f} seconds"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        lines = notes.read_text("utf-8").splitlines() if notes.exists() else []
        last = json.loads(lines[-1]) if lines else {}
        if not last.get("done"):
            tail = log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
            print("\n".join(f"  {line}" for line in tail), flush=True)
            raise ImportFailedError(last.get("module", ""), last.get("error", ended))
        path: list[str] = json.loads(lines[0])["path"]
        return path


def ending(code: int) -> str:
    """Return how a child ended, by its exit code."""
    if code >= 0:
        return f"it ended the interpreter (exit code {code})"
    name = signal.Signals(-code).name
    more = " (out of memory?)" if name == "SIGKILL" else ""
    return f"it crashed the interpreter: {name}{more}"


def environment(scratch: str) -> dict[str, str]:
    """Return the child's variables: no module is at fault for a home that cannot be written."""
    changed = dict(os.environ)
    given = Path("/proc/self/environ").read_bytes().split(b"\0")
    if not any(one.startswith(b"LC_CTYPE=") for one in given):
        changed.pop("LC_CTYPE", None)  # Python sets it where the image has no locale
    home = os.environ.get("HOME", "")
    if not os.access(home, os.W_OK):
        changed.update(HOME=scratch)
        changed.setdefault("PYTHONUSERBASE", str(Path(home, ".local")))
    return changed


def seconds_left() -> float:
    """Return how long the imports may take, of what the installation has left."""
    given = float(os.environ.get("FLOWDEPS_TIMEOUT") or "300")
    try:
        spent = time.time() - (INSTALLED / "image").stat().st_mtime  # made first by the install
    except OSError:
        spent = 0.0
    return max(LEAST_SECONDS, given - spent)


if __name__ == "__main__":
    sys.exit(main())
