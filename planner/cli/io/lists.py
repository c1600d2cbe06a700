"""Lists of what is known by name, in every form; for `planner models` and `planner cluster`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planner.cli.io.output import check_files, tell
from planner.cli.options.question import Output

if TYPE_CHECKING:
    from planner.documents.listing import ClusterEntry, FamilyEntry, ModelEntry


def tell_list(
    listed: Literal["models", "families", "clusters"],
    entries: Sequence[ModelEntry | FamilyEntry | ClusterEntry],
    form: Output,
    files: Sequence[Path] | None,
) -> None:
    """Write a list of what is known by name to the files and print it."""
    from planner.documents.listing import SCHEMA_VERSION, ListingDocument

    wanted = check_files(files)
    document = ListingDocument(schema_version=SCHEMA_VERSION, listed=listed, entries=list(entries))

    def text() -> str:
        from planner.report.views.listing_report import listing_text

        return listing_text(document)

    tell(document, form.value, wanted, text)
