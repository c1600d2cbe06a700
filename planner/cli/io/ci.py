"""Reports for continuous integration: GitHub's step summary and annotations, GitLab's code quality report.

The environment identifies the service: GITHUB_STEP_SUMMARY and GITHUB_ACTIONS, GITLAB_CI.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import InputError

if TYPE_CHECKING:
    from planner.documents.check import CheckDocument

_GITLAB_REPORT_FILE = Path("gl-code-quality-report.json")


def find_code_quality_file(code_quality: Path | None, *, ci: bool) -> Path | None:
    """The path of the code quality report: the option's, or the one that GitLab reads; None: no report."""
    if code_quality is None and ci and os.environ.get("GITLAB_CI"):
        return _GITLAB_REPORT_FILE
    return code_quality


def write_code_quality_report(document: CheckDocument, report_path: Path | None) -> None:
    """Write the code quality report. Raises InputError where it cannot be written."""
    if report_path is not None:
        from planner.cli.io.files import write_file_atomically
        from planner.report.formats.ci_findings import render_code_quality_report

        write_file_atomically(
            report_path, render_code_quality_report(document, format_repository_path(document.file))
        )


def report_check_to_github(document: CheckDocument) -> None:
    """Write GitHub's annotations and summary, when run there. Raises InputError where they cannot be written."""
    if _is_github_actions():
        from planner.report.formats.ci_findings import render_check_annotations

        sys.stderr.write(render_check_annotations(document, format_repository_path(document.file)))
    if os.environ.get("GITHUB_STEP_SUMMARY"):
        from planner.report.formats.registry import render_document

        append_step_summary(render_document(document, "markdown"))


def annotate_input_errors(plans_file: str, input_errors: Sequence[tuple[int, InputError]]) -> None:
    """The findings about a file of plans, by its lines."""
    if _is_github_actions():
        from planner.report.formats.ci_findings import format_github_annotation

        for line, error in input_errors:
            sys.stderr.write(
                format_github_annotation(format_repository_path(plans_file), line, "planner: bad input", str(error))
            )


def append_step_summary(markdown: str) -> None:
    """Add to GitHub's summary of this step, if there is one. Raises InputError where it cannot be written."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as summary_file:
            summary_file.write(f"{markdown}\n")
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        raise InputError(problem, key="GITHUB_STEP_SUMMARY", value=path, expected="a file") from None


def format_repository_path(file: str) -> str:
    """A file's path from the top of the repository, where the environment names it; else unchanged."""
    repository_root = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR")
    if not repository_root:
        return Path(file).as_posix()
    try:
        return Path(file).resolve().relative_to(Path(repository_root).resolve()).as_posix()
    except (OSError, ValueError):
        return Path(file).as_posix()


def _is_github_actions() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"
