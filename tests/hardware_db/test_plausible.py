"""The figures agree with each other and with their time: a slip of a digit, a unit or of sparsity would not.

Where a part is an exception it is named with the reason, and the test fails once it is none any more.
"""

import math
import re

import numpy as np
import pytest

from planner.hardware import catalogue
from planner.hardware.catalogue import AcceleratorEntry
from planner.hardware.figures import parse_figure

ENTRIES = catalogue.read_accelerator_entries()
BY_NAME = {entry.name: entry for entry in ENTRIES}

RATIOS = {
    ("fp16", "bf16"): 1.0,
    ("bf16", "tf32"): 2.0,
    ("fp8", "bf16"): 2.0,
    ("mxfp8", "fp8"): 1.0,
    ("nvfp4", "fp8"): 2.0,
    ("mxfp4", "fp8"): 2.0,
    ("int8", "fp16"): 2.0,
    ("int8", "bf16"): 2.0,
    ("int4", "int8"): 2.0,
}
"""How much faster a matrix unit is at the first than at the second: half the bits, twice the rate."""

_ROUNDING = 0.055
"""Trainium 2 states 1299 beside 667, B200 1.1e15 beside 2.25e15."""

EXCEPTIONS = {
    ("gaudi3", "fp16", "bf16"): (0.274, "built around BF16: FP16 runs at about a quarter of it"),
    ("gaudi3", "bf16", "tf32"): (3.65, "TF32 runs as FP16 does"),
    ("gaudi3", "fp8", "bf16"): (1.0, "BF16 runs as fast as FP8"),
    ("trainium1", "bf16", "tf32"): (1.0, "the tensor engine takes TF32 at the rate of BF16"),
    ("trainium1", "fp8", "bf16"): (1.0, "cFP8 saves memory, not time"),
    ("trainium2", "bf16", "tf32"): (1.0, "the tensor engine takes TF32 at the rate of BF16"),
    ("tpu-v4", "int8", "bf16"): (1.0, "its matrix unit takes both at one rate"),
    ("tpu-v6e", "fp8", "bf16"): (1.0, "FP8 is widened to BF16"),
    ("mi250x", "int8", "fp16"): (1.0, "CDNA 2 has no faster integers"),
    ("mi250x", "int8", "bf16"): (1.0, "CDNA 2 has no faster integers"),
    ("mi250x", "int4", "int8"): (1.0, "CDNA 2 has no faster integers"),
    ("rtx-4090", "int8", "fp16"): (4.0, "GeForce halves products that are summed in FP32"),
    ("rtx-4090", "int8", "bf16"): (4.0, "GeForce halves products that are summed in FP32"),
    ("b300", "nvfp4", "fp8"): (3.0, "Blackwell Ultra speeds up FP4 alone"),
    ("gb300", "nvfp4", "fp8"): (3.0, "Blackwell Ultra speeds up FP4 alone"),
    ("cloud-ai-100-pro", "int8", "fp16"): (3.0, "as the maker states for its cards"),
    ("cloud-ai-100-standard", "int8", "fp16"): (2.95, "as the maker states for its cards"),
    ("cloud-ai-100-ultra", "int8", "fp16"): (3.0, "as the maker states for its cards"),
    ("jetson-agx-orin-64gb", "int8", "fp16"): (12.9, "INT8 of tensor cores and DLA, FP16 of CUDA cores alone"),
}

FASTEST_PIN_GB_S = {
    "HBM2": 2.4,
    "HBM2e": 3.6,
    "HBM3": 6.4,
    "HBM3e": 9.6,
    "DDR3": 2.133,
    "DDR5": 8.8,
    "LPDDR4x": 4.266,
    "LPDDR5": 6.4,
    "GDDR6": 20.0,
    "GDDR6X": 24.0,
}
"""Gb/s of a pin. HBM: table of stas00/ml-engineering, compute/accelerator/README.md; the rest: JEDEC's grades."""


def list_pairs() -> list[tuple[AcceleratorEntry, tuple[str, str]]]:
    return [(entry, pair) for entry in ENTRIES for pair in RATIOS if set(pair) <= set(entry.peak_flops)]


def test_peaks_stand_to_each_other_as_the_units_do() -> None:
    for part, pair in list_pairs():
        peaks: dict[str, float] = dict(part.peak_flops)  # type: ignore[arg-type]
        ratio, usual = peaks[pair[0]] / peaks[pair[1]], RATIOS[pair]
        expected, _ = EXCEPTIONS.get((part.name, *pair), (usual, ""))
        assert ratio == pytest.approx(expected, rel=_ROUNDING), (part.name, pair)


def test_every_exception_is_needed() -> None:
    known = {(part.name, *pair) for part, pair in list_pairs()}
    assert set(EXCEPTIONS) <= known
    for (_, *pair), (ratio, why) in EXCEPTIONS.items():
        assert abs(ratio / RATIOS[pair[0], pair[1]] - 1) > _ROUNDING
        assert len(why) > 10


def test_no_wider_type_is_faster() -> None:
    for part in ENTRIES:
        peaks = part.peak_flops
        order = [
            peaks[precision] for precision in ("fp64", "fp32", "tf32", "bf16", "fp8", "nvfp4") if precision in peaks
        ]  # type: ignore[index]
        assert order == sorted(order), part.name


