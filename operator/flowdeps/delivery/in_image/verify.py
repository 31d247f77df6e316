"""Try a lock in its image: report what a run would find installed, and import from it.

It runs after the install script, with PYTHONPATH as a run has it. It prints the packages of image
and lock together (see ``inventory``), so that the operator can check what they require of each
other, and looks for modules of which one hides another (see ``clashes``). Then it imports modules:
those asked for, or the top-level modules of the named packages; of the image, what requires a
package that the lock replaces, and, if it has Prefect, what a run begins with. They are imported by
one interpreter, as a run would, in a child process that may crash, exit or hang. It starts as a run
does: as a program of the image's, with the same variables and working directory.

    FLOWDEPS_IMPORTS    modules, a JSON list; empty: those of the packages
    FLOWDEPS_NAMES      packages, a JSON list
    FLOWDEPS_TIMEOUT    seconds for all imports together; the installation has its own

The last line begins with "flowdeps-verify:" and holds JSON: {"ok": true, "importSeconds": 1.23,
"installedSize": 4567}, with a list "notes" where people should know more; or what failed: {"ok":
false, "module": "foo", "error": "ImportError: libfoo.so.1: cannot open ..."}, with "late": true
where the time was up; or {"ok": false, "clashes": [{"kind": "hides", "module": "foo", "ours":
"foo-full 1.0", "theirs": "foo-least 1.0", "leave": ["foo-full", "foo-least"]}]}.
"""

from __future__ import annotations

import contextlib
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

from flowdeps.delivery.in_image.clashes import Installed, clashes, overtaken
from flowdeps.delivery.in_image.inventory import (
    describe,
    distributions,
    normal_name,
    normal_version,
    say,
)
from flowdeps.delivery.in_image.modules import data_of, dependants, modules_of

RESULT_MARK = "flowdeps-verify:"
INSTALLED = Path(os.environ.get("FLOWDEPS_HOME", "/opt/flowdeps"))
STARTED = time.monotonic()
LEAST_SECONDS = 10  # to import again, however long the first time took
TAIL_LINES = 25
ENGINE = "prefect.engine"

# Notes each module before it is imported: whatever ends the interpreter, the last one is to blame.
# A run's program is in the image's directory of programs, which PYTHONSAFEPATH keeps off the path.
IMPORTER = """\
import importlib, json, os, sys, time, traceback
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
note(path=[*map(str, sys.path)])
began = time.monotonic()
for module in modules:
    begun = {"module": module, "after": time.monotonic() - began}
    note(**begun)
    try:
        importlib.import_module(module)
    except BaseException as error:
        traceback.print_exc()
        first = error
        while first.__cause__ or (first.__context__ and not first.__suppress_context__):
            first = first.__cause__ or first.__context__
        why = line(error) if first is error else f"{line(error)} (from {line(first)})"
        missing = error.name if type(error) is ModuleNotFoundError else None
        note(**begun, error=why, missing=missing)
        os._exit(1)
note(done=time.monotonic() - began)
os._exit(0)
"""


class ImportFailedError(Exception):
    """An import that failed: at which module, why, and after how many seconds of others."""

    def __init__(
        self,
        module: str,
        error: str,
        after: float,
        *,
        late: bool = False,
        missing: str | None = None,
    ) -> None:
        super().__init__(error)
        self.module, self.after = module, after
        self.late = late  # the time was up
        self.missing = missing  # the module that is not there, if it is that


def main() -> int:
    result: dict[str, object]
    try:
        path, _ = begin([])
        describe(path)
        result = verdict(path)
    except ImportFailedError as error:
        late = {"late": True} if error.late else {}
        result = {"ok": False, "module": error.module, "error": str(error), **late}
    except Exception as error:
        result = {"ok": False, "module": "", "error": f"{type(error).__name__}: {error}"}
    print(f"{RESULT_MARK} {json.dumps(result)}", flush=True)
    return 0 if result["ok"] else 1


def verdict(path: list[str]) -> dict[str, object]:
    """Return what is wrong, or what could not be tried; ``path``: where a run looks for modules.

    Raises ImportFailedError.
    """
    site = str(INSTALLED / "site")
    lock = distributions([site])
    image = distributions([one for one in path if not is_in(one, site)])
    behind = path[path.index(site) + 1 :] if site in path else []
    behind = [one for one in behind if not is_in(one, site)]
    shadow = meant()
    found = clashes(lock, image, site=site, behind=behind)
    refused = [vars(one) for one in found if not one.is_meant(shadow)]
    if refused:
        return {"ok": False, "clashes": refused}
    seconds = 0.0
    tried, untried = wanted({**image, **lock}, path)
    modules = list(dict.fromkeys(one for each in tried.values() for one in each))
    notes: list[str] = []
    if modules or untried:
        moved = {name for name in lock if name in image and is_other(lock[name], image[name])}
        moved |= {one.theirs.split()[0] for one in found}
        theirs = {name: one for name, one in image.items() if name not in lock}
        others = [*dependants(theirs, moved, path), *([ENGINE] if "prefect" in image else [])]
        seconds, notes = import_as_a_run(tried, list(dict.fromkeys(others)))
        modules = list(dict.fromkeys(one for each in tried.values() for one in each))
        say(f"imported {', '.join(modules) or 'nothing of the lock'}")
    notes += overtaken(modules, site=site, before=path[: path.index(site)] if site in path else [])
    data = [f"{name} ({place})" for name, one in lock.items() if (place := data_of(one))]
    if data:
        notes.append(
            f"data files are below {site}, where programs that look beside Python do not find "
            f"them: {', '.join(data)}; set the program's own variable, such as JUPYTER_PATH, or "
            "install it in the image"
        )
    if untried:
        notes.append(f"not imported, as no module is among their files: {', '.join(untried)}")
    for note in notes:
        say(note)
    notes_if_any = {"notes": notes} if notes else {}
    about = {"importSeconds": round(seconds, 3), "installedSize": size_of_tree(site)}
    return {"ok": True, **about, **notes_if_any}


