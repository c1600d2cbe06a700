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

_FORM = "1"
"""Of a point's answer, as the journal keeps it."""


def fingerprint_of(sweep: Sweep) -> str:
    """The same for the same points in the same order, answered by the same version from the same files."""
    import msgspec

    from planner import __version__
    from planner.documents.plan import SCHEMA_VERSION

    told = [_FORM, __version__, SCHEMA_VERSION, sweep.keys, sweep.points, digests(sweep.files()), known_digest()]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def known_digest() -> str:
    """Of all of hardware_db and of the models' presets: an edited figure is another answer, whatever the version."""
    from planner.hardware.database import database_path
    from planner.workload.presets import presets_path

    told = hashlib.sha256()
    for folder in (database_path(), presets_path()):
        for path in sorted(folder.rglob("*.toml")):
            told.update(f"{path.relative_to(folder).as_posix()} {_digest(path)}\n".encode())
    return told.hexdigest()


def digests(names: Sequence[str]) -> dict[str, str]:
    """Of each file, and of a folder its config.json; empty for what cannot be read."""
    return {name: _digest(Path(name)) for name in names}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256((path / "config.json" if path.is_dir() else path).read_bytes()).hexdigest()
    except OSError:
        return ""
