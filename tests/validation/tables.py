"""Small tables of runs for tests, cut from the published one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

PUBLISHED = Path(__file__).parents[1] / "published" / "measured_runs.csv"


def rows(*ids: str) -> list[dict[str, str]]:
    """The published rows with these ids, in this order."""
    found = {row["id"]: row for row in csv.DictReader(io.StringIO(PUBLISHED.read_text("utf-8")))}
    return [dict(found[one]) for one in ids]


def table(*lines: dict[str, str]) -> str:
    """A CSV text of rows."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()
