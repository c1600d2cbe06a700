"""Step times in a trainer's log: the lines that a trainer prints for its iterations, and the steady time of them."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from planner.errors import InputError

_NUMBER = r"[0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_MIN_WARM_UP, _WARM_UP_SHARE = 2, 0.1
"""Iterations at the beginning that are left out: at least so many, and this share of all."""
_BATCH = re.compile(rf"global[ _]batch[ _]size:\s*({_NUMBER})([KM]?)")


@dataclass(frozen=True)
class LogFormat:
    """How a trainer prints an iteration: `pattern` with the groups `step` and `value`, perhaps `unit` (K, M).

    `seconds`: of one unit of the value; None: it is tokens per second of one device.
    """

    trainer: str
    pattern: re.Pattern[str]
    seconds: float | None


LOG_FORMATS = (
    # `training_log` of Megatron-LM, megatron/training/training.py; Megatron-Bridge, Megatron-DeepSpeed and MindSpeed
    # print the same line
    LogFormat(
        "Megatron-LM",
        re.compile(
            rf"iteration\s+(?P<step>\d+)/\s*\d+ \|.*?elapsed time per iteration \(ms\):\s*(?P<value>{_NUMBER})"
        ),
        1e-3,
    ),
    # NeMo 2, lightning/pytorch/callbacks: the progress printer
    LogFormat(
        "NeMo",
        re.compile(rf"iteration (?P<step>\d+)/\d+.*?train_step_timing in s:\s*(?P<value>{_NUMBER})"),
        1.0,
    ),
    # nanotron, src/nanotron/trainer.py, train_step_logs
    LogFormat(
        "nanotron",
        re.compile(
            rf"iteration: (?P<step>\d+) / \d+ \|.*?elapsed_time_per_iteration_ms: (?P<value>{_NUMBER})(?P<unit>[KM]?)"
        ),
        1e-3,
    ),
    # MaxText, src/maxtext/common/metric_logger.py
    LogFormat("MaxText", re.compile(rf"completed step: (?P<step>\d+), seconds: (?P<value>{_NUMBER})"), 1.0),
    # torchtitan, torchtitan/components/metrics.py: `tps` is of one device, tp, cp and pp shared out
    LogFormat("torchtitan", re.compile(rf"step:\s*(?P<step>\d+)\s.*?tps:\s*(?P<value>{_NUMBER})"), None),
)
"""Of each trainer the line of an iteration, as its releases of 2024 to 2026 print it."""


@dataclass(frozen=True)
class LoggedStep:
    """One iteration: its number, its seconds, and the global batch in sequences where its line has it."""

    step: int
    seconds: float
    global_batch: int | None


@dataclass(frozen=True)
class SteadySteps:
    """The steady step time of a log: the median after the warm-up, with the ends of the middle 80 % of iterations."""

    trainer: str
    step_time_s: float
    step_time_p10_s: float
    step_time_p90_s: float
    used: int
    left_out: int
    """Iterations of the warm-up, and those of other batches."""
    first_step: int
    last_step: int
    global_batch: int | None
    """In sequences, where the lines have it."""


def find_steady_steps(lines: Iterable[str], origin: str, *, tokens_per_step: int, devices: int) -> SteadySteps:
    """The steady step time of a log; `tokens_per_step` and `devices` of the run: some trainers print only throughput.

    Of several lines of an iteration, from several ranks, the last counts. Raises InputError naming `origin` where no
    line is an iteration.
    """
    steps_by_trainer: dict[str, dict[int, LoggedStep]] = {}
    for log_format, step in _enumerate_steps(lines, tokens_per_step, devices):
        steps_by_trainer.setdefault(log_format.trainer, {})[step.step] = step
    if not steps_by_trainer:
        known = ", ".join(log_format.trainer for log_format in LOG_FORMATS)
        raise InputError("no line of an iteration", origin=origin, expected=f"a log of {known}")
    trainer, steps = max(steps_by_trainer.items(), key=lambda item: len(item[1]))
    return _summarise(trainer, [steps[number] for number in sorted(steps)])


def _enumerate_steps(
    lines: Iterable[str], tokens_per_step: int, devices: int
) -> Iterator[tuple[LogFormat, LoggedStep]]:
    for line in lines:
        plain = _ANSI.sub("", line)
        for log_format in LOG_FORMATS:
            match = log_format.pattern.search(plain)
            if match is None:
                continue
            groups = match.groupdict()
            value = _parse_number(groups["value"], groups.get("unit") or "")
            if value > 0:
                per_s = log_format.seconds
                seconds = tokens_per_step / (value * devices) if per_s is None else value * per_s
                batch = _BATCH.search(plain)
                sequences = None if batch is None else round(_parse_number(batch[1], batch[2]))
                yield log_format, LoggedStep(int(groups["step"]), seconds, sequences)
            break


def _parse_number(text: str, unit: str) -> float:
    return float(text.replace(",", "").replace("_", "")) * _UNITS[unit]


def _summarise(trainer: str, steps: list[LoggedStep]) -> SteadySteps:
    """The steady steps: those of the batch of the last one, after the warm-up; of a short log its later half."""
    same_batch = [step for step in steps if step.global_batch == steps[-1].global_batch]
    warm_up = min(max(_MIN_WARM_UP, round(_WARM_UP_SHARE * len(same_batch))), len(same_batch) // 2)
    steady = same_batch[warm_up:]
    seconds = sorted(step.seconds for step in steady)
    return SteadySteps(
        trainer=trainer,
        step_time_s=statistics.median(seconds),
        step_time_p10_s=seconds[round(0.1 * (len(seconds) - 1))],
        step_time_p90_s=seconds[round(0.9 * (len(seconds) - 1))],
        used=len(steady),
        left_out=len(steps) - len(steady),
        first_step=steady[0].step,
        last_step=steady[-1].step,
        global_batch=steady[-1].global_batch,
    )
