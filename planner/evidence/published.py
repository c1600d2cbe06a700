"""The measured runs that the planner ships."""

from __future__ import annotations

from pathlib import Path


def find_published_runs() -> Path:
    """Path of the table: inside the installed package, or among the tests of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "published" / "measured_runs.csv"
    return installed if installed.is_file() else package.parent / "tests" / "published" / "measured_runs.csv"
