#!/usr/bin/env bash
# torchtitan 0.3.0 (SelectiveAC on a layer of llama3_configs["debugmodel"]), torch 2.13.0
#
# Selective checkpointing keeps every second product of a layer, counted in the order in which they run: of a Llama
# layer's five, wqkv, w1 and w2. But w2's output is only added to the residual, and no gradient needs a term of a sum.
# It is kept from the forward pass to the layer's backward pass, as wide as the model for each token, and may be spoilt
# with NaN in between without a change in any gradient, while wqkv's and w1's may not. wo's output, which the second
# forward pass does need for the MLP's input, is computed again. What w2's output saves is w2's own product in that
# second pass, which goes on to the end of the layer since early_stop is off.
#
# Attention itself is torch's scaled_dot_product_attention here, since the layer's own needs an accelerator.
#
# Expected before running: what is kept is what the backward pass or the second forward pass reads.
#
# Output:
#   products of the layer: wqkv, wo, w1, w3, w2
#   kept after the forward pass: wqkv, w1, w2
#   all gradients the same with wqkv spoilt: False
#   all gradients the same with w1 spoilt: False
#   all gradients the same with w2 spoilt: True
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 torchtitan==0.3.0 transformers==4.57.6 triton==3.7.1 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import weakref

import torch
from torch import nn
from torchtitan.distributed.activation_checkpoint import SelectiveAC
from torchtitan.models.llama3 import llama3_configs

TOKENS, WIDTH = 16, 256


class Attention(nn.Module):
    def forward(self, queries, keys, values, **options):
        heads = (tensor.transpose(1, 2) for tensor in (queries, keys, values))
        return nn.functional.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2)


def build_layer():
    layer = llama3_configs["debugmodel"]("flex").layers[0].build()
    layer.attention.inner_attention = Attention()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.05)
    model = nn.Module()
    model.layers = nn.ModuleList([layer])
    SelectiveAC.Config().build().apply(model)
    return model.layers[0]


def run(spoilt=None):
    """The products in their order, those that are kept, and all gradients."""
    made, handles = {}, []
    for name, module in linears.items():

        def note(module, arguments, output, name=name):
            made[name] = output.data if name == spoilt else weakref.ref(output.untyped_storage())

        handles.append(module.register_forward_hook(note))
    start = inputs.clone().requires_grad_()
    output = layer(start, None, torch.arange(TOKENS)[None])
    for handle in handles:
        handle.remove()
    kept = [name for name in made if name != spoilt and made[name]() is not None]
    if spoilt:
        made[spoilt].fill_(float("nan"))
    layer.zero_grad()
    output.sum().backward()
    return list(made), kept, [start.grad, *(parameter.grad.clone() for parameter in layer.parameters())]


torch.manual_seed(0)
layer = build_layer()
linears = {name.split(".")[-1]: module for name, module in layer.named_modules() if isinstance(module, nn.Linear)}
inputs = torch.randn(1, TOKENS, WIDTH)
made, kept, gradients = run()
print("products of the layer:", ", ".join(made))
print("kept after the forward pass:", ", ".join(kept))
for name in kept:
    same = all(map(torch.equal, gradients, run(name)[2]))
    print(f"all gradients the same with {name} spoilt: {same}")
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" 2>"$dir/log" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
