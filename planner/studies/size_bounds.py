"""Lower bounds of a run's days on every size of a cluster, without a search: what need not be searched.

A layout's step takes at least its layers' compute, and the communication of tp, cp and ep on a network on which no
size is slower; filling and draining the pipeline; and the fixed overhead. Where that meets a limit, the plans of the
layout are bounded in turn (`plan_bounds.py`), of many sizes together. Days take at least the time that failures cost
with the least that a checkpoint can take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import numpy as np

from planner.cluster.build.reliability import ReliabilityOverrides, resolve_reliability
from planner.cluster.model.cluster import Cluster
from planner.cluster.network.network import Network
from planner.cluster.regular.shares import BandwidthShares
from planner.cost.arrays import Floats, Ints, find_distinct_values
from planner.cost.operations.failures import compute_job_mtbf_s
from planner.cost.scenario import Scenario
from planner.studies.goodput import compute_checkpoint_bytes
from planner.studies.layer_bounds import BOUND_ROUNDING, LayerBounds
from planner.studies.plan_bounds import bound_layouts_s
from planner.studies.run_estimate import (
    MICRO_BATCH_VALUES,
    VPP_VALUES,
    ClusterOffer,
    TrainingRun,
    build_run_scenario,
    get_max_nodes,
)
from planner.units import DAY_S

_PAIRS_AT_ONCE = 256
"""Sizes with a batch each whose layouts are in memory at the same time."""


@dataclass(frozen=True)
class LayoutBounds:
    """Layouts of sizes, arrays of shape [layouts]: the size's position, its degrees, and the least that a step takes.

    A layout has every number of virtual stages, ZeRO stage and recompute mode.
    """

    pair: Ints
    tp: Ints
    pp: Ints
    cp: Ints
    dp: Ints
    micro_batch: Ints
    step_s: Floats

    @property
    def degrees(self) -> dict[str, Ints]:
        """The degrees by name."""
        names = ("tp", "pp", "cp", "dp", "micro_batch")
        return {name: getattr(self, name) for name in names}

    def take(self, rows: Ints) -> LayoutBounds:
        """The layouts at `rows`."""
        return LayoutBounds(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})


@dataclass(frozen=True)
class SizeBounds:
    """The bounds of one run on one cluster."""

    run: TrainingRun
    offer: ClusterOffer
    refined: dict[tuple[int, int], LayoutBounds] = field(default_factory=dict)
    """The layouts of (nodes, batch) pairs that may meet a limit, with the bounds that count memory."""

    @cached_property
    def node(self) -> Cluster:
        """A cluster of one node."""
        return self.offer.build_cluster(1)

    @cached_property
    def _scenario(self) -> Scenario:
        return build_run_scenario(self.run, self.node, self.run.batch.low)

    @cached_property
    def layers(self) -> LayerBounds:
        """The least time of layers."""
        return LayerBounds(self._scenario_at_best, MICRO_BATCH_VALUES, VPP_VALUES)

    @cached_property
    def _combinations(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Positions of tp, pp and cp of all combinations, and their product, [combinations]."""
        layers = self.layers
        tp, pp, cp = (axis.ravel() for axis in np.indices((len(layers.tp), len(layers.pp), len(layers.cp))))
        return tp, pp, cp, layers.tp[tp] * layers.pp[pp] * layers.cp[cp]

    def list_layouts(self, pairs: Sequence[tuple[int, int]]) -> LayoutBounds:
        """The layouts of (nodes, batch) pairs."""
        devices = np.array([nodes * self.offer.devices_per_node for nodes, _ in pairs], dtype=np.int64)
        batch = np.array([batch for _, batch in pairs], dtype=np.int64)
        tp, pp, cp, product = self._combinations
        pair, combination = np.nonzero(devices[:, None] % product[None, :] == 0)
        dp = devices[pair] // product[combination]
        whole = batch[pair] % dp == 0
        pair, combination, dp = pair[whole], combination[whole], dp[whole]
        sequences = batch[pair] // dp
        parts = [
            self._bound_micro_batch(index, size, pair, combination, sequences)
            for index, size in enumerate(MICRO_BATCH_VALUES)
        ]
        rows = np.concatenate([rows for rows, _ in parts])
        kept = combination[rows]
        return LayoutBounds(
            pair=pair[rows],
            tp=self.layers.tp[tp[kept]],
            pp=self.layers.pp[pp[kept]],
            cp=self.layers.cp[cp[kept]],
            dp=dp[rows],
            micro_batch=np.repeat(MICRO_BATCH_VALUES, [len(rows) for rows, _ in parts]),
            step_s=np.concatenate([step_s for _, step_s in parts]),
        )

    def _bound_micro_batch(
        self, index: int, size: int, pair: Ints, combination: Ints, sequences: Ints
    ) -> tuple[Ints, Floats]:
        """The layouts whose ranks have whole micro-batches of `size` sequences, and their bounds."""
        rows = np.flatnonzero(sequences % size == 0)
        tp, pp, cp, _ = (column[combination[rows]] for column in self._combinations)
        layer_s = [table[tp, cp, index] for table in self.layers.least_layer_s]
        return rows, self.layers.bound_step_s(self.layers.pp[pp], sequences[rows] // size, *layer_s)

    def compute_least_days(self, nodes: Sequence[int], most_days: Floats) -> Floats:
        """The least days that the run takes on each of these numbers of nodes, infinite where no plan is valid, shape
        [sizes]; memory and the trainer's rules count where it might be at most `most_days`, [sizes].
        """
        share = self.compute_most_goodput(np.array(nodes, dtype=np.float64))
        samples = self.run.tokens / self.run.workload.seq_length
        with np.errstate(divide="ignore"):
            relaxed_days = samples * self._compute_sample_s(np.array(nodes, dtype=np.int64)) / (DAY_S * share)
        sized = [
            (index, size, batch)
            for index, size in enumerate(nodes)
            if relaxed_days[index] <= most_days[index] and math.isfinite(relaxed_days[index])
            for batch in self.run.batch.list_batches(size * self.per_node)
        ]
        pairs = [(size, batch) for _, size, batch in sized]
        size_index = np.array([index for index, _, _ in sized], dtype=np.int64)
        steps = np.array([self.run.count_steps(batch) for _, batch in pairs], dtype=np.float64)
        with np.errstate(divide="ignore"):
            days_per_step_s = steps / (DAY_S * share[size_index])
        most_step_s = most_days[size_index] / days_per_step_s
        least_step_s = np.full(len(pairs), np.inf)
        for start in range(0, len(pairs), _PAIRS_AT_ONCE):
            chunk = pairs[start : start + _PAIRS_AT_ONCE]
            layouts = self.refine_layouts(chunk, self.list_layouts(chunk), most_step_s[start : start + len(chunk)])
            np.minimum.at(least_step_s, start + layouts.pair, layouts.step_s)
            for index, pair in enumerate(chunk):
                if least_step_s[start + index] <= most_step_s[start + index]:
                    self.refined[pair] = layouts.take(np.flatnonzero(layouts.pair == index))
        least_days = np.where(relaxed_days <= most_days, np.inf, relaxed_days)
        np.minimum.at(least_days, size_index, days_per_step_s * least_step_s)
        return least_days

    def _compute_sample_s(self, nodes: Ints) -> Floats:
        """The least seconds per sample on each size, as if every batch could be divided at will, infinite where no
        degrees of the model and a data-parallel degree of at most the largest batch make its devices, [sizes].
        """
        devices, highest = nodes * self.per_node, self.run.batch.high
        least_s = np.full(len(nodes), np.inf)
        for product, (slowest_s, micro_batch, fill_s) in self._products.items():
            if product * highest < devices.min():
                continue
            rows = np.flatnonzero((devices % product == 0) & (product * highest >= devices))
            if len(rows):
                micro_batches = np.maximum(product / (devices[rows, None] * micro_batch), 1.0 / highest)
                sample_s = (micro_batches * slowest_s + fill_s / highest).min(axis=1)
                least_s[rows] = np.minimum(least_s[rows], sample_s)
        return least_s + self._scenario.calibration.step_overhead_s / highest

    @cached_property
    def _products(self) -> dict[int, tuple[Floats, Ints, Floats]]:
        """By distinct product of tp, pp and cp: seconds of a micro-batch on the slowest stage, its sequences, and
        seconds of filling the pipeline, of all degrees with this product, [degrees x micro-batches].
        """
        tp, pp, cp, product = self._combinations
        layer_s = (table[tp, cp] for table in self.layers.least_layer_s)
        slowest_s, _, fill_s = self.layers.bound_stage_s(self.layers.pp[pp][:, None], *layer_s)
        sizes = np.array(MICRO_BATCH_VALUES)
        return {
            value: (slowest_s[rows].ravel(), np.tile(sizes, len(rows)), fill_s[rows].ravel())
            for value in find_distinct_values(product).tolist()
            if len(rows := np.flatnonzero(product == value))
        }

    def refine_layouts(
        self, pairs: Sequence[tuple[int, int]], layouts: LayoutBounds, most_step_s: Floats
    ) -> LayoutBounds:
        """The layouts, those that may take at most `most_step_s`, [pairs], with bounds that count memory."""
        rows = np.flatnonzero(layouts.step_s <= most_step_s[layouts.pair])
        if not len(rows):
            return layouts
        batch = np.array([batch for _, batch in pairs], dtype=np.int64)[layouts.pair[rows]]
        kept = layouts.take(rows)
        most_s = most_step_s[kept.pair]
        refined_s = bound_layouts_s(self.layers, kept.degrees, batch, most_s)
        step_s = layouts.step_s.copy()
        step_s[rows] = np.maximum(step_s[rows], BOUND_ROUNDING * refined_s)
        return replace(layouts, step_s=step_s)

    def compute_range_least_days(self, first: int, last: int) -> float:
        """The least days on any number of nodes from `first` to `last`: as if degrees need not be whole numbers, so
        that the step gets no longer with more devices, and with the failures of the fewest.
        """
        highest = self.run.batch.high
        # a data-parallel rank has a sequence at least
        rows = np.flatnonzero(self._combinations[3] * highest >= first * self.per_node)
        if not len(rows):
            return math.inf
        tp, pp, cp, product = (column[rows] for column in self._combinations)
        layer_s = (table[tp, cp] for table in self.layers.least_layer_s)
        slowest_s, _, fill_s = self.layers.bound_stage_s(self.layers.pp[pp][:, None], *layer_s)
        per_micro_batch = product[:, None] / (last * self.per_node * np.array(MICRO_BATCH_VALUES))
        micro_batches = np.maximum(per_micro_batch, 1.0 / highest)
        sample_s = float((micro_batches * slowest_s + fill_s / highest).min())
        overhead_s = self._scenario.calibration.step_overhead_s / highest
        share = float(self.compute_most_goodput(np.array([float(first)]))[0])
        samples = self.run.tokens / self.run.workload.seq_length
        return samples * (sample_s + overhead_s) / (DAY_S * share) if share else math.inf

    @property
    def per_node(self) -> int:
        """Devices of a node."""
        return self.offer.devices_per_node

    def compute_most_goodput(self, nodes: Floats) -> Floats:
        """At least the goodput share of any plan on these numbers of nodes, shape [sizes].

        Of Daly's useful share (`compute_useful_share`), e^x - 1 >= x + x^2 / 2 makes a bound that has its largest
        value at a work between checkpoints that is known: with C seconds of a checkpoint and M of the MTBF,
        e^(-R/M) / (1 + C/M + sqrt(2 (C + C^2 / 2M) / M)).
        """
        reliability = resolve_reliability(self.node, ReliabilityOverrides({}))
        mtbf_s = compute_job_mtbf_s(
            nodes * self.per_node,
            nodes,
            device_mtbf_s=reliability.device_mtbf_s,
            node_mtbf_s=reliability.node_mtbf_s,
            software_mtbf_s=reliability.software_mtbf_s,
        )
        checkpoint_s = np.full_like(nodes, reliability.pause_s)
        if not reliability.is_async_checkpoint:
            scenario = self._scenario
            state_bytes = scenario.trained_share * compute_checkpoint_bytes(
                scenario.workload.parameters, scenario.trainer
            )
            # the storage's bandwidth grows with the nodes at most
            checkpoint_s = checkpoint_s + state_bytes / (reliability.write_bytes_per_s * nodes)
        stop_s = reliability.detection_s + reliability.restart_s
        ratio = checkpoint_s / mtbf_s
        exponent = np.minimum(stop_s / mtbf_s, 700.0)
        share: Floats = np.exp(-exponent) / (1.0 + ratio + np.sqrt(2.0 * (ratio + ratio**2 / 2.0)))
        return np.minimum(share * (1.0 + 1e-9), 1.0)

    @cached_property
    def _scenario_at_best(self) -> Scenario:
        """The scenario on a network on which no size's groups are slower: the node's links, and beyond it one tier
        that is as fast as the fastest. Without any time of communication on a torus or a wired cluster, where what a
        group has depends on the size.
        """
        node, nodes = self._scenario.network, get_max_nodes(self.offer)
        tiers = node
        if self.offer.listed_cluster is None and nodes > 1:
            tiers = build_run_scenario(self.run, self.offer.build_cluster(nodes), self.run.batch.low).network
        is_known = self.offer.listed_cluster is None and not any(len(axes) for axes in tiers.torus_axes)
        outer = slice(1, None) if tiers.tier_count > 1 else slice(0, None)
        network = Network(
            tier_group_ranks=np.array([self.per_node, 2**40], dtype=np.int64),
            bandwidth_bytes_per_s=np.array(
                [tiers.bandwidth_bytes_per_s[0], tiers.bandwidth_bytes_per_s[outer].max()] if is_known else [1e30] * 2
            ),
            latency_s=np.array([tiers.latency_s[0], tiers.latency_s[outer].min()] if is_known else [0.0] * 2),
            through_nic=np.array([tiers.through_nic[0], bool(tiers.through_nic[outer].all())]),
            torus_axes=(np.zeros((0, 2)), np.zeros((0, 2))),
            shares=_keep_node_shares(node.shares) if is_known else None,
            in_network=np.array([tiers.reducing_tiers[0], bool(tiers.reducing_tiers[outer].any())]),
            architecture=tiers.architecture,
        )
        return replace(self._scenario, network=network)


def _keep_node_shares(shares: BandwidthShares | None) -> BandwidthShares | None:
    """The shares inside a node alone: beyond it every group has all."""
    if shares is None or shares.node_shares is None:
        return None
    return BandwidthShares(shares.node_shares, None, np.zeros(2, dtype=np.bool_), 0)
