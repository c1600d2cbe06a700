"""Small tables of runs for tests, cut from the published one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

PUBLISHED = Path(__file__).parents[1] / "published" / "measured_runs.csv"


def read_published_rows(*ids: str) -> list[dict[str, str]]:
    """The published rows with these ids, in this order."""
    rows_by_id = {row["id"]: row for row in csv.DictReader(io.StringIO(PUBLISHED.read_text("utf-8")))}
    return [dict(rows_by_id[id_]) for id_ in ids]


def format_table(*lines: dict[str, str]) -> str:
    """A CSV text of rows."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()
