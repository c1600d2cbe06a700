#!/usr/bin/env bash
# torch 2.13.0, fully_shard (FSDP2)
#
# A parameter whose first dimension is 1 (a position embedding of shape 1 x tokens x width, a class token) is not
# spared any memory by sharding, and it costs more than plain data parallelism: over 8 ranks the local shard of ranks 1
# to 7 has no element, and yet each of the 8 ranks keeps storage as large as the whole parameter, and another as large
# for its gradient. The all-gather's output is eight times the parameter. AdamW's moments exist on rank 0 alone.
# The cause is that every shard is padded to the rows of the first one. With 10 rows (10 experts in one tensor) ranks 5
# to 7 likewise own nothing and keep two rows. Sharding along another dimension (shard_placement_fn) makes it an eighth.
#
# One would expect: an eighth each, or the whole on rank 0 and nothing elsewhere.
#
# Output (bytes of one rank; whole is the parameter):
#   shape (1, 576, 1024), shard dim 0, whole 2359296
#     rank 0: elements 589824, parameter 2359296, gradient 2359296, moments 4718592, gathered 18874368
#     rank 7: elements 0, parameter 2359296, gradient 2359296, moments 0, gathered 18874368
#   shape (10, 64, 1024), shard dim 0, whole 2621440
#     rank 0: elements 131072, parameter 524288, gradient 524288, moments 1048576, gathered 4194304
#     rank 7: elements 0, parameter 524288, gradient 524288, moments 0, gathered 4194304
#   shape (1, 576, 1024), shard dim 2, whole 2359296
#     rank 0: elements 73728, parameter 294912, gradient 294912, moments 589824, gathered 2359296
#     rank 7: elements 73728, parameter 294912, gradient 294912, moments 589824, gathered 2359296
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

RANKS = 8


class Scale(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(shape))

    def forward(self, inputs):
        return (self.weight * inputs).sum()


def storage(tensor):
    return tensor.to_local().untyped_storage().nbytes()


def measure(shape, dim, rank):
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=RANKS)
    mesh = dist.device_mesh.init_device_mesh("cpu", (RANKS,))
    model = Scale(shape)
    fully_shard(model, mesh=mesh, shard_placement_fn=lambda parameter: Shard(dim))
    gathered = []
    gather = dist.all_gather_single

    def note(output, *rest, **options):
        gathered.append(output.untyped_storage().nbytes())
        return gather(output, *rest, **options)

    dist.all_gather_single = note
    try:
        model(torch.ones(shape)).backward()
    finally:
        dist.all_gather_single = gather
    weight = model.weight
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.step()
    moments = sum(storage(optimizer.state[weight][name]) for name in ("exp_avg", "exp_avg_sq"))
    elements = weight.to_local().numel()
    dist.destroy_process_group()
    return elements, storage(weight), storage(weight.grad), moments, max(gathered)


for shape, dim in (((1, 576, 1024), 0), ((10, 64, 1024), 0), ((1, 576, 1024), 2)):
    print(f"shape {shape}, shard dim {dim}, whole {4 * torch.Size(shape).numel()}")
    for rank in (0, RANKS - 1):
        figures = zip(("elements", "parameter", "gradient", "moments", "gathered"), measure(shape, dim, rank))
        print(f"  rank {rank}: " + ", ".join(f"{name} {figure}" for name, figure in figures))
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
