#!/usr/bin/env bash
# torch 2.13.0, torch.distributed.pipelining (PipelineStage with Schedule1F1B)
#
# The point of 1F1B is that a stage holds activations of no more micro-batches than there are stages, however many a
# step has. That is so for what the layers keep, but not for what is received: each stage has a buffer of its own for
# each micro-batch of the step, for inputs on all stages but the first and for gradients on all but the last. They are
# made at the first step and stay between steps, so that a rank holds them while it does nothing, and gradient
# accumulation (more micro-batches of the same size) costs memory. A stage in the middle has both kinds.
#
# Expected before running: buffers for the micro-batches in flight, at most two here, and none between steps.
#
# Output (tensors of one micro-batch's size that are alive after a step, with no output asked for; not counted are the
# weights, their gradients and the batch):
#   4 micro-batches: first stage 4, last stage 4
#   16 micro-batches: first stage 16, last stage 16
#   64 micro-batches: first stage 64, last stage 64
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import gc
import os
import sys

import torch
import torch.distributed as dist
from torch.distributed.pipelining import PipelineStage, Schedule1F1B

TOKENS, WIDTH = 48, 64


def count_alive():
    gc.collect()
    sizes = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.device.type == "cpu":
            sizes[thing.untyped_storage()._cdata] = thing.untyped_storage().nbytes()
    return list(sizes.values()).count(4 * TOKENS * WIDTH)


def work(rank, folder):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    for micro_batches in (4, 16, 64):
        stage = PipelineStage(torch.nn.Linear(WIDTH, WIDTH), rank, 2, torch.device("cpu"))
        schedule = Schedule1F1B(stage, micro_batches, loss_fn=lambda output, target: output.sum(), scale_grads=False)
        batch = torch.ones(micro_batches * TOKENS, WIDTH)
        if rank == 0:
            schedule.step(batch)
        else:
            schedule.step(target=batch, return_outputs=False)
        counts = [None, None]
        dist.all_gather_object(counts, count_alive())
        if rank == 0:
            print(f"{micro_batches} micro-batches: first stage {counts[0]}, last stage {counts[1]}", flush=True)
        del stage, schedule, batch
    dist.destroy_process_group()


torch.multiprocessing.start_processes(work, (sys.argv[1],), nprocs=2, start_method="fork")
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" "$dir" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
