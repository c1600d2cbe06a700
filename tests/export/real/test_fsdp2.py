"""The module for FSDP2, run by PyTorch on a small model: a fake process group, without communication."""

import importlib
from functools import partial
from pathlib import Path

import pytest

from tests.export.plans import PLANS_BY_TRAINER, build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.words import capture_arguments

pytestmark = pytest.mark.export


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["fsdp2"])
def test_pytorch_shards_a_model_by_the_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch, nn, dist = import_package("torch"), import_package("torch.nn"), import_package("torch.distributed")
    store = import_package("torch.testing._internal.distributed.fake_pg").FakeStore()
    run = build_run(name)
    words, environment = capture_arguments("torchrun", export_plan(tmp_path, name, "fsdp2") / "train.sh", "train.py")
    assert words[-1] == "train.py"
    monkeypatch.syspath_prepend(environment["PYTHONPATH"])
    plan = importlib.reload(importlib.import_module("planned_fsdp2"))
    if run.settings.offload:  # pinned memory needs a device
        monkeypatch.setattr(plan, "CPUOffloadPolicy", partial(plan.CPUOffloadPolicy, pin_memory=False))
    width = 2 * run.devices
    model = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(3)))
    dist.init_process_group("fake", store=store, rank=0, world_size=run.devices)
    try:
        sharded = plan.parallelize(model, list(model))
        shards = run.settings.shard_group or run.strategy.dp
        for parameter in sharded.parameters():
            assert parameter.device_mesh.mesh.numel() == run.devices
            assert parameter.to_local().numel() * shards == parameter.numel()
        state = sharded[0]._get_fsdp_state()._fsdp_param_group
        assert state.post_forward_mesh_info is not None or run.strategy.zero_stage == 2
        assert (state.mp_policy.param_dtype, state.mp_policy.reduce_dtype) == (torch.bfloat16, torch.bfloat16)
        wrapped = any("_checkpoint_wrapped_module" in name for name, _ in sharded.named_modules())
        assert wrapped == (run.strategy.recompute != "none")
        plan.accumulate(sharded, 0)
        assert plan.MICRO_BATCHES * plan.MICRO_BATCH * run.strategy.dp == run.global_batch
    finally:
        dist.destroy_process_group()


def test_selective_recomputation_repeats_every_second_multiply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch, nn = import_package("torch"), import_package("torch.nn")
    wrapper = import_package("torch.distributed.algorithms._checkpoint.checkpoint_wrapper").checkpoint_wrapper
    modes = import_package("torch.utils._python_dispatch")
    monkeypatch.syspath_prepend(str(export_plan(tmp_path, "zero-2", "fsdp2")))
    plan = importlib.reload(importlib.import_module("planned_fsdp2"))

    class Counted(modes.TorchDispatchMode):  # type: ignore[misc,name-defined]
        multiplies = 0

        def __torch_dispatch__(self, op, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            Counted.multiplies += op is torch.ops.aten.mm.default
            return op(*args, **(kwargs or {}))

    torch.manual_seed(0)
    layer = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8, bias=False), nn.Tanh()) for _ in range(4)))
    inputs = torch.randn(4, 8, requires_grad=True)
    expected = torch.autograd.grad(layer(inputs).sum(), list(layer.parameters()))
    wrapped = wrapper(layer, context_fn=plan._keep_every_second_multiply)
    with Counted():
        gradients = torch.autograd.grad(wrapped(inputs).sum(), list(wrapped.parameters()))
    for expected_gradient, gradient in zip(expected, gradients, strict=True):
        torch.testing.assert_close(expected_gradient, gradient)
    # four forward, eight backward but for the input's gradient, and two recomputed
    assert Counted.multiplies == 4 + 7 + 2
