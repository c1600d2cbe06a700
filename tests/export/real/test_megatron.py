"""Megatron-LM: by megatron-core's own configuration, and by Megatron-LM's argument parser where there is a copy."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from planner.export.run import PlannedRun
from planner.export.trainers import megatron_core
from tests.export.plans import PLANS, PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.words import KERNEL_VARIABLES, capture_arguments

pytestmark = pytest.mark.export

CHECKOUT = Path(os.environ.get("MEGATRON_LM", Path(__file__).parents[3] / ".venv-export" / "Megatron-LM"))
"""Megatron-LM of the same version as megatron-core, which PyPI does not have."""


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["megatron-lm"])
def test_megatron_core_takes_the_configuration(name: str) -> None:
    torch = import_package("torch")
    config = import_package("megatron.core.transformer.transformer_config")
    ddp = import_package("megatron.core.distributed.distributed_data_parallel_config")
    run = build_run(name)
    fields = megatron_core.build_transformer_config(run)
    fields |= {"pipeline_dtype": torch.bfloat16}
    config_type = config.MLATransformerConfig if fields.get("multi_latent_attention") else config.TransformerConfig
    made = config_type(**fields)
    assert made.num_layers == run.layers
    assert made.pipeline_model_parallel_size == run.strategy.pp
    shared = megatron_core.build_ddp_config(run)
    known = {field.name for field in dataclasses.fields(ddp.DistributedDataParallelConfig)}
    made = ddp.DistributedDataParallelConfig(**{k: v for k, v in shared.items() if k in known})
    assert set(shared) - known <= {"use_megatron_fsdp"}


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """The arguments of each plan as Megatron-LM parses them, in a single process, which takes long to start."""
    import_package("megatron.core")
    if not (CHECKOUT / "megatron" / "training" / "arguments.py").is_file():
        pytest.skip(f"there is no Megatron-LM in {CHECKOUT}; MEGATRON_LM names another folder")
    runs = []
    for name in PLANS_BY_TRAINER["megatron-lm"]:
        folder = export_plan(tmp_path_factory.mktemp("megatron"), name, "megatron-lm")
        words, environment = capture_arguments("torchrun", folder / "train.sh", MEGATRON_LM=str(CHECKOUT))
        at = words.index(str(CHECKOUT / "pretrain_gpt.py"))
        nodes, devices = (int(words[words.index(word) + 1]) for word in ("--nnodes", "--nproc-per-node"))
        limits = {key: value for key, value in environment.items() if key in KERNEL_VARIABLES}
        runs.append({"words": words[at + 1 :], "env": limits, "devices": nodes * devices})
    out = tmp_path_factory.mktemp("parsed") / "arguments.json"
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_DEVICE_MAX_CONNECTIONS"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("megatron_arguments.py")), str(out)],
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        input=json.dumps(runs),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(PLANS_BY_TRAINER["megatron-lm"], json.loads(out.read_text()), strict=True))


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["megatron-lm"])
def test_megatron_lm_parses_and_accepts_the_arguments(name: str, parsed: dict[str, dict[str, object]]) -> None:
    args, run = SimpleNamespace(**parsed[name]), build_run(name)
    strategy = run.strategy
    assert (args.tensor_model_parallel_size, args.pipeline_model_parallel_size) == (strategy.tp, strategy.pp)
    assert (args.data_parallel_size, args.context_parallel_size) == (strategy.dp, strategy.cp)
    assert (args.virtual_pipeline_model_parallel_size or 1) == strategy.vpp
    assert args.sequence_parallel == (strategy.sequence_parallel and strategy.tp > 1)
    assert args.use_distributed_optimizer == (strategy.zero_stage > 0)
    assert args.bf16
    assert args.global_batch_size // (args.micro_batch_size * args.data_parallel_size) == run.micro_batches
    assert args.fp8 == ("hybrid" if "fp8" in PLANS[name] else None)
    assert (args.num_layers, args.train_iters) == (run.layers, run.steps)
    check_settings(args, run)


def check_settings(args: SimpleNamespace, run: PlannedRun) -> None:
    """Each setting by the value that Megatron-LM read."""
    settings, strategy = run.settings, run.strategy
    loss = args.cross_entropy_fusion_impl if args.cross_entropy_loss_fusion else "none"
    assert loss == {"plain": "none", "compiled": "native", "fused": "te"}[settings.loss]
    formats = {"fp32": "torch.float32", "bf16": "torch.bfloat16", "fp8": "torch.uint8"}
    assert args.exp_avg_dtype == args.exp_avg_sq_dtype == formats[settings.moments]
    assert args.use_precision_aware_optimizer == (settings.master == "bf16" or "optimizer" in settings.offload)
    assert args.fp8_param_gather == (settings.gather == "fp8")
    assert args.overlap_p2p_comm == (strategy.vpp > 1 and settings.pp_overlap != "no")
    assert args.overlap_moe_expert_parallel_comm == (settings.ep_overlap and strategy.ep > 1)
    if strategy.ep > 1:
        dispatcher = "flex deepep" if settings.ep_exchange == "deepep" else "alltoall deepep"
        assert f"{args.moe_token_dispatcher_type} {args.moe_flex_dispatcher_backend}" == dispatcher
