"""The source of the site: the pages of docs/ with their links adapted, and the reference.

`python -m docs.site FOLDER` writes it. Pages are written for GitHub: their links go to files of the project. Files
outside docs/ are copied beside the pages. The contents of an index page are the pages that it links to.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from docs.site import commands, documents, exports, files, interface, presets
from docs.site.words import format_block

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_SITE_PATHS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "hardware_db/README.md": "reference/hardware-db.md",
}
"""The paths of project files in the site."""
_LINK_PATTERN = re.compile(r"(!?\[[^\]]*\])\(((?![a-z]+:|#)[^)\s#]+)(#[^)\s]*)?\)")
_REFERENCE_PAGES = (
    "glossary",
    "commands/index",
    "exit-codes",
    "files/index",
    "documents/index",
    "presets/models",
    "presets/clusters",
    "presets/nodes",
    "presets/accelerators",
    "hardware-db",
    "exports",
    "python",
)
"""The pages of the reference, in order."""


def build_reference() -> dict[str, str]:
    """The pages made from the code, by their path below reference/."""
    parts = (
        commands.build_pages(),
        files.build_pages(),
        documents.build_pages(),
        presets.build_pages(),
        exports.build_pages(),
        interface.build_pages(),
    )
    return {name: text for part in parts for name, text in part.items()}


def write_site(folder: Path) -> None:
    """Write the source of the site, in place of an earlier one."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]):
        _copy_page(folder, path.relative_to(DOCS).as_posix(), path)
    for name, place in _SITE_PATHS.items():
        if name != "README.md":
            _copy_page(folder, place, ROOT / name)
    for name, text in build_reference().items():
        _write_file(folder / "reference" / name, text + _build_contents(f"reference/{name}", text))
    shutil.copy(DOCS / "site" / "conf.py", folder)
    (folder / "_static").mkdir()
    shutil.copy(DOCS / "site" / "site.css", folder / "_static")


def _copy_page(folder: Path, place: str, path: Path) -> None:
    """Copy a page into the site, with its links adapted."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        text = _LINK_PATTERN.sub(
            lambda link: f"{link[1]}({_resolve_link(folder, link[2], place, path)}{link[3] or ''})", text
        )
        text += _build_contents(place, text)
    _write_file(folder / place, text)


def _resolve_link(folder: Path, link: str, place: str, path: Path) -> str:
    """The target of a page's link in the site; a file that is not a page is copied."""
    file = (path.parent / link).resolve()
    if not file.is_file():
        return link  # the build fails on it
    name = file.relative_to(ROOT).as_posix()
    where = _SITE_PATHS.get(name, name.removeprefix("docs/") if name.startswith("docs/") else f"project/{name}")
    if file.suffix not in (".md", ".ipynb"):
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / where)
    return os.path.relpath(where, PurePosixPath(place).parent)


def _build_contents(place: str, text: str) -> str:
    """The table of contents below an index: the pages that it links to."""
    if place == "reference/index.md":
        return "\n## Pages\n\n" + format_block("{toctree}", [":maxdepth: 1", "", *_REFERENCE_PAGES])
    linked = dict.fromkeys(_list_linked_pages(place, text))
    return "\n" + format_block("{toctree}", [":hidden:", "", *linked]) if linked else ""


def _list_linked_pages(place: str, text: str) -> Iterator[str]:
    if PurePosixPath(place).stem == "index" or place == "reference/presets/accelerators.md":
        for link in _LINK_PATTERN.finditer(text):
            if PurePosixPath(link[2]).suffix in (".md", ".ipynb") and not link[2].startswith(".."):
                yield str(PurePosixPath(link[2]).with_suffix(""))


def _write_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
