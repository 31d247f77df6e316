"""The text under a key of a ConfigMap, whether a cluster has the ConfigMap or a file.

`data` holds UTF-8. What kubectl finds to be anything else, such as the UTF-16 that `pip freeze >
requirements.txt` writes in Windows PowerShell, it puts under `binaryData`; pip reads that too, by
its byte order mark.
"""

import base64
import codecs
from collections.abc import Mapping
from typing import Any


class TextError(ValueError):
    """Why something is no text, and what to do."""


def text_under(config_map: Mapping[str, Any], key: str) -> str | None:
    """Return the text under a key; None if there is none. Raises TextError."""
    text = _part(config_map, "data").get(key)
    if isinstance(text, str):
        return text
    encoded = _part(config_map, "binaryData").get(key)
    if not isinstance(encoded, str):
        return None
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        raise TextError("not in base64; make the ConfigMap with kubectl") from None
    return decode(content)


def keys_of(config_map: Mapping[str, Any]) -> list[str]:
    """Return all keys of a ConfigMap."""
    return sorted({**_part(config_map, "data"), **_part(config_map, "binaryData")})


def decode(content: bytes) -> str:
    """Return the text of a file, by its byte order mark or else in UTF-8. Raises TextError."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        raise TextError("not a text file in UTF-8; save it as one") from None


def _part(config_map: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = config_map.get(name)
    return part if isinstance(part, Mapping) else {}
