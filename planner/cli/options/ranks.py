"""Options for files that say where each rank is to be started, and the writing of these files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document

HostfileOption = Annotated[
    Path | None, typer.Option("--hostfile", metavar="FILE", help="Write the hosts in the order of the ranks.")
]
RankfileOption = Annotated[
    Path | None, typer.Option("--rankfile", metavar="FILE", help="Write host and slot of every rank (Open MPI).")
]


@dataclass(frozen=True)
class RankFileOptions:
    """The options as the user gave them."""

    hosts_to: HostfileOption = None
    ranks_to: RankfileOption = None

    @property
    def files_by_option(self) -> tuple[tuple[str, Path | None], ...]:
        """The files with the option that names each."""
        return ("--hostfile", self.hosts_to), ("--rankfile", self.ranks_to)


def select_rank_orders(settings: Mapping[str, tuple[str, ...]]) -> Sequence[str]:
    """The orders of dimensions that placing ranks may choose from: all, where none was asked for."""
    from planner.cost.rank_groups import ORDERS

    return settings.get("order", ORDERS)


def write_rank_files(document: Document | HeterogeneousDocument, rank_files: RankFileOptions) -> None:
    """Write the files that are asked for. Raises InputError where one cannot be written."""
    if rank_files == RankFileOptions():
        return
    from planner.cli.io.files import write_file_atomically
    from planner.documents.plan import Document
    from planner.export.ranks import render_hostfile, render_rankfile

    # of two kinds of nodes neither is told: the options are refused before
    assert isinstance(document, Document)

    for path, text in ((rank_files.hosts_to, render_hostfile), (rank_files.ranks_to, render_rankfile)):
        if path is not None:
            write_file_atomically(path, text(document))
