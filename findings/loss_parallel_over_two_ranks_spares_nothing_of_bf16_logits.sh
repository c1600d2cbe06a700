#!/usr/bin/env bash
# torch 2.13.0, torch.distributed.tensor.parallel.loss_parallel
#
# Cross entropy of logits that are cut along the vocabulary peaks at more bytes for each logit of a rank than the plain
# cross entropy of whole logits: 16 for 8 with bf16 logits, 20 for 16 with fp32 ones. So with two ranks a rank peaks as
# high with its half of bf16 logits as one rank does with all of them, and with fp32 ones at five eighths, not a half.
# The plain forward pass is one kernel that writes its result in the type of the logits. Under loss_parallel it is put
# together of simple operators: shifted logits, their exponentials and the result are tensors of their own, in fp32 also
# where the logits are bf16. In its backward pass there are more such tensors too. Where the model converts bf16 logits
# to fp32 first, it is 18 for 14.
#
# The collectives are those of a fake group, which leave the values alone: the sizes are real, the loss is not.
#
# Expected before running: the same bytes a logit, so that n ranks need an n-th each.
#
# Output (largest sum of bytes of tensors that are alive, for each logit of the rank, the logits among them):
#   fp32 logits: plain 8 in forward, 16 in all; loss_parallel 12 in forward, 20 in all
#   bf16 logits: plain 4 in forward, 8 in all; loss_parallel 16 in forward, 16 in all
#   bf16 logits as fp32: plain 10 in forward, 14 in all; loss_parallel 14 in forward, 18 in all
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import weakref

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.parallel import loss_parallel
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TOKENS, COLUMNS = 512, 4096


class Count(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.alive, self.total, self.peak = set(), 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        if DTensor in types:
            return NotImplemented
        results = function(*arguments, **(options or {}))
        for leaf in tree_leaves(results):
            if type(leaf) is torch.Tensor and leaf.device.type == "cpu":
                self.note(leaf.untyped_storage())
        self.peak = max(self.peak, self.total)
        return results

    def note(self, storage):
        if storage._cdata not in self.alive:
            self.alive.add(storage._cdata)
            self.total += storage.nbytes()
            weakref.finalize(storage, self.drop, storage._cdata, storage.nbytes())

    def drop(self, key, size):
        self.alive.remove(key)
        self.total -= size


def measure(logits, local, convert):
    with Count() as count:
        count.note(local.untyped_storage())
        loss = F.cross_entropy(convert(logits), targets)
        forward = count.peak
        loss.backward()
    each = TOKENS * COLUMNS
    return f"{forward / each:.0f} in forward, {count.peak / each:.0f} in all"


dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
targets = torch.randint(COLUMNS, (TOKENS,))
for label, dtype, convert in (
    ("fp32 logits", torch.float32, lambda logits: logits),
    ("bf16 logits", torch.bfloat16, lambda logits: logits),
    ("bf16 logits as fp32", torch.bfloat16, lambda logits: logits.float()),
):
    local = torch.randn(TOKENS, COLUMNS).to(dtype)
    plain = measure(local.detach().requires_grad_(), local, convert)
    shard = DTensor.from_local(local, mesh, [Shard(1)], run_check=False).requires_grad_()
    with loss_parallel():
        print(f"{label}: plain {plain}; loss_parallel {measure(shard, local, convert)}")
dist.destroy_process_group()
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
