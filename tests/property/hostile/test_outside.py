"""What pods print, what is stored of images, what uv and an index say, and templates of pools."""

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from email.message import Message
from typing import Any
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import Version

from flowdeps.clients.kubernetes.errors import refusal
from flowdeps.delivery.choice import find_all
from flowdeps.delivery.in_image.stub import stub_wheel
from flowdeps.delivery.kinds import remove
from flowdeps.delivery.kinds.kind import Fragment, MergeRefusedError
from flowdeps.delivery.kinds.kubernetes import KUBERNETES
from flowdeps.locks import overlay
from flowdeps.locks.differences import differences
from flowdeps.locks.image import ImageError, ImageFacts
from flowdeps.locks.inspection import parse_image_packages, parse_probe
from flowdeps.locks.markers import left_out
from flowdeps.locks.pylock import PylockError, read_pylock
from flowdeps.locks.releases import python_of
from flowdeps.locks.request import LockRequest
from flowdeps.locks.target import Target
from flowdeps.resolver import pages_child
from flowdeps.resolver.failures import to_error, warnings, yanked
from flowdeps.resolver.pages import _page
from flowdeps.trials.errors import TrialError
from flowdeps.trials.image import Image, ImageRef
from flowdeps.trials.runner import Ended
from flowdeps.trials.verify import check_trial
from tests.property.hostile.strategies import json_values, mutated, spoilt, texts, written
from tests.unit.delivery.samples import pool
from tests.unit.locks.test_image import FACTS, HEAD, PREFECT, SIX, printed

AMD64 = "linux/amd64"
_IMAGE = Image(ImageRef("flows", "registry.example.com/flows:1"), "sha256:0", FACTS)


def _use(facts: ImageFacts) -> None:
    """Work out all that is worked out of an image."""
    assert ImageFacts.from_json(facts.to_json()) == facts
    if facts.problem:
        return
    request = LockRequest(
        requirements=("six==1.0", "alpha>=2; python_full_version > '3.11.4'"),
        target=Target(facts.python, (facts.platform,)),
        image=facts,
        shadow=("six",),
    )
    assert request.digest
    assert Version(python_of(request))
    differences(request)
    left_out(request)
    overlay.constraints(facts, shadow=("*",), platform=facts.platform)
    overlay.conflicts(facts, {"six": "2.0", "alpha": "1.0"}, platform=facts.platform)
    overlay.describe_limits(facts, {"six": ["==1.17.0", ">=2"]}, shadow=(), platform=facts.platform)
    assert all(map(str, overlay.unmet_requirements(facts)))
    for one in facts.distributions:
        stub_wheel(
            one.name, one.version, requires=one.requires, extras=one.extras, present=facts.versions
        )


_REQUIRES = st.one_of(
    texts,
    spoilt("alpha[x,y]>=1,<2; python_version > '3.8' and (extra == 'b' or os_name == 'nt')"),
)


@given(mutated(json.loads(FACTS.to_json()), json_values()), st.lists(_REQUIRES, max_size=4))
@example({**json.loads(FACTS.to_json()), "distributions": [["six", "one", [], []]]}, [])
@example({**json.loads(FACTS.to_json()), "fullVersion": "3.11.one"}, [])
@example({**json.loads(FACTS.to_json()), "markers": {"python_full_version": "one"}}, ["a"])
def test_any_facts_of_an_image_can_be_used_or_are_refused(stored: Any, requires: list[str]) -> None:
    """Whoever wrote them into the ConfigMap."""
    with suppress(ImageError):
        facts = ImageFacts.from_json(written(stored))
        _use(facts)
    odd = {**json.loads(FACTS.to_json()), "distributions": [["six", "1.17.0", requires, []]]}
    with suppress(ImageError):
        _use(ImageFacts.from_json(written(odd)))


_GOOD = printed(HEAD, SIX, PREFECT)
_RESULT = {"ok": False, "module": "six", "error": "no", "notes": ["a"], "clashes": []}
_CLASH = {"kind": "twice", "module": "a", "ours": "b 1", "theirs": "c 1", "leave": ["b"]}


@st.composite
def logs(draw: st.DrawFn) -> str:
    """What a pod prints: a good log, of which a part is another one."""
    result = draw(
        mutated(_RESULT, json_values(_RESULT))
        | st.builds(lambda one: {**_RESULT, "clashes": [one]}, mutated(_CLASH, json_values(_CLASH)))
    )
    records = draw(mutated([HEAD, SIX, PREFECT], json_values(SIX)))
    lines = printed(*records) if isinstance(records, list) else draw(spoilt(_GOOD))
    end = draw(st.sampled_from(["", "flowdeps-verify: " + "[" * 100_000, draw(texts)]))
    return f"{draw(texts)}\n{lines}flowdeps-verify: {written(result)}\n{end}"


@given(logs(), st.sampled_from(["", "flowdeps-install"]), texts)
def test_any_log_of_a_pod_is_read_or_refused(log: str, failed: str, why: str) -> None:
    """As what an image has, and as the end of a trial."""
    with suppress(ImageError):
        _use(parse_probe(log))
    with suppress(ImageError):
        _use(parse_image_packages(log, python="3.11", platform=AMD64))
    try:
        notes = check_trial(Ended(failed, why, log, ""), _IMAGE).notes
    except TrialError as error:
        notes = error.message
        assert notes
    assert notes.isprintable()
    assert len(notes) <= 4000


