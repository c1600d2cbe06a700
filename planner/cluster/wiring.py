"""A cluster's wiring, cable by cable: hosts, switches, links, and what of them does not give what it should.

Regular clusters are told by levels (`planner.cluster.cluster`); this is for those that are not, and for those whose
parts are wanted one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Wiring:
    """Vertices are the hosts, then the switches; a link joins two of them.

    Of hosts: `devices` (accelerators left), `scale_up_bytes_per_s` and `scale_up_latency_s` (one device, one
    direction, inside the host), `card_latency_s`; shape [hosts]. Of switches: `switch_latency_s`, `in_network`; shape
    [switches]. Of links: `ends` (vertices, shape [links, 2]), `card` (the network card of the first end, -1: none in
    particular), `bandwidth_bytes_per_s` (all cables of the link together, one direction), `scale_up` (joins devices
    of several hosts as if they were one host's: an NVLink rack); shape [links].
    """

    hosts: tuple[str, ...]
    switches: tuple[str, ...]
    devices: Ints
    scale_up_bytes_per_s: Floats
    scale_up_latency_s: Floats
    card_latency_s: Floats
    switch_latency_s: Floats
    in_network: Bools
    ends: Ints
    card: Ints
    bandwidth_bytes_per_s: Floats
    scale_up: Bools

    @property
    def vertices(self) -> tuple[str, ...]:
        """Names of hosts and switches, as `ends` counts them."""
        return self.hosts + self.switches

    @property
    def in_rack(self) -> Bools:
        """Which links that work lead into a scale-up switch that several hosts share; shape [links]."""
        to_switch = (self.ends >= len(self.hosts)).any(axis=1)
        return self.scale_up & to_switch & (self.bandwidth_bytes_per_s > 0)
