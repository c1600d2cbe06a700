"""`planner plan`: search the whole space and tell the best plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.cli.carbon import Site
from planner.cli.failures import FailureOptions
from planner.cli.goal import Goal
from planner.cli.grouped import grouped
from planner.cli.openings import OpenSettings, SpaceFile
from planner.cli.question import Files, PlanForm, PlanOutput, Question, Tokens, tell
from planner.cli.ranks import RankFiles, write_ranks
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

    pins = read_pins(split, settings, space_file)
    wanted_files = check_files(files, beside=rank_files.by_option, read=question.files)
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
    from planner.cli.answers import answer, read_asked
    from planner.cli.output import warn
    from planner.search.fault import unusable

    asked = read_asked(question, goal, pins, failures, site, techniques, tokens)
    if len(asked.trainings) >= _MANY_QUESTIONS:
        many = f"{len(asked.trainings):,} combinations of settings and batch"
        warn(f"{many} are searched one after the other: minutes")
    for sentence in asked.idle:
        warn(sentence)
    document = answer(asked)
    for sentence in unusable(asked.first, asked.space, pins.listed) if pins.listed else ():
        warn(sentence)
    return document
