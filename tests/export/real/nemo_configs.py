"""Run by itself: NeMo's configuration of exported scripts, as JSON.

In: a list of scripts' paths. Out, into the file that is named: for each the values that NeMo trains with, after its
strategy has put its own into the model's configuration, which is then checked again. PYTHONPATH has NeMo and the
megatron-core that it imports; packages that are built for GPUs, or that no configuration needs, are mocked.
"""

import inspect
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import ml_dtypes as ml_dtypes  # numpy's bfloat16, which megatron-core asks for by its name
from stand_ins import put_stand_ins

MOCKED = (
    *("transformer_engine", "modelopt", "nemo_run", "nemo.lightning.one_logger_callback", "onnx"),
    *("sentencepiece", "tensorstore", "tiktoken", "wget"),
)


def hold_arguments(function):  # type: ignore[no-untyped-def]
    """A function that takes what `function` takes, and keeps and returns it."""
    signature = inspect.signature(function)

    def hold(**arguments):  # type: ignore[no-untyped-def]
        signature.bind(**arguments)
        hold.held.append(SimpleNamespace(**arguments))
        return hold.held[-1]

    hold.held = []  # type: ignore[attr-defined]
    return hold


def read_values(script: str) -> dict[str, object]:
    names = runpy.run_path(script, run_name="planned")
    with (
        patch.object(names["nl"], "Trainer", hold_arguments(names["nl"].Trainer)),  # which looks for the GPUs
        patch.object(names["llm"], "pretrain", hold_arguments(names["llm"].pretrain)) as pretrain,
    ):
        names["main"]()
        (held,) = pretrain.held
    model, trainer, optimizer = held.model, held.trainer, held.optim.config
    strategy, config, model.optim = trainer.strategy, model.config, held.optim
    strategy.connect(model)
    for target in (config, strategy.ddp_config, optimizer):
        update_config_with_dtype_overrides(trainer.plugins.dtype_config, target)
        target.__post_init__()
    return {
        "devices": trainer.devices * trainer.num_nodes,
        "tp": config.tensor_model_parallel_size,
        "pp": config.pipeline_model_parallel_size,
        "cp": config.context_parallel_size,
        "layers": config.num_layers,
        "batch": [held.data.global_batch_size, held.data.micro_batch_size],
        "steps": trainer.max_steps,
        "zero": strategy.ddp_config.use_distributed_optimizer,
        "loss": config.cross_entropy_fusion_impl if config.cross_entropy_loss_fusion else None,
        "overlaps": [config.overlap_p2p_comm, config.overlap_moe_expert_parallel_comm],
        "dispatcher": [config.moe_token_dispatcher_type, config.moe_enable_deepep],
        "fp8": [config.fp8, config.fp8_recipe, config.fp8_param, strategy.ddp_config.fp8_param_gather],
        "fp8_attention": [config.fp8_dot_product_attention, config.attention_backend.name],
        "moments": [str(optimizer.exp_avg_dtype), str(optimizer.exp_avg_sq_dtype)],
        "graph": config.enable_cuda_graph and config.cuda_graph_scope == "full_iteration",
        "master": [optimizer.use_precision_aware_optimizer, optimizer.store_param_remainders],
    }


put_stand_ins(*MOCKED)
from nemo.lightning.pytorch.plugins.mixed_precision import update_config_with_dtype_overrides  # noqa: E402

Path(sys.argv[1]).write_text(json.dumps([read_values(script) for script in json.load(sys.stdin)]))
