"""What a model's throughput is told in: tokens of language, else images or whatever a batch counts."""

from __future__ import annotations

from planner.search.document import ModelPart, PlanPart
from planner.units import counted, format_days, format_si


def samples(model: ModelPart) -> str:
    """What a batch counts, in the plural."""
    return f"{model.sample}s"


def unit_of(model: ModelPart) -> str:
    """What throughput counts, in the singular."""
    return "token" if model.sample == "sequence" else model.sample


def per_second(model: ModelPart, plan: PlanPart) -> tuple[float, float]:
    """Units a second: of all devices, and of one."""
    if model.sample == "sequence":
        return plan.tokens_per_s, plan.tokens_per_s_per_device
    return plan.samples_per_s, plan.samples_per_s_per_device


def in_units(model: ModelPart, tokens: float) -> float:
    """So many tokens in what throughput counts."""
    return tokens if model.sample == "sequence" else tokens / model.seq_length


def run_text(
    model: ModelPart, tokens: int, steps: int, days: float, with_failures: float | None = None, *, ends: bool = True
) -> str:
    """How long a run of so many tokens takes, as a sentence; `ends`: whether it does in spite of failures."""
    text = f"{amount(model, tokens)}: {counted(steps, 'step')}, {format_days(days)}"
    if not ends:
        return f"{text} without failures; with them it never ends."
    if with_failures is None:
        return f"{text}."
    return f"{text}, {format_days(with_failures).removesuffix(' days')} with failures."


def amount(model: ModelPart, tokens: float) -> str:
    """`15.0 T tokens`, `90.0 M images`."""
    return f"{format_si(in_units(model, tokens))} {unit_of(model)}s"
