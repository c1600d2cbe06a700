"""The lightning indexer of sparse attention: scores of all keys for a query, and the choice of the best.

Its products run in the precision of 16-bit multiplies, which its authors take in 8 bit (DeepSeek-V3.2); it is not cut
by tensor parallelism, since every rank needs the choice for all its heads.
"""

from __future__ import annotations

import numpy as np

from planner.cost.arrays import Floats
from planner.cost.operators import roofline
from planner.cost.operators.operator_cost import LayerShard, OperatorCost, PassTimes, build_weightless_times
from planner.cost.scenario import Scenario
from planner.cost.settings import FlopsConvention
from planner.workload.operators import SparseIndexer

_SCORE_BYTES = 4.0
"""Of a score, written in 32 bit and read by the selection."""
_INDEX_BYTES = 4.0


class IndexerCost(OperatorCost[SparseIndexer]):
    """Scores and selection."""

    is_attention = True

    def compute_times(self, scenario: Scenario, op: SparseIndexer, shard: LayerShard) -> PassTimes:
        """Half of all pairs where causal, at the rate of attention's products, and the traffic of their scores."""
        fitted = scenario.calibration
        pairs = shard.tokens * scenario.workload.attended_length / 2.0
        flops_per_s = roofline.get_peak_16bit_flops_per_s(scenario) * roofline.compute_kernel_speed(scenario)
        products_s = op.compute_flops_per_pair() * pairs / (flops_per_s * fitted.attention_forward_efficiency)
        traffic_s = 2.0 * _SCORE_BYTES * pairs / roofline.compute_memory_bytes_per_s(scenario)
        launch_s = 2.0 * fitted.kernel_launch_s
        return build_weightless_times(products_s + traffic_s + launch_s, 2.0 * products_s + traffic_s + launch_s)

    def compute_saved_bytes(self, scenario: Scenario, op: SparseIndexer, shard: LayerShard) -> Floats:
        """Queries, keys and weights of heads, and the chosen indices."""
        topk = min(op.topk, scenario.workload.seq_length)
        values = op.heads * (op.head_dim + 1) + op.head_dim
        return shard.tokens * (values * scenario.value_bytes + topk * _INDEX_BYTES)

    def compute_output_bytes(self, scenario: Scenario, op: SparseIndexer, shard: LayerShard) -> Floats:
        """The chosen indices."""
        return shard.tokens * np.float64(op.topk * _INDEX_BYTES)

    def count_launches(self, op: SparseIndexer, shard: LayerShard, casts: float) -> Floats | float:
        """Scores and selection."""
        return 2.0

    def compute_forward_flops(self, op: SparseIndexer, seq_length: int, convention: FlopsConvention) -> float:
        """Every key before a query, or every key of the sequence by the full convention."""
        pairs = seq_length / 2.0 if convention == "causal" else float(seq_length)
        return op.compute_flops_per_pair() * pairs
