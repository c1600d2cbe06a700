"""What the user names, found: a model, a cluster, a batch, the allowed values of a dimension."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from planner.decode import Format
from planner.errors import InputError, nearest
from planner.units import parse_count, parse_quantity

if TYPE_CHECKING:
    from planner.cluster.cluster import Cluster
    from planner.workload.operators import Workload
    from planner.workload.spec import ModelSpec

_LARGEST_FILE = 10_000_000
_FORMATS: dict[str, Format] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}
_TOKENS = re.compile(r"(.*?)\s*tokens?", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_WIDEST = 100_000


def read_model(name: str, seq_length: int | None) -> Workload:
    """A preset, a config.json (or its folder), a model file of one's own, or a bare size. Raises InputError."""
    from planner.workload.build import build_workload
    from planner.workload.presets import preset, preset_names
    from planner.workload.size import describe_size, looks_like_size, spec_of_size

    known = preset_names()
    note = ""
    if name in known:
        spec = preset(name)
    elif _is_there(name) or _looks_like_path(name):
        spec = _model_file(Path(name))
    elif looks_like_size(name):
        spec = spec_of_size(name)
        note = describe_size(spec)
    else:
        raise InputError(
            "unknown model",
            key="MODEL",
            value=name,
            expected="a preset (`planner models list`), a config.json, a model TOML, or a size such as 70B",
            suggestion=nearest(name, known),
        )
    if seq_length is not None and seq_length < 1:
        raise InputError("not a length", key="--seq-length", value=seq_length, expected="at least 1")
    if seq_length is not None and spec.learned_positions and seq_length > spec.learned_positions:
        raise InputError(
            f"{spec.name} has learned positions for shorter sequences only",
            key="--seq-length",
            value=seq_length,
            expected=f"at most {spec.learned_positions}",
        )
    return build_workload(spec, seq_length=seq_length, note=note)


def _model_file(path: Path) -> ModelSpec:
    from planner.workload.huggingface import parse_huggingface
    from planner.workload.spec import parse_spec

    file = path / "config.json" if path.is_dir() else path
    text, file_format = _read(file, (".json", ".toml"))
    if file_format == "json":
        return parse_huggingface(text, str(file), file.parent.name or file.stem)
    return parse_spec(text, file_format, str(file))


def read_cluster(name: str, nodes: int | None, devices: int | None) -> Cluster:
    """A preset or a cluster file, with the user's number of nodes or devices. Raises InputError."""
    from planner.cluster import database
    from planner.cluster.cluster import resolve_cluster
    from planner.cluster.spec import parse_cluster

    known = database.names("clusters")
    if name in known or not (_is_there(name) or _looks_like_path(name)):
        return resolve_cluster(
            database.cluster_spec(name), f"hardware_db/clusters/{name}.toml", nodes=nodes, devices=devices
        )
    path = Path(name)
    text, file_format = _read(path, (".toml", ".yaml", ".yml", ".json"))
    return resolve_cluster(parse_cluster(text, file_format, str(path)), str(path), nodes=nodes, devices=devices)


def read_batch(text: str, seq_length: int) -> int:
    """Sequences of one step: a count, or tokens (`4M tokens`) in whole sequences. Raises InputError."""
    match = _TOKENS.fullmatch(text)
    if match is None:
        return parse_count(text, key="--global-batch")
    tokens = parse_quantity(match[1], "count", key="--global-batch")
    sequences = round(tokens / seq_length)
    if sequences < 1:
        expected = f"at least one sequence of {seq_length} tokens"
        raise InputError("too few tokens", key="--global-batch", value=text, expected=expected)
    return sequences


def read_values(
    text: str | None, key: str, *, minimum: int = 1, maximum: int | None = None
) -> tuple[int, ...] | None:
    """Allowed values of a dimension: `8`, `4,8`, `4..8` or a mixture. None where nothing was given."""
    if text is None:
        return None
    values: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match:
            low, high = int(match[1]), int(match[2])
            if low > high or high - low > _WIDEST:
                raise InputError("not a range", key=key, value=part, expected="low..high, at most 100,000 wide")
            values.update(range(low, high + 1))
        else:
            values.add(parse_count(part.strip(), key=key, minimum=0))
    bad = [value for value in sorted(values) if value < minimum or (maximum is not None and value > maximum)]
    if bad:
        upper = f" to {maximum}" if maximum is not None else " up"
        raise InputError("out of range", key=key, value=bad[0], expected=f"from {minimum}{upper}")
    return tuple(sorted(values))


def read_names(text: str | None, key: str, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Allowed values of a dimension with names, as their codes. Raises InputError with the nearest name."""
    if text is None:
        return None
    codes = []
    for part in (part.strip() for part in text.split(",")):
        if part not in names:
            raise InputError(
                "unknown value",
                key=key,
                value=part,
                expected=f"one or more of {', '.join(names)}",
                suggestion=nearest(part, names),
            )
        codes.append(names.index(part))
    return tuple(sorted(set(codes)))


def _is_there(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


def _looks_like_path(name: str) -> bool:
    return "/" in name or Path(name).suffix in _FORMATS


def _read(path: Path, suffixes: tuple[str, ...]) -> tuple[str, Format]:
    """The text of a file and its format by its ending. Raises InputError for whatever can be wrong with it."""
    origin = str(path)
    if path.suffix not in suffixes:
        raise InputError(
            "unknown file format",
            origin=origin,
            value=path.suffix or "no ending",
            expected=f"a file that ends in {', '.join(suffixes)}",
        )
    try:
        if not path.exists():
            raise InputError("there is no such file", origin=origin, suggestion=_sibling(path))
        if not path.is_file():
            raise InputError("is not a file", origin=origin, expected="a regular file")
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError("file is too large", origin=origin, expected=f"at most {_LARGEST_FILE:,} bytes")
        return path.read_text("utf-8-sig"), _FORMATS[path.suffix]
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", origin=origin, expected="a UTF-8 file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"cannot be read: {reason}", origin=origin) from None


def _sibling(path: Path) -> str:
    """A file in the same folder with nearly the same name."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return ""
    found = nearest(path.name, names)
    return str(path.with_name(found)) if found else ""
