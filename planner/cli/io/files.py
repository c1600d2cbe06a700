"""Files that the user names: found, read, or told what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from planner.decode import FileFormat
from planner.errors import InputError, find_nearest_name

_MAX_FILE_BYTES = 10_000_000
_FORMAT_BY_SUFFIX: dict[str, FileFormat] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}


def is_existing_path(name: str) -> bool:
    """Whether a file or folder has this name."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def is_existing_folder(path: Path) -> bool:
    """Whether there is a folder at this place."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_path_like(name: str) -> bool:
    """Whether `name` is meant as a path: it has a slash or the ending of a file that is read."""
    return "/" in name or Path(name).suffix.casefold() in _FORMAT_BY_SUFFIX


def read_formatted_file(path: Path, suffixes: tuple[str, ...], expected_content: str) -> tuple[str, FileFormat]:
    """The text of a file and its format by its ending. Raises InputError as `read_text_file` does."""
    return read_text_file(path, suffixes, expected_content), _FORMAT_BY_SUFFIX[path.suffix.casefold()]


def read_text_file(
    path: Path, suffixes: tuple[str, ...], expected_content: str, max_bytes: int = _MAX_FILE_BYTES
) -> str:
    """The text of a file with one of these endings. Raises InputError for whatever can be wrong with it.

    `expected_content` says what is wanted, for the messages; `max_bytes`: bytes that it may have.
    """
    try:
        return _normalize_newlines(read_file_bytes(path, suffixes, expected_content, max_bytes).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", origin=str(path), expected="a UTF-8 file") from None


def read_foreign_text(path: Path, expected_content: str) -> str:
    """The text of a file of whatever ending and encoding: bytes that are no text become signs of replacement.

    Outputs of other programs are not the user's to mend; on Windows they are UTF-16. Raises InputError as
    `read_text_file` does.
    """
    raw = read_file_bytes(path, (), expected_content)
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return _normalize_newlines(raw.decode(encoding, "replace"))


def _normalize_newlines(text: str) -> str:
    """The text with one sign at the end of each line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_file_bytes(
    path: Path, suffixes: tuple[str, ...], expected_content: str, max_bytes: int = _MAX_FILE_BYTES
) -> bytes:
    """What a file has. Raises InputError as `read_text_file` does."""
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
            # a file that grows is not read for ever
            size = os.fstat(file.fileno()).st_size
            raw = file.read(min(size + 1_000_000, max_bytes + 1))
        if len(raw) > max_bytes:
            raise InputError("file is too large", origin=origin, expected=f"at most {max_bytes:,} bytes")
        return raw
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {_format_os_reason(error)}", origin=origin) from None


def list_model_files(option_name: str, model_name: str | None) -> tuple[tuple[str, str], ...]:
    """Where a model is read from if its name is that of a file or a folder, each with the option that names it."""
    return () if model_name is None else ((option_name, model_name), (option_name, f"{model_name}/config.json"))


def check_distinct_files(
    outputs: Iterable[tuple[str, Path | None]], inputs: Iterable[tuple[str, str | Path | None]] = ()
) -> None:
    """Each file that is written is one of its own, and none that is read; each with the option that names it.

    Raises InputError.
    """
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
            raise InputError(problem, key=keys, value=str(path), expected="a file of its own for each")
        key_by_location[location] = key


def _resolve_location(path: str | Path) -> str:
    """Where a path leads; as it stands where the working directory is gone."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def check_suffix(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Raises InputError for another ending than one of `suffixes`; for a command to ask before it computes."""
    if path is not None and path.suffix.casefold() not in suffixes:
        value, expected = path.suffix or "no ending", f"a file ending in {', '.join(suffixes)}"
        raise InputError("unknown file format", origin=str(path), value=value, expected=expected)


def write_file_atomically(path: Path, content: str | bytes, suffixes: tuple[str, ...] = ()) -> None:
    """Write a file whole or not at all: beside its place first, then renamed.

    A link keeps leading where it leads. Raises InputError for a wrong place, such as a device or a pipe, which a file
    must not take, and for another ending than one of `suffixes`, where there are any.
    """
    origin = str(path)
    if suffixes:
        check_suffix(path, suffixes)
    expected = "a place that can be written"
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
        raise InputError(f"cannot be written: {_format_os_reason(error)}", origin=origin, expected=expected) from None


def make_folder(path: Path, key: str) -> None:
    """Make a folder, and those above it, where there is none. Raises InputError that names the option `key`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        expected = "a place that can be written"
        raise InputError(
            f"cannot be made: {_format_os_reason(error)}", key=key, value=str(path), expected=expected
        ) from None


def _format_os_reason(error: Exception) -> str:
    """Why the system refuses."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _build_missing_file_error(path: Path, expected_content: str) -> InputError:
    """The error for a path that leads nowhere: the folder that is missing, or the file with a similar name."""
    if path.parent.is_dir() and path.name == "config.json":
        return InputError("the folder has no config.json", origin=str(path.parent), expected=expected_content)
    if not path.parent.exists():
        return InputError(
            "there is no such file", origin=str(path), expected=f"{expected_content}; there is no {path.parent}/"
        )
    problem = "is a link that leads nowhere" if path.is_symlink() else "there is no such file"
    return InputError(problem, origin=str(path), expected=expected_content, suggestion=_find_similar_sibling(path))


def _find_similar_sibling(path: Path) -> str:
    """A file in the same folder with nearly the same name."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return ""
    nearest_name = find_nearest_name(path.name, names)
    return str(path.with_name(nearest_name)) if nearest_name else ""
