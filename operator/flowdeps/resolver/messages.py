"""The sentences of uv's that we know. Pure.

Tests have what uv printed for each alternative, so a new version of uv shows what changed. An index
has a say in what uv prints, so each pattern takes linear time on any text: repetitions are bounded,
or begin at a sign that they can't contain.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

TOO_YOUNG = "was published after the exclude newer time"
_NAME = r"[a-z0-9][a-z0-9-]{0,200}"


class Says(Enum):
    """What uv can say: alternative patterns for each."""

    NO_SOLUTION = (r"error: No solution found",)
    PACKAGE_UNKNOWN = (r"(?<!\S)(\S{1,200}) was not found in the package registry",)
    NO_VERSIONS = (rf"there are no versions of ({_NAME})(?![\w.-])",)
    NO_SUCH_VERSION = (rf"no version of ({_NAME})==([^\s,]{{1,100}})",)
    OFFER = (r"only ([^;]{1,500}?)(?:you require|depends? on|we can conclude)",)
    RANGE = (rf"(?<![\w.-])({_NAME})([<>=!~][^\s`)]{{1,200}})",)
    ONLY_SDISTS = ("building from source is disabled", "has no usable wheels")
    WHEELS_FOR_GLIBC = (r"`manylinux_2_([0-9]{1,3})_",)

    # Of releases that a cooldown keeps out.
    RANGE_TOO_YOUNG = (rf"(?<!\S)({_NAME})([<>=!~]\S{{1,100}}) {TOO_YOUNG}",)
    RELEASE_TOO_YOUNG = (
        r"`([^`\s]{1,200})` was filtered by `exclude-newer`[^\n]{0,200}?"
        r" v(\S{1,100}), (?:was )?published at (\d{4}-\d\d-\d\d)",
    )
    NO_UPLOAD_TIME = (r"warning: `([^`\s]{1,300})` is missing an upload date",)

    # Of single packages.
    YANKED = (
        r"warning: `([^`=\s]{1,200})==([^`\s]{1,200})` is yanked(?: \(reason: \"(.{0,500})\"\))?",
    )
    UNKNOWN_EXTRA = (
        rf"package `({_NAME})==([^`\s]{{1,200}})` does not have an extra named `([^`\s]{{1,200}})`",
    )
    URL_DEPENDENCY = (r"`([^`\s]{1,200})` was included as a URL dependency",)
    # Not of uv's own cache. The rest of what uv says tells whether the file exists.
    LOCAL_FILE = (
        r" file `/(?:[^`/]*/)*([^`/-]{1,200})-[^`/]{1,200}\.whl`",
        r"(?<=failed to open) file `/(?![^`]*/[a-z]+-v[0-9]+/)",
        r"(?<=failed to query metadata of) file `/(?![^`]*/[a-z]+-v[0-9]+/)",
    )

    # Of the index.
    ON_ANOTHER_INDEX = (
        rf"`({_NAME})` was found on (\S{{1,500}}), but not at the requested version"
        r" \(([^)]{1,200})\)\. A compatible version may be available on a subsequent index"
        r" \(e\.g\., ([^\s)]{1,500})\)",
    )
    HINT_ON = (rf"(?m)^hint: [^\n]{{0,200}}?`({_NAME})`",)
    NO_PAGE = (
        r"Received some unexpected (?:HTML|JSON) from `([^`]{1,1000})`",
        r"Unsupported `Content-Type` \S{1,100} for `([^`]{1,1000})`",
    )
    FILE_GONE = (
        r"404 Not Found\) for url \((https?://[^\s)]{1,1000}/([^/\s)-]{1,200})-([^/\s)-]{1,100})-[^/\s)]{1,200}\.whl)\)",
    )
    UNTRUSTED = ("invalid peer certificate: UnknownIssuer",)
    REFUSED = ("401 Unauthorized", "403 Forbidden", "407 Proxy Authentication Required")
    UNREACHABLE = (
        "Failed to fetch",
        "Request failed after",
        "error sending request",
        "HTTP status ",
    )
    UNKNOWN_HOST = ("dns error", "failed to lookup address", "error resolving DNS")
    URL = (r"https?://[^\s)`]+",)

    # Of its own machine.
    # In a line of its own: an index has a say in others.
    DISK_FULL = (
        r"(?m)^[ \t]{0,20}(?:error|cause): failed to [^\n]{1,1000}\(os error (?:28|122)\)$",
    )

    # Of its end by a signal.
    NO_MEMORY = ("memory allocation of", "spawn", "Cannot allocate memory", "Tokio executor failed")

    # All that it warns of, and what of that says nothing to people: how we call uv, and what we say
    # ourselves.
    WARNING = (r"(?m)^warning: (.{1,2000})$",)
    NO_NEWS = (
        r"The `if-necessary-or-explicit` pre-release mode",
        r"Requirements file `constraints\.in` does not contain",
        r"` is yanked",
        r"` is missing an upload date",
    )

    # What is left out where it is shown: what we say better, or how we call uv.
    FLAG_IN_HINT = (r"\s{0,9}\((?:try|i\.e\.,)[^()]*--[^()]*\)",)
    ABOUT_FLAGS = (
        *("--", "By default", "building from source is disabled"),
        *("exclude-newer", "The latest version satisfying", "The requested version, v"),
    )
    URL_OF_ERROR = (r" for url \([^)]{0,2000}\)", r" \(os error \d+\)")

    def __init__(self, *alternatives: str) -> None:
        self.pattern = re.compile("|".join(alternatives))

    def search(self, text: str) -> re.Match[str] | None:
        """Find the first place in ``text`` where uv says so."""
        return self.pattern.search(text)

    def findall(self, text: str) -> list[Any]:
        """Return the groups of all places in ``text`` where uv says so."""
        return self.pattern.findall(text)

    def left_out(self, text: str) -> str:
        """Return ``text`` without what uv says so."""
        return self.pattern.sub("", text)


def ranges(text: str) -> Mapping[str, list[str]]:
    """Return the version ranges in ``text`` by the package's name, such as ``>=1,<2``."""
    found: dict[str, list[str]] = {}
    for name, one in Says.RANGE.findall(text):
        found.setdefault(name, []).append(one.rstrip(",."))
    return found
