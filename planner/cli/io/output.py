"""What a command writes: its answer to the files of `-o` and to stdout, warnings and errors to stderr.

A reader of stdout who has left is no fault, a full disk is one message.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer

from planner.errors import InputError, PlannerError, escape_nonprintable

if TYPE_CHECKING:
    import msgspec

_FORMS = {
    ".html": "html",
    ".md": "markdown",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".xml": "junit",
    ".txt": "table",
}
"""Which form a file has, by its ending."""


def check_files(
    files: Sequence[Path] | None,
    more: Sequence[str] = (),
    beside: Sequence[tuple[str, Path | None]] = (),
    read: Sequence[tuple[str, str | Path | None]] = (),
) -> tuple[Path, ...]:
    """The files of `-o`, before anything is computed. `more`: endings beside the usual ones.

    `beside` are files that other options write, `read` such that are read, each with its option. Raises InputError
    for another ending, and for a file that would be written twice or is read.
    """
    endings = (*more, *(one for one in _FORMS if one not in more))
    for path in files or ():
        if path.suffix.casefold() not in endings:
            expected = f"a file ending in {', '.join(endings)}"
            raise InputError("unknown file format", key="--output", value=str(path), expected=expected)
    outputs = [*(("--output", path) for path in files or ()), *beside]
    if any(path is not None for _, path in outputs):
        from planner.cli.io.files import check_distinct

        check_distinct(outputs, read)
    return tuple(files or ())


def tell(
    document: msgspec.Struct,
    form: str,
    files: Sequence[Path],
    text: Callable[[], str],
    own: Mapping[str, Callable[[], str]] | None = None,
) -> None:
    """Write the document to the files, then to stdout in `form`.

    `text` makes its table. `own` are forms that the command makes itself, by the ending of their files. Nothing is
    written before all texts are made. Raises InputError for a file that cannot be written.
    """
    made = own or {}

    def rendered(wanted: str, ending: str = "") -> str:
        if ending in made:
            return made[ending]()
        if wanted == "json":
            from planner.report.formats.json_text import to_json

            return to_json(document)
        if wanted == "table":
            return text()
        from planner.report.formats import registry as formats

        return formats.rendered(document, wanted)

    answer = rendered(form, f".{form}")
    if files:
        from planner.cli.io.files import write_file
        from planner.report.console import text_for_a_file

        texts = []
        for path in files:
            ending = path.suffix.casefold()
            wanted = _FORMS.get(ending, ending)
            texts.append(text_for_a_file(lambda wanted=wanted, ending=ending: rendered(wanted, ending)))  # type: ignore[misc]
        for path, content in zip(files, texts, strict=True):
            write_file(path, content)
    write(answer, for_machines=form != "table")


def write(text: str, *, for_machines: bool = False) -> None:
    """Write all of `text` to stdout; what is `for_machines` as UTF-8 with line ends of one sign, whatever the locale.

    Ends the process with 0 where the reader has left (`plan … | head`). Raises PlannerError where the text
    cannot be written.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "stdout is closed")
        _no_bar(for_good=True)
        if for_machines and isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8", errors="strict", newline="\n")
        sys.stdout.write(_encodable(text, sys.stdout.encoding or "utf-8"))
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
        raise typer.Exit(0) from None
    except OSError as error:
        raise unwritten(error) from None


def _encodable(text: str, encoding: str) -> str:
    """The text in signs that stdout can show: others, such as names that are no UTF-8, become question marks."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace(_LINE, "-").encode(encoding, "replace").decode(encoding)
    return text


_LINE = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
"""Of tables."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)


def unwritten(error: OSError) -> PlannerError:
    """The error for output that cannot be written; nothing is tried again when the interpreter ends.

    A disk that is full is the user's matter, anything else a fault of ours.
    """
    drop_stdout()
    problem = f"the output cannot be written: {error.strerror}"
    return InputError(problem) if error.errno in _DISK else PlannerError(problem)


_KEPT: ContextVar[dict[str, None] | None] = ContextVar("kept warnings", default=None)


def warn(text: str) -> None:
    """One line on stderr."""
    kept = _KEPT.get()
    if kept is None:
        complain(f"warning: {text}\n")
    else:
        kept[text] = None


def complain(text: str) -> None:
    """Write to stderr; where that cannot be, nobody reads it, and the exit code says enough.

    Names of files may be in it: what would steer a terminal is written out.
    """
    try:
        _no_bar()
        sys.stderr.write("\n".join(escape_nonprintable(line) for line in text.split("\n")))
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)
    except (ValueError, AttributeError):
        return


def _no_bar(*, for_good: bool = False) -> None:
    """Take the bar of progress off the terminal; its module is loaded where there may be one."""
    if "planner.cli.io.progress" in sys.modules:
        from planner.cli.io import progress

        (progress.stop if for_good else progress.clear)()


@contextmanager
def kept_warnings() -> Iterator[dict[str, None]]:
    """What would be warned of within it, each text once; other threads go on as they are."""
    kept: dict[str, None] = {}
    before = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(before)


def drop_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not try again when it ends."""
    _drop(sys.stdout)


def _drop(stream: TextIO | None) -> None:
    if stream is None:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
