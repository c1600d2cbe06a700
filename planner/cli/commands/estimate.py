"""`planner estimate`: score one given plan through the functions that the search uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from planner.cli.options.carbon import SiteOptions, resolve_grid
from planner.cli.options.failures import FailureOptions, read_reliability
from planner.cli.options.grouped import expand_option_groups
from planner.cli.options.question import (
    FormatOption,
    GradientDtypeChoice,
    GradientDtypeOption,
    OutputFilesOption,
    OutputFormat,
    RequireOption,
    ScenarioOptions,
    TokensOption,
    check_conditions,
    read_conditions,
    resolve_scenarios,
    write_plan_document,
)
from planner.cli.options.ranks import RankFileOptions, select_rank_orders, write_rank_files
from planner.cli.options.settings import PinnedSettings, read_settings
from planner.cli.options.split import SequenceParallelOption
from planner.cli.options.techniques import TechniqueOptions
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cost.scenario import Training
    from planner.documents.plan import Document


class RecomputeChoice(StrEnum):
    """Modes of activation recomputation."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


def _build_integer_option(name: str, help_text: str) -> OptionInfo:
    """A whole number as text, so that one function reads and refuses it everywhere."""
    option: OptionInfo = typer.Option(name, metavar="INTEGER", help=help_text)
    return option


@dataclass(frozen=True)
class FixedParallelismOptions:
    """The options as the user gave them."""

    tp: Annotated[str | None, _build_integer_option("--tp", "Tensor parallel degree; else 1.")] = None
    pp: Annotated[str | None, _build_integer_option("--pp", "Pipeline stages; else 1.")] = None
    dp: Annotated[str | None, _build_integer_option("--dp", "Data-parallel width; else what is left.")] = None
    cp: Annotated[str | None, _build_integer_option("--cp", "Context parallel degree; else 1.")] = None
    ep: Annotated[str | None, _build_integer_option("--ep", "Expert parallel degree; else 1.")] = None
    etp: Annotated[
        str | None, _build_integer_option("--etp", "Expert-tensor parallel degree, 1 or tp; else tp with --ep 1.")
    ] = None
    vpp: Annotated[str | None, _build_integer_option("--vpp", "Virtual pipeline stages a device; else 1.")] = None
    micro_batch: Annotated[
        str | None, _build_integer_option("--micro-batch", "Sequences of a micro-batch; else 1.")
    ] = None
    zero: Annotated[str | None, _build_integer_option("--zero", "ZeRO stage, 0 to 3; else 0.")] = None
    recompute: Annotated[
        RecomputeChoice | None,
        typer.Option("--recompute", case_sensitive=False, help="Activation recomputation; else none."),
    ] = None
    sequence_parallel: SequenceParallelOption = None


@expand_option_groups
def estimate(
    scenario_options: ScenarioOptions,
    *,
    gradients: GradientDtypeOption = None,
    tokens: TokensOption = None,
    form: FormatOption = OutputFormat.TABLE,
    files: OutputFilesOption = None,
    parallelism: FixedParallelismOptions,
    settings: PinnedSettings,
    rank_files: RankFileOptions,
    failures: FailureOptions,
    site: SiteOptions,
    techniques: TechniqueOptions,
    require: RequireOption = None,
) -> None:
    """Score one given plan of MODEL on a cluster.

    \b
    Examples:
      planner estimate gpt-3-175b --cluster dgx-a100 --nodes 128 --global-batch 1536 \\
        --tp 8 --pp 16 --micro-batch 1 --recompute selective --sequence-parallel --zero 1
    """
    from planner.cli.io.output import check_output_files

    input_files = [*scenario_options.input_files, *techniques.input_files]
    output_files = check_output_files(files, other_outputs=rank_files.files_by_option, input_files=input_files)
    conditions = read_conditions(require)
    document = score_single_plan(
        scenario_options, parallelism, settings, failures, site, techniques, gradients=gradients, tokens=tokens
    )
    write_rank_files(document, rank_files)
    write_plan_document(document, form, output_files)
    check_conditions(conditions, document)


def score_single_plan(
    scenario_options: ScenarioOptions,
    parallelism: FixedParallelismOptions,
    settings: PinnedSettings,
    failures: FailureOptions,
    site: SiteOptions,
    techniques: TechniqueOptions,
    *,
    gradients: GradientDtypeChoice | None = None,
    tokens: str | None = None,
) -> Document:
    """The answer, with a warning of what makes no difference to it. Raises InputError, and NothingFits where the plan
    does not fit.
    """
    from planner.cli.input.answers import warn_ineffective_settings
    from planner.cli.input.inputs import read_run_tokens
    from planner.studies.plan import scored_plan

    pins, default_pins = _read_pinned_values(parallelism)
    setting_values, run_tokens = read_settings(vars(settings)), read_run_tokens(tokens)
    batch_scenarios, cluster, space = resolve_scenarios(
        scenario_options, pins, frozenset(default_pins), gradients=gradients, pue=site.pue, techniques=techniques
    )
    if len(batch_scenarios) > 1:
        key, value = "--global-batch", scenario_options.global_batch
        raise InputError("one plan has one batch", key=key, value=value, expected="a single batch")
    plan_document = scored_plan(
        _apply_single_settings(batch_scenarios[0], setting_values, pins),
        cluster,
        space,
        tokens=run_tokens,
        layouts=select_rank_orders(setting_values)[:1],
        reliability=read_reliability(failures, cluster),
        grid=resolve_grid(site.grid, site.carbon_intensity),
    )
    warn_ineffective_settings(plan_document, setting_values)
    return plan_document


def _read_pinned_values(parallelism: FixedParallelismOptions) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """The one value of each dimension, and of these the ones that were not given. Raises InputError."""
    from planner.cli.input.inputs import read_whole_number

    numbers = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch")
    given_values = {
        name: read_whole_number(getattr(parallelism, name), f"--{name.replace('_', '-')}") for name in numbers
    }
    given_values |= {
        "zero_stage": read_whole_number(parallelism.zero, "--zero", minimum=0, maximum=3),
        "recompute": None if parallelism.recompute is None else list(RecomputeChoice).index(parallelism.recompute),
        "sequence_parallel": None if parallelism.sequence_parallel is None else int(parallelism.sequence_parallel),
    }
    code_dimensions = ("zero_stage", "recompute", "sequence_parallel")
    # what is not given has its plainest value; only the data-parallel width is what is left
    default_values = {
        name: 0 if name in code_dimensions else 1
        for name, value in given_values.items()
        if value is None and name != "dp"
    }
    if given_values["etp"] is None and (given_values["ep"] or 1) == 1 and given_values["tp"]:
        default_values["etp"] = given_values[
            "tp"
        ]  # experts that are not dealt out are cut like the rest; a dense model has none
    return {
        name: (value,) for name, value in (given_values | default_values).items() if value is not None
    }, default_values


def _apply_single_settings(
    scenario: Training, settings: Mapping[str, tuple[str, ...]], pins: Mapping[str, tuple[int, ...]]
) -> Training:
    """The question with its settings. Raises InputError where one has several values."""
    from planner.search.settings import check_settings, combinations

    check_settings(scenario, settings, pins["recompute"], pins["zero_stage"])
    scenarios = list(combinations(scenario, settings))
    if len(scenarios) > 1:
        multi_valued_options = [f"--{name.replace('_', '-')}" for name, values in settings.items() if len(values) > 1]
        raise InputError(
            "one plan has one value of each setting", key=multi_valued_options[0], expected="a single value"
        )
    return scenarios[0]
