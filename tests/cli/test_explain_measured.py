"""`planner explain --measured` and `--log`: the residual, the suspects, and the steady step of a trainer's log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.evidence.training_log import LOG_FORMATS, find_steady_steps
from tests.cli.run import call
from tests.schemas import validate_document

ON = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "128", "--pp", "2", "--tp", "2")
TOKENS, DEVICES = 128 * 8192, 16


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("plans") / "plan.json"
    file.write_text(call("planner", "estimate", *ON, "--format", "json").stdout)
    return file


def explain(plan_file: Path, *options: str) -> dict:
    done = call("planner", "explain", str(plan_file), *options, "-f", "json")
    assert done.returncode == 0, done.stderr
    document: dict = json.loads(done.stdout)
    validate_document(document, json.loads(call("planner", "schema", "explain").stdout))
    return document


def test_the_waterfall_and_the_residual_add_up_to_the_measured_step(plan_file: Path) -> None:
    plain = explain(plan_file)
    assert "measured" not in plain
    for text, step_time_s in (("14.2s", 14.2), ("9000ms", 9.0)):
        measured = explain(plan_file, "--measured", text)["measured"]
        assert measured["step_time_s"] == pytest.approx(step_time_s)
        parts = sum(part["seconds"] for part in plain["waterfall"])
        assert parts + measured["residual_s"] == pytest.approx(step_time_s, rel=1e-9)
        assert measured["is_in_interval"] == (plain["step_time_p10_s"] <= step_time_s <= plain["step_time_p90_s"])


def test_a_measured_mfu_is_the_step_time_that_has_it(plan_file: Path) -> None:
    plain = explain(plan_file)
    measured = explain(plan_file, "--measured", "38%")["measured"]
    assert measured["mfu"] == pytest.approx(0.38)
    assert measured["step_time_s"] * 0.38 == pytest.approx(plain["step_time_s"] * plain["mfu"])


def test_a_run_with_one_thing_otherwise_has_it_first_among_the_suspects(plan_file: Path) -> None:
    for option, value, name in (
        ("--recompute", "full", "recompute_full"),
        ("--no-sequence-parallel", "", "sequence_parallel"),
        ("--dp-overlap", "no", "dp_overlap"),
    ):
        other = json.loads(call("planner", "estimate", *ON, option, *filter(None, [value]), "-f", "json").stdout)
        step_time_s = other["plans"][0]["step_time_s"]
        measured = explain(plan_file, "--measured", f"{step_time_s!r}s")["measured"]
        assert measured["suspects"][0]["name"] == name
        assert measured["suspects"][0]["residual_share"] == pytest.approx(1.0, abs=1e-6)


def test_suspects_have_the_sign_of_the_residual(plan_file: Path) -> None:
    step_time_s = explain(plan_file)["step_time_s"]
    for factor, sign in ((1.4, 1), (0.8, -1)):
        measured = explain(plan_file, "--measured", f"{factor * step_time_s}s")["measured"]
        assert measured["suspects"]
        assert all(sign * suspect["seconds"] > 0 for suspect in measured["suspects"])
        shares = [abs(suspect["residual_share"] - 1) for suspect in measured["suspects"]]
        assert shares == sorted(shares)


def test_what_does_not_fit_in_memory_is_no_suspect(plan_file: Path) -> None:
    refused = call("planner", "estimate", *ON, "--attention", "unfused")
    assert refused.returncode == 3
    names = [suspect["name"] for suspect in explain(plan_file, "--measured", "60s")["measured"]["suspects"]]
    assert "attention_unfused" not in names
    assert "recompute_full" in names


LINES = {
    "Megatron-LM": " [2025-04-13 23:41:12] iteration {step:8d}/    1000 | consumed samples: 160 | elapsed time per "
    "iteration (ms): {ms:.1f} | learning rate: 1.0E-04 | global batch size:   128 | lm loss: 7.4E+00 |",
    "NeMo": "0: Training epoch 0, iteration {step}/99 | lr: 5.6e-06 | global_batch_size: 128 | global_step: {step} | "
    "reduced_train_loss: 2.778 | train_step_timing in s: {s:.4f} | consumed_samples: 928",
    "nanotron": "08/31/2024 14:37:31 [INFO|DP=0|PP=0|TP=0]: iteration: {step} / 150 | consumed_tokens: 512 | "
    "elapsed_time_per_iteration_ms: {s:.4f}K | tokens_per_sec: 109 | global_batch_size: 128 | lm_loss: 5.32",
    "MaxText": "I0811 21:55:06.119312 1383 metric_logger.py:226] completed step: {step}, seconds: {s:.4f}, "
    "TFLOP/s/device: 350.869, Tokens/s/device: 19222.175, total_weights: 1572864, loss: 12.980",
    "torchtitan": "\x1b[31m[rank0]:[titan] 2025-06-16 22:31:04,970 - root - INFO - \x1b[32mstep: {step}  "
    "loss:  6.0388  memory: 49.66GiB(52.28%)  \x1b[34mtps: {tps:,.0f}  tflops: 323.92  mfu: 32.75%\x1b[39m",
}
"""Lines of iterations as the trainers' logs in public issues and repositories have them, with other figures."""


