"""Output of a command: its answer to the files of `-o` and to stdout, warnings and errors to stderr.

A closed pipe on stdout is no error; a full disk is an error of one message.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from planner.errors import InputError, PlannerError, escape_nonprintable
from planner.request.notices import set_warning_writer

if TYPE_CHECKING:
    import msgspec

_FORMAT_BY_SUFFIX = {
    ".html": "html",
    ".md": "markdown",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".xml": "junit",
    ".txt": "table",
}
"""The format of a file, by its ending."""


def check_output_files(
    files: Sequence[Path] | None,
    extra_suffixes: Sequence[str] = (),
    other_outputs: Sequence[tuple[str, Path | None]] = (),
    input_files: Sequence[tuple[str, str | Path | None]] = (),
) -> tuple[Path, ...]:
    """Check the files of `-o` before anything is computed. `extra_suffixes`: endings in addition to the usual ones.

    `other_outputs`: files that other options write; `input_files`: files that are read; each with its option. Raises
    InputError for an unknown ending, and for a file that would be written twice or is read.
    """
    suffixes = (*extra_suffixes, *(suffix for suffix in _FORMAT_BY_SUFFIX if suffix not in extra_suffixes))
    for path in files or ():
        if path.suffix.casefold() not in suffixes:
            expected = f"a file ending in {', '.join(suffixes)}"
            raise InputError("unknown file format", key="--output", value=str(path), expected=expected)
    outputs = [*(("--output", path) for path in files or ()), *other_outputs]
    if any(path is not None for _, path in outputs):
        from planner.cli.io.files import check_distinct_files

        check_distinct_files(outputs, input_files)
    return tuple(files or ())


def write_document(
    document: msgspec.Struct,
    output_format: str,
    files: Sequence[Path],
    own_renderers: Mapping[str, Callable[[], str]] | None = None,
) -> None:
    """Write the document to the files, then to stdout in `output_format`.

    `own_renderers`: formats of this command alone, by the ending of their files.
    Nothing is written before all texts are made. Raises InputError for a file that cannot be written.
    """
    renderer_by_suffix = own_renderers or {}

    def render_as(target_format: str, suffix: str = "") -> str:
        if suffix in renderer_by_suffix:
            return renderer_by_suffix[suffix]()
        if target_format == "json":
            from planner.report.formats.json_text import render_json

            return render_json(document)
        from planner.report.formats import registry as formats

        return formats.render_document(document, target_format)

    stdout_text = render_as(output_format, f".{output_format}")
    if files:
        from planner.cli.io.files import write_file_atomically
        from planner.report.console import render_for_file

        texts = []
        for path in files:
            suffix = path.suffix.casefold()
            target_format = _FORMAT_BY_SUFFIX.get(suffix, suffix)
            texts.append(
                render_for_file(
                    lambda target_format=target_format, suffix=suffix: render_as(target_format, suffix)  # type: ignore[misc]
                )
            )
        for path, content in zip(files, texts, strict=True):
            write_file_atomically(path, content)
    write_stdout(stdout_text, is_machine_readable=output_format != "table")


def write_stdout(text: str, *, is_machine_readable: bool = False) -> None:
    """Write all of `text` to stdout; if `is_machine_readable`, as UTF-8 with LF at line ends in every locale.

    Ends the process with 0 where the reader has left (`plan … | head`). Raises PlannerError where the text
    cannot be written.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "stdout is closed")
        _clear_progress_bar(permanently=True)
        if is_machine_readable and isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8", errors="strict", newline="\n")
        sys.stdout.write(_replace_unencodable(text, sys.stdout.encoding or "utf-8"))
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        raise typer.Exit(0) from None
    except OSError as error:
        raise build_write_error(error) from None


def _replace_unencodable(text: str, encoding: str) -> str:
    """The text with question marks for characters that stdout cannot encode."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace(_TABLE_RULE, "-").encode(encoding, "replace").decode(encoding)
    return text


_TABLE_RULE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
"""Substitutes for the line-drawing characters of tables."""
_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)


def build_write_error(error: OSError) -> PlannerError:
    """The error for output that cannot be written; the interpreter does not try again when it ends.

    A full disk is an error of the user's machine, any other reason a bug.
    """
    discard_stdout()
    problem = f"the output cannot be written: {error.strerror}"
    return InputError(problem) if error.errno in _DISK_ERRNOS else PlannerError(problem)


def write_stderr(text: str) -> None:
    """Write to stderr; where that fails, only the exit code reports the error.

    Control characters, which names of files may contain, are escaped.
    """
    try:
        _clear_progress_bar()
        sys.stderr.write("\n".join(escape_nonprintable(line) for line in text.split("\n")))
        sys.stderr.flush()
    except OSError:
        _discard_stream(sys.stderr)
    except (ValueError, AttributeError):
        return


set_warning_writer(lambda text: write_stderr(f"warning: {text}\n"))


def _clear_progress_bar(*, permanently: bool = False) -> None:
    """Clear the progress bar; its module is imported only where stderr is a terminal."""
    if "planner.cli.io.progress" in sys.modules:
        from planner.cli.io import progress

        (progress.stop_bar if permanently else progress.clear_bar)()


def discard_stdout() -> None:
    """Discard buffered output, so that the interpreter does not try to write it when it ends."""
    _discard_stream(sys.stdout)


def _discard_stream(stream: TextIO | None) -> None:
    if stream is None:
        return
    null_descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_descriptor, stream.fileno())
    os.close(null_descriptor)
