"""Begin a run's interpreter: put a dependency set where an installation in the image would be.

PYTHONPATH leads to this text as sitecustomize.py, which Python runs before anything else, and as
usercustomize.py, for another sitecustomize may come first. The install script wrote it:

    /opt/flowdeps/boot             this
    /opt/flowdeps/manifest.json    "pythonPath": what the image itself has as PYTHONPATH, if
                                   anything; and where packages were installed, "python": for which
                                   interpreter; where a set was chosen, "set", "image" and "base":
                                   what of the image its lock builds on; in an environment, which
                                   was made before the run and maybe for another image, "built",
                                   "lock", "machine", "libc", and "places": directories of Python;
                                   where the packages are in a cache, "cache": a file there
    /opt/flowdeps/populated.json   only where they are on a claim, from which they may be removed
    /opt/flowdeps/site             the packages, if there are any, or a link to them

The order is then: the PYTHONPATH of template or image, Python's own modules, the set, the image's
packages. In an interpreter that the packages are not for, they are not on the path; where nothing
was chosen, all is as if we were not there. Whatever goes wrong here breaks no interpreter: the
path stays as it was, with the set in front.

Each interpreter of a run pays for what is done and imported here, also those of other versions than
the set's.
"""

import os
import sys

TYPE_CHECKING = False  # as typing has it, which takes too long to import
if TYPE_CHECKING:
    from typing import Any

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOOT, SITE, LINKS = (os.path.join(HOME, name) for name in ("boot", "site", "image"))
DONE = "FLOWDEPS_BOOT"  # what was done or said once for all processes of a tree
NAMES = ("sitecustomize", "usercustomize")
NOTE = os.path.join(HOME, "populated.json")  # of an environment on a claim
MOVED = (
    "if its tag has moved, start the run again once flowdeps has looked at it anew "
    "(images.recheck), or name it by its digest"
)


def main(name: str) -> None:
    before = sys.path[:]
    try:
        boot(manifest())
    except Exception as error:
        sys.path[:] = before
        if once("failed"):
            why = f"{type(error).__name__}: {error}"
            say(
                f"warning: cannot arrange Python's path, so packages of a set go first on it: {why}"
            )
    go_on(name)


def manifest() -> "dict[str, Any]":
    path = os.path.join(HOME, "manifest.json")
    with open(path, encoding="utf-8") as file:
        # JSON that holds texts alone is a literal of Python, and json takes longer than all of this
        # to import.
        about: dict[str, Any] = eval(file.read(), {"__builtins__": {}})  # noqa: S307
    return about


def boot(about: "dict[str, Any]") -> None:
    """Arrange ``sys.path`` and the variables that child processes go by."""
    given = os.environ.get("PYTHONPATH")
    theirs = without_ours(given or "", about.get("pythonPath"))
    arrange(given or "", theirs or "")
    python = about.get("python")
    if "built" in about:
        if os.environ.get("FLOWDEPS_SET") == "none":
            python = None
        elif once("built"):
            check_made_for(about)
    if python is None:
        if theirs is not None and given is not None:
            os.environ["PYTHONPATH"] = theirs
        else:
            os.environ.pop("PYTHONPATH", None)
    elif is_this(python):
        if not hold(about.get("cache", NOTE)) and "cache" in about:
            text = "are in the cache no more: if the cache is mounted, start the run again"
            end(f"the packages of {about['set']} {text}")
        if once("checked"):
            check(about)
        add_packages()
        os.environ["PYTHONPATH"] = os.pathsep.join([BOOT, SITE, *([theirs] if theirs else [])])
    elif once("elsewhere"):
        version = "{}.{}".format(*sys.version_info)
        say(
            f"{sys.executable} (Python {version}) goes without the packages of "
            f"{about.get('set') or 'this run'}: they are for the Python {python['version']} of "
            f"{python['prefix']}, which is first on the image's PATH"
        )


