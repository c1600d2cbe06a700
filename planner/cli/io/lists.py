"""Lists of presets in every output format; for `planner models` and `planner cluster`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from planner.cli.io.output import check_output_files, write_document

if TYPE_CHECKING:
    from planner.documents.listing import ClusterEntry, FamilyEntry, ModelEntry


def write_listing(
    listing_type: Literal["models", "families", "clusters"],
    entries: Sequence[ModelEntry | FamilyEntry | ClusterEntry],
    format_name: str,
    files: Sequence[Path] | None,
) -> None:
    """Write a list of presets to the files and print it."""
    from planner.documents.listing import SCHEMA_VERSION, ListingDocument

    output_files = check_output_files(files)
    document = ListingDocument(schema_version=SCHEMA_VERSION, listed=listing_type, entries=list(entries))

    write_document(document, format_name, output_files)