def test_memory_is_no_faster_than_its_bus() -> None:
    for part in ENTRIES:
        memory, bandwidth = part.spec.memory, part.memory_bandwidth_bytes_per_s
        if memory.bus_bits is None:
            assert memory.data_rate is None, part.name
            continue
        assert bandwidth is not None, part.name
        bits = parse_figure(memory.bus_bits, "count", origin=part.name, key="bus_bits")
        assert bits % 64 == 0, part.name
        fastest = FASTEST_PIN_GB_S[memory.type] * 1e9 / 8 * 1.015  # A100's pins run at 2.43 of 2.4
        if memory.data_rate is None:
            assert bandwidth <= bits * fastest, part.name
            continue
        pin = parse_figure(memory.data_rate, "bytes_per_s", origin=part.name, key="data_rate")
        assert pin <= fastest, part.name
        # bandwidth is rounded by who states it; far below the bus it would be another part's
        assert 0.9 * bits * pin <= bandwidth <= 1.005 * bits * pin, part.name


def test_the_bus_is_known_of_most() -> None:
    with_memory = [entry for entry in ENTRIES if entry.memory_bandwidth_bytes_per_s is not None]
    assert len([entry for entry in with_memory if entry.spec.memory.bus_bits is not None]) > len(with_memory) / 2


def compute_trend_flops_per_w(year: int) -> float:
    """Dense FLOP/s at 16 bits that a good part of the year does with a watt.

    Epoch AI, https://epoch.ai/data/machine-learning-hardware: leading parts do about half as much again each year,
    where narrower types count. At 16 bits alone, the best of each year in hardware_db grow by a fifth.
    """
    return 1.2e12 * 1.2 ** (year - 2020)


def find_sixteen_bit_flops_per_w(part: AcceleratorEntry) -> float | None:
    """At bf16 or fp16, else half of int8."""
    peaks = part.peak_flops
    peak = peaks.get("bf16") or peaks.get("fp16") or peaks.get("int8", 0.0) / 2 or peaks.get("fp32")
    return peak / part.tdp_w if peak and part.tdp_w else None


def test_flops_per_watt_are_of_its_year() -> None:
    for part in ENTRIES:
        efficiency = find_sixteen_bit_flops_per_w(part)
        if efficiency is None:
            continue
        assert part.spec.year is not None, part.name
        share = efficiency / compute_trend_flops_per_w(part.spec.year)
        lowest = {"cpu": 0.01, "gpu": 0.1}.get(part.spec.kind, 0.2)
        assert lowest < share < 1.35, part.name


def test_the_trend_is_that_of_the_best() -> None:
    best: dict[int, float] = {}
    for part in ENTRIES:
        efficiency = find_sixteen_bit_flops_per_w(part)
        if part.spec.place == "data-centre" and part.spec.year and part.spec.year >= 2017 and efficiency:
            best[part.spec.year] = max(best.get(part.spec.year, 0.0), efficiency)
    years = np.array(sorted(best))
    growth = math.exp(np.polyfit(years, np.log([best[year] for year in years]), 1)[0])
    assert growth == pytest.approx(1.2, abs=0.06)
    assert growth < 1.5  # Epoch AI's, which counts narrower types too


def test_the_memory_is_of_its_year() -> None:
    for part in ENTRIES:
        if part.memory_bytes is None or part.spec.year is None:
            continue
        on_board = part.spec.memory.type.startswith(("HBM", "GDDR"))
        if on_board:
            assert 8 <= part.memory_bytes / 2**30 <= 20 * 1.5 ** (part.spec.year - 2016), part.name
        assert part.on_chip_bytes is None or part.on_chip_bytes <= part.memory_bytes, part.name
        if part.spec.name != "cerebras-wse-2" and part.spec.memory.type != "SRAM":
            assert part.on_chip_bytes is None or part.on_chip_bytes < 2**30, part.name


def test_links_of_a_part_are_slower_than_its_memory() -> None:
    for part in ENTRIES:
        link, memory = part.link_bytes_per_s, part.memory_bandwidth_bytes_per_s
        assert link is None or memory is None or link < memory / 1.9, part.name


def test_power_is_that_of_its_place() -> None:
    for part in ENTRIES:
        if part.tdp_w is None:
            continue
        most = {"mobile": 15.0, "edge": 100.0, "data-centre": 1500.0}[part.spec.place]
        assert 0 < part.tdp_w <= (15_000.0 if part.name == "cerebras-wse-2" else most), part.name
        assert part.idle_w is None or 0.02 < part.idle_w / part.tdp_w < 0.5, part.name


def test_a_rent_is_dated_and_of_the_market() -> None:
    for part in ENTRIES:
        for price in part.spec.prices:
            assert re.fullmatch(r"20\d\d(-(0[1-9]|1[0-2]))?", price.date), part.name
            assert part.spec.year is not None, part.name
            assert part.spec.year <= int(price.date[:4]), part.name
            dollars = parse_figure(price.usd_per_hour, "usd", origin=part.name, key="prices")
            peak = part.find_peak_flops()
            assert peak is not None, part.name
            assert 0.1 < dollars < 25, part.name
            assert 0.5 < dollars / (peak / 1e15) < 80, part.name  # an hour of a PFLOP/s
