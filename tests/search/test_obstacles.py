"""What refusals of `plan` and `estimate` name: all that stands against a request, and which option has to change."""

from __future__ import annotations

import pytest

from tests.cli.run import call

ON = ("llama-3.1-8b", "-b", "256", "--nodes", "8")
FEW = ("llama-3.1-8b", "-c", "dgx-h100", "--nodes", "8", "-b", "8", "--trainer", "composer")


@pytest.mark.parametrize("attention", [(), ("--attention", "flash"), ("--attention", "unfused")])
def test_where_no_value_of_a_setting_runs_each_has_its_reason(attention: tuple[str, ...]) -> None:
    done = call("plan", *ON, "-c", "dgx-v100", "--trainer", "torchtitan", *attention)
    assert done.returncode == 2
    for part in (
        "no value of --attention runs on v100-sxm2-32gb",
        "flash: attention unfused on GPUs before Ampere: FlashAttention needs a compute capability of 8.0",
        "unfused: attention flash",
        "--attention unfused --trainer megatron-lm" if "flash" in attention else "or --trainer megatron-lm",
    ):
        assert part in done.stderr, done.stderr


def test_degrees_that_nobody_pinned_are_no_wrong_option() -> None:
    done = call("plan", *FEW)
    assert done.returncode == 3
    assert done.stderr.startswith("error: no plan fits: composer"), done.stderr
    assert "nearest miss: cp 8" in done.stderr
    assert "--global-batch 64, or 8 devices, or --trainer megatron-lm" in done.stderr
    enlarged = call("plan", *FEW[:5], "-b", "64", *FEW[7:], "--top", "1")
    assert enlarged.returncode == 0, enlarged.stderr


def test_a_batch_and_a_number_of_devices_that_would_do_are_named() -> None:
    on = ("llama-3.1-8b", "-c", "gb200-nvl72", "--trainer", "fsdp2", "--top", "1")
    done = call("plan", *on, "--nodes", "72", "-b", "512")
    assert done.returncode == 3
    assert "--global-batch 576, or 256 devices" in done.stderr, done.stderr
    assert call("plan", *on, "--nodes", "72", "-b", "576").returncode == 0
    assert call("plan", *on, "--nodes", "64", "-b", "512").returncode == 0


def test_rules_of_the_search_are_named_where_they_are_about_a_pinned_degree() -> None:
    on = (*ON, "-c", "dgx-h100", "--trainer", "megatron-lm", "--schedule", "gpipe")
    assert "of any trainer" not in call("plan", *on).stderr
    assert "gpipe and dualpipe are not interleaved" in call("plan", *on, "--vpp", "2").stderr


def test_of_pinned_and_open_degrees_the_pinned_one_is_the_wrong_option() -> None:
    done = call("plan", *FEW, "--tp", "2")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --tp: unsupported by composer"), done.stderr
    assert "tp 2, cp 4" in done.stderr


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("estimate --trainer torchtitan --schedule zb-v --pp 4 --launch compiled", ["need vpp 2", "launch eager"]),
        ("estimate --trainer megatron-lm --schedule zb-v --pp 4", ["need vpp 2", "megatron-lm core_v0.16.1 runs"]),
        ("estimate --trainer torchtitan --tp 3 --attention unfused", ["one of 1, 2, 4, 8", "runs attention flash"]),
        ("plan --trainer torchtitan --schedule zb-v --vpp 1", ["schedule 1f1b with pp 1", "need vpp 2"]),
    ],
)
def test_a_conflict_of_options_and_what_the_trainer_does_not_run_are_named_at_once(
    asked: str, parts: list[str]
) -> None:
    command, *options = asked.split()
    done = call("planner", command, *ON, "-c", "dgx-h100", *options)
    assert done.returncode == 2
    assert not [part for part in parts if part not in done.stderr], done.stderr
