"""The columns of tables of measured runs, each declared once: which cells it takes, and how a cell is read.

Both forms of tests/published/README.md are columns of one table. A setting of `planner.cost.settings` is a column by
its own name: what is declared there is read here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import get_args

from planner.cost.settings import SETTINGS, AttentionKernel, OffloadState, RecomputeMode
from planner.errors import find_nearest_name
from planner.trainers.names import LaunchMode, TrainerName
from planner.trainers.pipeline_layout import format_layout, parse_layout
from planner.workload.limits import MAX_HEADS_OR_EXPERTS, MAX_LAYERS, MAX_SEQ_LENGTH
from planner.workload.techniques import LoraModules

CellValue = str | int | float | bool
"""What a cell says; a column whose cell is empty has none."""
RUN_METRICS = ("step_time_s", "tokens_per_s_per_device", "tflops_per_device")
_MAX_COUNT = 2**31


class CellError(Exception):
    """Why a cell cannot be read: the column, the value, what was expected."""


@dataclass(frozen=True)
class RunColumn:
    """A column: `parse` reads the text of a cell that is not empty, and raises CellError."""

    name: str
    parse: Callable[[str], CellValue]
    is_required: bool = False


def _parse_number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise CellError(f"{name} {text[:40]!r} is not a number") from None
    if not abs(value) < 1e18:
        raise CellError(f"{name} {text[:40]!r} is out of range")
    return value


def declare_text(name: str, *, is_required: bool = False) -> RunColumn:
    """Any text."""
    return RunColumn(name, lambda text: text, is_required)


def declare_count(name: str, *, maximum: int = _MAX_COUNT, minimum: int = 1, is_required: bool = False) -> RunColumn:
    """A whole number."""

    def parse(text: str) -> int:
        value = _parse_number(name, text)
        if value != int(value) or not minimum <= value <= maximum:
            expected = "positive whole number" if minimum else "whole number from 0 on"
            raise CellError(f"{name} {text[:40]!r} is not a {expected} of at most {maximum:,}")
        return int(value)

    return RunColumn(name, parse, is_required)


def declare_number(name: str, *, is_required: bool = False) -> RunColumn:
    """A positive number."""

    def parse(text: str) -> float:
        value = _parse_number(name, text)
        if not 0 < value < 1e15:
            raise CellError(f"{name} {text[:40]!r} is not a positive number")
        return value

    return RunColumn(name, parse, is_required)


def declare_choice(name: str, *choices: str, is_required: bool = False) -> RunColumn:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise CellError(f"{name} {text[:40]!r} is not one of {', '.join(choices)}{_suggest(text, choices)}")
        return text

    return RunColumn(name, parse, is_required)


def declare_switch(name: str) -> RunColumn:
    """yes or no, as a flag."""
    choice = declare_choice(name, "yes", "no")
    return RunColumn(name, lambda text: choice.parse(text) == "yes")


def declare_pattern(name: str, pattern: str, expected: str) -> RunColumn:
    """A text of this form, whole."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise CellError(f"{name} {text[:40]!r} is not {expected}")
        return text

    return RunColumn(name, parse)


def declare_checked_text(name: str, normalize: Callable[[str], str]) -> RunColumn:
    """A text that `normalize` takes: it raises ValueError, whose text says what was expected."""

    def parse(text: str) -> str:
        try:
            return normalize(text)
        except ValueError as error:
            raise CellError(f"{name} {text[:40]!r} is not of {error}") from None

    return RunColumn(name, parse)


def _suggest(text: str, choices: tuple[str, ...]) -> str:
    nearest = find_nearest_name(text, choices)
    return f"; did you mean {nearest}?" if nearest else ""


_PARTS = "|".join(get_args(OffloadState))
_STATED_VALUES = {
    "dp_overlap": ("yes", "no", "grad"),
    "pp_overlap": ("yes", "no"),
}
"""Values that a run can state beside those of a setting, or of what is no setting."""
_PATTERNS = {
    "order": (
        r"(?!.*(tp|cp|ep|dp|pp).*\1)(?:tp|cp|ep|dp|pp)(?:-(?:tp|cp|ep|dp|pp)){0,4}",
        "dimensions of tp, cp, ep, dp, pp, each once, joined by -, innermost first, such as tp-cp-ep-dp-pp",
    ),
    "recompute_layers": (r"all|\d{1,5}(?:/\d{1,5})?", "a number of layers, n or n/all, such as 32/80"),
    "offload": (rf"none|(?:{_PARTS})(?:\+(?:{_PARTS}))*", f"none, or of {_PARTS.replace('|', ', ')}, joined by +"),
    "launch": (
        rf"{'|'.join(get_args(LaunchMode))}|graph:[\w+]+",
        f"one of {', '.join(get_args(LaunchMode))}, graph:SCOPE",
    ),
    "shard_group": (r"all|[1-9]\d{0,8}", "all, or a number of ranks"),
}
"""Settings whose values are not listed."""


