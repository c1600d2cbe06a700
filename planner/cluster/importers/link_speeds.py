"""Speeds as descriptions of networks write them, `4xNDR`, `200G`, `32.0 GT/s PCIe`; and rates for a cluster file."""

from __future__ import annotations

import re

from planner.errors import InputError
from planner.units import parse_quantity

LANE_BITS_PER_S = {
    "SDR": 2e9,
    "DDR": 4e9,
    "QDR": 8e9,
    "FDR10": 10e9,
    "FDR": 13.64e9,
    "EDR": 25e9,
    "HDR": 50e9,
    "NDR": 100e9,
    "XDR": 200e9,
}
"""InfiniBand: data rate of a lane, without line coding. SDR to NDR as in the table of infiniband.jp/2022/06/01
(signalling rate x 8/10 or 64/66), FDR10 4 x 10 Gb/s (advancedclustering.com, InfiniBand types and speeds), XDR twice
NDR: 800 Gb/s on four lanes."""

PCIE_CODING_EFFICIENCY = (
    (2.5, 0.8),
    (5.0, 0.8),
    (8.0, 128 / 130),
    (16.0, 128 / 130),
    (32.0, 128 / 130),
    (64.0, 242 / 256),
)
"""PCI Express: GT/s of a lane and the share of its bits that are data (8b/10b, 128b/130b, FLITs)."""

_INFINIBAND_PATTERN = re.compile(r"([0-9]{1,2})\s*[xX]\s*[-_ ]?([A-Za-z]{3}(?:10)?)(?:[0-9]{3})?")
_WIDTH_PATTERN = re.compile(r"(?:IB_)?([0-9]{1,2})\s*[xX]", re.IGNORECASE)
_GIGABIT_PATTERN = re.compile(r"([0-9]{1,5}(?:\.[0-9]+)?)\s*G(?:bE|E|IGE)?", re.IGNORECASE)
_TRANSFERS_PATTERN = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]+)?)\s*GT/s.*")


def parse_infiniband_bytes_per_s(text: str) -> float | None:
    """Bytes/s of a link such as `4xNDR` or `2x HDR`; None where the text has another form."""
    match = _INFINIBAND_PATTERN.fullmatch(text.strip())
    lane_bits_per_s = LANE_BITS_PER_S.get(match[2].upper()) if match else None
    return int(match[1]) * lane_bits_per_s / 8 if match and lane_bits_per_s else None


def parse_link_bytes_per_s(speed: str, width: str = "") -> float | None:
    """Bytes/s of a link as a list of links states it; None where it states nothing.

    `4xNDR`; `NDR` with its width `4x`; `400G`; `400Gb/s`; a bare number is in Mb/s, as in UFM and NCCL. Raises
    InputError for any other text.
    """
    speed, width = speed.strip(), width.strip()
    if not speed:
        return None
    rate_bytes_per_s = parse_infiniband_bytes_per_s(speed)
    if rate_bytes_per_s is not None:
        return rate_bytes_per_s
    lane_bits_per_s = LANE_BITS_PER_S.get(speed.upper())
    lanes = _WIDTH_PATTERN.fullmatch(width)
    if lane_bits_per_s and lanes:
        return int(lanes[1]) * lane_bits_per_s / 8
    if re.fullmatch(r"[0-9]{1,9}", speed):
        return int(speed) * 1e6 / 8
    gigabit = _GIGABIT_PATTERN.fullmatch(speed)
    if gigabit:
        return float(gigabit[1]) * 1e9 / 8
    try:
        return parse_quantity(speed[:100], "bytes_per_s", allow_bare=False)
    except InputError:
        expected = "a speed such as 4xNDR, NDR with the width 4x, 400Gb/s, or a number of Mb/s"
        raise InputError("not a link's speed", value=speed[:200], expected=expected) from None


def parse_pcie_bytes_per_s(speed: str, width: str) -> float | None:
    """Bytes/s of one direction of a link of `32.0 GT/s PCIe` and `16` lanes; None where it is not stated."""
    match = _TRANSFERS_PATTERN.fullmatch(speed)
    if match is None or not re.fullmatch(r"[0-9]{1,2}", width) or not int(width):
        return None
    transfers = float(match[1])
    efficiencies = [
        efficiency for table_transfers, efficiency in PCIE_CODING_EFFICIENCY if table_transfers == transfers
    ]
    return transfers * 1e9 * efficiencies[0] * int(width) / 8 if efficiencies else None


def format_bandwidth(bytes_per_s: float, *, is_network: bool) -> str:
    """The rate for a cluster file: in Gb/s for networks, in GB/s for links between devices."""
    value, unit = (bytes_per_s * 8e-9, "Gb/s") if is_network else (bytes_per_s * 1e-9, "GB/s")
    return f"{value:.10g}{unit}"
