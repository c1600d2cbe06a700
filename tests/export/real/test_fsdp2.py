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
    # a matrix with fewer rows than ranks is cut by columns
    model = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.Embedding(4, width)) for _ in range(3)))
    dist.init_process_group("fake", store=store, rank=0, world_size=run.devices)
    try:
        head = [nn.Linear(width, width)] if run.settings.loss == "chunked" else []
        sharded = plan.parallelize(model, list(model), *head)
        shards = run.settings.shard_group or run.strategy.dp
        for parameter in sharded.parameters():
            assert parameter.device_mesh.mesh.numel() == run.devices
            assert parameter.to_local().numel() * shards == parameter.numel()
        state = sharded[0]._get_fsdp_state()._fsdp_param_group
        reshards = run.strategy.zero_stage == 3 and run.settings.reshard != "never"
        assert (state.post_forward_mesh_info is not None) == reshards
        assert (parameter.dtype == torch.bfloat16) == (run.settings.master == "none")
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


def test_a_loss_in_pieces_has_the_gradients_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch, nn, dist = import_package("torch"), import_package("torch.nn"), import_package("torch.distributed")
    policy = import_package("torch.distributed.fsdp").MixedPrecisionPolicy()
    monkeypatch.setattr("torch.compile", lambda function: function)
    monkeypatch.syspath_prepend(str(export_plan(tmp_path, "chunked", "fsdp2")))
    plan = importlib.reload(importlib.import_module("planned_fsdp2"))
    monkeypatch.setattr(plan, "MixedPrecisionPolicy", lambda **dtypes: policy)

    class Body(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.layer, self.head = nn.Embedding(32, 8), nn.Linear(8, 8), nn.Linear(8, 32)

        def forward(self, tokens):  # type: ignore[no-untyped-def]
            return torch.tanh(self.layer(self.embedding(tokens)))

    torch.manual_seed(0)
    tokens, labels = torch.randint(32, (2, 16)), torch.randint(32, (2, 16))
    whole, body = Body(), Body()
    body.load_state_dict(whole.state_dict())
    expected = nn.functional.cross_entropy(whole.head(whole(tokens)).flatten(0, 1), labels.flatten())
    (expected / plan.MICRO_BATCHES).backward()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        ranks = import_package("torch.distributed.device_mesh").init_device_mesh("cpu", (1,))
        plan.parallelize(body, [body.layer], body.head, ranks)
        # gradients of all micro-batches but the last wait for it
        for micro_batch in (plan.MICRO_BATCHES - 2, plan.MICRO_BATCHES - 1):
            last = plan.accumulate(body, micro_batch)
            loss = plan.compute_loss(body(tokens), labels, body.head, last)
            loss.backward()
            assert last == all(parameter.grad is not None for parameter in body.parameters())
        torch.testing.assert_close(loss * plan.MICRO_BATCHES, expected)
        for parameter, expected_parameter in zip(body.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad.to_local(), 2 * expected_parameter.grad)
    finally:
        dist.destroy_process_group()