def without_ours(given: str, image: "str | None") -> "str | None":
    """Return what PYTHONPATH would be without us; None if it would not be set.

    Links to the image's own entries stand for all of these.
    """
    left: list[str] = []
    linked = False
    for entry in given.split(os.pathsep):
        if not is_ours(entry):
            left.append(entry)
        elif os.path.dirname(entry) == LINKS and not linked:
            linked = True
            left += [] if image is None else [image]
    return os.pathsep.join(left) if left or not linked else None


def is_ours(entry: object) -> bool:
    return f"{entry}{os.sep}".startswith(HOME + os.sep)


def arrange(given: str, theirs: str) -> None:
    """Put their entries in place of the given ones, as Python does: absolute, and each once.

    What somebody has taken off the path since, such as another sitecustomize, stays away. Another
    interpreter of the process begins with what the first one was given, though: ours stands there
    for entries that are in the variable by now.
    """
    replaced = {absolute(entry) for entry in given.split(os.pathsep)} if given else set()
    ours = {entry for entry in sys.path if is_ours(entry)}
    gone = replaced.difference(sys.path) if ours <= replaced else set()
    replaced |= ours
    wanted = [absolute(entry) for entry in theirs.split(os.pathsep)] if theirs else []
    wanted = [entry for entry in wanted if entry not in gone]
    start = next((at for at, entry in enumerate(sys.path) if entry in replaced), 0)
    rest = [one for one in sys.path[start:] if one not in replaced and one not in wanted]
    sys.path[start:] = [*dict.fromkeys(wanted), *rest]


def absolute(entry: str) -> str:
    try:
        return os.path.abspath(entry)
    except OSError:  # a working directory that is gone
        return entry


def is_this(python: "dict[str, str]") -> bool:
    """Return whether the packages were installed for this interpreter."""
    tag = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    return python["tag"] == tag and python["prefix"] == os.path.realpath(sys.prefix)


def add_packages() -> None:
    """Make a site directory of the packages, behind Python's own modules."""
    import site

    library = os.path.dirname(os.__file__)
    archive = "python{}{}.zip".format(*sys.version_info)
    own = {library, os.path.join(library, "lib-dynload")}
    places = [
        at + 1
        for at, entry in enumerate(sys.path)
        if entry in own or os.path.basename(entry) == archive
    ]
    sys.path.insert(max(places, default=0), SITE)
    known = set(sys.path)
    site.addsitedir(SITE)
    end = len(sys.path)
    while sys.path[end - 1] not in known:  # what .pth files name is appended
        end -= 1
    added = sys.path[end:]
    del sys.path[end:]
    behind = sys.path.index(SITE) + 1
    sys.path[behind:behind] = added
    scripts = os.path.join(SITE, "bin")
    path = os.environ.get("PATH", os.defpath)
    if scripts not in path.split(os.pathsep) and os.path.isdir(scripts):
        os.environ["PATH"] = path + os.pathsep + scripts


def check_made_for(about: "dict[str, Any]") -> None:
    """End the process if an environment is not for this run, its node or its image."""
    python, name, image = about["python"], about["set"], about["image"]
    lock, machine = os.environ.get("FLOWDEPS_LOCK"), os.uname().machine
    if lock and lock != about["lock"]:
        end(
            f"the packages that are mounted are those of {name} by the lock {about['lock'][:19]}, "
            f"and this run is to have {lock[:19]}: start the run again; if that does not help, see "
            "who else writes the RunEnvironments flowdeps-runs"
        )
    made = f"the packages of {name} were made ready for {image}"
    if machine != about["machine"]:
        end(f"{made} on {about['machine']}, this node is {machine}: run the flow on another node")
    if not is_this(python) and not all(map(os.path.exists, about["places"])):
        ours = f"the Python {python['version']} of {python['prefix']}"
        end(f"{made}, with {ours}, which this image lacks: {MOVED}")
    if release(about["libc"]) > release(libc()):
        here = libc() or "another C library"
        end(f"{made}, with {about['libc']}; this image has {here}: {MOVED}")


