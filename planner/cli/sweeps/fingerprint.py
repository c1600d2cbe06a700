"""Identifies a sweep by its points, the files that they name, and the program with its databases."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.cli.sweeps.grid import Sweep

_ANSWER_FORMAT = "1"
"""Version of a point's answer in the journal."""


def compute_fingerprint(sweep: Sweep) -> str:
    """The digest of a sweep: equal for the same points in the same order, the same version and the same files."""
    import msgspec

    from planner import __version__
    from planner.documents.plan import SCHEMA_VERSION

    parts = [
        _ANSWER_FORMAT,
        __version__,
        SCHEMA_VERSION,
        sweep.keys,
        sweep.points,
        compute_file_digests(sweep.list_files()),
        compute_data_digest(),
    ]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def compute_data_digest() -> str:
    """The digest of hardware_db and the model presets, since an edited figure changes answers of the same version."""
    from planner.hardware.database import find_database_path
    from planner.workload.presets import get_presets_path

    digest = hashlib.sha256()
    for folder in (find_database_path(), get_presets_path()):
        for path in sorted(folder.rglob("*.toml")):
            digest.update(f"{path.relative_to(folder).as_posix()} {_compute_file_digest(path)}\n".encode())
    return digest.hexdigest()


def compute_file_digests(names: Sequence[str]) -> dict[str, str]:
    """The digest of each file, and of the config.json of a folder; empty for unreadable files."""
    return {name: _compute_file_digest(Path(name)) for name in names}


def _compute_file_digest(path: Path) -> str:
    try:
        return hashlib.sha256((path / "config.json" if path.is_dir() else path).read_bytes()).hexdigest()
    except OSError:
        return ""
