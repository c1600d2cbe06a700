"""`planner estimate`: score a given plan by the functions of the search."""

from __future__ import annotations

from planner.cli.options.output import read_plan_output
from planner.cli.options.parameters import OptionValues, take_options


@take_options("estimate")
def estimate(values: OptionValues) -> None:
    """Score a given plan of MODEL on a cluster.

    \b
    Examples:
      planner estimate gpt-3-175b --cluster dgx-a100 --nodes 128 --global-batch 1536 \\
        --tp 8 --pp 16 --micro-batch 1 --recompute selective --sequence-parallel --zero 1
    """
    from planner.request.answer import compute_answer
    from planner.request.plan_request import build_plan_request

    output = read_plan_output(values)
    request = build_plan_request(values, "estimate")
    output.write(compute_answer(request))
