"""The pages of a package index: the simple API as HTML (PEP 503) and JSON (PEP 691, 700). Pure."""

import html
import json
from hashlib import sha256

from tests.cluster.distributions import Distribution
from tests.cluster.httpserver import NOT_FOUND, Answer

_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = "text/html; charset=utf-8"


def projects(names: list[str], *, accept: str) -> Answer:
    """The page of all projects."""
    if _JSON in accept:
        content = {"meta": {"api-version": "1.1"}, "projects": [{"name": one} for one in names]}
        return Answer(body=json.dumps(content).encode(), media_type=_JSON)
    links = "".join(f'<a href="/simple/{one}/">{one}</a><br>\n' for one in names)
    return Answer(body=_page(links), media_type=_HTML)


def releases(project: str, files: list[Distribution], *, accept: str, times: bool = True) -> Answer:
    """A project's page, with upload ``times`` or without (HTML has none); a project without files
    does not exist."""
    if not files:
        return NOT_FOUND
    if _JSON in accept:
        content = {
            "meta": {"api-version": "1.1"},
            "name": project,
            "versions": sorted({one.version for one in files}),
            "files": [_json_file(one, times=times) for one in files],
        }
        return Answer(body=json.dumps(content).encode(), media_type=_JSON)
    return Answer(body=_page("".join(map(_html_file, files))), media_type=_HTML)


def _json_file(one: Distribution, *, times: bool) -> dict[str, object]:
    found: dict[str, object] = {
        "filename": one.filename,
        "url": f"/files/{one.filename}",
        "hashes": {"sha256": one.sha256},
        "size": len(one.content),
        "yanked": one.yanked,
    }
    if times:
        found["upload-time"] = one.upload_time.isoformat().replace("+00:00", "Z")
    if one.requires_python is not None:
        found["requires-python"] = one.requires_python
    if one.metadata is not None:
        found["core-metadata"] = {"sha256": sha256(one.metadata).hexdigest()}
    return found


def _html_file(one: Distribution) -> str:
    attributes = {"href": f"/files/{one.filename}#sha256={one.sha256}"}
    if one.requires_python is not None:
        attributes["data-requires-python"] = one.requires_python
    if one.metadata is not None:
        digest = f"sha256={sha256(one.metadata).hexdigest()}"
        attributes |= {"data-core-metadata": digest, "data-dist-info-metadata": digest}
    if one.yanked is not False:
        attributes["data-yanked"] = "" if one.yanked is True else one.yanked
    text = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
    return f"<a {text}>{one.filename}</a><br>\n"


def _page(links: str) -> bytes:
    head = '<meta name="pypi:repository-version" content="1.1"><title>index</title>'
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{links}</body></html>\n".encode()
