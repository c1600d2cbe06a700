"""The few fitted numbers of an accelerator generation: what share of its rated figures real kernels reach."""

from __future__ import annotations

import msgspec

from planner.cluster import database
from planner.cluster.figures import Source, Sourced, number
from planner.units import Dimension


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of rated figures (0..1), sizes at which a GEMM reaches half of its best, times in seconds."""

    gemm_efficiency: float
    """Of the dense peak, large multiplies in 16 bit or more."""
    gemm_efficiency_8bit: float
    gemm_efficiency_4bit: float
    expert_efficiency: float
    """Of the GEMM efficiency, what a grouped multiply of experts reaches."""
    gemm_half_rows: float
    """Rows or columns of the output at which a multiply reaches half of its efficiency."""
    gemm_half_depth: float
    """The same for the summed dimension."""
    attention_forward_efficiency: float
    attention_backward_efficiency: float
    memory_efficiency: float
    eager_traffic: float
    """How many times the bytes of a fused kernel a chain of eager kernels moves."""
    routing_traffic: float
    """How many times the bytes of one fused pass the routing of tokens to experts moves."""
    kernel_launch_s: float
    """Gap between two kernels on the device."""
    host_launch_s: float
    """Time of the host for one kernel; a layer takes at least this long for each of its kernels."""
    link_efficiency: float
    nic_efficiency: float
    overlap: float
    """Share of compute beside which a collective can run, where the schedule allows any."""
    contention: float
    """By how much a hidden collective slows the compute beside it, as a share of its own time."""
    step_overhead_s: float
    reference_power_w: float = 0.0
    """Power of the part that was fitted; 0: power is not looked at."""
    power_exponent: float = 0.0
    """A part limited to less power runs at (its power / the reference's) to this power."""


_DIMENSIONS: dict[str, Dimension] = {
    "kernel_launch_s": "s",
    "host_launch_s": "s",
    "step_overhead_s": "s",
    "gemm_half_rows": "count",
    "gemm_half_depth": "count",
    "reference_power_w": "w",
}


_SIMILAR = {
    "megatron": ("megatron-classic", "megatron-fsdp", "fsdp2"),
    "megatron-classic": ("megatron", "megatron-fsdp", "fsdp2"),
    "megatron-fsdp": ("megatron", "megatron-classic", "fsdp2"),
    "fsdp2": ("fsdp", "megatron-fsdp", "megatron-classic"),
    "fsdp": ("fsdp2", "megatron-fsdp", "megatron-classic"),
    "deepspeed": ("fsdp", "fsdp2", "megatron-classic"),
}
"""For each framework, those whose numbers are taken where its own were never fitted, the nearest first."""


class CalibrationFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/calibration: each number with its source, the rows it was fitted on, its uncertainty."""

    title: str
    parameters: dict[str, Sourced]
    sources: dict[str, Source]
    fitted_on: dict[str, list[str]] = {}
    """Ids of the measured runs, by source."""


def calibration(architecture: str, framework: str) -> Calibration:
    """The numbers for an accelerator's architecture under a framework.

    Where the pair was never fitted: the architecture's under the most similar framework, then `default`'s.
    """
    names = database.names("calibration")
    fitted = [name for name in similar(architecture, framework) if name in names]
    return read_calibration(fitted[0] if fitted else "default")


def similar(architecture: str, framework: str) -> list[str]:
    """Files whose numbers may stand for the pair, its own first."""
    return [f"{architecture}.{other}" for other in (framework, *_SIMILAR.get(framework, ()))]


def read_calibration(name: str) -> Calibration:
    """The numbers of one file."""
    origin = f"hardware_db/calibration/{name}.toml"
    file = database.load("calibration", name, CalibrationFile, "calibration", "", "architecture")
    return msgspec.convert(
        {
            key: number(figure, _DIMENSIONS.get(key, "ratio"), origin=origin, key=key)
            for key, figure in file.parameters.items()
        },
        Calibration,
    )
