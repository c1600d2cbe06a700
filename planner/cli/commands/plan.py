"""`planner plan` searches the whole space and prints the best plans; `planner estimate` scores a given plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.cli.io.files import write_file_atomically
from planner.cli.io.output import DocumentOutput
from planner.cli.lazy import import_lazily
from planner.cli.options.command import OptionValues, declare_command
from planner.cli.options.output import check_conditions, parse_conditions

with import_lazily():
    from planner.documents import heterogeneous
    from planner.documents import plan as plan_document
    from planner.export import ranks
    from planner.request import answer, plan_request


@declare_command(request="plan")
def plan(values: OptionValues, **outputs: Any) -> None:
    """Find the best plan to train MODEL on a cluster.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch '4M tokens' --tp 4..8
      plan path/to/config.json --cluster cluster.toml --global-batch 512 -o plan.html -o plan.csv
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch 512 --uncertainty 50
      plan 70B --cluster dgx-a100 --nodes 16 --global-batch 512 --offload none,optimizer --schedule 1f1b,zero-bubble
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch 512 --memory-limit 95%
      plan llama-3-70b --cluster dgx-h100:4+dgx-a100:4 --global-batch 512
    """
    _write_answer("plan", values, **outputs)


@declare_command(request="estimate")
def estimate(values: OptionValues, **outputs: Any) -> None:
    """Score a given plan of MODEL on a cluster.

    \b
    Examples:
      planner estimate gpt-3-175b --cluster dgx-a100 --nodes 128 --global-batch 1536 \\
        --tp 8 --pp 16 --micro-batch 1 --recompute selective --sequence-parallel --zero 1
    """
    _write_answer("estimate", values, **outputs)


def _write_answer(
    command: plan_request.RequestCommand,
    values: OptionValues,
    output: DocumentOutput,
    hostfile: Path | None,
    rankfile: Path | None,
    require: Sequence[str],
) -> None:
    """Answer a request, write its files and check its requirements.

    Raises InputError for a file that cannot be written, RequirementNotMet.
    """
    conditions = parse_conditions(require)
    document = answer.compute_answer(plan_request.build_plan_request(values, command))
    if hostfile is not None or rankfile is not None:
        _write_rank_files(document, hostfile, rankfile)
    output.write(document)
    check_conditions(conditions, document)


def _write_rank_files(
    document: plan_document.PlanDocument | heterogeneous.HeterogeneousDocument,
    hostfile: Path | None,
    rankfile: Path | None,
) -> None:
    """Write the files that start the best plan's processes. Raises InputError for a heterogeneous cluster."""
    if not isinstance(document, plan_document.PlanDocument):
        answer.refuse_for_pools("--rankfile" if hostfile is None else "--hostfile")
    for path, render in ((hostfile, ranks.render_hostfile), (rankfile, ranks.render_rankfile)):
        if path is not None:
            write_file_atomically(path, render(document))
