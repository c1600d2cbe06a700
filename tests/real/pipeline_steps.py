"""Steps of one pipeline rank of torchtitan's Llama, by PyTorch's own schedules (torch 2.13.0,
torch/distributed/pipelining), without values and without anything to receive.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.export.real.needs import import_package
from tests.real.fsdp_tracker import Peak, StepTracker, start_process_group
from tests.real.torchtitan_steps import Step, build_loss, build_modules, use_cpu


def run_pipeline_step(step: Step) -> dict[str, Peak]:
    """The most that a rank holds in the second step, by its parts: each `forward`, `backward`, `reduce` of a chunk
    (the chunk's index, and of the passes the micro-batch's), `loss`, and what is between them; optimizer.
    """
    torch = import_package("torch")
    fake = import_package("torch._subclasses.fake_tensor")
    rank = step.stage * (step.ranks // step.pp)
    with use_cpu(), _use_no_transfers(), start_process_group(step.ranks, rank):
        modules = build_modules(step)
        with fake.FakeTensorMode(allow_non_fake_inputs=True):
            for module in modules:
                module.to_empty(device="cpu")
            schedule, stages = _build_schedule(step, modules)
            tracker = StepTracker(modules)
            _name_parts(schedule, stages, tracker)
            optimizers = [torch.optim.AdamW(module.parameters(), fused=True) for module in modules]
            with tracker.follow():
                for _ in range(2):
                    gc.collect()
                    tracker.forget()
                    _take_step(step, schedule, stages, optimizers, tracker)
    return tracker.peaks


def _take_step(step: Step, schedule: Any, stages: list[Any], optimizers: list[Any], tracker: StepTracker) -> None:
    """As torchtitan/trainer.py, `pp_forward_backward_step`."""
    torch = import_package("torch")
    for optimizer in optimizers:
        optimizer.zero_grad()
    tokens = torch.zeros(1, step.seq_length, dtype=torch.long)
    for stage in stages:
        stage.has_backward = True
        stage.clear_runtime_states()
    schedule._has_backward = True
    has_first, has_last = stages[0].is_first, stages[-1].is_last
    tracker.enter("between")
    schedule._step_microbatches(
        arg_mbs=[(tokens,)] * step.micro_batches if has_first else None,
        kwarg_mbs=[{"positions": torch.zeros_like(tokens)}] * step.micro_batches,
        target_mbs=[tokens] * step.micro_batches if has_last else None,
        losses=[] if has_last else None,
        return_outputs=False,
        loss_kwargs={"global_valid_tokens": torch.tensor(1.0)},
    )
    tracker.enter("optimizer")
    for optimizer in optimizers:
        with tracker.follow_optimizer(optimizer):
            optimizer.step()
    tracker.enter("")


def _build_schedule(step: Step, modules: list[Any]) -> tuple[Any, list[Any]]:
    """The schedule and the rank's stages, which know the shapes that they exchange."""
    torch, pipelining = import_package("torch"), import_package("torch.distributed.pipelining")
    schedules = import_package("torch.distributed.pipelining.schedules")
    count = step.pp * step.vpp

    def build_tensor(width: int) -> Any:
        return torch.empty(1, step.seq_length, width, dtype=torch.bfloat16, device="meta").requires_grad_()

    group = torch.distributed.new_group(list(range(0, step.ranks, step.ranks // step.pp)))
    stages = []
    for index, module in zip(step.chunk_indices, modules, strict=True):
        has_logits = index == count - 1 and step.loss == "plain"
        stage = pipelining.PipelineStage(
            module,
            index,
            count,
            torch.device("cpu"),
            input_args=build_tensor(module.config.dim)
            if index
            else torch.empty(1, step.seq_length, dtype=torch.long),
            output_args=build_tensor(module.config.vocab_size if has_logits else module.config.dim),
            group=group,
        )
        stage._runtime_validate = False
        stages.append(stage)

    def compute_nothing(*arguments: Any, **options: Any) -> None:
        """Only the last stage has a loss."""

    compute_loss = compute_nothing
    if stages[-1].is_last:
        loss = build_loss(step, modules[-1])

        def compute_loss(*arguments: Any, **options: Any) -> Any:
            return loss(*arguments, **options)[0]

    schedule = schedules.get_schedule_class(step.schedule)(
        stages if step.vpp > 1 else stages[0],
        n_microbatches=step.micro_batches,
        loss_fn=compute_loss,
        scale_grads=False,
    )
    return schedule, stages


def _name_parts(schedule: Any, stages: list[Any], tracker: StepTracker) -> None:
    """Names the parts of a step after the functions that they call."""

    def wrap(run: Callable[..., Any], name: str, has_micro_batch: bool = False) -> Callable[..., Any]:
        def run_named(*arguments: Any, **options: Any) -> Any:
            tracker.enter(f"{name} {arguments[0]}" if has_micro_batch else name)
            try:
                return run(*arguments, **options)
            finally:
                tracker.enter("between")

        return run_named

    schedule._loss_fn = wrap(schedule._loss_fn, "loss")
    for stage in stages:
        index = stage.stage_index
        stage.forward_one_chunk = wrap(stage.forward_one_chunk, f"forward {index}", True)
        stage.backward_one_chunk = wrap(stage.backward_one_chunk, f"backward {index}", True)
        stage.perform_reduce_grad = wrap(stage.perform_reduce_grad, f"reduce {index}")


@contextmanager
def _use_no_transfers() -> Iterator[None]:
    """Stages exchange nothing: they were told the shapes."""
    schedules = import_package("torch.distributed.pipelining.schedules")
    static = import_package("torch.distributed.pipelining.stage").InferenceMode.STATIC

    def initialize(
        schedule: Any, stages: list[Any], args: Any, kwargs: Any, target: Any, forward: bool, backward: bool, **_: Any
    ) -> tuple[bool, bool]:
        for stage in stages:
            stage._inference_mode = static
            if not forward:
                stage._prepare_forward_infra(schedule._n_microbatches, (), {}, has_backward=True)
            if not backward:
                stage._prepare_backward_infra(schedule._n_microbatches)
        return True, True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules._PipelineSchedule, "_initialize_pp_stages", initialize)
        patch.setattr(schedules, "_batch_p2p", lambda ops, desc=None: [])
        patch.setattr(schedules, "_sorted_batch_p2p", lambda ops, desc=None: {})
        patch.setattr(schedules, "_wait_batch_p2p", lambda work: None)
        yield
