"""The second form of runs: every column is read, and what the model has no term for is named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from planner.cost.memory.peak import compute_peak_memory_bytes
from planner.cost.setting_values import read_settings
from planner.evidence.bind_run import BoundRun, bind_run
from planner.evidence.columns import RUN_COLUMNS, TEXT_COLUMNS
from planner.evidence.model_and_cluster import build_run_cluster
from planner.evidence.predict import predict_run, predict_runs
from planner.evidence.runs import MeasuredRun, RowError, parse_run_table
from planner.trainers.pipeline_layout import format_layout, parse_layout
from tests.validation.tables import format_table, read_published_rows

RUNS = Path(__file__).parents[1] / "published" / "runs.csv"
BRIDGE = "mbridge-26.08-DeepSeekV3-gb200-MXFP8-n256-gbs4096-tp1pp4cp1ep64"
OFFLOADED = (
    *("tpu-v6e-Llama3.1-8B-v6e-8", "tpu-v6e-Llama3.1-70B-v6e-256", "tpu-v6e-Mistral-7B"),
    "tpu-v6e-Llama3.1-405B",
    *("tpu-v7-405b-n256-bf16", "tpu-v7-dsv3-n128-bf16"),
)
RAN = (*OFFLOADED, "tpu-v7-70b-n64-fp8", "mlperf4.1-NVIDIA-h200_ngc24.09_nemo-llama2_70b_lora")
"""Runs that need most of the memory that there is."""
CARRIED = {"metric", "value", "flops_convention", "peak_memory_gib", "memory_kind", "memory_rank", "date", "quality"}
"""Columns of the measurement, which the prediction is compared with or chosen by."""


def published() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(RUNS.read_text("utf-8"))))


def row(identity: str = BRIDGE, **changes: str) -> dict[str, str]:
    (found,) = [one for one in published() if one["id"] == identity]
    return found | changes


def read(**changes: str) -> MeasuredRun:
    parsed = parse_run_table(format_table(row(**changes)), "mine.csv")
    assert not parsed.skipped, parsed.skipped
    return parsed.runs[0]


def bind(**changes: str) -> BoundRun:
    return bind_run(read(**changes))


@pytest.fixture(scope="module")
def bound() -> list[tuple[dict[str, str], MeasuredRun, BoundRun]]:
    parsed = parse_run_table(RUNS.read_text("utf-8"), "runs.csv")
    assert (parsed.skipped, parsed.notes) == ([], [])
    return [(cells, run, bind_run(run)) for cells, run in zip(published(), parsed.runs, strict=True)]


def test_every_column_is_declared_and_no_cell_is_dropped(
    bound: list[tuple[dict[str, str], MeasuredRun, BoundRun]],
) -> None:
    assert len(bound) == 656
    assert set(bound[0][0]) <= set(RUN_COLUMNS)
    for cells, run, _ in bound:
        assert {name for name, text in cells.items() if text} == set(run.cells)


def test_a_stated_setting_is_in_the_scenario_or_named(
    bound: list[tuple[dict[str, str], MeasuredRun, BoundRun]],
) -> None:
    for cells, _, one in bound:
        settings, named = read_settings(one.scenario), " ".join(one.not_modelled)
        for name in ("tp_overlap", "dp_overlap"):
            if cells[name] in ("yes", "no"):
                assert settings[name] == (cells[name] == "yes"), cells["id"]
        if cells["order"]:
            assert settings["order"] == cells["order"].replace("ep-", "") or "order=" in named, cells["id"]
        if cells["shard_group"]:
            assert settings["shard_group"] == int(cells["shard_group"]), cells["id"]
        if cells["offload"]:
            assert settings["offload"] == [cells["offload"]], cells["id"]
        if cells["router"]:
            assert settings["router"] == cells["router"], cells["id"]
        if cells["lora_rank"]:
            assert one.scenario.techniques.lora is not None, cells["id"]


def test_no_fact_of_a_published_run_is_without_a_term(
    bound: list[tuple[dict[str, str], MeasuredRun, BoundRun]],
) -> None:
    assert {cells["id"]: one.not_modelled for cells, _, one in bound if one.not_modelled} == {}


def test_a_run_is_on_the_network_of_its_accelerator(
    bound: list[tuple[dict[str, str], MeasuredRun, BoundRun]],
) -> None:
    for cells, run, _ in bound:
        is_torus = build_run_cluster(run).levels[0].topology == "torus"
        assert is_torus == cells["accelerator"].startswith(("tpu", "trainium")), cells["id"]


@pytest.mark.full
def test_every_row_is_predicted() -> None:
    parsed = parse_run_table(RUNS.read_text("utf-8"), "runs.csv")
    # one row of each trainer, accelerator and precision
    kinds = {tuple(map(run.get_text, ("trainer", "accelerator", "precision"))): run for run in parsed.runs}
    predictions, skipped = predict_runs(kinds.values())
    assert (len(predictions), skipped) == (len(kinds), [])
    assert all(one.predicted > 0 and one.memory_predicted_gib > 0 for one in predictions)


def test_nothing_is_read_out_of_text_for_people() -> None:
    plain = predict_run(read())
    stated = "torch.compile, async tp, full recomputation, fp32 gradients, seq_parallel no, fsdp"
    assert (
        predict_run(
            read(
                **dict.fromkeys((*TEXT_COLUMNS, "id"), stated),
            )
        ).predicted
        == plain.predicted
    )


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("tp_overlap", "perhaps", "tp_overlap 'perhaps' is not one of yes, no"),
        ("loss", "fusd", "loss 'fusd' is not one of plain, compiled, fused, chunked; did you mean fused?"),
        ("zero_stage", "4", "zero_stage '4' is not a whole number from 0 on of at most 3"),
        ("order", "tp-xp", "order 'tp-xp' is not dimensions of tp, cp, ep, dp, pp"),
        ("recompute_layers", "a few", "recompute_layers 'a few' is not a number of layers"),
        ("weights_bytes", "two", "weights_bytes 'two' is not a number"),
        ("memory_kind", "guessed", "memory_kind 'guessed' is not one of allocated, reserved"),
        ("seq_parallel", "on", "seq_parallel 'on' is not one of yes, no"),
        ("launch", "graph:", "launch 'graph:' is not one of graph, fused, compiled, eager, graph:SCOPE"),
        ("date", "August", "date 'August' is not a year"),
        ("date", "2026-13", "date '2026-13' is not a year"),
        ("order", "tp-tp-pp", "order 'tp-tp-pp' is not dimensions of tp, cp, ep, dp, pp, each once"),
        ("layout", "4,5L", "layout '4,5L' is not a pipeline layout: the embedding E is not in the first chunk"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(column: str, value: str, reason: str) -> None:
    parsed = parse_run_table(format_table(row(), row(id="bad", **{column: value})), "mine.csv")
    assert [run.id for run in parsed.runs] == [BRIDGE]
    (skipped,) = parsed.skipped
    assert (skipped.id, skipped.line) == ("bad", 3)
    assert skipped.reason.startswith("mine.csv: ")
    assert reason in skipped.reason


def test_all_bad_cells_of_a_row_are_named_at_once() -> None:
    (skipped,) = parse_run_table(format_table(row(layers="", loss="x", tp="-1")), "mine.csv").skipped
    assert all(name in skipped.reason for name in ("layers is empty", "loss 'x'", "tp '-1'"))


def test_an_unknown_column_is_named_with_the_nearest_one_and_the_rest_is_read() -> None:
    parsed = parse_run_table(format_table(row() | {"recompute_module": "mlp"}), "mine.csv")
    assert len(parsed.runs) == 1
    (note,) = parsed.notes
    assert "mine.csv: column 'recompute_module' is unknown and not read; did you mean recompute_modules?" in note


def test_an_unknown_trainer_is_named_with_the_nearest_one() -> None:
    with pytest.raises(RowError, match=r"trainer 'torchtitn' is not one of .*did you mean torchtitan\?"):
        bind(trainer="torchtitn")


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("packing", "unpadded", "packing=unpadded (as full sequences)"),
        ("launch", "graph:mamba", "launch=graph:mamba (as fused)"),
        ("sharding", "somehow", "sharding=somehow"),
        ("sharding", "zero3", "sharding=zero3 (as zero_stage=1)"),
        ("memory_kind", "reserved", "memory_kind=reserved (as allocated)"),
    ],
)
def test_what_the_model_has_no_term_for_is_named(column: str, value: str, named: str) -> None:
    assert named in bind(**{column: value}).not_modelled


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("router", "real"),
        ("router", "1.7"),
        ("packing", "2048"),
        ("ep_exchange", "nccl"),
        ("pp_overlap", "no"),
        ("attention_precision", "fp8"),
        ("cp_exchange", "hierarchical"),
        ("reshard", "never"),
    ],
)
def test_a_stated_setting_is_used_and_not_named(column: str, value: str) -> None:
    one = bind(**{column: value})
    assert read_settings(one.scenario)[column] == value
    assert not [text for text in one.not_modelled if text.startswith(column)]


def test_gradients_alone_may_overlap() -> None:
    whole, alone = (bind(dp_overlap=value).scenario for value in ("yes", "grad"))
    assert (whole.dp_overlap, whole.gather_overlap) == (True, True)
    assert (alone.dp_overlap, alone.gather_overlap) == (True, False)
    assert not [text for text in bind(dp_overlap="grad").not_modelled if "overlap" in text]


def test_a_stated_layout_and_schedule_are_modelled() -> None:
    rows = [cells for cells in published() if cells["layout"]]
    assert len(rows) == 45
    for cells in {cells["layout"]: cells for cells in rows}.values():
        bound_run = bind_run(parse_run_table(format_table(cells), "mine.csv").runs[0])
        assert bound_run.scenario.layout == format_layout(parse_layout(cells["layout"]))
        assert not any(text.startswith("layout") for text in bound_run.not_modelled)
    for schedule in ("zb-v", "dualpipe", "dualpipe-v"):
        bound_run = bind(schedule=schedule, pp="4")
        assert bound_run.scenario.pipeline_schedule == schedule
        assert not any(text.startswith("schedule") for text in bound_run.not_modelled)
    reason = "layout=E4|5L (the layout has 9 layers, the model has 61)"
    assert reason in bind(pp="2", layout="E4,5L").not_modelled


def test_what_makes_no_difference_is_not_named() -> None:
    named = bind(
        pp="1", vpp="1", ep="1", router="real", ep_exchange="deepep", pp_overlap="yes", layout=""
    ).not_modelled
    assert not [one for one in named if one.startswith(("pp_overlap", "ep_exchange"))]


def test_bytes_per_parameter_and_the_machine_are_as_stated() -> None:
    stated = {"weights_bytes": "1", "gradient_bytes": "6", "optimizer_bytes": "10", "reduce_bytes": "3"}
    one = bind(**stated, power_w="555", ep_overlap="no")
    trainer = one.scenario.trainer
    assert (trainer.weight_bytes, trainer.gradient_bytes, trainer.optimizer_bytes) == (1, 6, 10)
    assert trainer.grad_reduce_bytes == 3
    assert not trainer.overlaps_expert_comm
    assert one.scenario.accelerator.tdp_w == 555
    node = bind(accelerator="h100", precision="fp8", devices_per_node="4", nics_per_node="2", nic_gbps="100").cluster
    assert node.nics is not None
    assert (node.devices_per_node, node.nics.count) == (4, 2)
    assert 2 * 100e9 / 8 / 4 in [level.bandwidth_bytes_per_s for level in node.levels]


def test_the_shape_is_as_stated() -> None:
    changed = {"layers": "8", "first_dense_layers": "2", "expert_ffn": "1024", "shared_ffn": "0", "tied": "yes"}
    workload = bind(**changed, pp="1", vpp="1", dp="256").scenario.workload
    assert [run.count for run in workload.layer_runs] == [2, 6]
    names = {op.name for layer in workload.layer_types for op in layer.operators}
    assert "shared_up" not in names
    with pytest.raises(RowError, match="unknown model"):
        bind(model_config="deepseek-v33")


def test_adapters_on_a_frozen_base() -> None:
    lora = bind(
        model="Llama 2 70B", model_config="", experts="", topk="", etp="", lora_rank="16", base_bytes="0.5625"
    )
    techniques = lora.scenario.techniques.lora
    assert techniques is not None
    assert (techniques.rank, techniques.frozen_bytes, techniques.bits) == (16, 0.5625, 4)
    assert "lora_modules=all" in lora.defaulted_settings
    stated = bind(lora_rank="16", base_bytes="1", lora_modules="attention").scenario.techniques.lora
    assert stated is not None and (stated.modules, techniques.modules) == ("attention", "all")
    assert stated.adapter_share < techniques.adapter_share
    assert "lora_modules=all" in bind(lora_modules="all").not_modelled


def test_nothing_is_read_out_of_the_source_of_adapters() -> None:
    cells = next(one for one in published() if one["lora_rank"] and one["source"].startswith("mlcommons"))
    texts = [format_table(cells | {"source": source}) for source in (cells["source"], "mine")]
    assert len({predict_run(parse_run_table(text, "mine.csv").runs[0]).predicted for text in texts}) == 1


def test_layers_that_are_recomputed_are_counted_by_virtual_stage() -> None:
    assert bind(recompute="full", recompute_layers="61/61").scenario.recompute_layers is None
    assert bind(recompute="full", recompute_layers="32/61").scenario.recompute_layers == 2
    assert "recompute_layers=5/61" in bind(recompute="full", recompute_layers="5/61").not_modelled


def test_the_trainers_default_comes_before_the_best_plan_and_the_leanest() -> None:
    empty = {"recompute": "", "recompute_modules": "", "etp": "", "dp_overlap": ""}
    one = predict_run(read(**empty))
    assert {"recompute=none", "etp=1", "dp_overlap=yes"} <= set(one.assumed_values)
    # what does not fit in any way is as lean as it can be, and this is said
    fat = predict_run(read(**empty, accelerator="v100", precision="fp16", fp8_recipe="", attention_precision=""))
    assert "recompute=full" in fat.assumed_values
    assert fat.assumed_values[-1].startswith("memory=")


DENSE = dict.fromkeys(RUN_COLUMNS, "") | {
    "id": BRIDGE, "model": "m", "layers": "80", "hidden": "8192", "heads": "64", "kv_heads": "8", "ffn": "28672",
    "vocab": "128256", "seq": "8192", "accelerator": "h100-sxm-80gb", "devices": "64", "global_batch": "64",
    "precision": "bf16", "metric": "step_time_s", "value": "10",
}  # fmt: skip
"""A row that states the model, the machine and the batch alone, of a model that needs all of 64 GPUs' memory."""


