"""MaxText, for TPUs and GPUs: a file over its `base.yml` (MaxText 0.2, maxtext/configs/base.yml and types.py).

One mesh over all devices (`ici_*`; its axes from the outside in: data, fsdp, context, tensor, expert). ZeRO 3 is the
fsdp axis, ZeRO 1 the data axis with a sharded optimizer. The context axis shards weights too, as the plan's does.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.fsdp import exposed, some_layers
from planner.export.run import Run
from planner.export.shell import TRAIN, about_plan, rendezvous, train_script
from planner.export.trainer import (
    Files,
    Misfit,
    Own,
    Trainer,
    above_one,
    among,
    decoder,
    odd_layers,
    on,
    ordered,
)
from planner.export.yaml_json import to_yaml
from planner.workload.spec import ModelSpec

NAME = "maxtext"
CONFIG = "maxtext.yml"

_CP = {"all-gather": "all_gather", "ring": "ring", "all-to-all": "ulysses"}
_REMAT = {"none": "none", "selective": "minimal", "full": "full"}
"""`minimal` keeps what the multiplies give, and repeats the rest."""
_ABSENT = (
    "qkv_bias",
    "attention_out_bias",
    "mlp_bias",
    "learned_positions",
    "embedding_norm",
    "relative_positions",
    "token_types",
    "attention_sinks",
    "sliding_window",
)
_BODY = 'exec python3 -m maxtext.trainers.pre_train.train "$here/maxtext.yml" "$@"\n'
_GPU = """export NNODES={nodes} JAX_COORDINATOR_IP="$MASTER_ADDR" JAX_COORDINATOR_PORT="$MASTER_PORT" NODE_RANK
"""


def misfits(run: Run) -> Iterator[Misfit]:
    """What its configuration has no words for."""
    one, settings = run.strategy, run.settings
    yield from decoder(run)
    yield from on(run, ("Google", "NVIDIA gpu", "AMD gpu"))
    yield from above_one(run, ("tp", "cp", "ep"))
    yield from among("precision", run.precision, ("bf16", "fp32", "fp8"))
    yield from among("zero_stage", one.zero_stage, (0, 1, 3))
    if run.model is not None:
        yield from _model_misfits(run, run.model)
    yield from some_layers(run)
    for name in settings.offload:
        if name == "activations":
            yield Misfit("offload", name, "offload none, optimizer or weights")
    yield from exposed(run)
    group = settings.shard_group
    if group is not None and (one.zero_stage != 3 or one.ep > 1 or group % one.cp or one.dp % (group // one.cp)):
        yield Misfit("shard_group", group, "shard_group all, or cp times a divisor of dp under ZeRO 3")
    yield from ordered(run, ("tp-cp-dp-pp",))


def _model_misfits(run: Run, model: ModelSpec) -> Iterator[Misfit]:
    one, moe = run.strategy, model.moe
    yield from odd_layers(model, _ABSENT)
    yield from among("model.norm", model.norm, ("rmsnorm",))
    yield from among("model.head", model.head, ("lm",))
    yield from among("model.gated_mlp", model.gated_mlp, (True,))
    if moe is None:
        return
    if one.dp % one.ep:
        yield Misfit("ep", one.ep, "a divisor of dp")
    if one.etp != one.tp:
        yield Misfit("etp", one.etp, f"etp {one.tp}: experts are cut as the rest")
    if moe.every > 1:
        yield Misfit("model.moe.every", moe.every, "1")
    shared = bool(moe.shared_ffn_size or moe.first_dense_layers or model.mla is not None)
    if shared and (model.mla is None or moe.shared_ffn_size % moe.expert_ffn_size or moe.shared_gate):
        yield Misfit("model.moe.shared_ffn_size", moe.shared_ffn_size, "experts as Mixtral's, Qwen3's or DeepSeek's")
    if moe.expert_bias:
        yield Misfit("model.moe.expert_bias", "true", "false")


def notes(run: Run) -> Iterator[str]:
    """What is run otherwise than planned, without harm to the result."""
    if run.launch != "graph":
        yield f"the plan's kernels are launched {run.launch}; XLA compiles the whole step: it is shorter than planned"
    if run.settings.tp_overlap and run.strategy.tp > 1:
        yield "whether tensor-parallel exchange is hidden is XLA's to decide (XLA_FLAGS, LIBTPU_INIT_ARGS)"
    if run.settings.gradients != run.settings.communication:
        yield "in which format gradients are sent is XLA's to decide"


def config(run: Run) -> dict[str, object]:
    """The plan as keys of base.yml."""
    assert run.model is not None
    one, settings = run.strategy, run.settings
    flash = "flash" if run.part.kind == "tpu" else "cudnn_flash_te"
    return {
        "base_config": "base.yml",
        "run_name": run.name,
        "hardware": "tpu" if run.part.kind == "tpu" else "gpu",
        **_shape(run.model),
        "max_target_length": run.seq_length,
        "attention": "dot_product" if run.attention == "unfused" else flash,
        **_mesh(run),
        "per_device_batch_size": _plain(run.strategy.micro_batch * one.dp / run.devices),
        "gradient_accumulation_steps": run.micro_batches,
        "steps": run.steps,
        "remat_policy": _REMAT[one.recompute],
        "dtype": "float32" if run.precision == "fp32" else "bfloat16",
        "weight_dtype": "float32",
        "grad_dtype": "float32" if settings.gradients == "fp32" else "bfloat16",
        **({"quantization": "fp8"} if run.precision == "fp8" else {}),
        **({"optimizer_memory_host_offload": True} if "optimizer" in settings.offload else {}),
        **({"parameter_memory_host_offload": True} if "weights" in settings.offload else {}),
        # of these the plan knows nothing: the user's to choose
        "dataset_type": "synthetic",
        "enable_checkpointing": False,
        "learning_rate": 3.0e-4,
    }


def _plain(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _mesh(run: Run) -> dict[str, object]:
    """Sizes of the mesh: their product is the number of devices."""
    one, group = run.strategy, run.settings.shard_group
    width = one.dp // one.ep
    fsdp = 1 if one.zero_stage < 3 else width if group is None else group // one.cp
    tensor = "ici_tensor_sequence_parallelism" if one.sequence_parallel else "ici_tensor_parallelism"
    found: dict[str, object] = {
        "num_slices": 1,
        "dcn_data_parallelism": 1,
        "ici_data_parallelism": width // fsdp,
        "ici_fsdp_parallelism": fsdp,
        "ici_context_parallelism": one.cp,
        tensor: one.tp,
        "ici_expert_parallelism": one.ep,
    }
    if one.zero_stage == 1:
        found["shard_optimizer_over_data"] = True
    if one.cp > 1:
        found["context_parallel_strategy"] = _CP[run.settings.cp_exchange]
    return found


def _shape(model: ModelSpec) -> dict[str, object]:
    found: dict[str, object] = {
        "decoder_block": _block(model),
        "base_num_decoder_layers": model.layers,
        "base_emb_dim": model.hidden_size,
        "base_num_query_heads": model.heads,
        "base_num_kv_heads": model.kv_head_count,
        "base_mlp_dim": model.ffn_size,
        "mlp_activations": ["silu", "linear"],
        "vocab_size": model.vocab_size,
        "logits_via_embedding": model.tied_embeddings,
        "enable_dropout": model.dropout,
    }
    if model.mla is None:
        found["head_dim"] = model.head_size
    if model.qk_norm:
        found["use_qk_norm"] = True
    return found | _latent(model) | _experts(model)


def _block(model: ModelSpec) -> str:
    """Whose layers MaxText builds."""
    if model.mla is not None:
        return "deepseek"
    if model.moe is not None:
        return "qwen3_moe" if model.qk_norm else "mixtral"
    return "qwen3" if model.qk_norm else "llama2"


def _latent(model: ModelSpec) -> dict[str, object]:
    mla = model.mla
    if mla is None:
        return {}
    return {
        "attention_type": "mla",
        "q_lora_rank": mla.q_lora_rank,
        "kv_lora_rank": mla.kv_lora_rank,
        "qk_nope_head_dim": mla.qk_nope_head_dim,
        "qk_rope_head_dim": mla.qk_rope_head_dim,
        "v_head_dim": mla.v_head_dim,
    }


def _experts(model: ModelSpec) -> dict[str, object]:
    moe = model.moe
    if moe is None:
        return {}
    found: dict[str, object] = {
        "num_experts": moe.experts,
        "num_experts_per_tok": moe.topk,
        "base_moe_mlp_dim": moe.expert_ffn_size,
    }
    if model.mla is not None:
        found |= {
            "first_num_dense_layers": moe.first_dense_layers,
            "shared_experts": moe.shared_ffn_size // moe.expert_ffn_size,
            "routed_bias": moe.router_bias,
        }
        return found | ({"routed_score_func": "sigmoid"} if moe.router_bias else {})
    # a model of experts alone has no other MLP
    return found | {"base_mlp_dim": moe.expert_ffn_size}


def files(run: Run, own: Own) -> Files:
    """The configuration, and `train.sh`: one process a node, which on TPUs finds the others by itself."""
    tpu = run.part.kind == "tpu"
    body = _BODY if tpu else rendezvous(run) + _GPU.format(nodes=run.nodes) + _BODY
    return {CONFIG: to_yaml(about_plan(run, NAME), config(run)), TRAIN: train_script(run, NAME, own, body)}


TRAINER = Trainer(NAME, ("maxtext",), misfits, notes, files)
