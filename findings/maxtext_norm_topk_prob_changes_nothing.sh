#!/usr/bin/env bash
# maxtext 0.2.5, jax 0.10.2
#
# norm_topk_prob, a setting of fourteen presets, changes the weights of experts in gemma4 and llama4 blocks only. In
# mixtral, qwen3_moe, qwen3_next and gpt_oss blocks the softmax is taken over the chosen experts alone, so the weights add
# up to 1 before the setting is looked at, and deepseek blocks do not look at it. A model whose published norm_topk_prob
# is false, such as Qwen2-57B-A14B, has shares of all experts, which add up to less than 1: a qwen3_moe block with
# norm_topk_prob false, which is the default, is not that model's.
#
# The choice of experts is run from the package's source (two methods); the imports, which need an accelerator's
# libraries, are left out.
#
# Expected before running: false leaves the shares of a softmax over all experts, true makes them add up to 1.
#
# Output (8 experts, 2 of a token; the two weights with false and with true):
#   shares of all experts: [0.4476, 0.2715]
#   mixtral: [0.6225, 0.3775] [0.6225, 0.3775]
#   qwen3_moe: [0.6225, 0.3775] [0.6225, 0.3775]
#   qwen3_next: [0.6225, 0.3775] [0.6225, 0.3775]
#   gpt_oss: [0.6225, 0.3775] [0.6225, 0.3775]
#   deepseek: [0.4476, 0.2715] [0.4476, 0.2715]
#   gemma4: [0.4476, 0.2715] [0.6225, 0.3775]
#   llama4: [2.0, 1.5] [0.5714, 0.4286]
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
{
    "$dir/env/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2
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

PACKAGE = Path(sys.argv[1]) / "maxtext"
LOGITS = jnp.array([[[2.0, 1.0, 0.0, -1.0, 1.5, -2.0, -1.0, -3.0]]])


def compile_from(path, names, scope):
    tree = ast.parse("from __future__ import annotations\n" + (PACKAGE / path).read_text())
    owner = next((node for node in tree.body if getattr(node, "name", None) == "RoutedMoE"), tree)
    body = tree.body[:1] + [node for node in owner.body if getattr(node, "name", None) in names]
    exec(compile(ast.Module(body, []), path, "exec"), scope)
    return {name: scope[name] for name in names}


kinds = compile_from("common/common_types.py", ["DecoderBlockType"], {"enum": enum})
scope = {"jax": jax, "jnp": jnp, "ctypes": types.SimpleNamespace(**kinds)}
router = type("Router", (), compile_from("layers/moe.py", ["get_topk", "deepseek_scale_weights"], scope))


def weigh(block, normalize):
    layer = router()
    layer.config = types.SimpleNamespace(
        model_name="deepseek2-16b" if block == "deepseek" else "default",
        decoder_block=kinds["DecoderBlockType"](block),
        norm_topk_prob=normalize,
        use_random_routing=False,
        routed_score_func="softmax" if block == "deepseek" else "",
        routed_scaling_factor=1.0,
    )
    layer.num_experts_per_tok, layer.dtype = 2, jnp.float32
    layer.is_hash_routing, layer.per_expert_scale = False, None
    scores = jax.nn.softmax(LOGITS) if block == "deepseek" else LOGITS
    weights, _ = layer.get_topk(scores, None)
    return [round(float(weight), 4) for weight in weights[0, 0]]


shares, _ = jax.lax.top_k(jax.nn.softmax(LOGITS), 2)
print(f"shares of all experts: {[round(float(share), 4) for share in shares[0, 0]]}")
for block in ("mixtral", "qwen3_moe", "qwen3_next", "gpt_oss", "deepseek", "gemma4", "llama4"):
    print(f"{block}: {weigh(block, False)} {weigh(block, True)}")
PYTHON
JAX_PLATFORMS=cpu "$dir/env/bin/python" -W ignore "$dir/run.py" "$dir/read" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
