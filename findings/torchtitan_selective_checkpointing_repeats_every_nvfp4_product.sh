#!/usr/bin/env bash
# torchtitan 0.3.0 (SelectiveAC, NVFP4Linear), torchao 0.18.0, torch 2.13.0
#
# Of linear layers in bf16, selective checkpointing repeats every second product in the backward pass. Of NVFP4 ones it
# repeats all of them, as full checkpointing does: what it keeps are results of torch's list of compute-intensive
# operators and a few more, and there is _scaled_mm in it but not _scaled_mm_v2, the operator of
# torch.nn.functional.scaled_mm, which torchao's NVFP4 layers call. With this one added to the list, none is repeated.
#
# The layers are on the meta device, where operators give shapes alone, and not compiled. has_triton is answered as with
# an accelerator, so that torchao defines its operators.
#
# Expected before running: the same products repeated whatever the format, or fewer with NVFP4.
#
# Output (four linear layers that are checkpointed as one; products of a forward and a backward pass):
#   kept by SelectiveAC: mm True, _scaled_mm True, _scaled_mm_v2 False
#   Linear: 12, and repeated 4 by FullAC, 2 by SelectiveAC, 2 with _scaled_mm_v2 kept
#   NVFP4Linear: 12, and repeated 4 by FullAC, 4 by SelectiveAC, 0 with _scaled_mm_v2 kept
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 torchtitan==0.3.0 torchao==0.18.0 triton==3.7.1 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import torch
import torch.utils._triton
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

torch.utils._triton.has_triton = lambda: True
from torchtitan.components.quantization.nvfp4 import NVFP4Linear
from torchtitan.distributed.activation_checkpoint import FullAC, SelectiveAC
from torchtitan.models.common.linear import Linear

TOKENS, WIDTH, LAYERS = 128, 256, 4
aten = torch.ops.aten


class Extended(SelectiveAC):
    def get_save_ops(self):
        return super().get_save_ops() | {aten._scaled_mm_v2.default}


class Count(TorchDispatchMode):
    products = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.products += function in (aten.mm.default, aten._scaled_mm_v2.default)
        return function(*arguments, **(options or {}))


def count_products(kind, policy=None):
    with torch.device("meta"):
        config = kind.Config(in_features=WIDTH, out_features=WIDTH, bias=False)
        layer = nn.Sequential(*(config.build() for _ in range(LAYERS)))
    if kind is NVFP4Linear:
        for linear in layer:
            linear._init_self_buffers(buffer_device=torch.device("cpu"))
            linear._sr_seed = linear._sr_seed.to("meta")
    model = nn.Module()
    model.layers = nn.ModuleList([layer])
    if policy:
        policy.apply(model)
    with Count() as count:
        model.layers[0](torch.ones(TOKENS, WIDTH, device="meta", requires_grad=True)).sum().backward()
    return count.products


torch.set_default_dtype(torch.bfloat16)
selective = SelectiveAC.Config()
kept = selective.build().get_save_ops()
names = ("mm", "_scaled_mm", "_scaled_mm_v2")
print("kept by SelectiveAC:", ", ".join(f"{name} {getattr(aten, name).default in kept}" for name in names))
for kind in (Linear, NVFP4Linear):
    plain = count_products(kind)
    policies = (FullAC.Config().build(), selective.build(), Extended(selective))
    full, some, more = (count_products(kind, policy) - plain for policy in policies)
    repeated = f"repeated {full} by FullAC, {some} by SelectiveAC, {more} with _scaled_mm_v2 kept"
    print(f"{kind.__name__}: {plain}, and {repeated}")
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" 2>"$dir/log" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
