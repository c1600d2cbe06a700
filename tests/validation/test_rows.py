"""A row is bound to the scenario that it describes, or listed with the reason."""

import pytest

from planner.errors import InputError
from planner.evidence.bind_run import bind_run
from planner.evidence.predict import predict_run, predict_runs
from planner.evidence.runs import parse_runs
from tests.validation.tables import PUBLISHED, format_table, read_published_rows

LLAMA = "mbridge-26.04-LLAMA3_70B-h100-FP8-n64-gbs256-tp4pp8cp1ep1"
DEEPSEEK = "simumax-deepseekv3_l4_tp1_ep8_pp1_dp8_mbc4_cef"
OLD = "korthikanti-22B-full"
FSDP2 = "torchtitan-8b-n8-compile"


def parse_rows(*lines: dict[str, str]):
    return parse_runs(format_table(*lines), "runs.csv")


def test_a_run_has_the_scenario_of_its_row() -> None:
    runs, skipped = parse_rows(*read_published_rows(LLAMA))
    bound = bind_run(runs[0])
    scenario = bound.scenario
    assert not skipped
    assert (scenario.workload.layer_count, scenario.workload.hidden_size, scenario.workload.seq_length) == (
        80,
        8192,
        8192,
    )
    assert (scenario.accelerator.name, scenario.devices, scenario.precision) == ("h100-sxm-80gb", 64, "fp8")
    assert bound.space.allowed["tp"] == (4,)
    assert bound.space.allowed["zero_stage"] == (1,)
    assert bound.unstated_columns == ("recompute", "seq_parallel")


def test_a_value_without_a_column_is_that_of_the_family() -> None:
    (run,), _ = parse_rows(*read_published_rows(DEEPSEEK))
    workload = bind_run(run).scenario.workload
    names = {op.name for layer in workload.layer_types for op in layer.operators}
    assert {"kv_down", "router", "shared_up"} <= names
    assert [layer.count for layer in workload.layer_runs] == [1, 3], "a cut model keeps a share of its dense layers"


def test_old_papers_have_no_flash_attention_and_torchtitan_is_fsdp2() -> None:
    (old, new), _ = parse_rows(*read_published_rows(OLD, FSDP2))
    assert bind_run(old).scenario.attention_kernel == "unfused"
    scenario = bind_run(new).scenario
    assert (scenario.trainer.name, scenario.launch_mode, scenario.attention_kernel) == ("fsdp2", "compiled", "flash")


def test_an_assumed_setting_is_reported_with_its_value() -> None:
    (run,), _ = parse_rows(*read_published_rows(LLAMA))
    filled = predict_run(run).assumed_values
    assert [value.split("=")[0] for value in filled] == ["recompute", "seq_parallel"]
    assert filled[0].split("=")[1] in ("none", "selective", "full")


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("layers", "many", "layers 'many' is not a number"),
        ("layers", "", "layers is empty"),
        ("devices", "-8", "is not a positive whole number"),
        ("layers", "128128", "is not a positive whole number of at most 2,048"),
        ("value", "nan", "is out of range"),
        ("value", "0", "is not a positive number"),
        ("metric", "miles", "metric 'miles' is not one of"),
        ("framework", "megatrn", "framework 'megatrn' is not one of megatron, megatron-classic"),
        ("tp_overlap", "maybe", "tp_overlap 'maybe' is not one of yes, no"),
        ("accelerator", "abacus", "'abacus' is not in hardware_db"),
        ("global_batch", "", "global_batch is empty"),
        ("tp", "3", "no such plan"),
        ("precision", "fp2", "states no dense peak"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_reason(column: str, value: str, reason: str) -> None:
    good, bad = read_published_rows(LLAMA, LLAMA)
    bad |= {"id": "bad", column: value}
    runs, unread = parse_rows(good, bad)
    predictions, unbound = predict_runs(runs)
    assert [prediction.run.id for prediction in predictions] == [LLAMA], "the other row is not lost"
    (skipped,) = [*unread, *unbound]
    assert (skipped.id, skipped.line) == ("bad", 3)
    assert reason in skipped.reason


def test_a_table_without_a_needed_column_is_an_error() -> None:
    line = read_published_rows(LLAMA)[0]
    del line["hidden"]
    with pytest.raises(InputError, match=r"runs\.csv: hidden: a column is missing"):
        parse_runs(format_table(line), "runs.csv")
    with pytest.raises(InputError, match="has no rows"):
        parse_runs("", "runs.csv")
    with pytest.raises(InputError, match=r"runs\.csv: tp: a column is there twice"):
        parse_runs(format_table(read_published_rows(LLAMA)[0]).replace("locator", "tp", 1), "runs.csv")


def test_a_model_and_an_accelerator_of_no_known_family_are_read_from_their_columns() -> None:
    line = read_published_rows(LLAMA)[0] | {
        "model": "novel-9b",
        "experts": "16",
        "topk": "2",
        "accelerator": "max-1550",
        "precision": "bf16",
    }
    (run,), _ = parse_rows(line | {"ep": "1"})
    bound = bind_run(run)
    assert bound.scenario.workload.experts == 16
    assert bound.cluster.devices_per_node == 8
    assert predict_run(run).predicted > 0


def test_how_the_trainer_ran_is_stated_in_columns_and_not_read_out_of_free_text() -> None:
    stated = read_published_rows(FSDP2)[0] | {
        "sharding": "none",
        "framework": "ddp",
        "launch": "eager",
        "attention": "unfused",
    }
    unstated = read_published_rows(FSDP2)[0] | {
        "framework": "",
        "launch": "",
        "attention": "",
        "notes": "torch.compile",
    }
    (first, second), _ = parse_rows(stated | {"gradients": "bf16"}, unstated | {"gradients": ""})
    scenario = bind_run(first).scenario
    assert (scenario.trainer.name, scenario.launch_mode, scenario.attention_kernel) == ("ddp", "eager", "unfused")
    assert scenario.gradient_dtype == "bf16"
    scenario = bind_run(second).scenario
    assert (scenario.trainer.name, scenario.launch_mode, scenario.attention_kernel) == ("fsdp2", "eager", "flash")


def test_every_published_row_states_its_trainer() -> None:
    runs, _ = parse_runs(PUBLISHED.read_text("utf-8"), "runs.csv")
    assert all(run.get_text("framework") and run.get_text("attention") for run in runs)
