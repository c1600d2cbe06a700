"""How all reports write a plan: its model, step, split, terms and throughput."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from planner.cost.uncertainty import ResidualClass
from planner.documents.plan import ModelPart, PlanPart, RunLengthPart, RunTotalsPart
from planner.report.report import Column
from planner.units import (
    format_bytes,
    format_count,
    format_counted_noun,
    format_days,
    format_parameter_count,
    format_seconds,
    format_with_interval,
)

if TYPE_CHECKING:
    from planner.documents.heterogeneous import HeteroPlanPart
    from planner.documents.plan import ScenarioPart, StrategyPart

_CALIBRATION_WORDS: dict[ResidualClass, str] = {
    "together": "runs of this trainer on this generation of accelerators were fitted",
    "apart": "runs of this trainer and of this generation of accelerators were fitted, but none of both together",
    "trainer": "uncalibrated: no run of this generation of accelerators was fitted",
    "generation": "uncalibrated: no run of this trainer was fitted",
    "neither": "uncalibrated: no run of this trainer or this generation of accelerators was fitted",
}
_ROUNDING = 1e-9
"""Of an MFU, more than its sums are rounded by."""
FASTEST_PLANS_COUNT = (
    "The fastest plans count here. `plan` puts a simpler one first where it cannot tell it apart from the fastest, "
    "and says how much longer it takes; `plan --within 0` puts the fastest first."
)
"""Why `size`, `compare` and `what-if` may have another plan than the first of `plan`."""


def format_term_name(term: str) -> str:
    """A term of the step as people read it."""
    return "pipeline sends" if term == "pipeline_send" else term.replace("_", " ")


def format_degrees(strategy: StrategyPart, always_listed: Collection[str] = ("tp",)) -> list[str]:
    """`tp 8`, `pp 2`: the degrees of a split that are above one, and those in `always_listed`."""
    sizes = {name: int(getattr(strategy, name)) for name in ("tp", "pp", "dp", "cp", "ep", "vpp")}
    return [f"{name} {size}" for name, size in sizes.items() if size > 1 or name in always_listed]


def format_split(strategy: StrategyPart) -> str:
    """A split in a few words: `tp 8 pp 2 dp 4 mbs 1`."""
    return " ".join([*format_degrees(strategy), f"mbs {strategy.micro_batch}"])


def format_strategy(strategy: StrategyPart, always_listed: Collection[str] = ("tp",)) -> str:
    """A split with what it shares and recomputes: `tp 8 dp 4 mbs 1 ZeRO 1 recompute full`."""
    words = [*format_degrees(strategy, always_listed), f"mbs {strategy.micro_batch}", f"ZeRO {strategy.zero_stage}"]
    return " ".join([*words, *([f"recompute {strategy.recompute}"] if strategy.recompute != "none" else [])])


def resolve_gradient_format(format_name: str, precision: str) -> str:
    """The number format of gradients: `bf16` stands for 16 bits, which are fp16 where the training is."""
    return precision if (format_name, precision) == ("bf16", "fp16") else format_name


def build_model_fact(model: ModelPart) -> tuple[str, str]:
    """The model as it was understood."""
    size = format_parameter_count(model.parameters)
    if model.active_parameters != model.parameters:
        size += f", {format_parameter_count(model.active_parameters)} active"
    layers = format_counted_noun(model.layers, "layer")
    return "Model", f"{model.title}: {size} parameters, {layers}, {format_batch_sample(model)}"


def format_batch_sample(model: ModelPart) -> str:
    """What a batch consists of: `sequence 8,192` or `images`."""
    return f"sequence {model.seq_length:,}" if model.sample == "sequence" else f"{model.sample}s"


def build_step_fact(model: ModelPart, scenario: ScenarioPart) -> tuple[str, str]:
    """The batch of a step, its number formats, kernels and trainer."""
    tokens = f", {scenario.tokens_per_step:,} tokens" if model.sample == "sequence" else ""
    attention = f", {scenario.attention} attention" if model.heads > 1 or model.sample == "sequence" else ""
    batch = format_counted_noun(scenario.global_batch, model.sample)
    trainer = f"{scenario.framework} ({scenario.launch})" + (f", {scenario.trainer}" if scenario.trainer else "")
    return "Step", f"{batch}{tokens}, {scenario.precision}{attention}, {trainer}"


def format_memory_share(limit_bytes: float, capacity_bytes: float) -> str:
    """A memory limit as a share of the memory: `90%`, `87.9%`."""
    return f"{round(100 * limit_bytes / capacity_bytes, 1):g}%"


def build_memory_limit_facts(scenario: ScenarioPart, capacity_bytes: float) -> list[tuple[str, str]]:
    """What plans may use of each device's memory; nothing where that is all of it."""
    limit_bytes = scenario.memory_limit_bytes
    if limit_bytes is None:
        return []
    share = format_memory_share(limit_bytes, capacity_bytes)
    return [("Memory limit", f"{format_bytes(limit_bytes)} of {format_bytes(capacity_bytes)} ({share})")]


def is_narrow(mfu: float, mfu_bf16: float | None) -> bool:
    """Whether a plan's precision has a higher peak than 16 bits have, so that both MFUs are printed."""
    return mfu_bf16 is not None and mfu_bf16 > mfu * (1 + _ROUNDING)


