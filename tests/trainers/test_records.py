"""The records of trainers: documented fields, known programs, and bytes that follow from the precision."""

import ast
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.export.trainers import TRAINERS
from planner.trainers import trainer as trainer_module
from planner.trainers.names import ExportName, ProgramName
from planner.trainers.registry import PROGRAMS_BY_NAME, TRAINERS_BY_NAME, find_trainer, list_trainers_of_program
from planner.trainers.rules import PlanValues
from planner.trainers.trainer import Trainer, replace_gradient_bytes, replace_moment_bytes, widen_trainer_state
from planner.workload.presets import read_transformer_preset


def test_every_field_has_a_docstring_of_its_own() -> None:
    tree = ast.parse(inspect.getsource(trainer_module))
    (record,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Trainer"]
    documented = {
        field.target.id
        for field, docstring in zip(record.body, record.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(docstring, ast.Expr)
    }
    assert documented == {field.name for field in fields(Trainer)}


def test_programs_are_those_that_are_exported_to_and_each_runs_a_trainer() -> None:
    assert tuple(PROGRAMS_BY_NAME) == get_args(ProgramName)
    assert tuple(TRAINERS) == get_args(ExportName)
    assert all(
        bool(program.nearest_exports) == (name not in TRAINERS) and set(program.nearest_exports) <= set(TRAINERS)
        for name, program in PROGRAMS_BY_NAME.items()
    )
    assert all(list_trainers_of_program(name) for name in PROGRAMS_BY_NAME)


@pytest.mark.parametrize(
    ("program", "package"),
    [
        ("megatron-lm", "MEGATRON := "),
        ("megatron-bridge", "megatron-bridge=="),
        ("deepspeed", "deepspeed=="),
        ("torchtitan", "torchtitan=="),
        ("fsdp2", "torch=="),
        ("maxtext", "maxtext=="),
        ("nemo", "nemo_toolkit=="),
        ("accelerate", "accelerate=="),
    ],
)
def test_rules_are_of_the_version_that_reads_the_files_in_test_export(program: ExportName, package: str) -> None:
    root = Path(__file__).parents[2]
    pins = (root / "Makefile").read_text() + (root / "pyproject.toml").read_text()
    assert package + PROGRAMS_BY_NAME[program].version in pins


MIXTRAL = read_transformer_preset("mixtral-8x7b")


def build_plan_values(**changes: Any) -> PlanValues:
    """A plan that breaks many rules, with some values changed."""
    degrees = dict.fromkeys(("tp", "pp", "dp", "cp", "ep", "etp", "vpp", "micro_batch"), 1)
    values: dict[str, Any] = degrees | {
        "zero_stage": 1,
        "recompute": "none",
        "sequence_parallel": 0,
        "schedule": "zero-bubble",
        "layout": "E2|2ML",
        "tp_overlap": True,
        "dp_overlap": False,
        "cp_exchange": "ring",
        "gradients": "bf16",
        "communication": "fp32",
        "offload": ["weights", "activations"],
        "order": "pp-tp-cp-dp",
        "shard_group": 8,
        "recompute_layers": 2,
        "precision": "nvfp4",
        "attention": "unfused",
        "launch": "eager",
        "seq_length": 4096,
        "global_batch": 576,
        "framework": "fsdp2",
        "model": MIXTRAL,
        "model_title": "Mixtral",
        "accelerator": "tpu-v5p",
        "vendor": "Google",
        "device_type": "tpu",
        "architecture": "tpu-v5p",
    }
    return PlanValues(**values | changes)


@pytest.mark.parametrize("name", PROGRAMS_BY_NAME)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_rules_give_the_same_verdict_for_many_plans_as_for_each(name: str, seed: int) -> None:
    program = PROGRAMS_BY_NAME[name]
    generator, plans = np.random.default_rng(seed), 16
    degrees = {name: generator.choice([1, 2, 3, 8], plans) for name in ("tp", "pp", "dp", "cp", "ep", "etp", "vpp")}
    columns = degrees | {
        "zero_stage": generator.integers(0, 4, plans),
        "recompute": generator.choice(["none", "selective", "full"], plans),
        "sequence_parallel": generator.integers(0, 2, plans),
    }
    rows = [{name: column[i].item() for name, column in columns.items()} for i in range(plans)]
    together, alone = build_plan_values(**columns), [build_plan_values(**row) for row in rows]
    for rule in (*program.rules, *(rule for version in program.versions for rule in version.rules)):
        broken = np.broadcast_to(rule.is_broken(together), plans)
        assert broken.tolist() == [bool(rule.is_broken(plan)) for plan in alone], rule.setting


@pytest.mark.parametrize("trainer", TRAINERS_BY_NAME.values(), ids=TRAINERS_BY_NAME)
def test_wide_parameters_have_no_copy_in_addition_to_the_master_weights(trainer: Trainer) -> None:
    assert widen_trainer_state(trainer, "bf16") == trainer == widen_trainer_state(trainer, "fp8")
    for precision, value_bytes in (("fp32", 4.0), ("tf32", 4.0), ("fp64", 8.0)):
        wide = widen_trainer_state(trainer, precision)
        assert wide.sharded_weight_bytes + wide.optimizer_bytes == 3 * value_bytes, "parameter and two moments"
        assert wide.weight_bytes == wide.gradient_bytes == wide.grad_reduce_bytes == value_bytes


def test_versions_are_in_order_and_each_is_of_its_month_alone() -> None:
    for program in PROGRAMS_BY_NAME.values():
        months = [version.since for version in program.versions]
        assert months == sorted(months, reverse=True) and len({v.name for v in program.versions}) == len(months)
        for version in program.versions:
            assert program.find_version(version.name) is program.find_version(version.since) is version
            assert set(version.trainers) <= set(list_trainers_of_program(program.name))
            for trainer in version.trainers or list_trainers_of_program(program.name):
                changed = find_trainer(trainer, f"{program.name}@{version.name}", "compiled")
                assert changed.version == f"{program.name}@{version.name}"
        assert not months or program.find_version_of_date("2000-01") is None


def test_a_16_bit_gradient_beside_the_accumulator_goes_with_it() -> None:
    nanotron = TRAINERS_BY_NAME["nanotron"]
    same = replace_gradient_bytes(nanotron, accumulated="fp32", reduced="fp32")
    narrow = replace_gradient_bytes(nanotron, accumulated="bf16", reduced="bf16")
    assert same == nanotron and nanotron.gradient_bytes == 6.0
    assert (narrow.gradient_bytes, narrow.gradient_copy_bytes) == (2.0, 0.0)


def test_dtypes_and_optimizers_change_their_own_bytes_alone() -> None:
    trainer = TRAINERS_BY_NAME["megatron"]
    assert replace_gradient_bytes(trainer, reduced="bf16").gradient_bytes == trainer.gradient_bytes
    narrow = replace_gradient_bytes(trainer, accumulated="bf16", reduced="bf16")
    assert (narrow.gradient_bytes, narrow.grad_reduce_bytes) == (2.0, 2.0)
    assert replace_moment_bytes(trainer, 0.0).optimizer_bytes == 4.0
    assert replace_moment_bytes(trainer, 8.0) == trainer
