"""`planner plan`: search the whole space and tell the best plans."""

from __future__ import annotations

from planner.cli.options.carbon import SiteOptions
from planner.cli.options.failures import FailureOptions
from planner.cli.options.goal import GoalOptions
from planner.cli.options.grouped import expand_option_groups
from planner.cli.options.question import (
    FormatOption,
    OutputFilesOption,
    OutputFormat,
    RequireOption,
    ScenarioOptions,
    TokensOption,
    check_conditions,
    read_conditions,
    write_plan_document,
)
from planner.cli.options.ranks import RankFileOptions, write_rank_files
from planner.cli.options.settings import OpenSettings, SpaceFileOption
from planner.cli.options.split import ParallelismOptions, read_space_pins
from planner.cli.options.techniques import TechniqueOptions


@expand_option_groups
def plan(
    scenario_options: ScenarioOptions,
    *,
    tokens: TokensOption = None,
    goal: GoalOptions,
    form: FormatOption = OutputFormat.TABLE,
    files: OutputFilesOption = None,
    parallelism: ParallelismOptions,
    settings: OpenSettings,
    space_file: SpaceFileOption = None,
    rank_files: RankFileOptions,
    failures: FailureOptions,
    site: SiteOptions,
    techniques: TechniqueOptions,
    require: RequireOption = None,
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
    from planner.cli.input.answers import PlanRequest, run_plan_request
    from planner.cli.input.inputs import read_run_tokens
    from planner.cli.io.output import check_output_files

    input_files = [*scenario_options.input_files, *techniques.input_files, ("--space", space_file)]
    output_files = check_output_files(files, other_outputs=rank_files.files_by_option, input_files=input_files)
    pins, conditions = read_space_pins(parallelism, settings, space_file), read_conditions(require)
    request = PlanRequest(scenario_options, goal, pins, failures, site, techniques, read_run_tokens(tokens))
    plan_document = run_plan_request(request, rank_files)
    write_rank_files(plan_document, rank_files)
    write_plan_document(plan_document, form, output_files)
    check_conditions(conditions, plan_document)
