"""Words for a plan that all reports share: the model and the step it is of, its split, its terms, its throughput."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from planner.documents.plan import ModelPart, PlanPart
from planner.report.console import printable
from planner.units import format_counted_noun, format_days, format_parameter_count, format_si

if TYPE_CHECKING:
    from planner.documents.plan import StrategyPart, TrainingPart

_TERMS = {
    "tensor_parallel": "tensor parallel",
    "context_parallel": "context parallel",
    "expert_parallel": "expert parallel",
    "pipeline_send": "pipeline sends",
    "pipeline_bubble": "pipeline bubble",
    "data_parallel": "data parallel",
}


def term_name(term: str) -> str:
    """A term of the step as people read it."""
    return _TERMS.get(term, term)


def degrees(strategy: StrategyPart, always: Collection[str] = ("tp",)) -> list[str]:
    """`tp 8`, `pp 2`: the degrees of a split that are above one, and those in `always`."""
    sizes = {name: int(getattr(strategy, name)) for name in ("tp", "pp", "dp", "cp", "ep", "vpp")}
    return [f"{name} {size}" for name, size in sizes.items() if size > 1 or name in always]


def split_words(strategy: StrategyPart) -> str:
    """A split in a few words: `tp 8 pp 2 dp 4 mbs 1`."""
    return " ".join([*degrees(strategy), f"mbs {strategy.micro_batch}"])


def plan_in_words(strategy: StrategyPart, always: Collection[str] = ("tp",)) -> str:
    """A split with what it shares and recomputes: `tp 8 dp 4 mbs 1 ZeRO 1 recompute full`."""
    words = [*degrees(strategy, always), f"mbs {strategy.micro_batch}", f"ZeRO {strategy.zero_stage}"]
    return " ".join([*words, *([f"recompute {strategy.recompute}"] if strategy.recompute != "none" else [])])


def model_line(model: ModelPart) -> str:
    """The model as it was understood."""
    size = format_parameter_count(model.parameters)
    if model.active_parameters != model.parameters:
        size += f", {format_parameter_count(model.active_parameters)} active"
    return f"Model     {printable(model.title)}: {size} parameters, {format_counted_noun(model.layers, 'layer')}, {sample(model)}"


def sample(model: ModelPart) -> str:
    """What a batch counts: `sequence 8,192` or `of images`."""
    return f"sequence {model.seq_length:,}" if model.sample == "sequence" else f"of {samples(model)}"


def step_line(model: ModelPart, training: TrainingPart) -> str:
    """What one step trains, and how."""
    tokens = f", {training.tokens_per_step:,} tokens" if model.sample == "sequence" else ""
    attention = f", {training.attention} attention" if model.heads > 1 or model.sample == "sequence" else ""
    return (
        f"Step      {format_counted_noun(training.global_batch, printable(model.sample))}{tokens}, "
        f"{training.precision}{attention}, {training.framework} ({training.launch})"
    )


def samples(model: ModelPart) -> str:
    """What a batch counts, in the plural."""
    return f"{model.sample}s"


def unit_of(model: ModelPart) -> str:
    """What throughput counts, in the singular: tokens of language, else images or whatever a batch counts."""
    return "token" if model.sample == "sequence" else model.sample


def per_second(model: ModelPart, plan: PlanPart) -> tuple[float, float]:
    """Units a second: of all devices, and of one."""
    if model.sample == "sequence":
        return plan.tokens_per_s, plan.tokens_per_s_per_device
    return plan.samples_per_s, plan.samples_per_s_per_device


def in_units(model: ModelPart, tokens: float) -> float:
    """So many tokens in what throughput counts."""
    return tokens if model.sample == "sequence" else tokens / model.seq_length


def amount(model: ModelPart, tokens: float) -> str:
    """`15.0 T tokens`, `90.0 M images`."""
    return f"{format_si(in_units(model, tokens))} {unit_of(model)}s"


def run_text(
    model: ModelPart, tokens: int, steps: int, days: float, with_failures: float | None = None, *, ends: bool = True
) -> str:
    """How long a run of so many tokens takes, as a sentence; `ends`: whether it does in spite of failures."""
    text = f"{amount(model, tokens)}: {format_counted_noun(steps, 'step')}, {format_days(days)}"
    if not ends:
        return f"{text} without failures; with them it never ends."
    if with_failures is None:
        return f"{text}."
    return f"{text}, {format_days(with_failures).removesuffix(' days')} with failures."
