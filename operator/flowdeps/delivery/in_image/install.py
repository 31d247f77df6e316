"""Install a dependency set beside the flow's own packages: flowdeps' init container.

It runs in the flow's image, reads /etc/flowdeps (a ConfigMap) and writes /opt/flowdeps (an empty
volume):

    /etc/flowdeps/requirements.txt    the lock: every package at one version, with hashes; lines
                                      such as "# image: six==1.17.0" name what of the image it
                                      builds on
    /etc/flowdeps/lock.json           what it is for: {"set": "team-a/ml", "key": "ml",
                                      "digest": "sha256:...", "python": "3.11" or null,
                                      "platforms": ["linux/amd64"], "packages": 20,
                                      "index": {"url": "https://..." or null, "extraUrls": [],
                                                "packages": those with an index of their own:
                                                [{"names": ["torch"], "url": "https://..."}]},
                                      "image": the one it was made for, if any,
                                      "shadow": packages that may go before the image's own,
                                      "credentials": whether the index wants some}
    /etc/flowdeps/digest              the digest again; see ``mounted`` for how these are read
    /etc/flowdeps-credentials         see ``installer``
    /opt/flowdeps/site                the packages: complete, or not there; but for modules that
                                      Python has itself (see ``postinstall``)
    /opt/flowdeps/boot                where PYTHONPATH leads first (see ``boot``)
    /opt/flowdeps/manifest.json       what ``boot`` has to know of image and packages
    /opt/flowdeps/image/0 ... 3       links to the directories of the image's own PYTHONPATH, for
                                      interpreters that do not run ``boot``
    /opt/flowdeps/lock.json           what was installed

FLOWDEPS_SET names the set, FLOWDEPS_EXTRAS packages beside it (see ``extras``), FLOWDEPS_INDEX the
indexes to take these from where there is no set. FLOWDEPS_BEYOND tells of lists of the run whose
items its pod was not all given. FLOWDEPS_BUILD makes an environment, for runs that have no such
container: without extras, with bytecode, the same tree each time. FLOWDEPS_CACHE is a volume that
outlives the run (see ``cache``): if it has the packages, ``site`` is a link to them.
FLOWDEPS_TIMEOUT are the seconds that a trial's installation may take; a run's has no limit. A line
now and then says how far it is (see ``progress``). The last line it prints begins with "flowdeps:"
and says how it ended. It exits with 0, with 124 where the time was up, or with 1.
"""

from __future__ import annotations

import json
import os
import py_compile
import re
import shutil
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from flowdeps.delivery.in_image.bytecode import compile_all
from flowdeps.delivery.in_image.cache import cache_for, fill
from flowdeps.delivery.in_image.extras import install_extras, move_into, requirements
from flowdeps.delivery.in_image.installer import (
    CREDENTIALS,
    HOME,
    TEMPORARY,
    Installer,
    InstallError,
)
from flowdeps.delivery.in_image.inventory import (
    distributions,
    file_of,
    libc,
    machine,
    normal_name,
    normal_version,
    python_path,
    say,
    search_path,
)
from flowdeps.delivery.in_image.mounted import read_lock
from flowdeps.delivery.in_image.postinstall import leave_out

BOOT = ""  # here stands the text of boot.py: see ``flowdeps.delivery.scripts``
IMAGE_ENTRIES = 4
SHOWN = 5  # packages in a line
Distributions = dict[str, metadata.Distribution]


def main() -> int:
    os.umask(0o022)  # the flow may run as another user
    key = os.environ.get("FLOWDEPS_SET", "")
    builds = bool(os.environ.get("FLOWDEPS_BUILD"))
    try:
        clean("site", "image", "boot", "tmp")  # a restarted pod begins again
        for name in ("lock.json", "manifest.json"):
            (HOME / name).unlink(missing_ok=True)
        link_image_path(python_path())
        done, about = install(key, builds=builds)
        write_boot(about)
        if builds:
            compile_all([HOME / "boot", HOME / "site"])
        say(done)
    except InstallError as error:
        say(str(error))
        return error.code
    except Exception as error:  # a traceback would hide the cause from those who read the run's log
        say(f'cannot install "{key}": {type(error).__name__}: {error}')
        return 1
    finally:
        clean("tmp")
    return 0


