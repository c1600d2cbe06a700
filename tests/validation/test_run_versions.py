"""Which program, and which version of it, a row of a runs file stands for, and what is said where it does not say."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from planner.evidence.bind_run import bind_run
from planner.evidence.predict import predict_run
from tests.cli.run import call
from tests.validation.tables import format_table
from tests.validation.test_second_form import DENSE, read


@pytest.mark.parametrize(
    ("cells", "version", "said"),
    [
        (("torchtitan", "0.2.0", ""), "torchtitan@0.2", ""),
        (("torchtitan", "0.2.2", ""), "torchtitan@0.2.2", ""),
        (("torchtitan", "v0.1.0", "2026-05"), "torchtitan@0.1", ""),
        (("torchtitan", "", "2025-05"), "torchtitan@0.1", ""),
        (("torchtitan", "fca8ab7be", "2026-03"), "torchtitan@0.2.2", "trainer_version=0.2.2 (by the date)"),
        (("torchtitan", "0.9", ""), "torchtitan@0.3", "trainer_version=0.3 (the newest known)"),
        (("torchtitan", "0.9", "2030-01"), "torchtitan@0.3", "trainer_version=0.3 (the newest known, of 2026-08)"),
        (("torchtitan", "", "2023-01"), "torchtitan@2024-07", "trainer_version=2024-07 (the oldest known)"),
        (("megatron-lm", "core_v0.11.0", ""), "megatron-lm@core_v0.10", ""),
        (("megatron-lm", "0.13.1", ""), "megatron-lm@core_v0.13", ""),
        (("megatron-bridge", "nemo 26.04.01, v0.4.2", ""), "megatron-bridge@25.11", ""),
        (("nemo", "container 25.04", ""), "nemo@25.09", ""),
        (("torchtune", "0.5", ""), "torchtune@0.3", ""),
        (("mindspeed", "27.1", ""), "", "trainer_version=26.1 (the only one known)"),
    ],
)
def test_a_version_that_the_row_does_not_name_is_filled_in_and_said(
    cells: tuple[str, str, str], version: str, said: str
) -> None:
    trainer, text, date = cells
    accelerator = "ascend-910b" if trainer == "mindspeed" else "h100-sxm-80gb"
    one = bind_run(
        read(**DENSE | {"trainer": trainer, "trainer_version": text, "date": date, "accelerator": accelerator})
    )
    assert one.scenario.trainer.version == version
    assert [value for value in one.defaulted_settings if value.startswith("trainer_version")] == [said] * bool(said)


@pytest.mark.parametrize(
    ("sharding", "trainer", "stage"),
    [
        ("fsdp", "megatron-fsdp", "zero3"),
        ("fsdp2", "fsdp2", "zero3"),
        ("FULL_SHARD", "fsdp", "zero3"),
        ("SHARD_GRAD_OP", "fsdp", "zero2"),
        ("ZeRO-3", "deepspeed", "zero3"),
    ],
)
def test_without_a_trainer_the_sharding_names_it_and_its_programs_rules_fill_the_rest(
    sharding: str, trainer: str, stage: str
) -> None:
    run = read(**DENSE | {"sharding": sharding})
    bound, filled = bind_run(run), set(predict_run(run).assumed_values)
    assert bound.programs == bound.scenario.trainer.programs
    assert f"trainer={trainer} (of sharding={sharding})" in filled
    assert bound.space.allowed["zero_stage"] == (int(stage[-1]),)
    if trainer == "fsdp":  # whose programs have neither stages nor context parallelism
        assert {"pp=1", "cp=1", "vpp=1"} <= filled


def test_without_trainer_and_sharding_the_default_is_said() -> None:
    run = read(**DENSE)
    assert "trainer=megatron-classic" in predict_run(run).assumed_values
    assert set(bind_run(run).programs) == {"megatron-lm", "megatron-bridge", "nemo"}
    # a kind of plans is nobody's program
    assert bind_run(read(**DENSE | {"framework": "fsdp2"})).programs == ()


def test_validate_prints_what_was_filled_in(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(format_table(DENSE | {"trainer": "torchtitan", "trainer_version": "9.1"}))
    done = call("planner", "validate", "mine.csv", "-f", "csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert "trainer_version=0.3 (the newest known)" in json.dumps(row)


def test_a_version_of_the_option_after_all_that_is_known_is_noted() -> None:
    on = ("plan", "llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "16", "--top", "1", "--trainer")
    done = call(*on, "torchtitan@2030-01")
    assert (done.returncode, "nothing is known of torchtitan after 2026-08; taken as 0.3" in done.stderr) == (0, True)
    assert call(*on, "torchtitan@2026-05").stderr == ""
    for text in ("0.9", "2019-01", "soon", "26"):
        refused = call(*on, f"torchtitan@{text}")
        assert (refused.returncode, "unknown version of torchtitan" in refused.stderr) == (2, True)
    assert call(*on, "torchtitan@0.2.2").stderr == ""


@pytest.mark.parametrize(
    ("cells", "trainer"),
    [
        ({"trainer": "megatron-lm", "zero_stage": "2"}, "megatron-fsdp"),
        ({"trainer": "megatron-lm", "sharding": "FSDP2"}, "megatron-fsdp"),
        ({"trainer": "Megatron-LM", "zero_stage": "1"}, "megatron-classic"),
        ({"trainer": "nemo", "zero_stage": "3"}, "megatron-fsdp"),
        ({"trainer": "Torchtitan", "sharding": "zero-3"}, "fsdp2"),
        ({"zero_stage": "3"}, "megatron-fsdp"),
    ],
)
def test_the_stage_decides_between_a_programs_kinds_of_plans(cells: dict[str, str], trainer: str) -> None:
    assert bind_run(read(**DENSE | cells)).scenario.trainer.name == trainer


@pytest.mark.parametrize(
    ("cells", "unused"),
    [
        ({"framework": "fsdp2", "trainer": "torchtitan"}, "trainer=torchtitan (as framework=fsdp2)"),
        ({"trainer_version": "0.2"}, "trainer_version=0.2 (of no program)"),
        ({"etp": "2"}, "etp=2 (no experts)"),
    ],
)
def test_what_is_not_read_of_trainer_and_degrees_is_named(cells: dict[str, str], unused: str) -> None:
    assert unused in bind_run(read(**DENSE | cells)).not_modelled


@pytest.mark.parametrize(
    ("cells", "program"),
    [
        ({"trainer": "composer", "tp": "8"}, "composer"),
        (
            {"trainer": "torchtitan", "trainer_version": "0.1", "precision": "nvfp4", "accelerator": "b200"},
            "torchtitan",
        ),
    ],
)
def test_a_row_that_its_program_would_not_run_is_filled_without_its_rules_and_this_is_said(
    cells: dict[str, str], program: str
) -> None:
    assert f"rules=none ({program}: no such plan)" in predict_run(read(**DENSE | cells)).assumed_values
    assert "rules=" not in " ".join(predict_run(read(**DENSE | {"trainer": program})).assumed_values)
