"""`planner plan`: search the whole space and tell the best plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cli.carbon import Site, read_carbon
from planner.cli.failures import FailureOptions, read_failures
from planner.cli.goal import Goal, read_goal, read_samples
from planner.cli.grouped import grouped
from planner.cli.openings import OpenSettings, SpaceFile
from planner.cli.question import Files, PlanForm, PlanOutput, Question, Tokens, ask, tell
from planner.cli.ranks import RankFiles, layouts, write_ranks
from planner.cli.split import Pins, Split, read_pins
from planner.cli.techniques import Chosen

if TYPE_CHECKING:
    from planner.search.document import Document

_MANY_QUESTIONS = 300


@grouped
def plan(
    question: Question,
    *,
    tokens: Tokens = None,
    goal: Goal,
    form: PlanForm = PlanOutput.TABLE,
    files: Files = None,
    split: Split,
    settings: OpenSettings,
    space_file: SpaceFile = None,
    rank_files: RankFiles,
    failures: FailureOptions,
    site: Site,
    techniques: Chosen,
) -> None:
    """Find the best way to train MODEL on a cluster.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch '4M tokens' --tp 4..8
      plan path/to/config.json --cluster cluster.toml --global-batch 512 --format json
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch 512 --uncertainty
      plan 70B --cluster dgx-a100 --nodes 16 --global-batch 512 --offload none,optimizer --schedule 1f1b,zero-bubble
      plan llama-3-70b --cluster dgx-h100:32+dgx-a100:32 --global-batch 1024
    """
    from planner.cli.inputs import read_tokens
    from planner.cli.output import check_files
    from planner.cli.pools import plan_pools, read_pools, refuse_for_pools

    pins, wanted_files = read_pins(split, settings, space_file), check_files(files)
    whole = read_tokens(tokens)
    pools = read_pools(question.cluster)
    if pools is not None:
        refuse_for_pools(question, goal, rank_files, failures, site, techniques)
        plan_pools(pools, question, pins, tokens=whole, form=form, files=wanted_files)
        return
    document = _found(question, goal, pins, failures, site, techniques, whole)
    write_ranks(document, rank_files)
    tell(document, form, wanted_files)


def _found(
    question: Question,
    goal: Goal,
    pins: Pins,
    failures: FailureOptions,
    site: Site,
    techniques: Chosen,
    tokens: int | None,
) -> Document:
    """The best plans. Raises InputError, and NothingFits; warns of what makes no difference or takes long."""
    from planner.cli.output import warn
    from planner.cost.strategies import FULL
    from planner.search.answer import best_plans
    from planner.search.fault import unusable
    from planner.search.objective import check_known, idle_objectives
    from planner.search.settings import check_settings, combinations

    samples = read_samples(goal)
    batches, cluster, space = ask(question, pins.allowed, pue=site.pue, techniques=techniques)
    reliability, carbon = read_failures(failures, cluster), read_carbon(site.grid, site.carbon_intensity)
    wanted = read_goal(goal, batches=len(batches), run=tokens)
    check_known(wanted.objectives, batches[0])
    check_settings(batches[0], pins.settings, pins.allowed["recompute"] or (FULL,))
    questions = [one for batch in batches for one in combinations(batch, pins.settings)]
    if len(questions) >= _MANY_QUESTIONS:
        warn(f"{len(questions):,} combinations of settings and batch are searched one after the other: minutes")
    for sentence in idle_objectives(wanted.objectives, len(batches)):
        warn(sentence)
    document = best_plans(
        questions,
        cluster,
        space,
        wanted,
        tokens=tokens,
        samples=samples,
        layouts=layouts(pins.settings),
        reliability=reliability,
        grid=carbon,
    )
    for sentence in unusable(batches[0], space, pins.listed) if pins.listed else ():
        warn(sentence)
    return document