def hold(path: str) -> bool:
    """Let nobody remove the packages from a cache or claim while this process lives, by a lock on a
    file there; tell whether it is there. Locks that do not work leave it at the time of the last
    use."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # until the file is closed: never
    except (ImportError, OSError):
        os.close(file)
    return True


def libc() -> str:
    known = "CS_GNU_LIBC_VERSION" in os.confstr_names
    return (os.confstr("CS_GNU_LIBC_VERSION") if known else None) or ""


def release(text: str) -> "list[int]":
    """Return the numbers of a version such as ``glibc 2.36``."""
    return [int(part) for part in text.rpartition(" ")[2].split(".") if part.isdigit()]


def end(text: str) -> None:
    say(text)
    os._exit(1)


def check(about: "dict[str, Any]") -> None:
    """End the process if the image lacks what the lock builds on; what it has besides is fine.

    The names of metadata directories answer that in next to no time. Where one is not found, the
    metadata itself decides: another tool may have spelt the name in another way.
    """
    base = about.get("base") or {}
    unseen = {file for _, file in base.values()}
    for entry in reversed(sys.path):
        if not unseen:
            return
        try:
            unseen.difference_update(os.listdir(entry))
        except OSError:
            continue
    doubted = sorted(name for name, (_, file) in base.items() if file in unseen)
    has = installed() if doubted else {}
    wrong = [name for name in doubted if has.get(name) != base[name][0]]
    if not wrong:
        return
    wanted = ", ".join(f"{name} {base[name][0]}" for name in wrong)
    found = ", ".join(f"{name} {has[name]}" if name in has else f"no {name}" for name in wrong)
    lock, image = about.get("set"), about.get("image")
    differs = f"the lock of {lock} was made for an image that has {wanted}; this one has {found}"
    if os.environ.get("EXTRA_PIP_PACKAGES"):
        say(f"warning: {differs} (EXTRA_PIP_PACKAGES?), which nobody has tried")
        return
    end(
        f"{differs}: run the flow in {image} with its packages as they are (an entrypoint, a "
        "command or PYTHONPATH may change them), or name an image with these in python.image of "
        f"{lock}" + (f"; {MOVED}" if "built" in about else "")
    )


def installed() -> "dict[str, str]":
    """Return the version of each distribution on the path, as its metadata has it."""
    import re
    from importlib import metadata

    found: dict[str, str] = {}
    for one in metadata.distributions():
        try:
            name = re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower()
            found.setdefault(name, one.version)
        except Exception:  # noqa: S112 - unreadable: no base of a lock
            continue
    return found


def go_on(name: str) -> None:
    """Run the next module of this name, as if this one were not there; never one of the set."""
    # importlib has these from there: each interpreter has them already, even without importlib.
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import PathFinder

    this = sys.modules.pop(name)
    spec = PathFinder.find_spec(name, [entry for entry in sys.path if not is_ours(entry)])
    if spec is not None and spec.loader is not None:
        sys.modules[name] = module = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
    elif asked_by_python():
        raise ImportError(f"No module named {name!r}", name=name)  # Python passes over it
    else:  # another sitecustomize, which may not expect that what it has found fails
        sys.modules[name] = this


def asked_by_python() -> bool:
    """Return whether Python's own site module imports this one."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        name = frame.f_globals.get("__name__", "")
        ours = frame.f_globals is globals()
        if not ours and not name.startswith(("importlib.", "_frozen_importlib")):
            return bool(name == "site")
    return False


def once(what: str) -> bool:
    """Return whether this is the first time in a tree of processes."""
    done = os.environ.get(DONE, "").split()
    if what in done:
        return False
    os.environ[DONE] = " ".join([*done, what])
    return True


def say(text: str) -> None:
    try:
        os.write(2, f"flowdeps: {' '.join(text.split())}\n".encode("utf-8", "replace"))
    except OSError:  # nobody listens
        return


if __name__ in NAMES:
    main(__name__)
