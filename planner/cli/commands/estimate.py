"""`planner estimate`: score one given plan through the functions that the search uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from planner.cli.options.carbon import Site, read_carbon
from planner.cli.options.failures import FailureOptions, read_failures
from planner.cli.options.grouped import grouped
from planner.cli.options.question import (
    Files,
    Form,
    GradientFormat,
    Gradients,
    Output,
    Question,
    Require,
    Tokens,
    ask,
    check_required,
    read_required,
    tell,
)
from planner.cli.options.ranks import RankFiles, layouts, write_ranks
from planner.cli.options.settings import PinnedSettings, read_settings
from planner.cli.options.split import SequenceParallel
from planner.cli.options.techniques import Chosen
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.cost.scenario import Training
    from planner.documents.plan import Document


class Recompute(StrEnum):
    """Modes of activation recomputation."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


def _whole(name: str, what: str) -> OptionInfo:
    """A whole number as text, so that one function reads and refuses it everywhere."""
    option: OptionInfo = typer.Option(name, metavar="INTEGER", help=what)
    return option


@dataclass(frozen=True)
class OneSplit:
    """The options as the user gave them."""

    tp: Annotated[str | None, _whole("--tp", "Tensor parallel degree; else 1.")] = None
    pp: Annotated[str | None, _whole("--pp", "Pipeline stages; else 1.")] = None
    dp: Annotated[str | None, _whole("--dp", "Data-parallel width; else what is left.")] = None
    cp: Annotated[str | None, _whole("--cp", "Context parallel degree; else 1.")] = None
    ep: Annotated[str | None, _whole("--ep", "Expert parallel degree; else 1.")] = None
    etp: Annotated[str | None, _whole("--etp", "Expert-tensor parallel degree, 1 or tp; else tp with --ep 1.")] = None
    vpp: Annotated[str | None, _whole("--vpp", "Virtual pipeline stages a device; else 1.")] = None
    micro_batch: Annotated[str | None, _whole("--micro-batch", "Sequences of a micro-batch; else 1.")] = None
    zero: Annotated[str | None, _whole("--zero", "ZeRO stage, 0 to 3; else 0.")] = None
    recompute: Annotated[
        Recompute | None,
        typer.Option("--recompute", case_sensitive=False, help="Activation recomputation; else none."),
    ] = None
    sequence_parallel: SequenceParallel = None


@grouped
def estimate(
    question: Question,
    *,
    gradients: GradientFormat = None,
    tokens: Tokens = None,
    form: Form = Output.TABLE,
    files: Files = None,
    split: OneSplit,
    settings: PinnedSettings,
    rank_files: RankFiles,
    failures: FailureOptions,
    site: Site,
    techniques: Chosen,
    require: Require = None,
) -> None:
    """Score one given plan of MODEL on a cluster.

    \b
    Examples:
      planner estimate gpt-3-175b --cluster dgx-a100 --nodes 128 --global-batch 1536 \\
        --tp 8 --pp 16 --micro-batch 1 --recompute selective --sequence-parallel --zero 1
    """
    from planner.cli.io.output import check_files

    read = [*question.files, *techniques.files]
    wanted_files = check_files(files, beside=rank_files.by_option, read=read)
    required = read_required(require)
    document = scored(question, split, settings, failures, site, techniques, gradients=gradients, tokens=tokens)
    write_ranks(document, rank_files)
    tell(document, form, wanted_files)
    check_required(required, document)


def scored(
    question: Question,
    split: OneSplit,
    settings: PinnedSettings,
    failures: FailureOptions,
    site: Site,
    techniques: Chosen,
    *,
    gradients: Gradients | None = None,
    tokens: str | None = None,
) -> Document:
    """The answer, with a warning of what makes no difference to it. Raises InputError, and NothingFits where the plan
    does not fit.
    """
    from planner.cli.input.answers import warn_of_idle
    from planner.cli.input.inputs import read_tokens
    from planner.studies.plan import scored_plan

    pins, assumed = _pins(split)
    chosen, whole = read_settings(vars(settings)), read_tokens(tokens)
    batches, cluster, space = ask(
        question, pins, frozenset(assumed), gradients=gradients, pue=site.pue, techniques=techniques
    )
    if len(batches) > 1:
        key, value = "--global-batch", question.global_batch
        raise InputError("one plan has one batch", key=key, value=value, expected="a single batch")
    found = scored_plan(
        _only(batches[0], chosen, pins),
        cluster,
        space,
        tokens=whole,
        layouts=layouts(chosen)[:1],
        reliability=read_failures(failures, cluster),
        grid=read_carbon(site.grid, site.carbon_intensity),
    )
    warn_of_idle(found, chosen)
    return found


def _pins(split: OneSplit) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """The one value of each dimension, and of these the ones that were not given. Raises InputError."""
    from planner.cli.input.inputs import read_number

    numbers = ("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch")
    given = {name: read_number(getattr(split, name), f"--{name.replace('_', '-')}") for name in numbers}
    given |= {
        "zero_stage": read_number(split.zero, "--zero", minimum=0, maximum=3),
        "recompute": None if split.recompute is None else list(Recompute).index(split.recompute),
        "sequence_parallel": None if split.sequence_parallel is None else int(split.sequence_parallel),
    }
    codes = ("zero_stage", "recompute", "sequence_parallel")
    # what is not given has its plainest value; only the data-parallel width is what is left
    assumed = {name: 0 if name in codes else 1 for name, value in given.items() if value is None and name != "dp"}
    if given["etp"] is None and (given["ep"] or 1) == 1 and given["tp"]:
        assumed["etp"] = given["tp"]  # experts that are not dealt out are cut like the rest; a dense model has none
    return {name: (value,) for name, value in (given | assumed).items() if value is not None}, assumed


def _only(
    training: Training, settings: Mapping[str, tuple[str, ...]], pins: Mapping[str, tuple[int, ...]]
) -> Training:
    """The question with its settings. Raises InputError where one has several values."""
    from planner.search.settings import check_settings, combinations

    check_settings(training, settings, pins["recompute"], pins["zero_stage"])
    questions = list(combinations(training, settings))
    if len(questions) > 1:
        several = [f"--{name.replace('_', '-')}" for name, values in settings.items() if len(values) > 1]
        raise InputError("one plan has one value of each setting", key=several[0], expected="a single value")
    return questions[0]