def install(key: str, *, builds: bool) -> tuple[str, dict[str, Any]]:
    """Install the set and the extras; return the last line to print, and what ``boot`` is told."""
    started = time.monotonic()
    check_complete(os.environ.get("FLOWDEPS_BEYOND"))
    variable = os.environ.get("FLOWDEPS_EXTRAS_VARIABLE", "extra_py_deps")
    with errors_of(variable):
        extras = requirements("" if builds else os.environ.get("FLOWDEPS_EXTRAS", ""))
    lock, text = read_lock(key) if key != "none" else (None, "")
    if lock is None and not extras:
        return "no dependency set chosen: the flow sees the packages of its image", {}
    TEMPORARY.mkdir()
    image = distributions(search_path())
    about: dict[str, Any] = {"python": python()}
    if lock is not None:
        about["base"] = check_base(lock, text, image)
        about |= {"set": lock["set"], "image": made_for(lock)}
        if lock["packages"]:
            check_fits(lock)
        about |= made_in(lock) if builds else {}
    cached = lock is not None and lock["packages"] and not extras and not builds
    with cache_for(made_from(lock, about) if lock is not None and cached else None) as cache:
        if lock is not None and cache and cache.found:
            (HOME / "site").symlink_to(cache.found)
            about["cache"] = str(cache.manifest)
            warn_of_shadows(lock, image, distributions([str(cache.found)]))
            tool = "from the cache"
        else:
            tool = fetch(lock, text, extras, variable=variable, image=image)
            if cache:
                fill(cache, HOME / "site")
    if lock is None:
        done = "no dependency set chosen: the flow sees the packages of its image and its extras"
        return done, about
    (HOME / "lock.json").write_text(json.dumps(lock, indent=1), "utf-8")
    if not tool:
        return f"{key} ({lock['digest'][:19]}) adds no packages to those of the image", about
    seconds = time.monotonic() - started
    count = "1 package" if lock["packages"] == 1 else f"{lock['packages']} packages"
    done = f"installed {count} of {key} ({lock['digest'][:19]}) {tool} in {seconds:.1f} s"
    return done, about


def fetch(
    lock: dict[str, Any] | None,
    text: str,
    extras: list[str],
    *,
    variable: str,
    image: Distributions,
) -> str:
    """Install the lock and the extras from their indexes; return with which installer, if the lock
    has packages."""
    site = TEMPORARY / "site"
    site.mkdir()
    installer = None
    tool = ""
    if lock is not None and lock["packages"]:
        check_credentials(lock)
        installer = Installer(index_urls(lock), lock["packages"])
        tool = f"with {installer.name}"
        with errors_of(lock["set"]):
            install_pins(lock, text, installer, site)
        warn_of_shadows(lock, image, distributions([str(site)]))
    if extras:
        installer = installer or Installer(index_urls(lock))
        known = {**image, **distributions([str(site)])}
        with errors_of(variable):
            added = install_extras(extras, known=known, installer=installer, target=site)
        report_extras(variable, added, place="the image" if lock is None else "the lock")
    leave_out(site)
    (site / ".lock").unlink(missing_ok=True)  # uv's
    site.rename(HOME / "site")
    return tool


def install_pins(lock: dict[str, Any], text: str, installer: Installer, site: Path) -> None:
    """Install a lock: each package from the index that it comes from."""
    own = {name: one["url"] for one in lock["index"].get("packages", ()) for name in one["names"]}
    texts: dict[str, str] = {}
    url = ""
    for line in text.splitlines(keepends=True):
        if pin := re.match(r"[A-Za-z0-9][\w.-]*", line):  # what follows is its own: hashes
            url = own.get(normal_name(pin[0]), "")
        texts[url] = texts.get(url, "") + line
    pins, added = TEMPORARY / "requirements.txt", TEMPORARY / "added"
    for url, part in sorted(texts.items()):
        if not re.search(r"^\w", part, re.MULTILINE):
            continue  # comments
        pins.write_text(part, "utf-8")
        one = Installer([url], installer.packages) if url else installer
        one.install(pins, added, "--require-hashes")
        move_into(site, added)  # pip leaves out directories that are there
        shutil.rmtree(added)


