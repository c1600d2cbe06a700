"""Megatron-Bridge: a script with a `ConfigContainer` (megatron-bridge 0.3, megatron/bridge/training/config.py)."""

from __future__ import annotations

from functools import partial

from planner.export.run import PlannedRun
from planner.export.text import PythonSource, format_comments, format_python_call
from planner.export.trainer import TrainerExport, describe_plan
from planner.export.trainers import megatron_core, megatron_settings
from planner.trainers.megatron.programs import MEGATRON_BRIDGE
from planner.workload.spec import ModelSpec

BRIDGE_SCRIPT_FILE = "planned_bridge.py"

_SCRIPT = '''{comments}"""A plan for Megatron-Bridge: torchrun runs it. Data and optimizer are yours to change."""

import os

import torch
import torch.nn.functional as F
{activation}from megatron.core.transformer.enums import AttnBackend

{imports}
from megatron.bridge.training.config import (
    CheckpointConfig,
    ConfigContainer,
    DistributedDataParallelConfig,
    DistributedInitConfig,
    LoggerConfig,
    MockGPTDatasetConfig,
    OptimizerConfig,
    RerunStateMachineConfig,
    RNGConfig,
    SchedulerConfig,
    TokenizerConfig,
    TrainingConfig,
)
from megatron.bridge.training.mixed_precision import MixedPrecisionConfig


def config() -> ConfigContainer:
    """The plan."""
    return ConfigContainer(
        model={model},
        train={train},
        ddp={ddp},
        dist={dist},
        mixed_precision={precision},{overlap}
        rng={rng},
        rerun_state_machine={rerun},
        # the plan determines only how the optimizer is sharded: choose the rest
        optimizer={optimizer},
        scheduler=SchedulerConfig(lr_decay_style="cosine"),
        dataset={data},
        tokenizer=TokenizerConfig(tokenizer_type="NullTokenizer", vocab_size={vocabulary}),
        checkpoint={checkpoint},
        logger=LoggerConfig(log_interval=10),
    )


if __name__ == "__main__":
    from megatron.bridge.training.gpt_step import forward_step
    from megatron.bridge.training.pretrain import pretrain

    pretrain(config(), forward_step)
'''


_GPT_OSS_DEFAULTS: dict[str, object] = {
    "window_size": None,
    "window_attn_skip_freq": None,
    "softmax_type": "vanilla",
    "glu_linear_offset": 0.0,
    "activation_func_clamp_value": None,
    "add_bias_linear": True,
    "gated_linear_unit": False,
    "bias_dropout_fusion": True,
}
"""Fields of GPTOSSProvider that a model of another family has at the defaults of TransformerConfig."""