def _parse_layout(name: str, text: str) -> str:
    try:
        return format_layout(parse_layout(text))
    except ValueError as error:
        raise CellError(f"{name} {text[:40]!r} is not a pipeline layout: {error}") from None


def _declare_setting(name: str) -> RunColumn:
    """The column of how a run is set up: a setting with its values, and what runs state besides."""
    if name in _PATTERNS:
        return declare_pattern(name, *_PATTERNS[name])
    setting, values = SETTINGS.get(name), _STATED_VALUES.get(name, ())
    if setting is not None and setting.normalize is not None:
        return declare_checked_text(name, setting.normalize)
    if setting is not None and setting.kind == "layout":
        return RunColumn(name, partial(_parse_layout, name))
    if setting is not None and setting.kind == "switch":
        values = (*values, "yes", "no")
    elif setting is not None and setting.choices:
        values = (*values, *setting.choices)
    # without names of its own, a setting takes numbers or joined names: it refuses them itself
    return declare_choice(name, *dict.fromkeys(values)) if values else declare_text(name)


TEXT_COLUMNS = ("source", "locator", "notes")
"""For people: nothing is read out of them; nor out of `id`, by which a row is named."""
DEGREE_COLUMNS = ("tp", "pp", "vpp", "cp", "ep", "etp", "dp", "micro_batch")
"""Dimensions of the search space; `recompute`, `seq_parallel` and `sharding` or `zero_stage` are the others."""
BYTES_COLUMNS = ("weights_bytes", "gradient_bytes", "optimizer_bytes", "base_bytes", "reduce_bytes", "gather_bytes")
"""Bytes per parameter, held or on the wire."""
OTHER_SETTING_COLUMNS = ("precision", "attention", "launch", "lora_rank")
"""How a run was set up, beside the settings of `planner.cost.settings`; a column that becomes one is read as that."""

_NAMED_SETTINGS = dict.fromkeys((*SETTINGS, *OTHER_SETTING_COLUMNS))
_DECLARED = (
    declare_text("id", is_required=True),
    *map(declare_text, TEXT_COLUMNS),
    declare_text("model", is_required=True),
    declare_count("layers", maximum=MAX_LAYERS, is_required=True),
    declare_count("hidden", is_required=True),
    declare_count("heads", maximum=MAX_HEADS_OR_EXPERTS, is_required=True),
    declare_count("kv_heads", maximum=MAX_HEADS_OR_EXPERTS),
    declare_count("ffn", is_required=True),
    declare_count("vocab", is_required=True),
    declare_count("seq", maximum=MAX_SEQ_LENGTH, is_required=True),
    declare_count("experts", maximum=MAX_HEADS_OR_EXPERTS),
    declare_count("topk"),
    declare_count("head_dim"),
    declare_count("expert_ffn"),
    declare_count("shared_ffn", minimum=0),
    declare_count("first_dense_layers", maximum=MAX_LAYERS, minimum=0),
    declare_count("mtp_layers", maximum=MAX_LAYERS, minimum=0),
    declare_switch("tied"),
    declare_text("model_config"),
    declare_text("accelerator", is_required=True),
    declare_count("devices", is_required=True),
    declare_count("devices_per_node", maximum=65_536),
    declare_count("nics_per_node", maximum=65_536),
    declare_number("nic_gbps"),
    declare_number("inter_gbps_per_device"),
    declare_number("power_w"),
    *map(declare_count, DEGREE_COLUMNS),
    declare_count("global_batch"),
    declare_choice("recompute", *get_args(RecomputeMode), "no"),
    declare_switch("seq_parallel"),
    declare_text("sharding"),
    declare_count("zero_stage", maximum=3, minimum=0),
    *map(declare_number, BYTES_COLUMNS),
    declare_choice("framework", *get_args(TrainerName)),
    declare_text("trainer"),
    *(_declare_setting(name) for name in _NAMED_SETTINGS if name not in ("attention", "lora_rank", "precision")),
    declare_choice("attention", *get_args(AttentionKernel)),
    declare_count("lora_rank", maximum=65_536),
    declare_choice("lora_modules", *get_args(LoraModules)),
    declare_text("precision"),
    declare_choice("metric", *RUN_METRICS, is_required=True),
    declare_number("value", is_required=True),
    declare_text("flops_convention"),
    declare_number("peak_memory_gib"),
    declare_choice("memory_kind", "allocated", "reserved", "device", "estimated"),
    declare_choice("memory_rank", "max", "first", "last", "mean"),
    declare_pattern(
        "date", r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-\d\d)?)?", "a year, or a year and a month, such as 2026-06"
    ),
    declare_text("trainer_version"),
    declare_choice("quality", "A", "B", "C"),
)

RUN_COLUMNS: Mapping[str, RunColumn] = {column.name: column for column in _DECLARED}
"""All columns by name; what they mean is in tests/published/README.md."""
REQUIRED_RUN_COLUMNS = tuple(name for name, column in RUN_COLUMNS.items() if column.is_required)
