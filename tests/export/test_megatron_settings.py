"""Settings of megatron-core: what its three programs write of them, and which they refuse or do otherwise."""

from __future__ import annotations

import re

import pytest

from planner.export.run import PlannedRun, RunAccelerator
from planner.export.trainer import UserExtras
from planner.export.trainers import TRAINERS
from planner.trainers.names import ExportName
from tests.export.plans import build_run
from tests.export.test_unsupported import Changes, change_plan

MEGATRON_LM, BRIDGE, NEMO = "megatron-lm", "megatron-bridge", "nemo"
ALL: tuple[ExportName, ...] = (MEGATRON_LM, BRIDGE, NEMO)
FILES = {MEGATRON_LM: "train.sh", BRIDGE: "planned_bridge.py", NEMO: "planned_nemo.py"}
MOMENTS, MASTER = {"settings.moments": "bf16"}, {"settings.master": "bf16"}
FP8_ATTENTION, OVERLAP = {"settings.attention_precision": "fp8"}, {"settings.ep_overlap": True}
B200, GB200 = (RunAccelerator(name, "NVIDIA", "gpu", "blackwell") for name in ("b200", "gb200"))
MXFP8_WEIGHTS = {"precision": "mxfp8", "settings.weights": "fp8", "settings.gather": "bf16"}
MI300X = RunAccelerator("mi300x", "AMD", "gpu", "cdna3")

REFUSED: list[tuple[tuple[ExportName, ...], str, Changes, str]] = [
    (ALL, "dense", {"settings.loss": "chunked"}, "loss"),
    (ALL, "dense", {"settings.reshard": "never"}, "reshard"),
    (ALL, "dense", {"settings.gather": "fp8"}, "gather"),
    (ALL, "fp8", {"settings.gather": "fp32"}, "gather"),
    (ALL, "fp8", {"settings.gather": "fp8", **MASTER}, "gather"),
    (ALL, "dense", {"strategy.zero_stage": 0, **MOMENTS, **MASTER}, "moments master"),
    (ALL, "sharded", MASTER, "master"),
    (ALL, "host", {"settings.moments": "fp8", **MASTER}, "moments master"),
    (ALL, "dense", {"settings.master": "none"}, "master"),
    (ALL, "fp8", {"precision": "mxfp8", **MASTER}, "master"),
    ((MEGATRON_LM,), "dense", MOMENTS, "master"),
    ((BRIDGE, NEMO), "dense", MOMENTS, ""),
    (ALL, "fp8", {"precision": "mxfp8", **MOMENTS}, ""),
    ((MEGATRON_LM, BRIDGE), "fp8", MXFP8_WEIGHTS, ""),
    ((NEMO,), "fp8", MXFP8_WEIGHTS, "weights"),
    ((MEGATRON_LM, BRIDGE), "fp8", {**MXFP8_WEIGHTS, **MOMENTS}, "weights"),
    ((MEGATRON_LM, BRIDGE), "fp8", {**MXFP8_WEIGHTS, "strategy.zero_stage": 0}, "weights"),
    (ALL, "block", {"settings.pp_overlap": "yes"}, "pp_overlap"),
    (ALL, "dense", {"settings.pp_overlap": "yes"}, ""),
    (ALL, "dense", {"settings.pp_overlap": "no", "strategy.pp": 2}, "pp_overlap"),
    (ALL, "experts", OVERLAP, "ep_overlap"),
    (ALL, "experts", {**OVERLAP, "strategy.vpp": 2}, ""),
    (ALL, "experts", {**OVERLAP, "strategy.vpp": 2, "strategy.recompute": "full"}, "ep_overlap"),
    (ALL, "experts", {**OVERLAP, "strategy.pp": 1, "model.mtp_layers": 1}, "ep_overlap"),
    (ALL, "experts", {**OVERLAP, "strategy.ep": 1}, ""),
    ((MEGATRON_LM,), "fp8", FP8_ATTENTION, "attention_precision"),
    ((BRIDGE, NEMO), "fp8", FP8_ATTENTION, ""),
    ((BRIDGE, NEMO), "dense", FP8_ATTENTION, "attention_precision"),
    ((BRIDGE, NEMO), "fp8", {**FP8_ATTENTION, "model.head_dim": 64}, "attention_precision"),
    ((BRIDGE, NEMO), "fp8", {**FP8_ATTENTION, "model.head_dim": 64, "accelerator": B200}, ""),
    ((BRIDGE, NEMO), "fp8", {**FP8_ATTENTION, "model.sliding_window": 512}, "attention_precision"),
    (
        (BRIDGE, NEMO),
        "fp8",
        {**FP8_ATTENTION, "strategy.cp": 2, "settings.cp_exchange": "all-gather"},
        "attention_precision",
    ),
    ((MEGATRON_LM, BRIDGE), "nested", {}, ""),
    ((NEMO,), "nested", {}, "cp_exchange"),
    (ALL, "long", {"settings.cp_exchange": "all-to-all"}, ""),
    (ALL, "long", {"settings.cp_exchange": "all-to-all", "model.kv_heads": 4}, "cp_exchange"),
    (ALL, "long", {"model.sliding_window": 512}, "cp_exchange"),
    (ALL, "long", {"settings.cp_exchange": "all-gather", "model.sliding_window": 512}, ""),
    (
        (MEGATRON_LM, BRIDGE),
        "long",
        {"settings.cp_exchange": "all-gather", "model.attention_sinks": True},
        "cp_exchange",
    ),
]
"""Programs, a plan that they support, what is changed, and the settings that are refused."""


