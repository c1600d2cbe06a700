"""Output files of a command: paths are checked before anything is computed; a file is written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from planner.errors import InputError
from planner.request.files import format_os_reason, is_existing_path


def check_distinct_files(
    outputs: Iterable[tuple[str, Path | None]], inputs: Iterable[tuple[str, str | Path | None]] = ()
) -> None:
    """Raise InputError for a file that two options write, or that is read as well; paths come with their options."""
    key_by_location = {
        _resolve_location(name): key for key, name in inputs if name is not None and is_existing_path(str(name))
    }
    input_locations = set(key_by_location)
    for key, path in outputs:
        if path is None:
            continue
        location = _resolve_location(path)
        if location in key_by_location:
            problem = "is read as well" if location in input_locations else "is written twice"
            keys = ", ".join(dict.fromkeys((key_by_location[location], key)))
            raise InputError(problem, key=keys, value=str(path), expected="a different file for each")
        key_by_location[location] = key


def _resolve_location(path: str | Path) -> str:
    """The absolute path; unchanged where the working directory no longer exists."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def write_file_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: to a temporary file in the same folder, which is then renamed.

    A symbolic link is kept. Raises InputError for a path that is no regular file, such as a device or a pipe.
    """
    origin, expected = str(path), "a writable path"
    try:
        path = Path(os.path.realpath(path))
        if path.exists() and not path.is_file():
            problem = "is a folder" if path.is_dir() else "is not a file"
            raise InputError(problem, origin=origin, expected=expected)
        temporary_path = path.with_name(f".planner-{os.getpid()}")
        try:
            if isinstance(content, bytes):
                temporary_path.write_bytes(content)
            else:
                temporary_path.write_text(content, "utf-8")
            temporary_path.replace(path)
        finally:
            temporary_path.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be written: {format_os_reason(error)}", origin=origin, expected=expected) from None


def make_folder(path: Path, key: str) -> None:
    """Make a folder and its parents where they are missing. Raises InputError that names the option `key`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        expected = "a writable path"
        raise InputError(
            f"cannot be made: {format_os_reason(error)}", key=key, value=str(path), expected=expected
        ) from None
