"""The records of trainers: documented fields, known programs, and bytes that follow from the precision."""

import ast
import inspect
from dataclasses import fields

import pytest

from planner.export.trainers import TRAINERS
from planner.trainers import trainer as trainer_module
from planner.trainers.registry import TRAINERS_BY_NAME, list_trainers_of_program
from planner.trainers.trainer import Trainer, replace_gradient_bytes, replace_moment_bytes, widen_trainer_state


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
    assert {program for trainer in TRAINERS_BY_NAME.values() for program in trainer.programs} == set(TRAINERS)
    assert all(list_trainers_of_program(program) for program in TRAINERS)


@pytest.mark.parametrize("trainer", TRAINERS_BY_NAME.values(), ids=TRAINERS_BY_NAME)
def test_wide_parameters_have_no_copy_beside_the_master_weights(trainer: Trainer) -> None:
    assert widen_trainer_state(trainer, "bf16") == trainer == widen_trainer_state(trainer, "fp8")
    for precision, value_bytes in (("fp32", 4.0), ("tf32", 4.0), ("fp64", 8.0)):
        wide = widen_trainer_state(trainer, precision)
        assert wide.sharded_weight_bytes + wide.optimizer_bytes == 3 * value_bytes, "parameter and two moments"
        assert wide.weight_bytes == wide.gradient_bytes == wide.grad_reduce_bytes == value_bytes


def test_dtypes_and_optimizers_change_their_own_bytes_alone() -> None:
    trainer = TRAINERS_BY_NAME["megatron"]
    assert replace_gradient_bytes(trainer, reduced="bf16").gradient_bytes == trainer.gradient_bytes
    narrow = replace_gradient_bytes(trainer, accumulated="bf16", reduced="bf16")
    assert (narrow.gradient_bytes, narrow.grad_reduce_bytes) == (2.0, 2.0)
    assert replace_moment_bytes(trainer, 0.0).optimizer_bytes == 4.0
    assert replace_moment_bytes(trainer, 8.0) == trainer
