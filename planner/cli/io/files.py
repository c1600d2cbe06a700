"""Files that the user names: found, read, or told what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from planner.decode import FileFormat
from planner.errors import InputError, find_nearest_name

_LARGEST_FILE = 10_000_000
_FORMATS: dict[str, FileFormat] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}


def is_there(name: str) -> bool:
    """Whether a file or folder has this name."""
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder at this place."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def looks_like_path(name: str) -> bool:
    """Whether `name` is meant as a path: it has a slash or the ending of a file that is read."""
    return "/" in name or Path(name).suffix.casefold() in _FORMATS


def read_file(path: Path, suffixes: tuple[str, ...], what: str) -> tuple[str, FileFormat]:
    """The text of a file and its format by its ending. Raises InputError as `read_text` does."""
    return read_text(path, suffixes, what), _FORMATS[path.suffix.casefold()]


def read_text(path: Path, suffixes: tuple[str, ...], what: str, largest: int = _LARGEST_FILE) -> str:
    """The text of a file with one of these endings. Raises InputError for whatever can be wrong with it.

    `what` says what is wanted, for the messages; `largest`: bytes that it may have.
    """
    try:
        return _lines(read_bytes(path, suffixes, what, largest).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", origin=str(path), expected="a UTF-8 file") from None


def read_any(path: Path, what: str) -> str:
    """The text of a file of whatever ending and encoding: bytes that are no text become signs of replacement.

    Outputs of other programs are not the user's to mend; on Windows they are UTF-16. Raises InputError as `read_text`
    does.
    """
    raw = read_bytes(path, (), what)
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return _lines(raw.decode(encoding, "replace"))


def _lines(text: str) -> str:
    """The text with one sign at the end of each line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path, suffixes: tuple[str, ...], what: str, largest: int = _LARGEST_FILE) -> bytes:
    """What a file has. Raises InputError as `read_text` does."""
    origin = str(path)
    suffix = path.suffix.casefold()
    endings = f", ending in {', '.join(suffixes)}" if suffixes else ""
    try:
        if not path.exists():
            raise _missing(path, what)
        if path.is_dir():
            raise InputError("is a folder", origin=origin, expected=f"{what}{endings}")
        if suffixes and suffix not in suffixes:
            value, expected = suffix or "no ending", f"{what}{endings}"
            raise InputError("unknown file format", origin=origin, value=value, expected=expected)
        if not path.is_file():
            raise InputError("is not a file", origin=origin, expected="a regular file")
        with path.open("rb") as file:
            # a file that grows is not read for ever
            size = os.fstat(file.fileno()).st_size
            raw = file.read(min(size + 1_000_000, largest + 1))
        if len(raw) > largest:
            raise InputError("file is too large", origin=origin, expected=f"at most {largest:,} bytes")
        return raw
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {_reason(error)}", origin=origin) from None


def of_model(key: str, name: str | None) -> tuple[tuple[str, str], ...]:
    """Where a model is read from if its name is that of a file or a folder, each with the option that names it."""
    return () if name is None else ((key, name), (key, f"{name}/config.json"))


def check_distinct(
    outputs: Iterable[tuple[str, Path | None]], inputs: Iterable[tuple[str, str | Path | None]] = ()
) -> None:
    """Each file that is written is one of its own, and none that is read; each with the option that names it.

    Raises InputError.
    """
    taken = {_place(name): key for key, name in inputs if name is not None and is_there(str(name))}
    read = set(taken)
    for key, path in outputs:
        if path is None:
            continue
        place = _place(path)
        if place in taken:
            problem = "is read as well" if place in read else "is written twice"
            keys = ", ".join(dict.fromkeys((taken[place], key)))
            raise InputError(problem, key=keys, value=str(path), expected="a file of its own for each")
        taken[place] = key


def _place(path: str | Path) -> str:
    """Where a path leads; as it stands where the working directory is gone."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def check_ending(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Raises InputError for another ending than one of `suffixes`; for a command to ask before it computes."""
    if path is not None and path.suffix.casefold() not in suffixes:
        value, expected = path.suffix or "no ending", f"a file ending in {', '.join(suffixes)}"
        raise InputError("unknown file format", origin=str(path), value=value, expected=expected)


def write_file(path: Path, content: str | bytes, suffixes: tuple[str, ...] = ()) -> None:
    """Write a file whole or not at all: beside its place first, then renamed.

    A link keeps leading where it leads. Raises InputError for a wrong place, such as a device or a pipe, which a file
    must not take, and for another ending than one of `suffixes`, where there are any.
    """
    origin = str(path)
    if suffixes:
        check_ending(path, suffixes)
    expected = "a place that can be written"
    try:
        path = Path(os.path.realpath(path))
        if path.exists() and not path.is_file():
            problem = "is a folder" if path.is_dir() else "is not a file"
            raise InputError(problem, origin=origin, expected=expected)
        beside = path.with_name(f".planner-{os.getpid()}")
        try:
            if isinstance(content, bytes):
                beside.write_bytes(content)
            else:
                beside.write_text(content, "utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be written: {_reason(error)}", origin=origin, expected=expected) from None


def make_folder(path: Path, key: str) -> None:
    """Make a folder, and those above it, where there is none. Raises InputError that names the option `key`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        expected = "a place that can be written"
        raise InputError(f"cannot be made: {_reason(error)}", key=key, value=str(path), expected=expected) from None


def _reason(error: Exception) -> str:
    """Why the system refuses."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _missing(path: Path, what: str) -> InputError:
    """The error for a path that leads nowhere: the folder that is missing, or the file with a similar name."""
    if path.parent.is_dir() and path.name == "config.json":
        return InputError("the folder has no config.json", origin=str(path.parent), expected=what)
    if not path.parent.exists():
        return InputError("there is no such file", origin=str(path), expected=f"{what}; there is no {path.parent}/")
    problem = "is a link that leads nowhere" if path.is_symlink() else "there is no such file"
    return InputError(problem, origin=str(path), expected=what, suggestion=_sibling(path))


def _sibling(path: Path) -> str:
    """A file in the same folder with nearly the same name."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return ""
    found = find_nearest_name(path.name, names)
    return str(path.with_name(found)) if found else ""
