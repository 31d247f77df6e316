"""The page of a key of a pool: an artifact of type markdown, for people and for programs. Pure.

People read the tables. Programs take the last code block, one line of JSON:

    {"version": 1, "pool": …, "key": …, "owner": …, "cluster": …,
     "digest": "sha256:…", "lock.json": {…}, "requirements.txt": "…", "environment": {…}}

`digest` is that of the lock in `requirements.txt` (`parse_lock(text).digest`), so a program can
work it out anew. No back quote is in the line, so nothing in it can end the block; what others have
written is escaped, so that it is text and no markup. The same lock makes the same page.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowdeps.api.names import artifact_key, revision_choice
from flowdeps.api.status import json_name, mapping, to_json
from flowdeps.api.wording import shorten
from flowdeps.locks.legible import printable
from flowdeps.locks.lock import Lock
from flowdeps.reconcile.announcements.board import Content
from flowdeps.state.config_maps import manifest_of
from flowdeps.state.locations import Location
from flowdeps.state.store import LOCK_FILE, MANIFEST_FILE, SetKey

_FENCE = "```json\n"
_END = "\n```\n"
_MOST_BYTES = 1_000_000
"""Of a lock's text. ConfigMaps have little more, and what else a server takes is not known."""
_MOST_ROWS = 1000
_LONGEST = 300
_PUNCTUATION = re.compile(r"""([!"#$%&'()*+./:;<=>?@\[\\\]^_`{|}~])""")


@dataclass(frozen=True, kw_only=True)
class Page:
    """Which page it is, and what it should show."""

    pool: str
    key: str
    set: SetKey
    content: Content

    @property
    def artifact(self) -> str:
        """The key of its artifact."""
        return artifact_key(self.key, pool=self.pool)

    @property
    def description(self) -> str:
        """What Prefect shows of it in a list."""
        revision = revision_choice(self.key, self.content.record.short)
        pool, owner = _escaped(self.pool), _escaped(str(self.set))
        return f"{_escaped(revision)} for runs of work pool {pool}, by {owner}"


def render(page: Page, lock: Lock, text: str, *, owner: str, cluster: str) -> str:
    """Return a page; `text` is that of its lock, `owner` and `cluster` are the operator's."""
    record, content = page.content.record, page.content
    manifest = manifest_of(page.set, Location("", page.key, page.pool), record)
    document: dict[str, Any] = {
        "version": 1,
        "pool": page.pool,
        "key": page.key,
        "owner": owner,
        "cluster": cluster,
        "digest": record.digest,
        MANIFEST_FILE: manifest,
    }
    if len(text.encode()) <= _MOST_BYTES:
        document[LOCK_FILE] = text
    else:
        document["problem"] = "the lock is too large for an artifact"
    if content.environment:
        document["environment"] = to_json(content.environment)
    blocks = [*_blocks(page, lock), "## Document"]
    line = json.dumps(document, sort_keys=True).replace("`", "\\u0060")
    return "\n\n".join(blocks) + f"\n\n{_FENCE}{line}{_END}"


def document_of(data: str) -> Mapping[str, Any]:
    """Return the document in the text of an artifact; empty where it is none of ours."""
    _, fence, rest = data.rpartition(_FENCE)
    if not fence or not rest.endswith(_END):
        return {}
    try:
        return mapping(json.loads(rest.removesuffix(_END)))
    except (ValueError, RecursionError):
        return {}


def is_of(document: Mapping[str, Any], *, artifact: str, owner: str, cluster: str) -> bool:
    """Return whether an operator of this owner and cluster wrote an artifact, by its document."""
    pool, key = document.get("pool"), document.get("key")
    named = isinstance(pool, str) and isinstance(key, str)
    return (
        named
        and artifact_key(str(key), pool=str(pool)) == artifact
        and (document.get("owner"), document.get("cluster")) == (owner, cluster)
    )


def _blocks(page: Page, lock: Lock) -> Iterator[str]:
    content, record = page.content, page.content.record
    facts = {
        "Work pool": page.pool,
        "Set": str(page.set),
        "Revision": revision_choice(page.key, record.short),
        "Digest": record.digest,
        "Python": record.python,
        "Platforms": ", ".join(record.platforms),
        "Image": record.image,
        "Environment": content.environment.reference if content.environment else "",
        "Resolved at": record.resolved_at,
        "In service since": content.served_since,
    }
    yield f"# {_escaped(page.key)}"
    yield _table(("", ""), ((name, _escaped(text)) for name, text in facts.items() if text))
    yield "## Changes"
    yield _escaped(content.summary) or "None are known."
    yield "## Vulnerabilities"
    yield _vulnerabilities(content)
    yield f"## Packages\n\n{len(lock.pins)} pins"
    if lock.pins:
        pins = lock.pins[:_MOST_ROWS]
        columns = ("Package", "Version", "Platforms")
        yield _table(columns, ((one.name, one.version, ", ".join(one.platforms)) for one in pins))
    if len(lock.pins) > _MOST_ROWS:
        yield f"and {len(lock.pins) - _MOST_ROWS} more, in the document"
    if lock.base:
        yield "Of the image:"
        yield _table(("Package", "Version"), lock.base[:_MOST_ROWS])


def _vulnerabilities(content: Content) -> str:
    found = content.vulnerabilities
    if found is None:
        return "No database is configured."
    if not found:
        return "The database knows of none."
    names = ("id", "package", "version", "fixed", "summary")
    rows = (tuple(_escaped(getattr(one, name)) for name in names) for one in found[:_MOST_ROWS])
    return _table(tuple(json_name(name).capitalize() for name in names), rows)


def _table(columns: tuple[str, ...], rows: Any) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Return a text of others as markdown that shows it, in a line."""
    return _PUNCTUATION.sub(r"\\\1", shorten(printable(text), _LONGEST))