@pytest.mark.parametrize(
    ("trainer", "stages"),
    [
        ("deepspeed", {"zero3"}),
        ("composer", {"zero3"}),
        ("hf-trainer", {"zero2", "zero3"}),
        ("torchtitan", {"zero2", "zero3"}),
        ("maxtext", {"zero3"}),
    ],
)
def test_what_a_row_leaves_open_is_a_plan_that_its_trainer_runs(trainer: str, stages: set[str]) -> None:
    filled = set(predict_run(read(**DENSE | {"trainer": trainer})).assumed_values)
    assert {"tp=1", "pp=1", "vpp=1"} <= filled
    # torchtitan splits sequences
    assert "cp=1" in filled or trainer == "torchtitan"
    assert filled & {f"sharding={stage}" for stage in stages}


def test_a_stated_value_that_the_trainer_does_not_run_is_kept() -> None:
    assert "tp=" not in " ".join(predict_run(read(**DENSE | {"trainer": "composer", "tp": "8"})).assumed_values)


def test_hybrid_sharding_without_a_group_is_within_a_node() -> None:
    one = bind_run(read(**DENSE | {"trainer": "composer", "sharding": "HYBRID_SHARD"}))
    assert (one.scenario.shard_group, one.space.allowed["zero_stage"]) == (8, (3,))
    assert "shard_group=8" in one.defaulted_settings


