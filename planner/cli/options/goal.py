"""Options that say what plans are best by, how many are told, and how sure the first one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from planner.errors import InputError, find_nearest_name

if TYPE_CHECKING:
    from planner.search.objective import Objective
    from planner.search.search import Wanted

SAMPLES = 200
"""Of `--uncertainty` without a number."""
_MOST_SAMPLES = 100_000

ObjectiveOption = Annotated[
    str | None,
    typer.Option(
        "--objective",
        help="What plans are best by: step-time, tokens-per-s-per-device, cost, energy, memory-headroom.",
    ),
]
Pareto = Annotated[
    str | None, typer.Option("--pareto", help="Two or three objectives, with commas: tell their Pareto front.")
]
CriticalBatch = Annotated[
    str | None,
    typer.Option(
        "--critical-batch",
        help="Tokens of a step from which larger ones help less: '4M tokens', or as it grows: 1M,4M@500B.",
    ),
]
Diverse = Annotated[bool, typer.Option("--diverse", help="Tell plans of different degrees only.")]
Top = Annotated[
    int | None, typer.Option("--top", min=1, max=1000, help="How many plans to tell; else 5, of a front all.")
]
Uncertainty = Annotated[
    str | None,
    typer.Option(
        "--uncertainty",
        metavar="[INTEGER]",
        help=f"Tell how sure the first plan is, by so many samples of the fitted parameters; else {SAMPLES}.",
    ),
]


@dataclass(frozen=True)
class Goal:
    """The options as the user gave them."""

    objective: ObjectiveOption = None
    pareto: Pareto = None
    critical_batch: CriticalBatch = None
    diverse: Diverse = False
    top: Top = None
    uncertainty: Uncertainty = None


def read_samples(goal: Goal) -> int | None:
    """How many samples tell how sure the first plan is; None for none. Raises InputError."""
    from planner.cli.input.inputs import read_number

    samples = read_number(goal.uncertainty, "--uncertainty", minimum=2, maximum=_MOST_SAMPLES)
    if samples is not None and goal.pareto is not None:
        raise InputError("is told of one first plan", key="--uncertainty", expected="--objective, not --pareto")
    if goal.diverse and goal.pareto is not None:
        raise InputError("a front is told as it is", key="--diverse, --pareto", expected="one of the two")
    return samples


def read_goal(goal: Goal, *, batches: int, run: int | None) -> Wanted:
    """What is wanted of the search of so many batches; `run`: tokens that are trained. Raises InputError."""
    from planner.search.search import Wanted

    objectives = read_objectives(goal.objective, goal.pareto, goal.critical_batch, batches=batches, run=run)
    return Wanted(objectives, goal.top or (None if goal.pareto else 5), goal.diverse)


def read_objectives(
    name: str | None, pareto: str | None, critical: str | None, *, batches: int, run: int | None
) -> tuple[Objective, ...]:
    """The one objective, or the two or three of a Pareto front; `run`: tokens that are trained. Raises InputError."""
    from typing import get_args

    from planner.search.objective import Objective, ObjectiveName

    names: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    if name is not None and pareto is not None:
        raise InputError("one of the two", key="--objective, --pareto", value=f"{name}, {pareto}", expected="either")
    given = names[0] if name is None and pareto is None else pareto or name or ""
    key = "--objective" if pareto is None else "--pareto"
    parts = [part.strip().casefold() for part in given.split(",")]
    for part in parts:
        if part not in names:
            expected = f"one of {', '.join(names)}"
            raise InputError(
                "unknown objective", key=key, value=part, expected=expected, suggestion=find_nearest_name(part, names)
            )
    wanted = (2, 3) if pareto is not None else (1,)
    if len(dict.fromkeys(parts)) != len(parts) or len(parts) not in wanted:
        expected = "two or three different objectives" if pareto is not None else "one objective"
        raise InputError("not so many", key=key, value=given, expected=expected)
    tokens = _critical_batch(critical, run) if critical is not None else 0.0
    return tuple(Objective(one, tokens, batches > 1) for one in names if one in parts)


def _critical_batch(text: str, run: int | None) -> float:
    """`4M tokens`, or how it grows while `run` tokens are trained: `1M,4M@500B,8M@5T`. Raises InputError."""
    from planner.cli.input.inputs import MOST_TOKENS
    from planner.search.objective import mean_critical_batch
    from planner.units import parse_count

    key, points = "--critical-batch", []
    for part in text.casefold().split(","):
        size, _, start = part.removesuffix("tokens").removesuffix("token").partition("@")
        size = size.strip().removesuffix("tokens").strip()
        critical = parse_count(size, key=key, maximum=MOST_TOKENS, example="4M tokens, or 1M,4M@500B")
        begun = parse_count(start.strip(), key=key, maximum=MOST_TOKENS, example="1M,4M@500B") if start else 0
        points.append((float(begun), float(critical)))
    starts = [begun for begun, _ in points]
    if starts[0] or starts != sorted(set(starts)):
        raise InputError("not a curve", key=key, value=text, expected="a size, then size@tokens in ascending order")
    if len(points) == 1:
        return points[0][1]
    if run is None:
        raise InputError(
            "a curve needs the run's length", key="--tokens", expected="how many tokens are trained: --tokens 15T"
        )
    return mean_critical_batch(points, float(run))
