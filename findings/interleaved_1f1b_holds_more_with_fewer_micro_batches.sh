#!/usr/bin/env bash
# torch 2.13.0, torch.distributed.pipelining.ScheduleInterleaved1F1B
#
# Fewer micro-batches of the same size can need more memory for activations. With 4 ranks of 2 stages, 7 micro-batches
# keep 14 of them alive on the first rank (one micro-batch in one stage counts as one), so nothing is freed before the
# last forward pass; 8 micro-batches keep 11, and so do 12 and 16. The schedule cuts the micro-batches into rounds of
# (micro-batches // ranks), at least one: 7 are one round of 7, 8 are two rounds of 4, and the warm-up runs a whole round
# in each stage but the last. 9, 11, 13 and 14 cannot be cut into equal rounds and are refused, 10 and 15 are accepted
# though no multiple of the ranks, and so are 1, 2 and 3, which Schedule1F1B refuses on 4 ranks.
#
# One would expect: the peak grows with the micro-batches up to a limit, and multiples of 4 only are accepted.
#
# Output (peak on ranks 0 to 3):
#   micro-batches 1: [2, 2, 2, 2]
#   micro-batches 2: [4, 4, 4, 3]
#   micro-batches 3: [6, 6, 6, 4]
#   micro-batches 4: [8, 8, 7, 5]
#   micro-batches 5: [10, 10, 8, 6]
#   micro-batches 6: [12, 11, 9, 7]
#   micro-batches 7: [14, 12, 10, 8]
#   micro-batches 8: [11, 9, 7, 5]
#   micro-batches 9: refused
#   micro-batches 10: [12, 10, 8, 6]
#   micro-batches 11: refused
#   micro-batches 12: [11, 9, 7, 5]
#   micro-batches 13: refused
#   micro-batches 14: refused
#   micro-batches 15: [12, 10, 8, 6]
#   micro-batches 16: [11, 9, 7, 5]
#   Schedule1F1B, micro-batches 3: refused
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import torch
import torch.distributed as dist
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B
from torch.testing._internal.distributed.fake_pg import FakeStore

RANKS = 4


def build_stage(index, stages):
    return PipelineStage(torch.nn.Linear(2, 2), index, stages, torch.device("cpu"))


def loss(output, target):
    return (output - target).sum()


def find_peak(actions):
    alive = peak = 0
    for action in filter(None, actions):
        name = action.computation_type.name
        alive += {"FORWARD": 1, "FULL_BACKWARD": -1}.get(name, 0)
        peak = max(peak, alive)
    return peak


dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=RANKS)
for count in range(1, 17):
    try:
        stages = [build_stage(index, 2 * RANKS) for index in (0, RANKS)]
        schedule = ScheduleInterleaved1F1B(stages, count, loss_fn=loss)
        outcome = [find_peak(schedule.pipeline_order[rank]) for rank in range(RANKS)]
    except ValueError:
        outcome = "refused"
    print(f"micro-batches {count}: {outcome}")
try:
    Schedule1F1B(build_stage(0, RANKS), 3, loss_fn=loss)
    outcome = "accepted"
except ValueError:
    outcome = "refused"
print(f"Schedule1F1B, micro-batches 3: {outcome}")
dist.destroy_process_group()
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
