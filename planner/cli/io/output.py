"""Output of a command: its answer to the files of `-o` and to stdout, warnings and errors to stderr.

A closed pipe on stdout is no error; a full disk is an error of one message.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from planner.cli.io.files import write_file_atomically
from planner.cli.lazy import import_lazily
from planner.errors import InputError, PlannerError, escape_nonprintable
from planner.request.notices import set_warning_writer

with import_lazily():
    from planner.report import console
    from planner.report.formats import json_text, registry

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


@dataclass(frozen=True)
class DocumentOutput:
    """Where a document goes: to the files of `--output`, and to stdout in the format of `--format`."""

    format_name: str
    files: tuple[Path, ...]

    def write(self, document: msgspec.Struct, own_renderers: Mapping[str, Callable[[], str]] | None = None) -> None:
        """Write the document to the files, then print it.

        `own_renderers`: formats of one command alone, by the ending of their files. Nothing is written before all
        texts are made. Raises InputError for a file that cannot be written.
        """
        texts = [
            console.render_for_file(partial(_render_document, document, path.suffix.casefold(), own_renderers or {}))
            for path in self.files
        ]
        stdout_text = _render_document(document, f".{self.format_name}", own_renderers or {})
        for path, text in zip(self.files, texts, strict=True):
            write_file_atomically(path, text)
        write_stdout(stdout_text, is_machine_readable=self.format_name != "table")


def _render_document(document: msgspec.Struct, ending: str, own_renderers: Mapping[str, Callable[[], str]]) -> str:
    """The document in the format of a file's ending, or of a name after a dot."""
    if ending in own_renderers:
        return own_renderers[ending]()
    format_name = _FORMAT_BY_SUFFIX.get(ending, ending[1:])
    return (
        json_text.render_json(document) if format_name == "json" else registry.render_document(document, format_name)
    )


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
        sys.exit(0)
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
