"""torchtitan's module, by its own configuration manager and its models."""

import sys
from pathlib import Path

import pytest

from planner.workload.transformer import build_workload
from tests.export.plans import OF, exported, run_of
from tests.export.real.needs import package
from tests.export.real.words import handed_to

pytestmark = pytest.mark.export


@pytest.mark.parametrize("name", OF["torchtitan"])
def test_torchtitan_reads_its_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = package("torch")
    manager = package("torchtitan.config.manager")
    run = run_of(name)
    one = run.strategy
    words, environment = handed_to("torchrun", exported(tmp_path, name, "torchtitan") / "train.sh")
    at = words.index("torchtitan.train")
    monkeypatch.syspath_prepend(environment["PYTHONPATH"])
    monkeypatch.delitem(sys.modules, "planned_torchtitan", raising=False)
    config = manager.ConfigManager().parse_args(words[at + 1 :])
    sizes = config.parallelism
    dims = package("torchtitan.distributed.parallel_dims").ParallelDims(
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
        one.dp,
        one.tp,
        one.pp,
        one.cp,
        one.ep,
    )
    assert config.training.global_batch_size == run.global_batch
    assert config.training.seq_len == run.seq_length
    kind = {"none": "NoneType", "selective": "SelectiveAC.Config", "full": "FullAC.Config"}[one.recompute]
    assert type(config.activation_checkpoint).__qualname__ == kind
    with torch.device("meta"):
        model = config.model_spec.model.build()
    assert run.model is not None
    assert sum(one.numel() for one in model.parameters()) == build_workload(run.model).parameters
    if one.pp > 1:
        package("torch.distributed.pipelining.schedules").get_schedule_class(sizes.pipeline_parallel_schedule)
        names = [name for chunk in sizes.module_fqns_per_model_part for name in chunk]
        assert len(sizes.module_fqns_per_model_part) == one.pp * one.vpp
        assert all(model.get_submodule(name) is not None for name in names)
        children = {name for name, _ in model.named_children()} - {"layers"}
        assert set(names) == children | {f"layers.{i}" for i in range(run.layers)}