@pytest.mark.parametrize(("programs", "name", "changes", "settings"), REFUSED)
def test_what_megatron_core_refuses_is_refused(
    programs: tuple[ExportName, ...], name: str, changes: Changes, settings: str
) -> None:
    run = change_plan(build_run(name), changes)
    for program in programs:
        assert [refusal.setting for refusal in TRAINERS[program].find_unsupported(run)] == settings.split(), program


WRITTEN: list[tuple[str, Changes, dict[ExportName, str]]] = [
    (
        "dense",
        {"settings.loss": "fused"},
        {
            MEGATRON_LM: "--cross-entropy-loss-fusion --cross-entropy-fusion-impl te",
            BRIDGE: "cross_entropy_loss_fusion=True, cross_entropy_fusion_impl=te",
            NEMO: "cross_entropy_loss_fusion=True, cross_entropy_fusion_impl=te",
        },
    ),
    (
        "dense",
        {"settings.loss": "compiled"},
        {MEGATRON_LM: "--cross-entropy-fusion-impl native", BRIDGE: "cross_entropy_fusion_impl=native"},
    ),
    (
        "long",
        {"settings.cp_exchange": "all-gather"},
        {
            MEGATRON_LM: "--cp-comm-type all_gather",
            BRIDGE: "cp_comm_type=all_gather",
            NEMO: "cp_comm_type=all_gather",
        },
    ),
    (
        "long",
        {"settings.cp_exchange": "hierarchical", "cp_group_sizes": (2, 2)},
        {
            MEGATRON_LM: "--cp-comm-type a2a+p2p --hierarchical-context-parallel-sizes 2 2",
            BRIDGE: "cp_comm_type=a2a+p2p, hierarchical_context_parallel_sizes=[2, 2]",
        },
    ),
    (
        "fp8",
        {"settings.gather": "fp8"},
        {MEGATRON_LM: "--fp8-param-gather", BRIDGE: "fp8_param_gather=True", NEMO: "fp8_param_gather=True"},
    ),
    (
        "fp8",
        MXFP8_WEIGHTS,
        {
            MEGATRON_LM: "--fp8-param-gather --reuse-grad-buf-for-mxfp8-param-ag",
            BRIDGE: "fp8_param_gather=True, reuse_grad_buf_for_mxfp8_param_ag=True",
        },
    ),
    (
        "dense",
        {**MOMENTS, **MASTER},
        {
            MEGATRON_LM: "--use-precision-aware-optimizer --exp-avg-dtype bf16 --exp-avg-sq-dtype bf16",
            BRIDGE: "exp_avg_dtype=torch.bfloat16, exp_avg_sq_dtype=torch.bfloat16",
            NEMO: "exp_avg_dtype=torch.bfloat16, exp_avg_sq_dtype=torch.bfloat16",
        },
    ),
    ("dense", MOMENTS, {BRIDGE: "store_param_remainders=False, exp_avg_dtype=torch.bfloat16"}),
    ("dense", {"settings.moments": "fp8"}, {NEMO: "exp_avg_dtype=torch.uint8"}),
    ("dense", MASTER, {BRIDGE: "fp8_recipe=delayed", NEMO: "use_precision_aware_optimizer=True"}),
    (
        "dense",
        {**MASTER, "precision": "fp16"},
        {MEGATRON_LM: "--main-params-dtype fp16", BRIDGE: "main_params_dtype=torch.float16"},
    ),
    ("dense", {"settings.pp_overlap": "no"}, {MEGATRON_LM: "--no-overlap-p2p-communication"}),
    (
        "experts",
        {**OVERLAP, "strategy.vpp": 2},
        {
            MEGATRON_LM: "--overlap-moe-expert-parallel-comm",
            BRIDGE: "overlap_p2p_comm=True, batch_p2p_comm=False",
            NEMO: "overlap_moe_expert_parallel_comm=True",
        },
    ),
    (
        "experts",
        {"settings.ep_exchange": "nccl"},
        {MEGATRON_LM: "--moe-token-dispatcher-type alltoall", NEMO: "moe_token_dispatcher_type=alltoall"},
    ),
    (
        "fp8",
        FP8_ATTENTION,
        {
            BRIDGE: "fp8_recipe=delayed, fp8_dot_product_attention=True",
            NEMO: "attention_backend=AttnBackend.fused",
        },
    ),
    (
        "long",
        {"settings.dp_overlap": False},
        {BRIDGE: "overlap_grad_reduce=False, overlap_param_gather=False, overlap_moe_expert_parallel_comm=False"},
    ),
    ("long", {"settings.gather_overlap": False}, {BRIDGE: "overlap_grad_reduce=True, overlap_param_gather=False"}),
]
"""A plan, what is changed, and words that are in a program's file only with the change."""


