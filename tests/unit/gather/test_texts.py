"""The text under a key of a ConfigMap, as kubectl stores a file there."""

import base64
import codecs
from typing import Any

import pytest

from flowdeps.gather.sources import Absent, ConfigMapKey, TextError, key_content, text_under

LINES = "pandas>=2\r\nhttpx\r\n"


def binary(content: bytes) -> dict[str, Any]:
    """A ConfigMap from a file that kubectl takes for no text."""
    return {"data": {"other": "a"}, "binaryData": {"in": base64.b64encode(content).decode()}}


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF16_LE + LINES.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + LINES.encode("utf-16-be"),
        codecs.BOM_UTF8 + LINES.encode(),
        LINES.encode(),
    ],
)
def test_a_file_of_powershell_is_read_by_its_mark(content: bytes) -> None:
    """`pip freeze > requirements.txt` writes UTF-16 there, which kubectl puts under binaryData."""
    assert text_under(binary(content), "in") == LINES


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"caf\xe9", "not a text file in UTF-8; save it as one"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8", "not a text file in UTF-8; save it as one"),
    ],
)
def test_what_is_no_text_is_no_missing_key(content: bytes, says: str) -> None:
    """Latin-1 without a mark, or half a character: the file is to be saved anew."""
    with pytest.raises(TextError, match=says):
        text_under(binary(content), "in")
    with pytest.raises(TextError, match="not in base64"):
        text_under({"binaryData": {"in": "é="}}, "in")


def test_data_is_text_as_it_is() -> None:
    """The other keys are named as kubectl shows them; what is no mapping has none."""
    assert text_under(binary(b""), "other") == "a"
    assert text_under(binary(b""), "missing") is None
    ref = ConfigMapKey("flows", "lines", "missing")
    says = f"there is no {ref}; its keys: in, other; create it"
    assert key_content(ref, binary(b"")) == Absent(says)
    assert text_under({"data": ["in"], "binaryData": {"in": 5}}, "in") is None
