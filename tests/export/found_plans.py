"""The best plans of a few questions for each program that plans are exported to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from planner import api
from planner.documents.plan import PlanDocument
from planner.errors import InputError, NothingFits
from planner.export.run import PlannedRun, build_planned_run
from planner.export.trainer import UserExtras
from planner.trainers.names import ExportName
from planner.workload.presets import read_model_preset
from planner.workload.spec import ModelSpec
from planner.workload.transformer import build_workload

Question = tuple[str, str, int, dict[str, object]]
GPU_QUESTIONS: tuple[Question, ...] = (
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 1}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 2}),
    ("llama-3-8b", "dgx-a100", 96, {"nodes": 3, "recompute": "full"}),
    ("llama-3-8b", "dgx-h100", 16, {"nodes": 2, "seq_length": "64K"}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 2, "precision": "fp8"}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 2, "tp": "2..8"}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 2, "recompute": "selective"}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 2, "order": "all", "tp": 2, "micro_batch": 1, "vpp": 1}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 2, "cp_exchange": "all", "cp": "2..4", "vpp": 1}),
    ("llama-3-70b", "dgx-h100", 64, {"nodes": 8, "vpp": "1..2"}),
    ("llama-3-70b", "dgx-h100", 32, {"nodes": 8, "pp": "2..8", "vpp": 1}),
    ("mistral-7b", "dgx-a100", 64, {"nodes": 1}),
    ("llama-2-7b", "dgx-h100", 64, {"nodes": 2, "pp": "1..4"}),
    ("gpt-oss-20b", "dgx-h100", 64, {"nodes": 2, "vpp": 1}),
    ("qwen3-30b-a3b", "dgx-h100", 64, {"nodes": 4, "vpp": 1}),
    ("mixtral-8x7b", "dgx-h100", 64, {"nodes": 4, "vpp": 1}),
    ("gpt-1.7b", "dgx-a100", 64, {"nodes": 1}),
    ("gpt-1.7b", "dgx-h100", 64, {"nodes": 1, "offload": "all", "vpp": 1, "cp": 1}),
    ("llama-2-13b", "mi300x", 64, {"nodes": 2, "vpp": 1}),
    ("llama-3-8b", "dgx-b200", 64, {"nodes": 1, "gradients": "all"}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "loss": "all", "moments": "all", "master": "all"}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "loss": "fused", "moments": "bf16", "master": "bf16"}),
    ("qwen3-30b-a3b", "dgx-h100", 64, {"nodes": 4, "vpp": "1..2", "ep_overlap": "all", "ep_exchange": "all"}),
    ("qwen3-30b-a3b", "dgx-h100", 64, {"nodes": 4, "pp": 2, "vpp": 2, "ep": 8, "ep_overlap": True}),
    ("llama-3-70b", "dgx-h100", 64, {"nodes": 8, "pp": "2..4", "vpp": "2..4", "pp_overlap": "no"}),
    ("llama-3-8b", "dgx-h100", 64, {"nodes": 2, "precision": "fp8", "gather": "all", "attention_precision": "all"}),
)
TPU_QUESTIONS: tuple[Question, ...] = (
    ("llama-3-8b", "tpu-v5p", 64, {"devices": 16}),
    ("llama-3-8b", "tpu-v5e", 64, {"devices": 64, "tp": "2..8"}),
    ("llama-3-70b", "tpu-v5p", 64, {"devices": 64, "recompute": "full"}),
    ("llama-3-8b", "tpu-v5p", 16, {"devices": 32, "seq_length": "32K", "cp": "2..8"}),
    ("mixtral-8x7b", "tpu-v5p", 64, {"devices": 64}),
)
"""Questions beside those on GPUs, for the program that runs on TPUs."""

_PURE_BF16 = {"master": "none", "gradients": "bf16", "moments": "bf16"}
SETTING_QUESTIONS: dict[ExportName, tuple[Question, ...]] = {
    "torchtitan": (
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "loss": "all", "vpp": 1, "zero": "2..3", "reshard": "all"}),
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "loss": "chunked", "moments": "all", "offload": "all", "vpp": 1}),
        ("llama-3-8b", "dgx-h100", 48, {"nodes": 2, "schedule": "gpipe", "pp": "2..4", "cp": 1, **_PURE_BF16}),
        ("qwen3-30b-a3b", "dgx-h100", 64, {"nodes": 2, "ep": "2..8", "ep_exchange": "nccl", "vpp": 1}),
    ),
    "fsdp2": (
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "loss": "all", "reshard": "all", "moments": "all"}),
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "loss": "chunked", **_PURE_BF16}),
    ),
    "deepspeed": (
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "zero": 3, "reshard": "all"}),
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "master": "all", "moments": "all", "offload": "all"}),
    ),
    "accelerate": (
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, "reshard": "all", "precision": "fp8", "gather": "all"}),
        ("llama-3-8b", "dgx-h100", 64, {"nodes": 1, **_PURE_BF16}),
    ),
    "maxtext": (
        ("llama-3-8b", "tpu-v5p", 64, {"devices": 16, "loss": "all"}),
        ("mixtral-8x7b", "tpu-v5p", 64, {"devices": 64, "ep": "2..8", "ep_exchange": "all", **_PURE_BF16}),
    ),
}
"""Questions with settings that a program's files change."""


def list_questions(program: ExportName) -> tuple[Question, ...]:
    """All questions for a program."""
    return GPU_QUESTIONS + (TPU_QUESTIONS if program == "maxtext" else ()) + SETTING_QUESTIONS.get(program, ())


@cache
def find_plans(program: ExportName, number: int) -> tuple[PlannedRun, ...]:
    """The five best plans of a question for a program; none where it does not run the model or the pinned values, and
    where nothing fits.
    """
    model, cluster, batch, options = list_questions(program)[number]
    try:
        answer = api.plan(model, cluster, batch, trainer=program, diverse=False, **options)  # type: ignore[arg-type]
    except NothingFits:
        return ()
    except InputError as error:
        assert f"unsupported by {program}" in error.problem
        return ()
    assert isinstance(answer, PlanDocument)
    spec = read_model_preset(model)
    assert isinstance(spec, ModelSpec)
    workload = build_workload(spec, seq_length=answer.model.seq_length)
    return tuple(build_planned_run(answer, plan + 1, spec, workload) for plan in range(len(answer.plans)))


def allow_losses(run: PlannedRun, program: ExportName) -> UserExtras:
    """That a model is trained without the loss that balances its experts, where torchtitan has none."""
    moe = None if run.model is None else run.model.moe
    return UserExtras(leaves_out_aux_loss=program == "torchtitan" and moe is not None and moe.aux_loss > 0)


def enumerate_questions(program: ExportName) -> Iterator[int]:
    """The numbers of the questions for a program."""
    yield from range(len(list_questions(program)))
