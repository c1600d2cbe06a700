"""Megatron-LM: `pretrain_gpt.py` and its arguments (megatron/training/arguments.py of core_v0.16.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.export.run import PlannedRun
from planner.export.text import format_bash_array
from planner.export.trainer import TrainerExport, format_torchrun_array
from planner.export.trainers import megatron_core, megatron_settings
from planner.trainers.megatron.programs import MEGATRON_LM
from planner.workload.spec import ModelSpec

_OPTION_NAMES = {
    "num_moe_experts": "--num-experts",
    "layernorm_epsilon": "--norm-epsilon",
    "fp8": "--fp8-format",
    "fp4": "--fp4-format",
    "virtual_pipeline_model_parallel_size": "--num-virtual-stages-per-pipeline-rank",
}
_SPECIAL_OPTIONS: dict[tuple[str, megatron_core.ConfigValue], tuple[str, ...]] = {
    ("add_bias_linear", False): ("--disable-bias-linear",),
    ("grad_reduce_in_fp32", True): ("--accumulate-allreduce-grads-in-fp32",),
    ("grad_reduce_in_fp32", False): ("--grad-reduce-in-bf16",),
}
"""Arguments whose name differs from their field."""
_SPREAD_LISTS = ("hierarchical_context_parallel_sizes",)
"""Lists of numbers that are several values of an argument, and no expression."""

_FIELDS_WITHOUT_OPTION = ("gated_linear_unit", "original_max_position_embeddings", "beta_fast", "beta_slow")
"""Fields that are set by another argument, or that are always at their default."""

_LAUNCH_TEMPLATE = """
: "${MEGATRON_LM:?the folder of Megatron-LM, with pretrain_gpt.py}"
# Without arguments of your own (--data-path, --tokenizer-type, ...) it runs on synthetic data.
if (( $# == 0 )); then
  set -- --mock-data --tokenizer-type NullTokenizer --vocab-size %s
fi
exec "${torchrun[@]}" "$MEGATRON_LM/pretrain_gpt.py" \\
  "${model[@]}" "${parallel[@]}" "${training[@]}" --save "$CHECKPOINTS" --load "$CHECKPOINTS" \\
  ${EXIT_MINUTES:+--exit-duration-in-mins "$EXIT_MINUTES"} "${yours[@]}" "$@"
"""


def _build_options(fields: Mapping[str, megatron_core.ConfigValue | None]) -> list[tuple[object, ...]]:
    """Fields as arguments, each with its values; those that are None or False are left out."""
    options: list[tuple[object, ...]] = []
    for name, value in megatron_core.drop_defaults(fields).items():
        option = _OPTION_NAMES.get(name, "--" + name.replace("_", "-"))
        if not isinstance(value, (list, tuple)) and (name, value) in _SPECIAL_OPTIONS:
            options.append(_SPECIAL_OPTIONS[name, value])
        elif name == "num_query_groups":
            options += [("--group-query-attention",), (option, value)]
        elif isinstance(value, bool):
            options += [(option,)] if value else []
        elif isinstance(value, tuple):
            options.append((option, ",".join(map(str, value))))
        elif isinstance(value, list) and name not in _SPREAD_LISTS and all(isinstance(item, int) for item in value):
            options.append((option, _format_list_expression(value)))
        else:
            options.append((option, *value) if isinstance(value, list) else (option, value))
    return options


def _format_list_expression(values: Sequence[object]) -> str:
    """A list as an expression such as [0]*3+[1]*58."""
    repeats: list[tuple[object, int]] = []
    for value in values:
        if repeats and repeats[-1][0] == value:
            repeats[-1] = (value, repeats[-1][1] + 1)
        else:
            repeats.append((value, 1))
    if len(repeats) > 8:
        return str(list(values)).replace(" ", "")
    return "(" + "+".join(f"[{value}]*{count}" for value, count in repeats) + ")"


def _build_script_body(run: PlannedRun) -> str:
    """Every argument that the plan determines, in arrays."""
    model, strategy, fields = run.decoder, run.strategy, megatron_core.build_transformer_config(run)
    parallel_names = {name for name in fields if "parallel" in name or name in ("cp_comm_type", "tp_comm_overlap")}
    learned_positions = model.learned_positions
    model_fields = {
        **{name: value for name, value in fields.items() if name not in (*parallel_names, *_FIELDS_WITHOUT_OPTION)},
        **_build_activation_fields(model),
        "seq_length": run.seq_length,
        "max_position_embeddings": learned_positions or run.seq_length,
        "position_embedding_type": "learned_absolute" if learned_positions else "rope",
        **_build_rope_fields(model),
        "untie_embeddings_and_output_weights": not model.tied_embeddings,
        "make_vocab_size_divisible_by": megatron_core.compute_vocab_divisor(run),
    }
    parallel_fields = {
        **{name: value for name, value in fields.items() if name in parallel_names},
        **megatron_core.build_ddp_config(run),
        "ckpt_format": "fsdp_dtensor" if strategy.zero_stage > 1 else None,
        "use_tp_pp_dp_mapping": megatron_core.uses_pp_dp_order(run),
        "no_overlap_p2p_communication": strategy.vpp > 1 and not megatron_settings.overlaps_sends(run),
        **megatron_settings.build_weight_fields(run),
        "optimizer_cpu_offload": "optimizer" in run.settings.offload,
        "use_precision_aware_optimizer": megatron_settings.uses_aware_optimizer(run),
        **megatron_settings.build_optimizer_formats(run),
    }
    training_fields: dict[str, megatron_core.ConfigValue | None] = {
        "micro_batch_size": strategy.micro_batch,
        "global_batch_size": run.global_batch,
        "train_iters": run.steps,
        "save_interval": run.checkpoint_steps,
        "te_rng_tracker": "cuda_graph_impl" in fields,
        "no_check_for_nan_in_loss_and_grad": "cuda_graph_impl" in fields,
    }
    user_options = [("--lr", "3.0e-4"), ("--min-lr", "3.0e-5"), ("--lr-decay-style", "cosine")]
    return (
        format_torchrun_array(run)
        + format_bash_array("model", _build_options(model_fields), "the model and its kernels")
        + format_bash_array(
            "parallel", _build_options(parallel_fields), "the plan: parallelism, batch and recomputation"
        )
        + format_bash_array("training", _build_options(training_fields))
        + format_bash_array("yours", user_options, "the plan does not determine these: choose them")
        # the null tokenizer adds its end-of-document token to the vocabulary
        + _LAUNCH_TEMPLATE % (model.vocab_size - 1)
    )


def _build_activation_fields(model: ModelSpec) -> megatron_core.ConfigFields:
    """The activation function of the MLP. Without an argument it is gelu, of which the kernel that is fused with a
    bias has the tanh form (megatron/core/fusions/fused_bias_gelu.py).
    """
    if model.gated_mlp:
        return {"swiglu" if model.mlp_activation == "silu" else "quick_geglu": True}
    if model.mlp_activation == "squared-relu":
        return {"squared_relu": True}
    return {"no_bias_gelu_fusion": True} if model.mlp_activation == "gelu" and model.mlp_bias else {}


def _build_rope_fields(model: ModelSpec) -> dict[str, megatron_core.ConfigValue | None]:
    """Rotary positions of attention that is not latent; the factor of Llama 3.1's scaling is 8 in the code."""
    if model.mla is not None or not model.has_rotary_positions:
        return {}
    return {
        "rotary_base": megatron_core.format_rope_base(model),
        "rotary_percent": model.rope_fraction,
        "use_rope_scaling": model.rope_scaling is not None,
    }


TRAINER = TrainerExport(
    MEGATRON_LM,
    _build_script_body,
    build_environment=megatron_core.build_megatron_environment,
    build_notes=megatron_core.build_megatron_core_notes,
    saves_before_end=True,
)
