"""Reads the files that a user names; a problem with a file is an InputError."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import InputError, find_nearest_name

if TYPE_CHECKING:
    from planner.decode import FileFormat

_MAX_FILE_BYTES = 10_000_000
_FORMAT_BY_SUFFIX: dict[str, FileFormat] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}


def is_existing_path(name: str) -> bool:
    """Whether a file or folder has this name."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def is_existing_folder(path: Path) -> bool:
    """Whether the path is that of a folder."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_path_like(name: str) -> bool:
    """Whether `name` is meant as a path: it has a slash or the ending of a readable file."""
    return "/" in name or Path(name).suffix.casefold() in _FORMAT_BY_SUFFIX


def read_formatted_file(path: Path, suffixes: tuple[str, ...], expected_content: str) -> tuple[str, FileFormat]:
    """The text of a file and its format by its ending. Raises InputError as `read_text_file` does."""
    return read_text_file(path, suffixes, expected_content), _FORMAT_BY_SUFFIX[path.suffix.casefold()]


def read_text_file(
    path: Path, suffixes: tuple[str, ...], expected_content: str, max_bytes: int = _MAX_FILE_BYTES
) -> str:
    """The text of a file with one of these endings. Raises InputError for a missing, unreadable or too large file.

    `expected_content`: the expected content, for the messages; `max_bytes`: its greatest size.
    """
    try:
        return _normalize_newlines(read_file_bytes(path, suffixes, expected_content, max_bytes).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", origin=str(path), expected="a UTF-8 file") from None


def read_foreign_text(path: Path, expected_content: str) -> str:
    """The text of a file of any ending and encoding: invalid bytes become replacement characters.

    For outputs of other programs, which a user cannot change; on Windows they are UTF-16. Raises InputError as
    `read_text_file` does.
    """
    raw = read_file_bytes(path, (), expected_content)
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return _normalize_newlines(raw.decode(encoding, "replace"))


def _normalize_newlines(text: str) -> str:
    """The text with LF at the end of each line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_file_bytes(
    path: Path, suffixes: tuple[str, ...], expected_content: str, max_bytes: int = _MAX_FILE_BYTES
) -> bytes:
    """The bytes of a file. Raises InputError as `read_text_file` does."""
    origin = str(path)
    suffix = path.suffix.casefold()
    suffix_text = f", ending in {', '.join(suffixes)}" if suffixes else ""
    try:
        if not path.exists():
            raise _build_missing_file_error(path, expected_content)
        if path.is_dir():
            raise InputError("is a folder", origin=origin, expected=f"{expected_content}{suffix_text}")
        if suffixes and suffix not in suffixes:
            value, expected = suffix or "no ending", f"{expected_content}{suffix_text}"
            raise InputError("unknown file format", origin=origin, value=value, expected=expected)
        if not path.is_file():
            raise InputError("is not a file", origin=origin, expected="a regular file")
        with path.open("rb") as file:
            # bounded, since a file may grow while it is read
            size = os.fstat(file.fileno()).st_size
            raw = file.read(min(size + 1_000_000, max_bytes + 1))
        if len(raw) > max_bytes:
            raise InputError("file is too large", origin=origin, expected=f"at most {max_bytes:,} bytes")
        return raw
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {format_os_reason(error)}", origin=origin) from None


def list_model_files(key: str, name: str | None) -> tuple[tuple[str, str], ...]:
    """The files that may hold the model of this name, each with the option that names it."""
    return () if name is None else ((key, name), (key, f"{name}/config.json"))


def format_os_reason(error: Exception) -> str:
    """The operating system's reason for an error."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _build_missing_file_error(path: Path, expected_content: str) -> InputError:
    """The error for a missing file; it names the missing folder, or a file with a similar name."""
    if path.parent.is_dir() and path.name == "config.json":
        return InputError("the folder has no config.json", origin=str(path.parent), expected=expected_content)
    if not path.parent.exists():
        return InputError(
            "there is no such file", origin=str(path), expected=f"{expected_content}; there is no {path.parent}/"
        )
    problem = "is a broken link" if path.is_symlink() else "there is no such file"
    return InputError(problem, origin=str(path), expected=expected_content, suggestion=_find_similar_sibling(path))


def _find_similar_sibling(path: Path) -> str:
    """The file in the same folder with the most similar name; empty without one."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return ""
    nearest_name = find_nearest_name(path.name, names)
    return str(path.with_name(nearest_name)) if nearest_name else ""
