"""The few fitted numbers of an accelerator generation: what share of its rated figures real kernels reach."""

from __future__ import annotations

import msgspec

from planner.cluster import database
from planner.cluster.figures import Source, Sourced, number


class _Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/calibration."""

    title: str
    gemm_efficiency: Sourced
    gemm_half_rows: Sourced
    gemm_half_depth: Sourced
    attention_forward_efficiency: Sourced
    attention_backward_efficiency: Sourced
    memory_efficiency: Sourced
    kernel_launch: Sourced
    link_efficiency: Sourced
    nic_efficiency: Sourced
    overlap: Sourced
    step_overhead: Sourced
    sources: dict[str, Source]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of rated figures (0..1), sizes at which a GEMM reaches half of its best, times in seconds.

    `gemm_half_rows`: rows or columns of the output; `gemm_half_depth`: the summed dimension. `overlap` is the
    share of a collective's time that can run beside compute where the schedule allows any.
    """

    gemm_efficiency: float
    gemm_half_rows: float
    gemm_half_depth: float
    attention_forward_efficiency: float
    attention_backward_efficiency: float
    memory_efficiency: float
    kernel_launch_s: float
    link_efficiency: float
    nic_efficiency: float
    overlap: float
    step_overhead_s: float


def calibration(architecture: str) -> Calibration:
    """The numbers for an accelerator's architecture; the `default` file's for one that was never fitted."""
    name = architecture if architecture in database.names("calibration") else "default"
    origin = f"hardware_db/calibration/{name}.toml"
    raw = database.load("calibration", name, _Calibration, "calibration", "", "architecture")

    def share(key: str) -> float:
        return number(getattr(raw, key), "ratio", origin=origin, key=key)

    def seconds(key: str) -> float:
        return number(getattr(raw, key), "s", origin=origin, key=key)

    return Calibration(
        gemm_efficiency=share("gemm_efficiency"),
        gemm_half_rows=share("gemm_half_rows"),
        gemm_half_depth=share("gemm_half_depth"),
        attention_forward_efficiency=share("attention_forward_efficiency"),
        attention_backward_efficiency=share("attention_backward_efficiency"),
        memory_efficiency=share("memory_efficiency"),
        kernel_launch_s=seconds("kernel_launch"),
        link_efficiency=share("link_efficiency"),
        nic_efficiency=share("nic_efficiency"),
        overlap=share("overlap"),
        step_overhead_s=seconds("step_overhead"),
    )
