"""The source of the site: the pages of docs/ with their links turned to where files lie, and the reference.

`python -m docs.site FOLDER` writes it. Pages are written for GitHub: their links go to files of the project, and
what is not in docs/ is copied beside them. A page called index has the pages that it links to as its contents.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from docs.site import commands, documents, exports, files, interface, presets
from docs.site.words import block

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "hardware_db/README.md": "reference/hardware-db.md",
}
"""Where files of the project stand in the site."""
_LINK = re.compile(r"(!?\[[^\]]*\])\(((?![a-z]+:|#)[^)\s#]+)(#[^)\s]*)?\)")
_REFERENCE = (
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
"""The pages of the reference, in their order."""


def reference() -> dict[str, str]:
    """The pages that are made from the code, by their path below reference/."""
    parts = (commands.pages(), files.pages(), documents.pages(), presets.pages(), exports.pages(), interface.pages())
    return {name: text for part in parts for name, text in part.items()}


def write(folder: Path) -> None:
    """Write the source of the site, anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]):
        _put(folder, path.relative_to(DOCS).as_posix(), path)
    for name, place in _ELSEWHERE.items():
        if name != "README.md":
            _put(folder, place, ROOT / name)
    for name, text in reference().items():
        _write(folder / "reference" / name, text + _contents(f"reference/{name}", text))
    shutil.copy(DOCS / "site" / "conf.py", folder)
    (folder / "_static").mkdir()
    shutil.copy(DOCS / "site" / "site.css", folder / "_static")


def _put(folder: Path, place: str, path: Path) -> None:
    """Copy a page to its place."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        text = _LINK.sub(lambda link: f"{link[1]}({_target(folder, link[2], place, path)}{link[3] or ''})", text)
        text += _contents(place, text)
    _write(folder / place, text)


def _target(folder: Path, link: str, place: str, path: Path) -> str:
    """Where a link goes that stands in a page; a file that is no page is copied."""
    file = (path.parent / link).resolve()
    if not file.is_file():
        return link  # the build fails on it
    name = file.relative_to(ROOT).as_posix()
    where = _ELSEWHERE.get(name, name.removeprefix("docs/") if name.startswith("docs/") else f"project/{name}")
    if file.suffix not in (".md", ".ipynb"):
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / where)
    return os.path.relpath(where, PurePosixPath(place).parent)


def _contents(place: str, text: str) -> str:
    """What stands below an index: the pages that it links to, as the site's contents."""
    if place == "reference/index.md":
        return "\n## Pages\n\n" + block("{toctree}", [":maxdepth: 1", "", *_REFERENCE])
    linked = dict.fromkeys(_inner(place, text))
    return "\n" + block("{toctree}", [":hidden:", "", *linked]) if linked else ""


def _inner(place: str, text: str) -> Iterator[str]:
    if PurePosixPath(place).stem == "index" or place == "reference/presets/accelerators.md":
        for link in _LINK.finditer(text):
            if PurePosixPath(link[2]).suffix in (".md", ".ipynb") and not link[2].startswith(".."):
                yield str(PurePosixPath(link[2]).with_suffix(""))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