def size_of_tree(place: str) -> int:
    """Return the bytes of all files below a directory."""
    files = [Path(where, name) for where, _, names in os.walk(place) for name in names]
    return sum(one.lstat().st_size for one in files)


def is_in(entry: str, place: str) -> bool:
    return f"{entry}/".startswith(f"{place}/")


def is_other(one: metadata.Distribution, other: metadata.Distribution) -> bool:
    return normal_version(one.version) != normal_version(other.version)


def meant() -> set[str]:
    """Return the packages that may go before others."""
    lock = INSTALLED / "lock.json"
    about = json.loads(lock.read_text("utf-8")) if lock.exists() else {}
    return {one if one == "*" else normal_name(one) for one in about.get("shadow") or []}


def wanted(installed: Installed, path: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the modules to import, by their packages ("" where they were asked for), and the
    packages that were named and have none."""
    asked = json.loads(os.environ.get("FLOWDEPS_IMPORTS") or "[]")
    found = {"": asked} if asked else {}
    untried = []
    for name in [] if asked else json.loads(os.environ.get("FLOWDEPS_NAMES") or "[]"):
        if name not in installed:  # its marker keeps it from this image; else see requirements
            say(f"{name} is not installed here, so nothing of it is imported")
            continue
        modules = modules_of(installed[name], path)
        found[name] = modules
        untried += [] if modules else [name]
    return found, untried


def import_as_a_run(tried: dict[str, list[str]], others: list[str]) -> tuple[float, list[str]]:
    """Import the modules of packages, then others that are the image's; return how long that took,
    and what people should know.

    Takes out of `tried` what a package brings besides, for packages that it does not require. A
    lock that breaks what the image needs would fail runs. What cannot be imported without the lock
    either, here at least, proves nothing against it. Raises ImportFailedError.
    """
    notes: list[str] = []
    while True:
        modules = list(dict.fromkeys(one for each in tried.values() for one in each))
        others = [one for one in others if one not in modules]
        try:
            _, seconds = begin([*modules, *others])
        except ImportFailedError as error:
            if error.module not in others:
                notes.append(left_out(error, tried))
                continue
            failed = error
        else:
            return seconds, notes
        manifest = json.loads((INSTALLED / "manifest.json").read_text("utf-8", "surrogateescape"))
        try:
            begin([failed.module], PYTHONPATH=manifest.get("pythonPath", ""))
        except ImportFailedError:
            say(f"{failed.module} cannot be imported without the lock either: no fault of the lock")
            others = others[others.index(failed.module) + 1 :]  # those before it work with the lock
            if not others:
                return failed.after, notes
        else:
            raise failed


def left_out(failed: ImportFailedError, tried: dict[str, list[str]]) -> str:
    """Take a module out that is not the package's main one and needs what the package does not
    require, such as another library's driver; return the note on it. Raises ImportFailedError."""
    missing = failed.missing or "."
    for name, modules in tried.items():
        main = not name or len(modules) == 1 or normal_name(failed.module) == name
        if failed.module in modules and not main and "." not in missing:
            modules.remove(failed.module)
            needs = f"it needs {missing}, which {name} does not require"
            return f"{failed.module} of {name} was not imported: {needs}"
    raise failed


def begin(modules: list[str], **variables: str) -> tuple[list[str], float]:
    """Import the modules in a child process; return its search path, and how long that took.

    Raises ImportFailedError.
    """
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
        late = False
        seconds = seconds_left()
        try:
            ended = ending(child.wait(seconds))
        except subprocess.TimeoutExpired:
            ended, late = f"the imports did not end within {seconds:.0f} seconds", True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        lines = notes.read_text("utf-8").splitlines() if notes.exists() else []
        last = json.loads(lines[-1]) if lines else {}
        if "done" not in last:
            tail = log.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
            print("\n".join(f"  {line}" for line in tail), flush=True)
            if "module" not in last:  # a .pth file's code, or what else runs as Python starts
                said = "".join(tail[-1:]).strip()[:400]
                ended = ": ".join(filter(None, ["Python does not start", ended, said]))
            why = last.get("error", ended)
            raise ImportFailedError(
                last.get("module", ""),
                why,
                last.get("after", 0.0),
                late=late,
                missing=last.get("missing"),
            )
        path: list[str] = json.loads(lines[0])["path"]
        return path, last["done"]


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
    given = float(os.environ.get("FLOWDEPS_TIMEOUT") or "300")
    return max(LEAST_SECONDS, given - (time.monotonic() - STARTED))


if __name__ == "__main__":
    sys.exit(main())
