"""Trainers that run a user's script: the parts of the plan that the script has to implement."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.run import PlannedRun
from planner.export.shell import format_comments

SCRIPT_USAGE_CHECK = 'if (( $# == 0 )); then\n  echo "usage: bash train.sh SCRIPT [ARGUMENT ...]" >&2\n  exit 2\nfi\n'
"""Bash that exits where no script is given."""


def format_script_duties(run: PlannedRun, *, by_script: bool) -> str:
    """Comments on the script's duties. `by_script`: further duties."""
    lines = [
        "Your script has to implement these parts of the plan:",
        f"  micro-batches of {run.strategy.micro_batch}, {run.micro_batches} per step on each data-parallel rank;",
        f"  attention: {run.attention}; kernels: {run.launch}; {run.steps} steps",
    ]
    if by_script and run.strategy.recompute != "none":
        lines.append(f"  recomputation: {describe_recompute(run)}")
    return format_comments(lines)


def describe_recompute(run: PlannedRun) -> str:
    """The plan's recomputation, in words."""
    layers = run.settings.recompute_layers
    if run.strategy.recompute == "selective":
        return "selective: norms, activation functions and unfused attention"
    return "full: every layer" if layers is None else f"full: {layers} layers of each stage"


def build_recompute_note(run: PlannedRun, trainer_name: str) -> Iterator[str]:
    """The note of a trainer that leaves recomputation to the script."""
    if run.strategy.recompute != "none":
        yield f"{trainer_name} does not recompute by itself: your script has to ({describe_recompute(run)})"