def write_log(trainer: str, seconds: list[float]) -> list[str]:
    lines = ["loading the model ...\n"]
    for step, s in enumerate(seconds, 1):
        figures = {"step": step, "s": s, "ms": 1000 * s, "tps": TOKENS / s / DEVICES}
        lines += [LINES[trainer].format(**figures) + "\n", "(min, max) time across ranks (ms):\n"]
    return lines


def test_there_is_a_line_of_every_format() -> None:
    assert {log_format.trainer for log_format in LOG_FORMATS} == set(LINES)


@pytest.mark.parametrize("trainer", LINES)
def test_the_steady_step_is_the_median_after_the_warm_up(trainer: str) -> None:
    # the first iterations compile, one writes a checkpoint
    seconds = [60.0, 30.0, *[5.0 + 0.01 * (n % 5) for n in range(40)]]
    seconds[20] = 25.0
    steady = find_steady_steps(write_log(trainer, seconds), "run.log", tokens_per_step=TOKENS, devices=DEVICES)
    assert steady.trainer == trainer
    assert steady.step_time_s == pytest.approx(5.02, rel=2e-3)
    assert steady.used + steady.left_out == 42
    assert steady.left_out >= 2
    assert steady.step_time_p10_s <= steady.step_time_s <= steady.step_time_p90_s < 6


def test_ranks_that_print_the_same_iteration_count_once() -> None:
    lines = [line for line in write_log("torchtitan", [4.0] * 12) for _ in range(8)]
    steady = find_steady_steps(lines, "run.log", tokens_per_step=TOKENS, devices=DEVICES)
    assert steady.used + steady.left_out == 12


def test_iterations_of_a_ramped_batch_are_left_out() -> None:
    ramp = [line.replace("size:   128", "size:    32") for line in write_log("Megatron-LM", [1.0] * 30)]
    steps = write_log("Megatron-LM", [1.0] * 30 + [4.0] * 10)[61:]
    steady = find_steady_steps([*ramp, *steps], "run.log", tokens_per_step=TOKENS, devices=DEVICES)
    assert steady.step_time_s == pytest.approx(4.0)
    assert steady.global_batch == 128


def test_a_log_without_iterations_is_refused_with_the_trainers_that_are_known(
    tmp_path: Path, plan_file: Path
) -> None:
    with pytest.raises(InputError, match="Megatron-LM, NeMo, nanotron, MaxText, torchtitan"):
        find_steady_steps(["step one\n"], "run.log", tokens_per_step=1, devices=1)
    log = tmp_path / "run.log"
    log.write_text("nothing\n")
    for options, message in (
        (("--log", str(log)), "no line of an iteration"),
        (("--log", str(tmp_path / "other.log")), "cannot be read"),
        (("--measured", "38"), "a step time such as 14.2s, or an MFU such as 38%"),
        (("--measured", "138%"), "a step time such as 14.2s, or an MFU such as 38%"),
        (("--measured", "38%", "--log", str(log)), "one of the two"),
    ):
        done = call("planner", "explain", str(plan_file), *options)
        assert done.returncode == 2
        assert message in done.stderr


def test_a_log_is_the_measured_step_and_another_batch_is_warned_of(tmp_path: Path, plan_file: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("".join(write_log("Megatron-LM", [20.0, 9.0, *[5.0] * 20])))
    measured = explain(plan_file, "--log", str(log))["measured"]
    assert measured["step_time_s"] == pytest.approx(5.0)
    assert measured["log"]["trainer"] == "Megatron-LM"
    done = call("planner", "explain", str(plan_file), "--log", str(log))
    assert done.stderr == ""
    for text in ("residual", "measured step", "What would explain the residual", "Log of Megatron-LM: median of"):
        assert text in done.stdout
    log.write_text(log.read_text().replace("size:   128", "size:    64"))
    assert (
        "the iterations have 64 sequences, the plan 128"
        in call("planner", "explain", str(plan_file), "--log", str(log)).stderr
    )
