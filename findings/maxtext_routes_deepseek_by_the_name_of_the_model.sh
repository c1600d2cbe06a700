#!/usr/bin/env bash
# maxtext 0.2.5, jax 0.10.2
#
# How a router of decoder_block "deepseek" chooses and weighs experts depends on the spelling of model_name. Only names
# that begin with deepseek3, deepseek4 or kimi-k2 keep the score without the bias beside the one with it. Under any
# other name, with every setting the same, the bias that balances the load becomes part of the weights, though it is
# meant to move the choice alone, and n_routing_groups and topk_routing_group have no effect. base.yml asks that nothing
# but the override of settings use model_name. The preset deepseek-custom, whose settings are a sigmoid router with a
# bias, is one of the other names; so is "default", the name of a run that gives its sizes itself.
#
# The gate and the choice are run from the package's source (two methods and what they call); their imports, which need
# an accelerator's libraries, are replaced: the gate's product is a plain one, without quantization or sharding.
#
# Expected before running: the settings decide, and the three names give the same experts and weights.
#
# Output (8 experts, 2 of a token, sigmoid, scale 2.5; expert: weight):
#   bias of 0.6 on expert 3, no groups
#     deepseek3-671b: {0: 1.9152, 3: 0.5848}
#     deepseek-custom: {0: 1.2585, 3: 1.2415}
#     default: {0: 1.2585, 3: 1.2415}
#   no bias, 1 of 4 groups
#     deepseek3-671b: {0: 1.3661, 1: 1.1339}
#     deepseek-custom: {0: 1.2965, 4: 1.2035}
#     default: {0: 1.2965, 4: 1.2035}
#   deepseek-custom.yml: decoder_block deepseek, routed_score_func sigmoid, routed_bias True
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
{
    "$dir/env/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 pyyaml==6.0.4
    "$dir/env/bin/pip" install -q --no-deps --ignore-requires-python --no-compile --target "$dir/read" maxtext==0.2.5
} 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import ast
import enum
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import yaml

PACKAGE = Path(sys.argv[1]) / "maxtext"


def compile_from(path, names, scope, owner=None):
    tree = ast.parse((PACKAGE / path).read_text())
    if owner is not None:
        tree = next(node for node in tree.body if getattr(node, "name", None) == owner)
    found = [node for node in tree.body if getattr(node, "name", None) in names]
    future = ast.parse("from __future__ import annotations").body
    exec(compile(ast.Module(future + found, []), path, "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in names})


common = compile_from("common/common_types.py", ["DecoderBlockType", "ShardMode"], {"enum": enum})
linears = compile_from("layers/linears.py", ["_convert_to_activation_function", "normalize_axes"], {"jax": jax, "jnp": jnp})
linears._compute_dot_general_nnx = lambda inputs, kernel, *rest, **options: inputs @ kernel
scope = {
    "jax": jax,
    "jnp": jnp,
    "ctypes": common,
    "linears": linears,
    "ShardMode": common.ShardMode,
    "quantizations": types.SimpleNamespace(in_serve_mode=lambda quant: False),
}
compile_from("layers/moe.py", ["_top_2_in_group_sum", "routing_tag_fn"], scope)
gate = compile_from("layers/moe.py", ["__call__"], scope, "GateLogit").__call__
methods = ["get_topk", "deepseek_routing", "deepseek_scale_weights", "expert_group_mask"]
router = type("Router", (), vars(compile_from("layers/moe.py", methods, scope, "RoutedMoE")))
LOGITS = jnp.array([[[2.0, 1.0, 0.0, -1.0, 1.5, -2.0, -1.0, -3.0]]])


def route(name, bias, groups):
    inner = types.SimpleNamespace(
        dtype=jnp.float32, axis=(-1,), quant=None, kernel=jnp.eye(8), in_features_shape=(8,), shard_mode=None,
        matmul_precision=None, quant_dot_general=None, score_func="sigmoid", model_name=name, use_bias=True, bias=bias,
    )
    logits, unbiased = gate(inner, LOGITS)
    outer = router()
    outer.config = types.SimpleNamespace(
        model_name=name, decoder_block=common.DecoderBlockType.DEEPSEEK, use_random_routing=False,
        n_routing_groups=groups, topk_routing_group=1, routed_score_func="sigmoid", routed_scaling_factor=2.5,
    )
    outer.num_experts, outer.num_experts_per_tok, outer.is_hash_routing = 8, 2, False
    weights, experts = outer.get_topk(logits, unbiased)
    return {int(expert): round(float(weight), 4) for expert, weight in zip(experts[0, 0], weights[0, 0])}


none = jnp.zeros(8)
for label, bias, groups in (
    ("bias of 0.6 on expert 3, no groups", none.at[3].set(0.6), -1),
    ("no bias, 1 of 4 groups", none, 4),
):
    print(label)
    for name in ("deepseek3-671b", "deepseek-custom", "default"):
        print(f"  {name}: {route(name, bias, groups)}")
preset = yaml.safe_load((PACKAGE / "configs/models/deepseek-custom.yml").read_text())
names = ("decoder_block", "routed_score_func", "routed_bias")
print("deepseek-custom.yml: " + ", ".join(f"{name} {preset[name]}" for name in names))
PYTHON
JAX_PLATFORMS=cpu "$dir/env/bin/python" -W ignore "$dir/run.py" "$dir/read" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