@pytest.mark.parametrize(("name", "changes", "texts"), WRITTEN)
def test_a_setting_is_written(name: str, changes: Changes, texts: dict[ExportName, str]) -> None:
    for program, words in texts.items():
        assert words in read_words(program, change_plan(build_run(name), changes)), program
        assert words not in read_words(program, build_run(name)), program


def read_words(program: ExportName, run: PlannedRun) -> str:
    """The file of a program on one line, without quotes."""
    text = TRAINERS[program].build_files(run, UserExtras())[FILES[program]]
    return re.sub(r"\s+", " ", text.replace('"', ""))


def test_the_trainers_own_values_are_written_as_far_as_megatron_core_has_them() -> None:
    run, exporter = build_run("experts"), TRAINERS[BRIDGE]
    assert "moe_flex_dispatcher_backend=deepep" in read_words(BRIDGE, run)
    for accelerator in (GB200, MI300X):
        other = change_plan(run, {"accelerator": accelerator})
        assert "moe_token_dispatcher_type=alltoall" in read_words(BRIDGE, other)
        assert "tokens are sent by NCCL" in " ".join(exporter.build_notes(other))
    # with whole steps as one graph the trainer's own is an overlapped all-to-all, which vpp 1 does not allow
    graph = change_plan(run, {"framework": "megatron", **OVERLAP})
    assert not list(exporter.find_unsupported(graph))
    assert "the all-to-all of experts is not overlapped" in " ".join(exporter.build_notes(graph))


@pytest.mark.parametrize("program", ALL)
def test_overlapped_tensor_parallelism_does_without_multicast_before_hopper(program: ExportName) -> None:
    run = build_run("long")
    assert run.overlaps_tp
    for architecture, expected in (("hopper", False), ("blackwell", False), ("ada", True), ("ampere", True)):
        accelerator = RunAccelerator("a100-sxm-80gb", "NVIDIA", "gpu", architecture)
        script = TRAINERS[program].build_files(change_plan(run, {"accelerator": accelerator}), UserExtras())[
            "train.sh"
        ]
        assert ("UB_SKIPMC" in script) == expected, architecture
    alone = change_plan(run, {"accelerator": accelerator, "settings.tp_overlap": False})
    assert "UB_SKIPMC" not in TRAINERS[program].build_files(alone, UserExtras())["train.sh"]
