"""Steps of torchtitan's Llama (0.3.0) on one rank, without values: its models, wrapping, loss and gradient norm."""

from __future__ import annotations

import copy
import dataclasses
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.export.real.needs import import_package
from tests.real.fsdp_tracker import Peak, StepTracker, start_process_group
from tests.real.saved_tensors import use_gpu_kernels


@dataclass(frozen=True)
class Step:
    """Settings of a step, as torchtitan names them."""

    layers: int = 2
    ranks: int = 8
    seq_length: int = 8192
    recompute: str = "full"
    loss: str = "chunked"
    reshard: str = "default"
    micro_batches: int = 1
    has_no_sync: bool = False
    """Whether gradients stay whole until the last micro-batch (`set_requires_gradient_sync`)."""
    adam: str = "fused"
    """Or foreach."""
    flavor: str = "8B"
    tp: int = 1
    is_compiled: bool = False
    pp: int = 1
    stage: int = 0
    """Pipeline rank, with `vpp` chunks."""
    vpp: int = 1
    schedule: str = "1F1B"

    @property
    def chunk_indices(self) -> range:
        """Of the rank among all chunks of the pipeline."""
        return range(self.stage, self.pp * self.vpp, self.pp)


def run_step(step: Step) -> dict[str, Peak]:
    """The most that the first rank holds in the second step, by its parts: forward, loss, backward (of the last
    micro-batch), clip, optimizer.
    """
    torch = import_package("torch")
    fake = import_package("torch._subclasses.fake_tensor")
    with use_cpu(), start_process_group(step.ranks):
        (model,) = build_modules(step)
        with fake.FakeTensorMode(allow_non_fake_inputs=True):
            model.to_empty(device="cpu")
            compute_loss = build_loss(step, model)
            optimizer = torch.optim.AdamW(model.parameters(), **{step.adam: True})
            tokens = torch.zeros(1, step.seq_length, dtype=torch.long)
            tracker = StepTracker([model])
            with tracker.follow():
                for _ in range(2):
                    gc.collect()
                    tracker.forget()
                    take_step(step, model, compute_loss, optimizer, tokens, tracker)
    return tracker.peaks


def take_step(step: Step, model: Any, compute_loss: Any, optimizer: Any, tokens: Any, tracker: Any) -> None:
    """As torchtitan/trainer.py, `train_step` and `_forward_backward_body`."""
    torch, utilities = import_package("torch"), import_package("torchtitan.distributed.utils")
    optimizer.zero_grad()
    for index in range(step.micro_batches):
        is_last = index == step.micro_batches - 1
        if step.has_no_sync:
            model.set_requires_gradient_sync(is_last)
        tracker.enter("forward" if is_last else "")
        output = model(tokens, positions=torch.zeros_like(tokens))
        tracker.enter("loss" if is_last else "")
        loss, _ = compute_loss(output, tokens, torch.tensor(1.0))
        del output
        tracker.enter("backward" if is_last else "")
        loss.backward()
        del loss
    tracker.enter("clip")
    utilities.clip_grad_norm_(list(model.parameters()), 1.0, foreach=True)
    tracker.enter("optimizer")
    with tracker.follow_optimizer(optimizer):
        optimizer.step()
    tracker.enter("")


def build_modules(step: Step) -> list[Any]:
    """torchtitan's model without values, or the chunks of a pipeline rank, wrapped as torchtitan does."""
    torch = import_package("torch")
    config, models = import_package("torchtitan.config"), import_package("torchtitan.models.llama3")
    distributed = import_package("torchtitan.distributed")
    checkpointing = import_package("torchtitan.distributed.activation_checkpoint")
    model_config = copy.deepcopy(models.llama3_configs[step.flavor]("flex"))
    model_config.layers = model_config.layers[: step.layers]
    for layer in model_config.layers:
        layer.attention.rope = dataclasses.replace(layer.attention.rope, max_seq_len=step.seq_length)
    parallelism = config.ParallelismConfig(
        data_parallel_shard_degree=step.ranks // (step.pp * step.tp),
        tensor_parallel_degree=step.tp,
        pipeline_parallel_degree=step.pp,
        fsdp_reshard_after_forward=step.reshard,
        spmd_backend="partial_dtensor",
    )
    distributed.utils.set_spmd_backend(parallelism.spmd_backend)
    import_package("torchtitan.models.llama3.sharding").set_llama3_sharding_config(model_config, enable_sp=True)
    dims = distributed.ParallelDims.from_config(parallelism, step.ranks)
    dims.build_mesh()
    with torch.device("meta"):
        model = model_config.build()
    policies = {"none": None, "selective": checkpointing.SelectiveAC.Config(), "full": checkpointing.FullAC.Config()}
    modules = [model] if step.pp == 1 else _split_model(step, model)
    for module in modules:
        import_package("torchtitan.models.llama3.parallelize").parallelize_llama(
            module,
            parallel_dims=dims,
            training=config.TrainingConfig(seq_len=step.seq_length),
            parallelism=parallelism,
            compile_config=config.CompileConfig(enable=step.is_compiled, components=["model"]),
            ac_config=policies[step.recompute],
            dump_folder="",
        )
    return modules


def _split_model(step: Step, model: Any) -> list[Any]:
    """The chunks of the rank: torchtitan counts embedding and head as a layer each."""
    pipelines = import_package("torchtitan.distributed.pipeline_parallel")
    names = pipelines._generate_llm_fqn_per_model_part(step.pp * step.vpp, step.layers)
    return [pipelines._split_module(model, names[index]) for index in step.chunk_indices]


def build_loss(step: Step, model: Any) -> Any:
    """torchtitan's loss, to be called with the output, the labels and the number of tokens."""
    losses = import_package("torchtitan.components.loss")
    plain = losses.CrossEntropyLoss.Config(global_vocab_size=model.config.vocab_size)
    if step.loss == "plain":
        return plain.build()
    chunked = losses.ChunkedLossWrapper.Config(loss_fn=plain).build()
    chunked.set_lm_head(model.lm_head)
    model._skip_lm_head = True
    return chunked


@contextmanager
def use_cpu() -> Iterator[None]:
    """torchtitan on the CPU, with the kernels of a GPU; FlexAttention keeps what FlashAttention does."""
    torch, functional = import_package("torch"), import_package("torch.nn.functional")
    attention = import_package("torchtitan.models.common.attention")

    def attend(self: Any, q_BLNH: Any, k_BLNH: Any, v_BLNH: Any, **options: Any) -> Any:  # noqa: N803
        heads = (tensor.transpose(1, 2) for tensor in (q_BLNH, k_BLNH, v_BLNH))
        flash = torch.ops.aten._scaled_dot_product_flash_attention.default
        return flash(*heads, 0.0, True, False, scale=options.get("scale"))[0].transpose(1, 2)

    logging.disable(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch, use_gpu_kernels():
        patch.setattr(import_package("torchtitan.tools.utils"), "device_type", "cpu")
        patch.setattr(import_package("torchtitan.tools.utils"), "device_module", torch.cpu)
        patch.setattr(import_package("torchtitan.distributed.parallel_dims"), "device_type", "cpu")
        patch.setattr(attention.FlexAttention, "forward", attend)
        # nn.RMSNorm calls torch's own
        patch.setattr(torch, "rms_norm", functional.rms_norm)
        yield
    logging.disable(logging.NOTSET)
