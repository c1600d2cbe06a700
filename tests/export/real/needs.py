"""Packages that a test reads exported files with: it is skipped without them, and fails where they were installed."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import NoReturn

import pytest

IN_FULL = bool(os.environ.get("PLANNER_EXPORT_TESTS"))
"""Whether `make test-export` runs: then everything that it installs must be there."""


def import_package(name: str) -> ModuleType:
    """The module; skips the test, or under `make test-export` fails it, where it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        skip_or_fail(f"{name} cannot be imported: {error} (`make test-export` installs it)")


def skip_or_fail(why: str) -> NoReturn:
    """Skips the test, or fails it under `make test-export`."""
    if IN_FULL:
        pytest.fail(why)
    pytest.skip(why)
