"""The few fitted numbers of the model: what share of its rated figures real kernels and collectives reach.

A number is the default's, times a factor of the accelerator's architecture, times a factor of the software stack:
what kernels reach of a chip and what a trainer does with it are fitted apart, so that a chip that was never fitted
still gets what is known of the trainer, and the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from planner.hardware import database
from planner.hardware.figures import FigureSource, SourcedFigure, parse_figure
from planner.units import Dimension


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of rated figures (0..1), sizes at which a GEMM reaches half of its best, times in seconds."""

    gemm_efficiency: float
    """Of the dense peak, large multiplies in 16 bit or more."""
    gemm_efficiency_8bit: float
    gemm_efficiency_4bit: float
    rowwise_efficiency: float
    """Of the 8-bit efficiency, what multiplies reach that are scaled by row."""
    expert_efficiency: float
    """Of the GEMM efficiency, what a grouped multiply of experts reaches."""
    gemm_half_rows: float
    """Rows or columns of the output at which a multiply reaches half of its efficiency."""
    gemm_half_depth: float
    """The same for the summed dimension."""
    attention_forward_efficiency: float
    attention_backward_efficiency: float
    softmax_width: float
    """Width of a head whose multiplies, at the peak, take as long as the exponentials that fused attention does not
    hide: those have hardly grown from chip to chip while multiplies have (FlashAttention-3, arXiv 2407.08608)."""
    memory_efficiency: float
    eager_traffic: float
    """How many times the bytes of a fused kernel a chain of eager kernels moves."""
    routing_traffic: float
    """How many times the bytes of one fused pass the routing of tokens to experts moves."""
    kernel_launch_s: float
    """Gap between two kernels on the device."""
    host_launch_s: float
    """Time of the host for one operator; a layer takes at least this long for each of its operators."""
    link_efficiency: float
    """What collectives beside a step reach of links inside a node or rack, over what their library's file says that
    they reach alone (`planner.cost.collectives`)."""
    nic_efficiency: float
    """The same of NICs."""
    overlap: float
    """Share of compute beside which a collective can run, where the schedule allows any."""
    contention: float
    """By how much an overlapped collective slows the compute beside it, as a share of its own time."""
    tensor_overlap: float
    """Of the share of compute beside which a collective can run, what is left where both are cut in pieces: pieces
    multiply slower (Wang et al. 2023, ASPLOS, Overlap Communication with Dependent Computation via Decomposition)."""
    immaturity: float
    """By how much multiplies and attention are slower on the day that an architecture comes, as a share of the time
    that later kernels take."""
    step_overhead_s: float
    power_exponent: float = 0.0
    """A part limited to less power runs at (its power / the reference's) to this power."""
    reference_power_w: float = 0.0
    """Power of the architecture's strongest part that was fitted; 0: power is not looked at."""
    first_year: int = 0
    """The year of the architecture's first part that was fitted; 0: none was."""


CALIBRATION_PARAMETERS = tuple(
    name for name in Calibration.__struct_fields__ if name not in ("reference_power_w", "first_year")
)
_SHARE_WORDS = ("efficiency", "overlap", "contention")
UNMEASURED_NAME = "unmeasured"
"""The file of an architecture without measured runs."""
_COMMON_NAME = "measured"
"""The file of what all measured runs have in common."""
_MAX_SHARE = 0.97
"""Of what is rated; nothing real reaches all of it."""
_MAX_SHARES = {"link_efficiency": 1.15, "nic_efficiency": 1.05}
"""Of what collectives reach alone, 0.77 to 0.83 of links and 0.92 of NICs: so less than all of what is rated."""
_PARAMETER_DIMENSIONS: dict[str, Dimension] = {
    "kernel_launch_s": "s",
    "host_launch_s": "s",
    "step_overhead_s": "s",
    "gemm_half_rows": "count",
    "gemm_half_depth": "count",
    "softmax_width": "count",
}


class CalibrationFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of hardware_db/calibration: each number with its source and uncertainty, and the runs behind it.

    `parameters` are values in the default's file, factors in an architecture's or a trainer's.
    """

    title: str
    parameters: dict[str, SourcedFigure]
    sources: dict[str, FigureSource]
    reference_power_w: float = 0.0
    first_year: int = 0
    unfitted: dict[str, tuple[float, float, float]] = {}
    """In the default's file: relative spread of a factor that was never fitted: of all runs, an architecture's, a
    trainer's."""
    fitted_on: dict[str, list[str]] = {}
    """Ids of the measured runs, by source."""


def build_calibration(architecture: str, trainer_name: str) -> Calibration:
    """The numbers for an accelerator's architecture under a trainer.

    Factors of a trainer that was never fitted are 1, those of an architecture stand in the file `UNMEASURED_NAME`.
    """
    architecture_file = next(iter(_read_factor_files(architecture, trainer_name).values()))
    calibration = combine_calibration(read_default_calibration(), *read_fitted_factors(architecture, trainer_name))
    return msgspec.structs.replace(
        calibration, reference_power_w=architecture_file.reference_power_w, first_year=architecture_file.first_year
    )


