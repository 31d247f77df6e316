"""The documentation as a site: whole, with links that lead somewhere, and alone in the world."""

import re
from pathlib import Path

import pytest
import yaml

from scripts.site import ROOT, BuildError, build

_CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|embed)\b[^>]*\bsrc=[\"']?(\w+:)?//"
    r"|<link\b(?![^>]*rel=[\"']?canonical)[^>]*\bhref=[\"']?(\w+:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of this checkout."""
    target = tmp_path_factory.mktemp("site") / "site"
    build(target)
    return target


def test_every_link_and_anchor_leads_somewhere(site: Path) -> None:
    """The build is strict, so that it comes to an end says so; all pages are there."""
    assert (site / "index.html").exists()
    assert len(list(site.rglob("index.html"))) > 30


def _pages(entry: object) -> list[str]:
    if isinstance(entry, dict):
        return [page for part in entry.values() for page in _pages(part)]
    if isinstance(entry, list):
        return [page for part in entry for page in _pages(part)]
    return [str(entry)]


def test_every_page_is_in_the_navigation() -> None:
    """And none twice; what is named below repository/ is a file of the repository."""
    named = _pages(_CONFIG["nav"])
    own = {page for page in named if not page.startswith("repository/")}
    assert own == {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert len(named) == len(set(named))
    others = {page.removeprefix("repository/") for page in named} - own
    assert all((ROOT / page).is_file() for page in others)


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """No font, script, picture or style of another host, in pages and in style sheets; and nothing
    that would fetch one when it is shown (diagrams, pictures that open, code that runs)."""
    pages = {page: page.read_text() for page in site.rglob("*.html")}
    assert not [page for page, text in pages.items() if _LOADED.search(text)]
    fetching = re.compile(r'class="[^"]*\b(mermaid|glightbox|pyodide)\b')
    assert not [page for page, text in pages.items() if fetching.search(text)]
    sheets = [sheet.read_text() for sheet in site.rglob("*.css")]
    assert sheets
    assert not [sheet for sheet in sheets if re.search(r"url\([\"']?(\w+:)?//|@import", sheet)]


def test_files_of_the_repository_are_pages(site: Path) -> None:
    """A link out of docs/ leads to a page with that file, or with all files of that directory."""
    page = site / "repository" / "examples" / "flux" / "index.html"
    assert "dependsOn" in page.read_text()
    flux = (site / "how-to" / "flux" / "index.html").read_text()
    assert 'href="../../repository/examples/flux/"' in flux


@pytest.mark.parametrize("text", ["[gone](gone.md)", "[there](#nowhere)", "[out](../gone.yaml)"])
def test_a_broken_link_ends_the_build(tmp_path: Path, text: str) -> None:
    """The message says which, and what stood there before stays."""
    root, target = tmp_path / "root", tmp_path / "site"
    (root / "docs").mkdir(parents=True)
    (root / "mkdocs.yml").write_text(yaml.safe_dump({**_CONFIG, "nav": ["index.md"]}))
    (root / "docs" / "index.md").write_text("# Page\n")
    (root / "docs" / "site.css").write_text("")
    build(target, root=root)
    (root / "docs" / "index.md").write_text(f"# Page\n\n{text}\n")
    with pytest.raises(BuildError, match=r"index\.md:3"):
        build(target, root=root)
    assert (target / "index.html").exists()