def test_tokens_of_documents_are_read_as_the_option_reads_them() -> None:
    assert bind_run(read(**DENSE | {"trainer": "torchtitan", "packing": "2K"})).scenario.packing == "2048"


def test_attention_is_unfused_where_flash_attention_does_not_run() -> None:
    cells = DENSE | {"accelerator": "v100-sxm2-32gb", "precision": "fp16", "trainer": "megatron-lm", "attention": ""}
    assert bind_run(read(**cells)).scenario.attention_kernel == "unfused"


def test_an_open_tensor_parallel_degree_may_be_one() -> None:
    (line,) = read_published_rows("mbridge-26.04-LLAMA3_70B-h100-FP8-n64-gbs256-tp4pp8cp1ep1")
    (run,) = parse_run_table(format_table(line | {"tp": "", "pp": "", "dp": ""}), "mine.csv").runs
    assert bind_run(run).space.allowed["sequence_parallel"] == (0, 1)


@pytest.mark.parametrize(
    ("trainer", "version", "date", "wanted"),
    [
        ("megatron-bridge", "nemo 26.04.01, v0.4.2", "2026-05", "megatron-bridge@25.11"),
        ("nemo", "container 24.09", "2025-10", "nemo@24.09"),
        ("torchtitan", "9dec370", "2024-12", "torchtitan@2024-12"),
        ("torchtitan", "", "2025", "torchtitan@0.2.1"),
        ("maxtext", "mlperf/4.1", "", "maxtext@mlperf-4.1"),
        ("megatron-lm", "", "2021-04", "megatron-lm@core_v0.4"),
        ("mindspeed", "", "2026-06", ""),
        ("torchtune", "", "", ""),
        ("torchtitan", "", "", "torchtitan@0.3"),
    ],
)
def test_the_version_of_a_trainer_is_that_which_is_named_or_in_force(
    trainer: str, version: str, date: str, wanted: str
) -> None:
    run = read(trainer=trainer, trainer_version=version, date=date, sharding="none", launch="")
    assert bind_run(run).scenario.trainer.version == wanted


def test_memory_is_of_the_rank_that_was_measured() -> None:
    ranks = ("max", "first", "last", "mean")
    by_rank = {rank: predict_run(read(memory_rank=rank)).memory_predicted_gib for rank in ranks}
    # the first stage has most micro-batches in flight
    assert by_rank["max"] == by_rank["first"] > by_rank["mean"] > by_rank["last"]


@pytest.mark.parametrize("id_", OFFLOADED)
def test_tensors_on_the_host_are_those_of_the_row(id_: str) -> None:
    bound = bind_run(read(identity=id_))
    assert bound.scenario.offload.activations
    assert bound.scenario.host is not None
    assert not any("offload" in words for words in bound.not_modelled)


@pytest.mark.parametrize("id_", RAN)
def test_a_run_that_was_measured_fits(id_: str) -> None:
    prediction = predict_run(read(identity=id_))
    needed = sum(
        float(sizes[0]) for sizes in compute_peak_memory_bytes(prediction.scenario, prediction.plan).values()
    )
    assert needed <= prediction.scenario.accelerator.memory_bytes