@given(json_values(["message", "reason", "code"]) | texts, st.sampled_from([409, 422, 500]))
def test_any_answer_of_an_api_server_is_an_error(answer: Any, status: int) -> None:
    """Or of a proxy before it."""
    for data in (written(answer), str(answer)):
        error = refusal(status, data.encode(errors="surrogatepass"), what="GET /x")
        assert str(error).isprintable()


_PYLOCK = """\
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "a"
version = "1.0"
wheels = [{ url = "https://example.com/a-1.0-py3-none-any.whl", hashes = { sha256 = "%s" } }]
""" % ("0" * 64)  # fmt: skip


@given(spoilt(_PYLOCK) | texts)
@example("a = " + "[" * 5000)
@example(_PYLOCK.replace("example.com", "[example.com"))
@example(_PYLOCK.replace("py3-none", ".".join("abcdefghijkl" * 20)))
def test_any_resolution_is_read_or_refused(text: str) -> None:
    """As uv writes it, in which an index has its say."""
    with suppress(PylockError):
        read_pylock(text, target=Target("3.11", (AMD64,)), platform=AMD64)


_UV = """\
warning: `a==1.0` is yanked (reason: "b")
error: No solution found when resolving dependencies:
  cause: Because only a<=1.0 is available and you require a>=2, your requirements are unsatisfiable.
hint: `a` was found on https://b:c@example.com/simple, but not at the requested version (a>=2).
"""


@given(spoilt(_UV) | texts, st.sampled_from([1, 2, -6, -9, -24]))
def test_whatever_uv_says_is_an_error_that_can_be_shown(text: str, code: int) -> None:
    """It quotes an index."""
    message = to_error(text, code=code, credentials=True).message
    assert message
    assert message.isprintable()
    assert "c@example" not in message or "://b:c@" not in text
    yanked(text)
    warnings(text)


_FILE: dict[str, Any] = {
    "filename": "a-1.0-py3-none-any.whl",
    "url": "https://example.com/a-1.0-py3-none-any.whl",
    "hashes": {"sha256": "0" * 64},
    "requires-python": ">=3.8",
    "yanked": False,
    "core-metadata": False,
    "upload-time": "2026-01-01T00:00:00Z",
}
_HTML = '<base href="/x/"><a href="a-1.0-py3-none-any.whl#sha256=0" data-requires-python="">a</a>'


class _Answer(io.BytesIO):
    """What an index answers."""

    def __init__(self, content: bytes, media_type: str) -> None:
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Type"] = media_type
        self.url = "https://example.com/simple/a/"


@given(
    st.one_of(
        mutated({"files": [_FILE, _FILE]}, json_values(_FILE)).map(written),
        spoilt(_HTML),
        texts,
    ),
    st.sampled_from(["application/vnd.pypi.simple.v1+json", "text/html"]),
)
@example(written({"files": [{**_FILE, "filename": "a-" + "9" * 5000 + ".whl"}]}), "text/json")
def test_any_page_of_an_index_is_read_or_refused(text: str, media_type: str) -> None:
    """A child reads it, and reports what it raises by its kind; we read what it writes."""

    def opened(*_: object, **__: object) -> _Answer:
        return _Answer(text.encode(errors="surrogatepass"), media_type)

    found: Any = None
    with mock.patch.object(pages_child, "_opened", opened), suppress(Exception):
        found = pages_child._package(
            "a",
            Version("1.0"),
            indexes=["https://example.com/simple"],
            python="3.11",
            platforms=[AMD64],
            glibc=28,
            wait=1.0,
        )
    if found:
        page = _page(json.loads(json.dumps(found)))
        assert all(one.is_for("3.11") in {True, False} for one in page.releases)


_TEMPLATE = pool()
_FRAGMENT = Fragment(
    keys=("ml",), descriptions={}, default="none", owner="flowdeps", version="1", pool="k"
)


def _templates() -> Iterator[st.SearchStrategy[Any]]:
    names = [
        *("job_configuration", "job_manifest", "variables", "properties", "default", "spec"),
        *("template", "containers", "env", "volumes", "name", "image", "metadata", "labels"),
    ]
    for good in (_TEMPLATE, KUBERNETES.merge(_TEMPLATE, _FRAGMENT)):
        # Prefect has nothing but mappings here.
        yield mutated(good, json_values(names)).filter(lambda found: isinstance(found, dict))
    yield st.dictionaries(st.sampled_from(names), json_values(names), max_size=3)


@given(st.one_of(*_templates()))
def test_any_template_takes_the_fragment_or_says_why_not(template: Any) -> None:
    """Whoever may edit a pool has written it; what goes in comes out."""
    find_all(template)
    KUBERNETES.view(template)
    remove(template)
    with suppress(MergeRefusedError):
        merged = KUBERNETES.merge(template, _FRAGMENT)
        assert KUBERNETES.merge(merged, _FRAGMENT) == merged
        remove(merged)
        remove(KUBERNETES.merge(merged, replace(_FRAGMENT, default="ml")))
