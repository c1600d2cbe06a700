#!/usr/bin/env bash
# megatron-core 0.16.1, torch 2.13.0
#
# A model without experts cannot use context parallelism together with pipeline parallelism in any rank order that does
# not end in pp (--use-tp-pp-dp-mapping gives tp-cp-ep-pp-dp): initialize_model_parallel builds the groups of experts
# even so, with one expert rank and the tensor parallelism of attention, and asserts that experts and attention have the
# same data parallel size. Experts take no part in context parallelism, so the two differ by the factor cp. What makes
# it start is a size for experts that the model does not have: expert tensor parallelism x expert parallelism = tp x cp.
# Of the two only expert tensor parallelism is of use: TransformerConfig refuses expert parallelism for a model without
# experts. Without pipeline stages, or without context parallelism, nothing is asked.
#
# One would expect: rank order and expert sizes have no bearing on a model without experts.
#
# Output (16 ranks, tp 2, order tp-cp-ep-pp-dp unless named):
#   cp 1, pp 2: starts, data parallel 4
#   cp 2, pp 1: starts, data parallel 4
#   cp 2, pp 2: AssertionError: When not using pp-last rank ordering, the data parallel size of the attention and moe layers must be the same
#   cp 2, pp 2, expert tensor 4: starts, data parallel 2
#   cp 2, pp 2, expert parallel 2: starts, data parallel 2
#   cp 2, pp 2, order tp-cp-ep-dp-pp: starts, data parallel 2
#   TransformerConfig, expert tensor 4: accepted
#   TransformerConfig, expert parallel 2: ValueError: num_moe_experts must be non None to use expert-parallel.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
"$dir/env/bin/pip" install -q torch==2.13.0 numpy==2.3.5 megatron-core==0.16.1 2>"$dir/pip.log" ||
    { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.transformer import TransformerConfig
from torch.testing._internal.distributed.fake_pg import FakeStore


def start(label, cp, pp, **more):
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=16)
    sizes = {"tensor_model_parallel_size": 2, "context_parallel_size": cp, "pipeline_model_parallel_size": pp}
    options = {"order": "tp-cp-ep-pp-dp", "create_gloo_process_groups": False, **sizes, **more}
    try:
        parallel_state.initialize_model_parallel(**options)
        outcome = f"starts, data parallel {parallel_state.get_data_parallel_world_size()}"
    except AssertionError as error:
        outcome = f"AssertionError: {error}"
    print(f"cp {cp}, pp {pp}{label}: {outcome}")
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def configure(label, **more):
    model = {"num_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "pipeline_dtype": torch.float32}
    sizes = {"tensor_model_parallel_size": 2, "context_parallel_size": 2, "pipeline_model_parallel_size": 2}
    try:
        TransformerConfig(**model, **sizes, **more)
        outcome = "accepted"
    except ValueError as error:
        outcome = f"ValueError: {error}"
    print(f"TransformerConfig{label}: {outcome}")


start("", 1, 2)
start("", 2, 1)
start("", 2, 2)
start(", expert tensor 4", 2, 2, expert_tensor_parallel_size=4)
start(", expert parallel 2", 2, 2, expert_model_parallel_size=2)
start(", order tp-cp-ep-dp-pp", 2, 2, order="tp-cp-ep-dp-pp")
configure(", expert tensor 4", expert_tensor_parallel_size=4)
configure(", expert parallel 2", expert_model_parallel_size=2)
PYTHON
"$dir/env/bin/python" -W ignore "$dir/run.py" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
