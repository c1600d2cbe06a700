"""`planner plan`: search the whole space and print the best plans."""

from __future__ import annotations

from planner.cli.options.output import read_plan_output
from planner.cli.options.parameters import OptionValues, take_options


@take_options("plan")
def plan(values: OptionValues) -> None:
    """Find the best plan to train MODEL on a cluster.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch '4M tokens' --tp 4..8
      plan path/to/config.json --cluster cluster.toml --global-batch 512 -o plan.html -o plan.csv
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch 512 --uncertainty 50
      plan 70B --cluster dgx-a100 --nodes 16 --global-batch 512 --offload none,optimizer --schedule 1f1b,zero-bubble
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch 512 --memory-limit 90%
      plan llama-3-70b --cluster dgx-h100:4+dgx-a100:4 --global-batch 512
    """
    from planner.request.answer import compute_answer
    from planner.request.plan_request import build_plan_request

    output = read_plan_output(values)
    request = build_plan_request(values)
    output.write(compute_answer(request))
