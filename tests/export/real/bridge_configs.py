"""Run by itself: Megatron-Bridge's configuration of exported scripts, as JSON.

In: a list of scripts' paths; beside each a JSON file of its name with `devices` and `env`, as its launcher sets it.
Out, into the file that is named: for each its sizes and settings, after what Megatron-Bridge does with a
configuration before it trains, its checks among it. PYTHONPATH has megatron-bridge; packages that are built for GPUs,
which it imports and no configuration needs, are mocked, and the GPU is an H100.
"""

import json
import os
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import megatron
from stand_ins import put_stand_ins

BUILT = ("transformer_engine", "nvidia_resiliency_ext", "modelopt", "qwen_vl_utils", "timm", "open_clip", "mamba_ssm")


def read_sizes(script: str) -> dict[str, object]:
    from megatron.bridge.training import config as training

    config = runpy.run_path(script, run_name="planned")["config"]()
    launch = json.loads(Path(script).with_suffix(".json").read_text())
    with (
        patch.object(training, "get_world_size_safe", lambda: launch["devices"]),
        patch.dict(os.environ, launch["env"]),
    ):
        training.runtime_config_update(config)
    model, optimizer = config.model, config.optimizer
    return {
        "class": type(config).__qualname__,
        "tp": model.tensor_model_parallel_size,
        "pp": model.pipeline_model_parallel_size,
        "cp": model.context_parallel_size,
        "layers": model.num_layers,
        "vocabulary": model.vocab_size,
        "global_batch": config.train.global_batch_size,
        "micro_batch": config.train.micro_batch_size,
        "zero": config.ddp.use_distributed_optimizer,
        "fsdp": config.dist.use_megatron_fsdp,
        "dp": config.data_parallel_size,
        "loss": model.cross_entropy_fusion_impl if model.cross_entropy_loss_fusion else None,
        "overlaps": [
            model.tp_comm_overlap,
            model.overlap_p2p_comm,
            model.overlap_moe_expert_parallel_comm,
            config.ddp.overlap_grad_reduce,
            config.ddp.overlap_param_gather,
        ],
        "dispatcher": [model.moe_token_dispatcher_type, model.moe_flex_dispatcher_backend],
        "fp8": [str(model.fp8), str(model.fp8_recipe), model.fp8_param, config.ddp.fp8_param_gather],
        "fp8_attention": [model.fp8_dot_product_attention, model.attention_backend.name],
        "moments": [str(optimizer.exp_avg_dtype), str(optimizer.exp_avg_sq_dtype)],
        # who has the master weights, and whether as the rest of 16-bit weights
        "master": [optimizer.use_precision_aware_optimizer_no_fp8_or_ds_fp8, optimizer.store_param_remainders],
    }


put_stand_ins(*BUILT)
# a namespace of two folders: megatron-core's and this
assert any("bridge" in [entry.name for entry in Path(part).iterdir()] for part in megatron.__path__)
Path(sys.argv[1]).write_text(json.dumps([read_sizes(script) for script in json.load(sys.stdin)]))
