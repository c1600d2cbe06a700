#!/usr/bin/env bash
# torch 2.13.0, torch.distributed._tools.fsdp2_mem_tracker.FSDPMemTracker
#
# The tracker of memory changes the step that it measures, and the ones after it, where fully_shard was given a list of
# modules, as torchtitan gives it the last norm and the head. FSDP gathers such a unit once in each pass. The tracker
# takes the group's hooks away and gives each module of its own a pair: the norm's frees the unit, so that the head
# gathers it again, in the forward and in the backward pass. When the tracker is left, the norm's hook and the wrapped
# methods of the unit stay: it remembers one hook a unit and wraps methods once for each module. The next step, outside
# the tracker, is refused by it. With a unit for each module nothing changes and nothing stays.
#
# Expected before running: the same calls with and without the tracker, and a model as before once it is left.
#
# Output (all-gathers in forward + backward of one step, elements gathered in it):
#   a unit each, before: 3 + 3, 16896
#   a unit each, in the tracker: 3 + 3, 16896
#   a unit each, after it: 3 + 3, 16896
#   norm and head in one, before: 2 + 2, 16896
#   norm and head in one, in the tracker: 3 + 3, 25472
#   norm and head in one, after it: refused by FSDPMemTracker, NotImplementedError
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

WIDTH = 64


def build_model(units):
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))
    for unit in units:
        fully_shard([model[index] for index in unit], mesh=mesh)
    return fully_shard(model, mesh=mesh)


def step(model):
    gathered.clear()
    try:
        loss = model(torch.ones(4, WIDTH)).sum()
    except NotImplementedError as error:
        return f"refused by {str(error).split()[0]}, {type(error).__name__}"
    forward = len(gathered)
    loss.backward()
    return f"{forward} + {len(gathered) - forward}, {sum(gathered)}"


gathered = []
gather = dist.all_gather_single


def note(output, *rest, **options):
    gathered.append(output.numel())
    return gather(output, *rest, **options)


dist.all_gather_single = note
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
mesh = dist.device_mesh.init_device_mesh("cpu", (8,))
for label, units in (("a unit each", ((0,), (1,), (2,))), ("norm and head in one", ((0,), (1, 2)))):
    model = build_model(units)
    print(f"{label}, before: {step(model)}")
    with FSDPMemTracker(model):
        print(f"{label}, in the tracker: {step(model)}")
    print(f"{label}, after it: {step(model)}")
dist.destroy_process_group()
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
