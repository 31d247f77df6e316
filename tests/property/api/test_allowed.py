"""Whatever is allowed is below an allowed prefix, as each server would see it."""

import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from flowdeps.api.allowed import allows, allows_image, is_plain
from flowdeps.api.rules import check_index_url

PREFIX = "https://packages.example.com/simple/team"
_PIECES = ["simple", "team", "private", ".", "..", ";", "%2e", "%2E", "%252e", "%2f", "%5c", "\\"]
_PIECES += ["%20", "%00", "%0d", "%c0%ae", "%3b", "%25", "%74eam", "a", "=", "+", "~", "%C3%A9"]
_paths = st.lists(
    st.lists(st.sampled_from(_PIECES), max_size=3).map("".join)
    | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=4),
    max_size=6,
).map("/".join)
_urls = st.builds(
    "{}://{}{}/{}{}".format,
    st.sampled_from([*["https"] * 5, "http"]),
    st.sampled_from([*["packages.example.com"] * 5, "PACKAGES.example.com", "a.example.com"]),
    st.sampled_from([*[""] * 5, ":443", ":0443", ":0", ":80"]),
    st.sampled_from([*["simple/team/"] * 5, "simple/team", "simple/", ""]),
    _paths,
)


def _decoded(path: str) -> str:
    return unquote(path)


def _twice(path: str) -> str:
    return unquote(unquote(path))


def _without_parameters(path: str) -> str:
    return re.sub(r";[^/]*", "", unquote(path))


def _windows(path: str) -> str:
    return re.sub(r"[ .]+(?=/|$)", lambda dots: dots[0].rstrip(" "), _twice(path)).replace(
        "\\", "/"
    )


def _overlong(path: str) -> str:
    return unquote_to_bytes(path).replace(b"\xc0\xae", b".").decode(errors="replace")


def _cut(path: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "", unquote(path))


SERVERS: list[Callable[[str], str]] = [
    *(str, _decoded, _twice, _without_parameters, _windows, _overlong, _cut),
]


@settings(max_examples=500)
@given(_urls)
def test_an_allowed_url_is_below_its_prefix_for_every_server(url: str) -> None:
    """Whether a server decodes once or twice, drops parameters and control bytes, or knows `\\`."""
    assume(check_index_url(url) is None)
    allowed = allows([PREFIX], url)
    event(f"allowed: {allowed}")
    if allowed:
        parts = urlsplit(url)
        assert (parts.scheme, parts.hostname) == ("https", "packages.example.com")
        assert parts.port in {None, 443}
        for server in SERVERS:
            seen = posixpath.normpath(re.sub("/+", "/", server(parts.path)))
            assert seen == "/simple/team" or seen.startswith("/simple/team/")


@given(_urls, _urls)
def test_nothing_is_below_a_prefix_that_is_not_plain(prefix: str, url: str) -> None:
    """Also not itself: a configuration with one is refused, and if not, it opens nothing."""
    assume(check_index_url(url) is None and check_index_url(prefix) is None)
    assume(not is_plain(prefix))
    assert not allows([prefix], url)
    assert not allows([prefix], prefix)


_component = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)?", fullmatch=True)
_tags = st.sampled_from(["", ":1", ":3.11", ":5000", "@sha256:" + "0" * 64])
_registries = st.sampled_from(
    ["registry.example.com", "registry.example.com:5000", "localhost:5000", "evil.example.com"]
)
_images = st.builds(
    lambda registry, path, tag: "/".join([*registry, *path]) + tag,
    st.lists(_registries, max_size=1),
    st.lists(_component, min_size=1, max_size=3),
    _tags,
)


def _repository(image: str) -> tuple[str, str]:
    """The registry and the repository of an image, as a container runtime reads it."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost"):
        first, rest = "docker.io", name
    return first, re.sub(r":[^/]*$", "", rest)


@given(_images, st.data())
def test_an_allowed_image_is_in_the_repository_of_its_prefix(
    image: str, data: st.DataObject
) -> None:
    """Prefixes are cut from images at any sign, so that most are close to the image."""
    other = data.draw(_images)
    whole = data.draw(st.sampled_from([image, other]))
    ends = [at for at, sign in enumerate(whole) if sign in "/:@"] + [len(whole)]
    prefix = whole[: data.draw(st.sampled_from(ends))]
    assume(prefix and not re.fullmatch(r"localhost|.*:", prefix))
    allowed = allows_image([prefix], image)
    event(f"allowed: {allowed}")
    if allowed:
        registry, repository = _repository(image)
        if "/" not in prefix and registry == prefix:
            return
        place, above = _repository(prefix)
        assert registry == place
        assert repository == above or repository.startswith(f"{above}/")
