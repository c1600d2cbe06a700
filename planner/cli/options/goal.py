"""Options that say what plans are best by, how many are told, and how sure the first one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError, find_nearest_name

if TYPE_CHECKING:
    from planner.search.objective import Objective
    from planner.search.search import Wanted

DEFAULT_SAMPLES = 200
"""Of `--uncertainty` without a number."""
_MAX_SAMPLES = 100_000

ObjectiveOption = Annotated[
    str | None,
    typer.Option(
        "--objective",
        help="What plans are best by: step-time, tokens-per-s-per-device, cost, energy, memory-headroom.",
    ),
]
ParetoOption = Annotated[
    str | None, typer.Option("--pareto", help="Two or three objectives, with commas: tell their Pareto front.")
]
CriticalBatchOption = Annotated[
    str | None,
    typer.Option(
        "--critical-batch",
        help="Tokens of a step from which larger ones help less: '4M tokens', or as it grows: 1M,4M@500B.",
    ),
]
DiverseOption = Annotated[bool, typer.Option("--diverse", help="Tell plans of different degrees only.")]
TopOption = Annotated[
    int | None, typer.Option("--top", min=1, max=1000, help="How many plans to tell; else 5, of a front all.")
]
UncertaintyOption = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="[INTEGER]",
        help=f"Tell how sure the first plan is, by so many samples of the fitted parameters; else {DEFAULT_SAMPLES}.",
    ),
]


@dataclass(frozen=True)
class GoalOptions:
    """The options as the user gave them."""

    objective: ObjectiveOption = None
    pareto: ParetoOption = None
    critical_batch: CriticalBatchOption = None
    diverse: DiverseOption = False
    top: TopOption = None
    uncertainty: UncertaintyOption = None


def read_sample_count(goal: GoalOptions) -> int | None:
    """How many samples tell how sure the first plan is; None for none. Raises InputError."""
    from planner.cli.input.inputs import read_whole_number

    samples = read_whole_number(goal.uncertainty, "--uncertainty", minimum=2, maximum=_MAX_SAMPLES)
    if samples is not None and goal.pareto is not None:
        raise InputError("is told of one first plan", key="--uncertainty", expected="--objective, not --pareto")
    if goal.diverse and goal.pareto is not None:
        raise InputError("a front is told as it is", key="--diverse, --pareto", expected="one of the two")
    return samples


def read_search_target(goal: GoalOptions, *, batch_count: int, run_tokens: int | None) -> Wanted:
    """What is wanted of the search of so many batches; `run_tokens`: tokens that are trained. Raises InputError."""
    from planner.search.search import Wanted

    objectives = read_objectives(
        goal.objective, goal.pareto, goal.critical_batch, batch_count=batch_count, run_tokens=run_tokens
    )
    return Wanted(objectives, goal.top or (None if goal.pareto else 5), goal.diverse)


def read_objectives(
    objective_name: str | None,
    pareto: str | None,
    critical_batch: str | None,
    *,
    batch_count: int,
    run_tokens: int | None,
) -> tuple[Objective, ...]:
    """The one objective, or the two or three of a Pareto front; `run_tokens`: tokens that are trained. Raises
    InputError.
    """
    from typing import get_args

    from planner.search.objective import Objective, ObjectiveName

    names: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    if objective_name is not None and pareto is not None:
        raise InputError(
            "one of the two", key="--objective, --pareto", value=f"{objective_name}, {pareto}", expected="either"
        )
    objective_text = names[0] if objective_name is None and pareto is None else pareto or objective_name or ""
    key = "--objective" if pareto is None else "--pareto"
    parts = [part.strip().casefold() for part in objective_text.split(",")]
    for part in parts:
        if part not in names:
            expected = f"one of {', '.join(names)}"
            raise InputError(
                "unknown objective", key=key, value=part, expected=expected, suggestion=find_nearest_name(part, names)
            )
    allowed_counts = (2, 3) if pareto is not None else (1,)
    if len(dict.fromkeys(parts)) != len(parts) or len(parts) not in allowed_counts:
        expected = "two or three different objectives" if pareto is not None else "one objective"
        raise InputError("not so many", key=key, value=objective_text, expected=expected)
    critical_batch_tokens = (
        _parse_critical_batch_tokens(critical_batch, run_tokens) if critical_batch is not None else 0.0
    )
    return tuple(
        Objective(known_name, critical_batch_tokens, batch_count > 1) for known_name in names if known_name in parts
    )


def _parse_critical_batch_tokens(text: str, run_tokens: int | None) -> float:
    """`4M tokens`, or how it grows while `run_tokens` tokens are trained: `1M,4M@500B,8M@5T`. Raises InputError."""
    from planner.cli.input.inputs import MAX_RUN_TOKENS
    from planner.search.objective import mean_critical_batch
    from planner.units import parse_count

    key, points = "--critical-batch", []
    for part in text.casefold().split(","):
        size, _, start = part.removesuffix("tokens").removesuffix("token").partition("@")
        size = size.strip().removesuffix("tokens").strip()
        batch_tokens = parse_count(size, key=key, maximum=MAX_RUN_TOKENS, example="4M tokens, or 1M,4M@500B")
        start_tokens = (
            parse_count(start.strip(), key=key, maximum=MAX_RUN_TOKENS, example="1M,4M@500B") if start else 0
        )
        points.append((float(start_tokens), float(batch_tokens)))
    starts = [start_tokens for start_tokens, _ in points]
    if starts[0] or starts != sorted(set(starts)):
        raise InputError("not a curve", key=key, value=text, expected="a size, then size@tokens in ascending order")
    if len(points) == 1:
        return points[0][1]
    if run_tokens is None:
        raise InputError(
            "a curve needs the run's length", key="--tokens", expected="how many tokens are trained: --tokens 15T"
        )
    return mean_critical_batch(points, float(run_tokens))
