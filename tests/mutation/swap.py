"""Put a mutant in the place of a function that is already imported, wherever its name is bound."""

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


def swap_in(mutant: Mutant) -> None:
    """Make this process run the mutant; raises SyntaxError or NotFoundError where that is impossible."""
    code = mutant.code()
    function = _find_function(mutant.file, mutant.function)
    if len(code.co_freevars) != len(function.__code__.co_freevars):
        raise NotFoundError(mutant.name)
    function.__code__ = code


def format_module_name(file: str) -> str:
    """`planner/cost/step.py`: planner.cost.step."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _find_function(file: str, function: str) -> FunctionType:
    value: object = importlib.import_module(format_module_name(file))
    for name in function.split("."):
        value = vars(value).get(name)
    for _ in range(5):
        if isinstance(value, FunctionType) and not hasattr(value, "__wrapped__"):
            return value
        inner = (getattr(value, name, None) for name in ("__wrapped__", "fget", "func", "__func__"))
        value = next((candidate for candidate in inner if candidate is not None), None)
    raise NotFoundError(f"{file}:{function}")


def list_caches() -> list[functools._lru_cache_wrapper[object]]:
    """All caches of functions: cleared before a mutant runs."""
    return [value for value in gc.get_objects() if isinstance(value, functools._lru_cache_wrapper)]


def clear_caches(cached: Iterable[functools._lru_cache_wrapper[object]]) -> None:
    """Empty the caches."""
    for cache in cached:
        cache.cache_clear()


def import_all(files: Iterable[str]) -> None:
    """Import the modules, so that forks need not."""
    for file in files:
        importlib.import_module(format_module_name(file))
    sys.stdout.flush()