@contextmanager
def errors_of(subject: str) -> Iterator[None]:
    """Add to an error what it is about."""
    try:
        yield
    except InstallError as error:
        raise type(error)(f"{subject}: {error}; nothing was installed") from None


def report_extras(variable: str, added: list[str], *, place: str) -> None:
    if added:
        say(
            f"warning: unpinned: installed {', '.join(added)} beside {place}; "
            "pin them in a dependency set"
        )
    else:
        say(f"{variable}: all of it is there already, nothing was added")


def link_image_path(entries: list[str]) -> None:
    """Link what the image puts on PYTHONPATH, as far as the template leads to it."""
    links = HOME / "image"
    links.mkdir()
    for number, entry in enumerate(entries[:IMAGE_ENTRIES]):
        (links / str(number)).symlink_to(entry)  # may be missing here: a volume of the flow's alone


def python() -> dict[str, str]:
    """Return how ``boot`` knows this interpreter. It is isolated, so PYTHONHOME has no effect."""
    prefix = os.environ.get("PYTHONHOME", "").partition(os.pathsep)[0] or sys.prefix
    return {
        "tag": f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}",
        "prefix": os.path.realpath(prefix),
        "version": "{}.{}".format(*sys.version_info),
    }


def made_in(lock: dict[str, Any]) -> dict[str, Any]:
    """Return what ``boot`` compares with the run, its image and its node."""
    places = [python()["prefix"], *(sysconfig.get_path(name) for name in ("stdlib", "purelib"))]
    return {
        "built": "1",
        "lock": lock["digest"],
        "machine": os.uname().machine,
        "libc": os.confstr("CS_GNU_LIBC_VERSION") if libc() == "glibc" else "",
        "places": [one for one in places if os.path.isdir(one)],  # noqa: PTH112
    }


def made_from(lock: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """Return all that the packages of a lock depend on: runs in which it is equal share them."""
    return {
        "lock": lock["digest"],
        "python": {**about["python"], "program": sys.executable},  # which the lock's programs name
        "machine": os.uname().machine,
        "libc": os.confstr("CS_GNU_LIBC_VERSION") if libc() == "glibc" else libc(),
        "base": about["base"],
    }


def write_boot(about: dict[str, Any]) -> None:
    """Write what the flow's interpreter begins with, compiled, and what that has to know."""
    if "PYTHONPATH" in os.environ:
        about["pythonPath"] = os.environ["PYTHONPATH"]
    text = json.dumps(about, ensure_ascii=False, indent=1)
    (HOME / "manifest.json").write_text(text, "utf-8", "backslashreplace")
    for name in ("sitecustomize", "usercustomize"):
        file = HOME / "boot" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(BOOT, "utf-8")
        if "built" not in about:  # else it is compiled with the packages
            unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(file), doraise=True, invalidation_mode=unchecked)


def index_urls(lock: dict[str, Any] | None) -> list[str]:
    """Return where packages come from, in order: the first index that has one wins."""
    if lock is None:
        return os.environ.get("FLOWDEPS_INDEX", "").split()
    index = lock["index"]
    return [url for url in [index["url"], *index["extraUrls"]] if url]


def check_complete(told: str | None) -> None:
    """Refuse a run that would lack what its deployment gives it; None: it gives no lists."""
    if told is None:
        return
    known, _, beyond = told.partition(" ")
    if not known:
        raise InstallError(
            "the worker fills in no single items of lists among the run's job variables (env, "
            "volumes, volume mounts or init containers), so the pod lacks them: write these lists "
            "into the base job template, or use a worker that flowdeps is tested with"
        )
    if beyond.strip():
        raise InstallError(
            "a list among the run's job variables (env, volumes, volume mounts or init containers) "
            "has more than 100 items, and its pod lacks the rest: give 100 or fewer"
        )


