"""`planner plan`: search the whole space and tell the best plans."""

from __future__ import annotations

from planner.cli.options.carbon import Site
from planner.cli.options.failures import FailureOptions
from planner.cli.options.goal import Goal
from planner.cli.options.grouped import grouped
from planner.cli.options.question import (
    Files,
    Form,
    Output,
    Question,
    Require,
    Tokens,
    check_required,
    read_required,
    tell,
)
from planner.cli.options.ranks import RankFiles, write_ranks
from planner.cli.options.settings import OpenSettings, SpaceFile
from planner.cli.options.split import Split, read_pins
from planner.cli.options.techniques import Chosen


@grouped
def plan(
    question: Question,
    *,
    tokens: Tokens = None,
    goal: Goal,
    form: Form = Output.TABLE,
    files: Files = None,
    split: Split,
    settings: OpenSettings,
    space_file: SpaceFile = None,
    rank_files: RankFiles,
    failures: FailureOptions,
    site: Site,
    techniques: Chosen,
    require: Require = None,
) -> None:
    """Find the best way to train MODEL on a cluster.

    \b
    Examples:
      plan llama-3-70b --cluster dgx-h100 --nodes 64 --global-batch 1024 --tokens 15T
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch '4M tokens' --tp 4..8
      plan path/to/config.json --cluster cluster.toml --global-batch 512 -o plan.html -o plan.csv
      plan 13B --cluster dgx-a100 --nodes 4 --global-batch 512 --uncertainty 50
      plan 70B --cluster dgx-a100 --nodes 16 --global-batch 512 --offload none,optimizer --schedule 1f1b,zero-bubble
      plan llama-3-70b --cluster dgx-h100:4+dgx-a100:4 --global-batch 512
    """
    from planner.cli.input.answers import Options, document
    from planner.cli.input.inputs import read_tokens
    from planner.cli.io.output import check_files

    read = [*question.files, *techniques.files, ("--space", space_file)]
    wanted_files = check_files(files, beside=rank_files.by_option, read=read)
    pins, required = read_pins(split, settings, space_file), read_required(require)
    options = Options(question, goal, pins, failures, site, techniques, read_tokens(tokens))
    found = document(options, rank_files)
    write_ranks(found, rank_files)
    tell(found, form, wanted_files)
    check_required(required, found)
