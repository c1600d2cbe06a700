"""Imports at the top of a file whose modules are loaded when they are first used: start-up is a feature.

    with import_lazily():
        from planner.studies import size

The standard library's `LazyLoader` does the work; Python 3.15 has the statement `lazy from` (PEP 810) for it. Only
modules are lazy: `from planner.studies.size import find_fewest_nodes` would load the module at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class _LazyFinder:
    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The specification of one of our modules, with a loader that waits; None for others' modules."""
        spec = PathFinder.find_spec(name, path, target) if name.startswith("planner.") else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def import_lazily() -> Iterator[None]:
    """Load modules of planner that are imported in this context at the first use of one of their names."""
    sys.meta_path.insert(0, _LazyFinder)
    try:
        yield
    finally:
        sys.meta_path.remove(_LazyFinder)
