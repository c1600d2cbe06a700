"""Put a mutant in the place of a function that is already imported, wherever that is known by name."""

from __future__ import annotations

import functools
import gc
import importlib
import sys
from collections.abc import Iterable
from types import FunctionType

from tests.mutation.mutants import Mutant


class NotFoundError(LookupError):
    """A function that its module does not have at run time."""


def swap(mutant: Mutant) -> None:
    """From here on this process runs the mutant; raises SyntaxError or NotFoundError where it cannot."""
    code = mutant.code()
    function = _live(mutant.file, mutant.function)
    if len(code.co_freevars) != len(function.__code__.co_freevars):
        raise NotFoundError(mutant.name)
    function.__code__ = code


def module_name(file: str) -> str:
    """`planner/cost/step.py`: planner.cost.step."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _live(file: str, function: str) -> FunctionType:
    found: object = importlib.import_module(module_name(file))
    for name in function.split("."):
        found = vars(found).get(name)
    for _ in range(5):
        if isinstance(found, FunctionType) and not hasattr(found, "__wrapped__"):
            return found
        inner = (getattr(found, name, None) for name in ("__wrapped__", "fget", "func", "__func__"))
        found = next((one for one in inner if one is not None), None)
    raise NotFoundError(f"{file}:{function}")


def caches() -> list[functools._lru_cache_wrapper[object]]:
    """Everything that remembers what a function told: emptied before a mutant runs."""
    return [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]


def forget(remembered: Iterable[functools._lru_cache_wrapper[object]]) -> None:
    """Empty the caches."""
    for one in remembered:
        one.cache_clear()


def import_all(files: Iterable[str]) -> None:
    """So that a fork has nothing left to import."""
    for file in files:
        importlib.import_module(module_name(file))
    sys.stdout.flush()