def check_fits(lock: dict[str, Any]) -> None:
    """Refuse an interpreter, machine or C library that the lock is not for: wheels fail late."""
    python = "{}.{}".format(*sys.version_info)
    here = machine()
    name = lock["set"]
    if lock["python"] not in {None, python}:
        raise InstallError(
            f"the lock of {name} is for Python {lock['python']}, the flow's image has Python "
            f"{python}: use an image with Python {lock['python']}, or set python.version of {name}"
        )
    if here not in lock["platforms"]:
        raise InstallError(
            f"the lock of {name} is for {', '.join(lock['platforms'])}, this node is {here}: run "
            f"the flow on another node, or add {here} to python.platforms of {name}"
        )
    if libc() != "glibc":
        raise InstallError(
            f"the lock of {name} is for images with glibc, the flow's image has another C library "
            "(Alpine?): use a Debian, Ubuntu or Red Hat based image"
        )


def check_base(lock: dict[str, Any], text: str, image: Distributions) -> dict[str, list[str]]:
    """Refuse an image without the packages that the lock builds on.

    Returns them by name: their version as the image spells it, and the name of their metadata.
    """
    base = re.findall(r"^# image: ([^=\s]+)==(\S+)\s*$", text, re.MULTILINE)
    has = {name: normal_version(image[name].version) for name, _ in base if name in image}
    wrong = [(name, version) for name, version in base if has.get(name) != version]
    if not wrong:
        return {name: [image[name].version, file_of(image[name]).name] for name, _ in base}
    wanted = listed([f"{name} {version}" for name, version in wrong])
    found = listed([f"{name} {has[name]}" if name in has else f"no {name}" for name, _ in wrong])
    name = lock["set"]
    raise InstallError(
        f"the lock of {name} was made for an image that has {wanted}; this one has {found}: run "
        f"the flow in {made_for(lock)}, or name this image in python.image of {name}"
    )


def made_for(lock: dict[str, Any]) -> str:
    return lock.get("image") or "the image that it was made for"


def check_credentials(lock: dict[str, Any]) -> None:
    """Refuse an index that wants credentials if they are not mounted."""
    if lock.get("credentials") and not any(
        (CREDENTIALS / file).exists() for file in ("netrc", "ca.crt")
    ):
        namespace = os.environ.get("FLOWDEPS_NAMESPACE", "")
        raise InstallError(
            f"the index of {lock['set']} wants credentials, and their Secret is not in namespace "
            f'"{namespace}": see the status of {lock["set"]} and its index.credentialsSecretRef'
        )


def warn_of_shadows(lock: dict[str, Any], image: Distributions, added: Distributions) -> None:
    """Warn of what the lock puts before the image's own copy, unless it is meant to, or behind."""
    meant = set(lock.get("shadow") or [])
    named = {Path(entry) for entry in python_path()}
    before, behind = [], []
    for name, one in sorted(added.items()):
        own = image.get(name)
        if own is None or normal_version(own.version) == normal_version(one.version):
            continue
        if file_of(own).parent in named:
            behind.append(f"{name} {own.version} before {one.version}")
        elif not meant & {name, "*"}:
            before.append(f"{name} {one.version} before {own.version}")
    if before:
        say(
            f"warning: {lock['set']} puts other versions before those of the image: "
            f"{listed(before)}; set python.image, or name them in shadow"
        )
    if behind:
        say(
            f"warning: the image's PYTHONPATH puts other versions before those of {lock['set']}: "
            f"{listed(behind)}; set python.image, or take them out of the image"
        )


def listed(items: list[str]) -> str:
    more = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def clean(*names: str) -> None:
    for name in names:
        if (HOME / name).is_symlink():  # to what a cache has
            (HOME / name).unlink()
        shutil.rmtree(HOME / name, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