def read_prior_widths() -> dict[str, tuple[float, float, float]]:
    """Of every number how far its common, its architecture's and its trainer's factor may lie from the default where
    no run shows it, relative.
    """
    return _read_calibration_file("calibration", "default").unfitted


def compute_calibration_spreads(architecture: str, trainer_name: str) -> dict[str, float]:
    """Relative standard deviation of every number for a pair: both factors' together, taken as independent.

    A factor that was fitted has the fit's, another one the width of what the fit would have allowed.
    """
    unfitted = read_prior_widths()
    architecture_spreads, trainer_spreads = (
        {name: spreads[index + 1] for name, spreads in unfitted.items()}
        | {key: figure.spread for key, figure in file.parameters.items() if figure.spread is not None}
        for index, file in enumerate(_read_factor_files(architecture, trainer_name).values())
    )
    return {
        name: math.hypot(architecture_spreads.get(name, 0.0), trainer_spreads.get(name, 0.0))
        for name in CALIBRATION_PARAMETERS
    }


def read_fitted_factors(architecture: str, trainer_name: str) -> tuple[dict[str, float], dict[str, float]]:
    """The fitted factors of an architecture, of one without runs those of `UNMEASURED_NAME`, and of a trainer, none
    where it was never fitted.
    """
    architecture_factors, trainer_factors = (
        _parse_parameters(file, f"hardware_db/{path}.toml", {})
        for path, file in _read_factor_files(architecture, trainer_name).items()
    )
    return architecture_factors, trainer_factors


def read_default_calibration() -> Calibration:
    """The numbers of the default's file, times what all measured runs have in common."""
    return combine_calibration(read_prior_calibration(), read_common_factors())


def read_common_factors() -> dict[str, float]:
    """The fitted factors that all measured runs have in common."""
    file = _read_factor_file("calibration", _COMMON_NAME)
    return _parse_parameters(file, f"hardware_db/calibration/{_COMMON_NAME}.toml", {})


def read_prior_calibration() -> Calibration:
    """The numbers of the default's file."""
    file, path = _read_calibration_file("calibration", "default"), "hardware_db/calibration/default.toml"
    return msgspec.convert(_parse_parameters(file, path, _PARAMETER_DIMENSIONS), Calibration)


def combine_calibration(default: Calibration, *factors: dict[str, float]) -> Calibration:
    """The default's numbers times all factors; a share never passes what can be reached."""
    values = {name: float(getattr(default, name)) for name in CALIBRATION_PARAMETERS}
    for factor in factors:
        for name, multiplier in factor.items():
            values[name] *= multiplier
    for name in CALIBRATION_PARAMETERS:
        if any(word in name for word in _SHARE_WORDS):
            values[name] = min(values[name], _MAX_SHARES.get(name, _MAX_SHARE))
    return msgspec.structs.replace(default, **values)


def stack_calibrations(calibrations: Sequence[Calibration]) -> Calibration:
    """Several calibrations of one architecture as one, each number an array of [calibrations]: of a scenario with as
    many plans, each of which has its own. What the network is built with is the first one's.
    """
    arrays = {name: np.array([getattr(entry, name) for entry in calibrations]) for name in CALIBRATION_PARAMETERS}
    for array in arrays.values():
        array.flags.writeable = False  # a term that changed one in place would change all terms after it
    return msgspec.structs.replace(calibrations[0], **arrays)


def is_stacked(calibration: Calibration) -> bool:
    """Whether each plan has numbers of its own."""
    return isinstance(calibration.gemm_efficiency, np.ndarray)


def _read_factor_files(architecture: str, trainer_name: str) -> dict[str, CalibrationFile]:
    """The factors of an architecture and of a trainer, by path; none where one was never fitted."""
    folders: tuple[tuple[database.DatabaseFolder, str], ...] = (
        ("calibration/architectures", architecture)
        if has_measured_runs(architecture)
        else ("calibration", UNMEASURED_NAME),
        ("calibration/frameworks", trainer_name),
    )
    return {f"{folder}/{name}": _read_factor_file(folder, name) for folder, name in folders}


def has_measured_runs(architecture: str) -> bool:
    """Whether runs on accelerators of the architecture were fitted."""
    return architecture in database.list_database_names("calibration/architectures")


def _read_factor_file(folder: database.DatabaseFolder, name: str) -> CalibrationFile:
    if name in database.list_database_names(folder):
        return _read_calibration_file(folder, name)
    return CalibrationFile(title=name, parameters={}, sources={})


def _read_calibration_file(folder: database.DatabaseFolder, name: str) -> CalibrationFile:
    return database.load_database_entry(folder, name, CalibrationFile, "calibration", "", "architecture")


def _parse_parameters(file: CalibrationFile, origin: str, dimensions: dict[str, Dimension]) -> dict[str, float]:
    return {
        key: parse_figure(figure, dimensions.get(key, "ratio"), origin=origin, key=key)
        for key, figure in file.parameters.items()
    }
