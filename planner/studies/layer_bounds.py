"""The least time of all layers under every sharding of a layer, and of a step that is made of them: lower bounds that
need no plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from planner.cost.arrays import Floats, Ints, sum_in_order
from planner.cost.layer_tables import build_layer_tables
from planner.cost.pipeline.partition import count_layers
from planner.cost.scenario import Scenario
from planner.cost.strategies import STRATEGY_FIELDS, Strategies
from planner.search.space import compute_divisors, is_valid_tp

BOUND_ROUNDING = 1.0 - 1e-9
"""A bound adds the same terms as the step in another order."""
_NEVER_S = 1e30
"""Seconds of a layer that cannot be sharded so."""


@dataclass(frozen=True)
class LayerBounds:
    """The bounds of one model on one kind of accelerator. `scenario`: on a network on which no size is slower.

    `micro_batch_values`, `vpp_values`: the sizes of micro-batches and numbers of chunks that plans may have.
    """

    scenario: Scenario
    micro_batch_values: tuple[int, ...]
    vpp_values: tuple[int, ...]

    @cached_property
    def tp(self) -> Ints:
        """The tensor-parallel degrees that the model allows."""
        divisors = compute_divisors(self.scenario.workload.heads)
        return divisors[is_valid_tp(self.scenario.workload, divisors)]

    @cached_property
    def cp(self) -> Ints:
        """The context-parallel degrees that the sequence allows."""
        length = self.scenario.workload.seq_length
        return compute_divisors(length // 2) if length % 2 == 0 else np.array([1])

    @cached_property
    def pp(self) -> Ints:
        """The numbers of stages that the layers allow."""
        return np.arange(1, self.scenario.workload.layer_count + 1)

    @cached_property
    def shards(self) -> tuple[Ints, Ints, Ints]:
        """How a layer is sharded beside tp and cp: ep, whether etp is tp, whether norms are sharded, [shards]."""
        experts = self.scenario.workload.experts
        ep, has_tp, sequence_parallel = (
            axis.ravel()
            for axis in np.meshgrid(
                compute_divisors(experts or 1), np.arange(2 if experts else 1), np.arange(2), indexing="ij"
            )
        )
        return ep, has_tp, sequence_parallel

    @cached_property
    def layer_s(self) -> tuple[Floats, Floats]:
        """Seconds of one micro-batch in all layers together, and in the fastest layer, `_NEVER_S` where a layer
        cannot be sharded so, [tp, cp, micro-batches, shards].
        """
        workload = self.scenario.workload
        shape = (len(self.tp), len(self.cp), len(self.micro_batch_values), len(self.shards[0]))
        tp_row, cp_row, batch_row, shard = (axis.ravel() for axis in np.indices(shape))
        ep, has_tp, sequence_parallel = (column[shard] for column in self.shards)
        tp, cp = self.tp[tp_row], self.cp[cp_row]
        columns = {"tp": tp, "cp": cp, "micro_batch": np.array(self.micro_batch_values)[batch_row], "ep": ep}
        columns |= {"etp": np.where(has_tp == 1, tp, 1), "sequence_parallel": sequence_parallel}
        columns |= dict.fromkeys(("pp", "vpp"), np.ones_like(tp))
        # the fewest ranks that hold a group of experts: with fewer the group would be no group of any plan
        ranks = np.where(has_tp == 1, 1, tp) * cp
        columns["dp"] = ep // np.gcd(ep, ranks)
        allowed = (sequence_parallel == 0) | ((tp > 1) & (workload.seq_length // cp % tp == 0))
        allowed &= (has_tp == 0) | (tp > 1)
        keys = Strategies(**{name: columns.get(name, np.zeros_like(tp))[allowed] for name in STRATEGY_FIELDS})
        tables, row = build_layer_tables(self.scenario, keys)
        # where experts have an axis of their own their groups depend on more than these degrees
        has_own_axis = self.scenario.trainer.has_expert_axis
        communication = [tables.tp, tables.cp, *([] if has_own_axis else [tables.ep])]
        per_layer_s = tables.forward + tables.backward
        per_layer_s = per_layer_s + sum_in_order(axis.forward + axis.backward for axis in communication)
        all_layers_s, fastest_layer_s = np.full(len(tp), _NEVER_S), np.full(len(tp), _NEVER_S)
        all_layers_s[allowed] = BOUND_ROUNDING * (per_layer_s @ count_layers(workload))[row]
        fastest_layer_s[allowed] = BOUND_ROUNDING * per_layer_s[:, :-2].min(axis=1)[row]
        return all_layers_s.reshape(shape), fastest_layer_s.reshape(shape)

    @cached_property
    def least_layer_s(self) -> tuple[Floats, Floats]:
        """The same under the sharding that is best for each, [tp, cp, micro-batches]."""
        all_layers_s, fastest_layer_s = self.layer_s
        return all_layers_s.min(axis=3), fastest_layer_s.min(axis=3)

    @cached_property
    def stages(self) -> tuple[Ints, Ints]:
        """By pp: the layers of the longest stage, and those of all first chunks but the longest where stages are
        interleaved most, [pp].
        """
        layers, pp = self.scenario.workload.layer_count, self.pp
        most_chunks = [max(v for v in self.vpp_values if v == 1 or p * v <= layers + 2) for p in pp.tolist()]
        # where embedding and head count as layers, the first chunk has a layer less
        first_chunks = np.maximum((pp - 1) * (layers // (pp * np.array(most_chunks))) - 1, 0)
        return -(-layers // pp), first_chunks

    def bound_stage_s(self, pp: Ints, all_layers_s: Floats, fastest_layer_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Seconds of one micro-batch on the slowest stage, and of filling and draining the pipeline, of plain stages
        and of stages that are interleaved most.
        """
        longest_stage, first_chunks = (column[pp - 1] for column in self.stages)
        slowest_s = np.maximum(all_layers_s / pp, longest_stage * fastest_layer_s)
        if self.scenario.pipeline_schedule != "1f1b":
            return slowest_s, np.zeros_like(slowest_s), np.zeros_like(slowest_s)
        plain_s = np.maximum(all_layers_s - slowest_s, 0.0)
        return slowest_s, plain_s, np.minimum(first_chunks * fastest_layer_s, plain_s)

    def bound_step_s(self, pp: Ints, micro_batches: Ints, all_layers_s: Floats, fastest_layer_s: Floats) -> Floats:
        """Seconds of a step of so many micro-batches of a rank."""
        slowest_s, plain_s, interleaved_s = self.bound_stage_s(pp, all_layers_s, fastest_layer_s)
        can_interleave = (pp > 1) & (micro_batches % pp == 0)
        fill_s = np.where(can_interleave, interleaved_s, plain_s)
        return micro_batches * slowest_s + fill_s + self.scenario.calibration.step_overhead_s