def _render_script(run: PlannedRun) -> str:
    model, uses_fsdp = run.decoder, run.strategy.zero_stage > 1
    module, provider = _find_provider(model)
    imports = f"from {module} import {provider}"
    overlap = ""
    if run.overlaps_tp:
        imports += "\nfrom megatron.bridge.training.comm_overlap import CommOverlapConfig"
        overlap = (
            f"\n        comm_overlap={format_python_call('CommOverlapConfig', _build_overlap_arguments(run), 2)},"
        )
    has_cuda_graph = "cuda_graph_impl" in megatron_core.build_transformer_config(run)
    is_padded = megatron_core.compute_padded_vocab_size(run) != model.vocab_size
    model_arguments = {
        **(_GPT_OSS_DEFAULTS if provider == "GPTOSSProvider" else {}),
        **megatron_core.build_provider_arguments(run),
        "pipeline_dtype": megatron_core.get_pipeline_dtype(run),
        "seq_length": run.seq_length,
        "vocab_size": model.vocab_size,
        **({"should_pad_vocab": True, "make_vocab_size_divisible_by": 128} if is_padded else {}),
        **megatron_core.build_embedding_config(model),
        **_build_rope_scaling_arguments(model),
    }
    train_arguments = {
        "train_iters": run.steps,
        "global_batch_size": run.global_batch,
        "micro_batch_size": run.strategy.micro_batch,
        # a launcher whose job ends before the run sets it
        "exit_duration_in_mins": PythonSource('int(os.environ.get("EXIT_MINUTES", 0)) or None'),
    }
    checkpoints = PythonSource('os.environ.get("CHECKPOINTS", "checkpoints")')
    checkpoint_arguments = {
        "save": checkpoints,
        "load": checkpoints,
        "save_interval": run.checkpoint_steps,
        "ckpt_format": "fsdp_dtensor" if uses_fsdp else "torch_dist",
    }
    dist_arguments = {
        **({"use_megatron_fsdp": True} if uses_fsdp else {}),
        **({"use_tp_pp_dp_mapping": True} if megatron_core.uses_pp_dp_order(run) else {}),
    }
    synthetic_data_arguments = {
        "seq_length": run.seq_length,
        "random_seed": 1234,
        "reset_position_ids": False,
        "reset_attention_mask": False,
        "eod_mask_loss": False,
        "dataloader_type": "single",
    }
    format_call = partial(format_python_call, depth=2)
    return _SCRIPT.format(
        comments=format_comments(describe_plan(run, MEGATRON_BRIDGE.name)),
        imports=imports,
        activation=megatron_core.format_activation_imports(model),
        model=format_call(provider, model_arguments),
        train=format_call("TrainingConfig", train_arguments),
        ddp=format_call("DistributedDataParallelConfig", megatron_core.build_ddp_config(run)),
        dist=format_call("DistributedInitConfig", dist_arguments),
        precision=format_call("MixedPrecisionConfig", megatron_core.build_precision_config(run)),
        overlap=overlap,
        rng=format_call("RNGConfig", {"te_rng_tracker": True} if has_cuda_graph else {}),
        rerun=format_call("RerunStateMachineConfig", {"check_for_nan_in_loss": False} if has_cuda_graph else {}),
        optimizer=format_call("OptimizerConfig", megatron_core.build_optimizer_config(run)),
        data=format_call("MockGPTDatasetConfig", synthetic_data_arguments),
        vocabulary=model.vocab_size - 1,
        checkpoint=format_call("CheckpointConfig", checkpoint_arguments),
    )


def _find_provider(model: ModelSpec) -> tuple[str, str]:
    """Module and class of the model. gpt-oss' alone has fields for yarn outside latent attention."""
    if model.mla is not None:
        return "megatron.bridge.models.mla_provider", "MLAModelProvider"
    if model.rope_scaling is not None and model.rope_scaling.type == "yarn":
        return "megatron.bridge.models.gpt_oss.gpt_oss_provider", "GPTOSSProvider"
    return "megatron.bridge.models", "GPTModelProvider"


def _build_overlap_arguments(run: PlannedRun) -> dict[str, object]:
    """All overlaps: CommOverlapConfig chooses those that are left out by itself."""
    sharding, overlaps_sends = megatron_core.build_ddp_config(run), megatron_settings.overlaps_sends(run)
    return {
        "tp_comm_overlap": True,
        "overlap_p2p_comm": overlaps_sends,
        "batch_p2p_comm": not overlaps_sends,
        "overlap_grad_reduce": "overlap_grad_reduce" in sharding,
        "overlap_param_gather": "overlap_param_gather" in sharding,
        "overlap_moe_expert_parallel_comm": megatron_settings.overlaps_expert_comm(run),
    }


def _build_rope_scaling_arguments(model: ModelSpec) -> dict[str, object]:
    """The scaling of rotary positions, of attention that is not latent."""
    scaling = model.rope_scaling
    if scaling is None or model.mla is not None:
        return {}
    if scaling.type == "llama3":
        return {"rope_scaling": True, "rope_scaling_factor": scaling.factor}
    if scaling.type == "linear":
        return {"seq_len_interpolation_factor": scaling.factor}
    return {
        "position_embedding_type": "yarn",
        "yarn_rotary_scaling_factor": scaling.factor,
        "yarn_original_max_position_embeddings": scaling.original_seq_length,
        "yarn_beta_fast": scaling.beta_fast,
        "yarn_beta_slow": scaling.beta_slow,
        "yarn_mscale": scaling.mscale,
        "yarn_mscale_all_dim": scaling.mscale_all_dim,
        "yarn_correction_range_round_to_int": scaling.truncate,
    }


TRAINER = TrainerExport(
    MEGATRON_BRIDGE,
    lambda run: megatron_core.format_script_command(run, BRIDGE_SCRIPT_FILE),
    lambda run: {BRIDGE_SCRIPT_FILE: _render_script(run)},
    megatron_core.build_megatron_environment,
    megatron_core.build_megatron_core_notes,
    saves_before_end=True,
)
