"""Databases in OSV format, small ones, as files and archives."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any


def osv(number: int, *, name: str = "alpha", ecosystem: str = "PyPI") -> dict[str, Any]:
    """A record whose range is ``0`` to ``number``."""
    events = [{"introduced": "0"}, {"fixed": f"{number}"}]
    return {
        "id": f"GHSA-{number}",
        "summary": f"Flaw {number}",
        "affected": [
            {
                "package": {"ecosystem": ecosystem, "name": name},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
            }
        ],
    }


def write(path: Path, record: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def archive(*records: object, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    """A zip file of ``records``, and of ``members`` (a name's underscore stands for its dot)."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as made:
        for number, record in enumerate(records):
            made.writestr(f"{number}.json", json.dumps(record))
        for name, content in members.items():
            made.writestr(name.replace("_", "."), content)
    return data.getvalue()
