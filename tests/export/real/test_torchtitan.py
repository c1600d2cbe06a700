"""torchtitan's module, by its own configuration manager and its models."""

import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from planner.workload.transformer import build_workload
from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.words import capture_arguments

pytestmark = pytest.mark.export


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["torchtitan"])
def test_torchtitan_reads_its_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = import_package("torch")
    manager = import_package("torchtitan.config.manager")
    run = build_run(name)
    strategy = run.strategy
    words, environment = capture_arguments("torchrun", export_plan(tmp_path, name, "torchtitan") / "train.sh")
    at = words.index("torchtitan.train")
    monkeypatch.syspath_prepend(environment["PYTHONPATH"])
    monkeypatch.delitem(sys.modules, "planned_torchtitan", raising=False)
    config = manager.ConfigManager().parse_args(words[at + 1 :])
    monkeypatch.setitem(sys.modules, "deep_ep", MagicMock())  # its kernels need a GPU
    sizes, settings = config.parallelism, run.settings
    dims = import_package("torchtitan.distributed.parallel_dims").ParallelDims(
        dp_replicate=sizes.data_parallel_replicate_degree,
        dp_shard=sizes.data_parallel_shard_degree,
        cp=sizes.context_parallel_degree,
        tp=sizes.tensor_parallel_degree,
        pp=sizes.pipeline_parallel_degree,
        ep=sizes.expert_parallel_degree,
        world_size=run.devices,
        spmd_backend=sizes.spmd_backend,
    )
    assert (dims.dp_replicate * dims.dp_shard, dims.tp, dims.pp, dims.cp, dims.ep) == (
        strategy.dp,
        strategy.tp,
        strategy.pp,
        strategy.cp,
        strategy.ep,
    )
    assert config.training.global_batch_size == run.global_batch
    assert config.training.seq_len == run.seq_length
    type_name = {"none": "NoneType", "selective": "SelectiveAC.Config", "full": "FullAC.Config"}[strategy.recompute]
    assert type(config.activation_checkpoint).__qualname__ == type_name
    config.model_spec.model.update_from_config(config=config)
    with torch.device("meta"):
        model = config.model_spec.model.build()
    assert run.model is not None
    is_narrow = settings.master == "none"
    assert config.training.dtype == ("bfloat16" if is_narrow else "float32")
    has_narrow_moments = settings.moments == "bf16" and not is_narrow
    assert config.optimizer.implementation == ("fused_opt_states_bf16" if has_narrow_moments else "fused")
    default_policy = "default" if strategy.pp == 1 else "always"
    policy = default_policy if settings.reshard == "default" else settings.reshard
    assert sizes.fsdp_reshard_after_forward == ("never" if strategy.zero_stage == 2 else policy)
    loss = config.loss.build(compile_config=config.compile)
    assert type(loss).__name__ == ("ChunkedLossWrapper" if settings.loss == "chunked" else "CrossEntropyLoss")
    inner_loss = loss.loss_fn if settings.loss == "chunked" else loss
    is_compiled = settings.loss == "compiled" or (settings.loss == "chunked" and run.launch != "eager")
    assert hasattr(inner_loss.fn, "_torchdynamo_orig_callable") == is_compiled
    if run.model.moe is not None:
        dispatcher = type(config.model_spec.model.layers[0].moe.routed_experts.token_dispatcher).__qualname__
        assert dispatcher.startswith("DeepEP" if settings.ep_exchange == "deepep" else "AllToAll")
    assert sum(parameter.numel() for parameter in model.parameters()) == build_workload(run.model).parameters
    if strategy.pp > 1:
        import_package("torch.distributed.pipelining.schedules").get_schedule_class(sizes.pipeline_parallel_schedule)
        names = [name for chunk in sizes.module_fqns_per_model_part for name in chunk]
        assert len(sizes.module_fqns_per_model_part) == strategy.pp * strategy.vpp
        assert all(model.get_submodule(name) is not None for name in names)
        children = {name for name, _ in model.named_children()} - {"layers"}
        assert set(names) == children | {f"layers.{i}" for i in range(run.layers)}
