"""Describe installed packages to an installer: as wheels that hold their metadata alone.

With them an installer knows what a package requires that no index need have. The operator describes
an image's packages to uv like this, and a run those of image and lock to the image's installer.

Where a package came from does not matter, since it is there: a requirement with a URL becomes one
of the name alone. If nothing of that name is there, it is left out, as an index may have somebody
else's package of that name. So is what no installer could read.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Collection, Iterable

from flowdeps.delivery.in_image.inventory import VERSION, normal_name

STUB_TIME = (1980, 1, 1, 0, 0, 0)  # the same wheel each time
WHEEL_FILE = "Wheel-Version: 1.0\nGenerator: flowdeps\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
NAMED = r"[A-Z0-9](?:[A-Z0-9._-]*[A-Z0-9])?"
REQUIRED = re.compile(
    # The name goes on to its end: were each shorter one tried, a long text would take hours.
    rf"(?P<name>{NAMED})(?![A-Z0-9._-])\s*(?P<extras>\[\s*(?:{NAMED}(?:\s*,\s*{NAMED})*\s*)?\])?\s*"
    r"(?:@\s*(?P<url>\S+)|(?P<open>\()?(?P<versions>[^;@()]*)(?(open)\)))?\s*"
    r"(?:;(?P<marker>.*))?",
    re.IGNORECASE | re.ASCII,
)
BOUND = re.compile(r"(?P<operator>===|[~=!<>]=|[<>])\s*(?P<version>[^\s,;()]+)")
MARKER_NAMES = (
    "os_name|sys_platform|platform_(?:machine|python_implementation|release|system|version)|"
    "python_(?:full_)?version|implementation_(?:name|version)|extra"
)
MARKER_SIDE = rf"(?:{MARKER_NAMES}|'[^']*'|\"[^\"]*\")"
MARKER_TERM = (
    rf"[\s(]*{MARKER_SIDE}\s*(?:===|[~=!<>]=|[<>]|\bin\b|\bnot\s+in\b)\s*{MARKER_SIDE}[\s)]*"
)
MARKER = re.compile(rf"{MARKER_TERM}(?:\b(?:and|or)\b{MARKER_TERM})*", re.ASCII)


def stub_filename(name: str, version: str) -> str:
    """Return the file name of a stub; name and version are normalized."""
    return f"{name.replace('-', '_')}-{version}-py3-none-any.whl"


def stub_wheel(
    name: str,
    version: str,
    *,
    requires: Iterable[str],
    extras: Iterable[str],
    present: Collection[str],
) -> bytes:
    """Return a wheel with nothing but metadata; ``present``: the names of all that is there."""
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {one}" for one in extras if re.fullmatch(NAMED, one, re.IGNORECASE)]
    kept = (required_here(one, present) for one in requires)
    lines += [f"Requires-Dist: {one}" for one in kept if one]
    text = "".join(f"{line}\n" for line in lines)
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, content in (("METADATA", text), ("WHEEL", WHEEL_FILE), ("RECORD", "")):
            archive.writestr(zipfile.ZipInfo(f"{info}/{file}", STUB_TIME), content)
    return buffer.getvalue()


def required_here(text: str, present: Collection[str]) -> str | None:
    """Return a requirement as an installer shall see it; None: not at all."""
    found = REQUIRED.fullmatch(" ".join(text.split()))
    if not found or (found["url"] and normal_name(found["name"]) not in present):
        return None
    bounds = (found["versions"] or "").strip().removesuffix(",")
    marker = (found["marker"] or "").strip()
    parts = bounds.split(",") if bounds else []
    alone = "===" not in bounds or len(parts) == 1  # it would take the next one for its version
    if not alone or not all(is_bound(one.strip()) for one in parts):
        return None
    balanced = marker.count("(") == marker.count(")")
    if found["marker"] is not None and not (balanced and MARKER.fullmatch(marker)):
        return None
    line = found["name"] + (found["extras"] or "") + bounds
    return f"{line} ; {marker}" if marker else line


def is_bound(text: str) -> bool:
    """Tell whether a text is a comparison with a version."""
    found = BOUND.fullmatch(text)
    if not found:
        return False
    operator, version = found["operator"], found["version"].lower()
    exact = operator in {"==", "!="}
    if operator == "===":
        return True
    if exact and version.endswith(".*"):
        version = version[:-2]
        if re.search(r"[+]|dev", version):
            return False
    parts = VERSION.fullmatch(version)
    if not parts or (parts["local"] and not exact):
        return False
    return operator != "~=" or "." in parts["release"]
