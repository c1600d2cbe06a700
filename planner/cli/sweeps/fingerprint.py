"""What makes two sweeps the same: their points, the files that these name, and the program that answers them with all
that it knows by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.cli.sweeps.grid import Sweep

_ANSWER_FORMAT = "1"
"""Of a point's answer, as the journal keeps it."""


def compute_fingerprint(sweep: Sweep) -> str:
    """The same for the same points in the same order, answered by the same version from the same files."""
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
    """Of all of hardware_db and of the models' presets: an edited figure is another answer, whatever the version."""
    from planner.hardware.database import find_database_path
    from planner.workload.presets import get_presets_path

    digest = hashlib.sha256()
    for folder in (find_database_path(), get_presets_path()):
        for path in sorted(folder.rglob("*.toml")):
            digest.update(f"{path.relative_to(folder).as_posix()} {_compute_file_digest(path)}\n".encode())
    return digest.hexdigest()


def compute_file_digests(names: Sequence[str]) -> dict[str, str]:
    """Of each file, and of a folder its config.json; empty for what cannot be read."""
    return {name: _compute_file_digest(Path(name)) for name in names}


def _compute_file_digest(path: Path) -> str:
    try:
        return hashlib.sha256((path / "config.json" if path.is_dir() else path).read_bytes()).hexdigest()
    except OSError:
        return ""