def format_mfu(mfu: float, peak: str, mfu_bf16: float | None) -> str:
    """`MFU 45.0% of the bf16 peak`; of a narrow precision also of the 16-bit one."""
    narrow = f" ({mfu_bf16:.1%} of bf16's)" if is_narrow(mfu, mfu_bf16) else ""
    return f"MFU {mfu:.1%} of the {peak} peak{narrow}"


def build_mfu_columns(peak: str, shares: Sequence[tuple[float, float | None]], drop_rank: int = 0) -> list[Column]:
    """The column of MFU against the peak of a precision, and of a narrow one that against the 16-bit peak;
    `shares`: both of each row.
    """
    columns = [Column(f"MFU {peak}", [f"{mfu:.1%}" for mfu, _ in shares], drop_rank=drop_rank)]
    if any(is_narrow(mfu, mfu_bf16) for mfu, mfu_bf16 in shares):
        columns.append(Column("MFU bf16", [f"{mfu_bf16 or 0:.1%}" for _, mfu_bf16 in shares], drop_rank=drop_rank))
    return columns


def get_throughput_unit(model: ModelPart) -> str:
    """What throughput counts, in the singular: tokens of language, else images or whatever a batch counts."""
    return "token" if model.sample == "sequence" else model.sample


def get_throughput_per_s(model: ModelPart, plan: PlanPart) -> tuple[float, float]:
    """Units a second: of all devices, and of one."""
    if model.sample == "sequence":
        return plan.tokens_per_s, plan.tokens_per_s_per_device
    return plan.samples_per_s, plan.samples_per_s_per_device


def convert_to_throughput_units(model: ModelPart, tokens: float) -> float:
    """Tokens in the unit of throughput: tokens, or images."""
    return tokens if model.sample == "sequence" else tokens / model.seq_length


def format_token_amount(model: ModelPart, tokens: float) -> str:
    """`15T tokens`, `90M images`."""
    return f"{format_count(convert_to_throughput_units(model, tokens))} {get_throughput_unit(model)}s"


def format_step(plan: PlanPart | HeteroPlanPart) -> str:
    """The step time of a plan with its interval: `10.2 s (9.10-11.6)`."""
    return format_with_interval(plan.step_time_s, plan.step_time_p10_s, plan.step_time_p90_s, format_seconds)


def format_run_sentence(model: ModelPart, run: RunLengthPart, *, is_finishing: bool = True) -> str:
    """Steps and days of a run as a sentence; `is_finishing`: whether it ends in spite of failures."""
    days = format_with_interval(run.days, run.days_p10, run.days_p90, format_days)
    text = f"{format_token_amount(model, run.tokens)}: {format_counted_noun(run.steps, 'step')}, {days}"
    if not is_finishing:
        return f"{text} without failures; with them it never ends."
    if not isinstance(run, RunTotalsPart) or run.days_with_failures is None:
        return f"{text}."
    ends = (run.days_with_failures_p10 or 0.0, run.days_with_failures_p90 or 0.0)
    return f"{text}, {format_with_interval(run.days_with_failures, *ends, format_days)} with failures."


def scale_rate_bounds(plan: PlanPart, rate: float) -> tuple[float, float]:
    """The interval of a rate that is proportional to the plan's throughput."""
    return rate * plan.tokens_per_s_p10 / plan.tokens_per_s, rate * plan.tokens_per_s_p90 / plan.tokens_per_s


def format_throughput(model: ModelPart, plan: PlanPart | HeteroPlanPart) -> str:
    """Tokens, images or other samples a second of all devices with the interval: `600K (510K-670K)`."""
    rates = (
        (plan.tokens_per_s, plan.tokens_per_s_p10, plan.tokens_per_s_p90)
        if model.sample == "sequence"
        else (plan.samples_per_s, plan.samples_per_s_p10, plan.samples_per_s_p90)
    )
    return format_with_interval(*rates, format_count)


def format_expectation(
    model: ModelPart, scenario: ScenarioPart, plan: PlanPart | HeteroPlanPart, others: Sequence[str] = ()
) -> str:
    """The plan's step and throughput with their intervals, `others` beside them, and what the intervals are from."""
    figures = [f"{format_step(plan)} a step", f"{format_throughput(model, plan)} {get_throughput_unit(model)}s/s"]
    basis = _CALIBRATION_WORDS[scenario.calibration]
    return f"Expected: {', '.join([*figures, *others])}. 80 % of runs lie in the brackets; {basis}."


def enumerate_tie_sentences(plans: Sequence[PlanPart | HeteroPlanPart]) -> Iterator[str]:
    """Which plans after the first are as good as it, as far as the cost model can say."""
    tied = [number for number, plan in enumerate(plans, 1) if number > 1 and not plan.told_apart]
    if 2 not in tied:
        return
    last = next((number for number in tied if number + 1 not in tied), 2)
    names = "Plans 1 and 2" if last == 2 else f"Plans 1 to {last}"
    yield f"{names} cannot be told apart: they differ by less than the error of such a comparison."


def format_spare_nodes(nodes: int) -> str:
    """`no spare node`, `1 spare node`, `12 spare nodes`."""
    return format_counted_noun(nodes, "spare node") if nodes else "no spare node"
