"""Readers of commands that a checkout may not have: each is under test as soon as its module is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz import samples
from tests.fuzz.makers import Maker, of_trees, of_words

Read = Callable[[Path], object]

_REQUIREMENTS = [
    "mfu >= 40%", "step_time < 12.5s and memory.total <= 70GiB", "not (devices > 64 or tp != 8)",
    "energy / tokens < 2 * 3 J", "bottleneck == 'compute'", "mfu >= base.mfu - 1%", "-1 <= +2", "((tp)) == 1",
]  # fmt: skip
_SIGNS = [
    "(", ")", " and ", " or ", " not ", "<", "<=", "==", "!=", ">=", "+", "-", "*", "/", "%", "'", '"', ".", "1", "0",
    "mfu", "tp", "GiB", "s", "true", "(" * 200, "-" * 200, "not " * 200, "1e999", "9" * 400,
]  # fmt: skip


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def plan_document(path: Path) -> None:
    """The plan document as `planner explain` reads it, or the module that it shares with `planner export`."""
    if _is_there("planner.cli.plan_file"):
        import_module("planner.cli.plan_file").read_plan_document(path, 1)
    else:
        import_module("planner.cli.explain")._document(path, 1)


def _requirement(path: Path) -> None:
    import_module("planner.search.requirements.parse").read_requirement(path.read_bytes().decode("utf-8", "replace"))


def _sweep(path: Path) -> None:
    import_module("planner.cli.sweeps.grid").read_sweep(path)


def _plan_list(path: Path) -> None:
    import_module("planner.cli.plan_list").read_list(path)


def readers() -> Iterator[tuple[str, Maker, Read]]:
    """Those of requirements, sweeps and the plans of `planner check`, as far as they are there."""
    if _is_there("planner.search.requirements.parse"):
        yield "requirement", of_words(_REQUIREMENTS, _SIGNS), _requirement
    if _is_there("planner.cli.sweeps.grid"):
        yield "sweep", of_trees(lambda: [samples.SWEEP], "sweep", ["toml"]), _sweep
    if _is_there("planner.cli.plan_list"):
        yield "check", of_trees(lambda: [samples.CHECK], "plans", ["toml"]), _plan_list
