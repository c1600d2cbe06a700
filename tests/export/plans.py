"""Plans that between them use every setting that can be exported, and their files."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

from planner.decode import convert_to_type, parse_mapping
from planner.documents.plan import PlanDocument
from planner.export.run import PlannedRun, build_planned_run
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload
from tests.cli.run import call

H100 = "--cluster dgx-h100 --nodes 16 --global-batch 512"
LARGE = "--cluster dgx-h100 --nodes 64 --global-batch 1024"
TPU = "--cluster tpu-v5p"
SP = "--sequence-parallel"
NARROW = "--master none --moments bf16 --gradients bf16"
PLANS = {
    "dense": f"llama-3-70b {H100} --tp 4 --pp 8 --vpp 10 --zero 1 {SP} --tokens 1T",
    "uneven": f"llama-3.1-405b {LARGE} --tp 8 --pp 16 --vpp 2 --zero 1 {SP} --recompute full",
    "laid-out": f"llama-3-70b {H100} --tp 8 --pp 4 --zero 1 {SP} --layout 'Et*21|(t*20|)*2t*19L'",
    "block": f"llama-3-70b {H100} --tp 8 --pp 4 --zero 1 --recompute full --recompute-layers 3 {SP}",
    "long": f"llama-3-8b {H100} --seq-length 32K --tp 2 --cp 4 --zero 1 {SP} --tp-overlap yes",
    "gpt": f"gpt-3-175b {H100} --tp 8 --pp 8 --recompute selective --attention unfused {SP}",
    "swapped": f"llama-3-70b {H100} --tp 8 --pp 4 --zero 1 --order tp-cp-pp-dp {SP}",
    "experts": f"mixtral-8x7b {H100} --pp 2 --ep 8 --zero 1 --recompute selective",
    "latent": f"deepseek-v3 {LARGE} --tp 4 --etp 1 --pp 16 --ep 16 --zero 1 --recompute selective {SP}",
    "modules": f"mixtral-8x7b {H100} --pp 2 --ep 8 --zero 1 --recompute selective "
    "--recompute-modules layernorm+moe_act --offload activations --offload-modules core_attn+expert_fc1",
    "fp8": f"llama-3-8b {H100} --tp 2 --zero 1 --precision fp8 --optimizer adamw {SP}",
    "sharded": f"llama-3-8b {H100} --zero 3 --trainer megatron-fsdp",
    "bf16-grads": f"llama-3-8b {H100} --tp 2 --zero 1 --gradients bf16 {SP}",
    "formats": f"llama-3-8b {H100} --tp 2 --zero 1 --moments bf16 --master bf16 --loss fused {SP}",
    "fp8-gather": f"llama-3-8b {H100} --tp 2 --zero 1 {SP} --precision fp8 --gather fp8 --loss compiled",
    "fp8-attention": f"llama-3-8b {H100} --tp 2 --zero 1 {SP} --precision fp8 --attention-precision fp8 "
    "--moments fp8",
    "batched": f"llama-3-70b {H100} --tp 8 --pp 4 --vpp 2 --zero 1 --pp-overlap no {SP} --tp-overlap yes",
    "sent-early": f"mixtral-8x7b {H100} --tp 2 --pp 2 --vpp 2 --ep 8 --zero 1 --ep-overlap yes {SP}",
    "host": f"llama-3-70b {H100} --tp 8 --zero 1 --offload optimizer {SP}",
    "graph": f"llama-3-8b {H100} --tp 2 --zero 1 --trainer megatron {SP}",
    "fsdp": f"llama-3-8b {H100} --zero 3 --trainer fsdp2 --recompute full",
    "zero-2": f"llama-3-8b {H100} --zero 2 --trainer fsdp2 --recompute selective --launch compiled",
    "hybrid": f"llama-3-8b {H100} --zero 3 --trainer fsdp2 --shard-group 8 --recompute full",
    "hosted": f"llama-3-8b {H100} --zero 3 --trainer fsdp2 --offload optimizer+weights --recompute full",
    "hosted-activations": f"llama-3-8b {H100} --zero 3 --trainer accelerate --offload activations --recompute full",
    "all": f"llama-3-70b {H100} --tp 4 --pp 4 --vpp 2 --zero 2 --trainer torchtitan --recompute full {SP}",
    "bubble": f"llama-3-70b {H100} --tp 4 --pp 4 --zero 2 --schedule zero-bubble {SP} --trainer torchtitan "
    "--recompute full",
    "folded": f"llama-3-70b {H100} --tp 4 --pp 4 --vpp 2 --zero 2 --schedule zb-v --recompute full {SP} "
    "--trainer torchtitan --layout first-18-last-22",
    "nested": f"llama-3-8b {H100} --seq-length 32K --tp 2 --cp 8 --zero 1 --cp-exchange hierarchical {SP}",
    "gathered": f"llama-3-8b {H100} --seq-length 32K --cp 4 --zero 3 --cp-exchange all-gather",
    "tensor": f"llama-3-8b {H100} --tp 4 --zero 3 --trainer torchtitan",
    "split": f"llama-3-8b {H100} --tp 4 --zero 3 --trainer accelerate",
    "qwen": f"qwen3-30b-a3b {H100} --ep 8 --zero 3 --trainer torchtitan --recompute full",
    "chunked": f"llama-3-8b {H100} --zero 3 --trainer fsdp2 --loss chunked --reshard always --launch compiled",
    "narrow": f"llama-3-8b {H100} --zero 3 --trainer fsdp2 {NARROW} --reshard never --recompute full",
    "narrow-moments": f"llama-3-8b {H100} --zero 3 --trainer fsdp2 --moments bf16 --loss compiled",
    "fused-loss": f"llama-3-8b {H100} --zero 3 --trainer fsdp2 --loss fused",
    "gpipe": f"llama-3-70b {H100} --tp 8 --pp 4 --zero 2 --trainer torchtitan --schedule gpipe --recompute full {SP}",
    "qwen-nccl": f"qwen3-30b-a3b {H100} --ep 8 --zero 2 --trainer torchtitan --ep-exchange nccl",
    "fsdp-fp8-gather": f"llama-3-8b {H100} --zero 3 --trainer accelerate --precision fp8 --gather fp8 "
    "--recompute full",
    "narrow-master": f"llama-3-8b {H100} --zero 2 --recompute full --trainer deepspeed --master bf16 --moments bf16",
    "host-master": f"llama-3-8b {H100} --zero 2 --recompute full --trainer deepspeed --master bf16 "
    "--offload optimizer",
    "kept": f"llama-3-8b {H100} --zero 3 --trainer deepspeed --reshard never --recompute full",
    "zero-1": f"llama-3-8b {H100} --zero 1 --trainer deepspeed --recompute full",
    "stage-3": f"llama-3-8b {H100} --zero 3 --trainer deepspeed --offload optimizer+weights --recompute full",
    "zero-2-fp32": f"llama-3-8b {H100} --zero 2 --trainer deepspeed --gradients fp32 --recompute full",
    "auto-tp": f"llama-3-8b {H100} --tp 4 --zero 1 --trainer deepspeed",
    "replicas": "resnet-50 --cluster dgx-a100 --nodes 2 --global-batch 4096 --micro-batch 256",
    "one-node": "llama-3-8b --cluster dgx-h100 --nodes 1 --global-batch 64 --zero 3 --trainer fsdp2 --recompute full",
    "tpu": f"llama-3-8b {TPU} --devices 64 --global-batch 512 --zero 3",
    "tpu-chunks": f"llama-3-8b {TPU} --devices 64 --global-batch 512 --zero 3 --loss chunked {NARROW}",
    "tpu-experts": f"mixtral-8x7b {TPU} --devices 128 --global-batch 512 --ep 8 --zero 3 --recompute full",
    "zero-1-fp8": "llama-3-8b --cluster dgx-h100 --nodes 16 --global-batch 64 --micro-batch 4 --trainer maxtext "
    "--precision fp8 --zero 1 --tp 8 --recompute selective",
    "tpu-model": f"llama-3-70b {TPU} --devices 256 --global-batch 512 --tp 4 --zero 3 --recompute full",
}
"""Arguments of `planner estimate`."""

_MEGATRON_PLANS = (
    "dense",
    "uneven",
    "laid-out",
    "block",
    "long",
    "gpt",
    "swapped",
    "experts",
    "fp8",
    "sharded",
    "bf16-grads",
    "host",
    "graph",
    "formats",
    "fp8-gather",
    "batched",
    "sent-early",
)
_DEEPSPEED_PLANS = ("zero-1", "stage-3")
_FSDP_PLANS = ("fsdp", "zero-2", "hybrid", "hosted", "one-node")
PLANS_BY_TRAINER: dict[str, tuple[str, ...]] = {
    "megatron-lm": (*_MEGATRON_PLANS, "latent", "modules", "nested"),
    "megatron-bridge": (*_MEGATRON_PLANS, "latent", "fp8-attention", "modules", "nested"),
    "deepspeed": (*_DEEPSPEED_PLANS, "zero-2-fp32", "auto-tp", "narrow-master", "host-master", "kept"),
    "torchtitan": (
        *(*_FSDP_PLANS, "chunked", "narrow", "narrow-moments"),
        *("all", "bubble", "folded", "gathered", "tensor", "qwen", "gpipe", "qwen-nccl"),
    ),
    "fsdp2": (*_FSDP_PLANS, "chunked", "narrow", "narrow-moments", "fused-loss"),
    "maxtext": ("tpu", "tpu-model", "tpu-experts", "tpu-chunks", "gathered", "zero-1-fp8"),
    "nemo": (*_MEGATRON_PLANS, "fp8-attention"),
    "accelerate": (
        *("fsdp", "hybrid", "hosted", "gathered", "split", "narrow", "fsdp-fp8-gather", "replicas"),
        "hosted-activations",
        *(*_DEEPSPEED_PLANS, "narrow-master"),
    ),
}
"""Plans that each trainer supports."""
CASES = [(trainer, name) for trainer, names in PLANS_BY_TRAINER.items() for name in names]


@cache
def estimate_document(name: str) -> str:
    """The document of `planner estimate` for a plan."""
    done = call("planner", "estimate", *shlex.split(PLANS[name]), "--format", "json")
    assert done.returncode == 0, done.stderr
    return done.stdout


def export_plan(folder: Path, name: str, trainer: str, *options: str) -> Path:
    """The folder with the files of a plan."""
    plan, out = folder / f"{name}.json", folder / f"{name}-{trainer}"
    plan.write_text(estimate_document(name))
    if trainer == "torchtitan" and name.startswith("qwen"):
        options = (*options, "--without", "aux-loss")
    done = call("planner", "export", str(plan), "--to", trainer, "-o", str(out), *options)
    assert done.returncode == 0, done.stderr
    return out


def build_run(name: str) -> PlannedRun:
    """The plan as `planner export` passes it to trainers."""
    text = convert_to_type(parse_mapping(estimate_document(name), "json", name), PlanDocument, name)
    spec = read_model_preset(text.model.name)
    length = text.model.seq_length if isinstance(spec, ModelSpec) else None
    return build_planned_run(text, 1, spec, build_workload(spec, seq_length=length))
