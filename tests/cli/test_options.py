"""Options: either case, suffixes, the trainer, and what is reported of the choice."""

import json
from pathlib import Path
from typing import get_args

import pytest

from planner.request.options import LAUNCH_MODES, TRAINERS
from planner.request.values import parse_allowed_values, parse_global_batch
from planner.trainers.names import LaunchMode as LaunchName
from planner.trainers.names import TrainerName
from planner.trainers.registry import PROGRAMS_BY_NAME, TRAINERS_BY_NAME
from tests.cli.run import call
from tests.cli.test_pins import DENSE

PINNED = (*DENSE, "--tp", "4", "--vpp", "1")


def read_document(*arguments: str, program: tuple[str, ...] = ("plan",)) -> dict:
    done = call(*program, *arguments, "-f", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_names_are_read_in_either_case() -> None:
    plain = read_document(*PINNED, "--precision", "fp8", "--recompute", "none", "--tokens", "15T")
    loud = ("Llama-3-8B", "-c", "DGX-H100", *PINNED[3:], "--precision", "FP8", "--recompute", "NONE")
    assert read_document(*loud, "--tokens", "15t", "--attention", "FLASH", "--framework", "Megatron-Classic") == plain


def test_a_sequence_takes_binary_suffixes() -> None:
    assert read_document(*PINNED, "--seq-length", "4K")["model"]["seq_length"] == 4096


@pytest.mark.parametrize(
    ("text", "batches"),
    [
        *dict.fromkeys(
            ("1M..4M tokens", "1M tokens..4M tokens", "1M tokens .. 4M tokens", "1M tokens..4M"), (256, 512, 1024)
        ).items(),
        ("1000000..4000000 tokens", (244, 256, 488, 512, 976, 977)),
        ("244 .. 977", (244, 256, 488, 512, 976, 977)),
    ],
)
def test_a_range_of_batches_has_a_single_unit(text: str, batches: tuple[int, ...]) -> None:
    assert parse_global_batch(text, "--global-batch").count_sequences(4096) == batches


def test_a_range_of_degrees_may_have_blanks_as_that_of_batches() -> None:
    assert parse_allowed_values("1 .. 3,8", "--tp").values == (1, 2, 3, 8)


def test_every_trainer_and_launch_mode_of_the_cost_model_can_be_chosen() -> None:
    assert set(TRAINERS) == {*TRAINERS_BY_NAME, *PROGRAMS_BY_NAME}
    assert set(TRAINERS_BY_NAME) == set(get_args(TrainerName))
    assert set(LAUNCH_MODES) == set(get_args(LaunchName))


@pytest.mark.parametrize("program", [("plan",), ("planner", "estimate")])
def test_the_trainer_is_chosen_and_reported(program: tuple[str, ...]) -> None:
    pins = (*DENSE, "--tp", "4", "--zero", "1", "--recompute", "full")
    chosen = (*DENSE, "--tp", "4", "--zero", "2", "--recompute", "full", "--trainer", "torchtitan")
    chosen = (*chosen, "--launch", "compiled")
    plain, other = read_document(*pins, program=program), read_document(*chosen, program=program)
    assert plain["training"]["framework"] == "megatron-classic"
    assert (other["training"]["framework"], other["training"]["launch"]) == ("fsdp2", "compiled")
    assert other["plans"][0]["step_time_s"] != plain["plans"][0]["step_time_s"]
    step = call(*program, *chosen).stdout.splitlines()[3]
    assert "fsdp2 (compiled)" in step


def test_without_a_choice_the_trainer_is_the_usual_trainer_of_the_accelerator() -> None:
    arguments = ("llama-3-8b", "-c", "tpu-v5p", "--nodes", "16", "-b", "64", "--vpp", "1")
    assert read_document(*arguments)["training"]["framework"] == "maxtext"
    blackwell = ("llama-3-8b", "-c", "dgx-b200", "--nodes", "1", "-b", "64", "--vpp", "1")
    assert read_document(*blackwell)["training"]["framework"] == "megatron"


def test_narrower_gradients_take_less_memory() -> None:
    # with activations enough that the peak is not in the update, for which 16-bit gradients are copied to 32 bits
    pins = (*DENSE, "--tp", "4", "--recompute", "none")
    wide, narrow = (
        read_document(*pins, "--gradients", form, program=("planner", "estimate"))["plans"][0]["memory"]
        for form in ("fp32", "bf16")
    )
    # two bytes a parameter, as its 16-bit weight has; what Transformer Engine hands to autograd is the same
    assert wide["gradients_bytes"] - narrow["gradients_bytes"] == wide["weights_bytes"] == narrow["weights_bytes"]


def test_a_long_sequence_of_a_config_file_is_reported(tmp_path: Path) -> None:
    config = json.loads((Path(__file__).parents[1] / "fixtures/configs/llama-3-8b/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 131_072}))
    arguments = (str(tmp_path), "-c", "dgx-h100", "--nodes", "4", "-b", "64", "--vpp", "1")
    usual = " ".join(call("plan", *arguments).stdout.split())
    assert "Note sequence 8,192, usual for the training of llama models, of the 131,072" in usual
    assert "sequence 131,072" in call("plan", *arguments, "--seq-length", "128K").stdout
    assert "Note" not in call("plan", *arguments, "--seq-length", "8K").stdout
