"""`--trainer` and `planner trainers`: what a trainer runs is searched, and what it does not run is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import get_args

import pytest

from planner.errors import InputError
from planner.request.options import TRAINERS
from planner.request.values import parse_trainer
from planner.trainers.names import ExportName, ProgramName, TrainerName
from tests.cli.run import call
from tests.sample import mark_full

TITAN = ("--trainer", "torchtitan")
ON = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64")


def test_all_trainers_are_listed_and_each_is_shown_with_its_rules() -> None:
    names = [
        part["name"] for part in json.loads(call("planner", "trainers", "list", "-f", "json").stdout)["trainers"]
    ]
    assert set(names) == {*get_args(ProgramName), *get_args(TrainerName)}
    for name in names:
        (part,) = json.loads(call("planner", "trainers", "show", name, "-f", "json").stdout)["trainers"]
        assert bool(part["rules"]) == bool(part["version"]) == (part["kind"] == "program")
        version_rules = [rule for version in part["versions"] for rule in version["rules"]]
        assert not [rule for rule in (*part["rules"], *version_rules) if not rule["source"].strip()], name
        assert "{" not in "".join(rule["supported"] for rule in part["rules"])
        assert set(part["written_settings"]) <= set(part["own_values"])
        assert part["has_expert_axis"] == (name == "maxtext")


def test_a_trainer_is_shown_with_what_it_can_be_given_beside_its_own_values() -> None:
    text = " ".join(call("planner", "trainers", "show", "megatron-lm").stdout.split())
    written = text.partition("Other values of ")[2].partition(" Ranks ")[0]
    assert "loss" in written
    assert "attention_precision" not in written, "no argument of Megatron-LM"
    assert "attention_precision bf16" in text
    assert "Ranks numbered tp-cp-dp-pp, or tp-cp-pp-dp by an option" in text


def test_a_trainer_without_a_version_is_shown_as_it_is_planned() -> None:
    (part,) = json.loads(call("planner", "trainers", "show", "torchtitan", "-f", "json").stdout)["trainers"]
    done = call("plan", *ON, *TITAN, "--top", "1", "-f", "json")
    settings = json.loads(done.stdout)["plans"][0]["settings"]
    assert part["own_values"]["loss"] == settings["loss"] == "chunked"
    assert part["defaults"]["communication"] == settings["communication"] == "fp32"


def test_an_unknown_trainer_is_refused_with_the_nearest() -> None:
    done = call("planner", "trainers", "show", "torchtita")
    assert done.returncode == 2
    assert "did you mean torchtitan?" in done.stderr


def test_the_old_name_of_the_option_still_works_and_excludes_the_new_one() -> None:
    for name in ("megatron-fsdp", "torchtitan", "megatron-lm@core_v0.12", "fsdp2"):
        old, new = (call("plan", *ON, option, name, "-f", "json") for option in ("--framework", "--trainer"))
        assert new.returncode == 0, new.stderr
        assert old.stdout == new.stdout
    assert "--framework" not in call("plan", "--help").stdout
    both = call("plan", *ON, "--framework", "ddp", "--trainer", "ddp")
    assert both.returncode == 2
    assert "conflicting options" in both.stderr


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("--trainer torchtitan --tp 16", ["--tp: unsupported by torchtitan", "8 KV heads", "--tp 8"]),
        (
            "--trainer torchtitan --tp 16 --attention unfused --gradients bf16",
            ["--tp, --attention, --gradients", "--gradients fp32", "--attention flash", "--tp 8"],
        ),
        ("--trainer ddp --cp 2", ["--cp: unsupported by accelerate", "cp 1"]),
        # no ZeRO stage was pinned: stage 1, which is of another engine, is no obstacle
        (
            "--trainer accelerate --recompute selective",
            ["--recompute: unsupported by accelerate", "it runs: --recompute full"],
        ),
        ("--trainer megatron --zero 2 --tp 2", ["--zero", "--trainer megatron-fsdp", "it runs: --zero 1"]),
        ("--trainer deepspeed --zero 0 --gradients fp32", ["--gradients", "it runs: --gradients bf16"]),
        (
            "--trainer megatron-lm --precision fp8 --fp8-recipe rowwise --tp 8",
            ["--fp8-recipe: unsupported by megatron-lm", "fp8_recipe rowwise", "it runs: --fp8-recipe delayed"],
        ),
        ("--trainer composer --mtp-layers 1", ["--mtp-layers: unsupported by composer", "model.mtp_layers 1"]),
        ("--attention-precision fp8 -c dgx-a100", ["--attention-precision: a100-sxm-80gb", "fp8", "expected: bf16"]),
        ("--trainer maxtext --precision int8 -c dgx-a100", ["--precision: unsupported", "int8 on TPUs"]),
    ],
)
def test_a_refusal_names_every_obstacle_and_the_nearest_plan(asked: str, parts: list[str]) -> None:
    done = call("planner", "estimate", *ON, *asked.split())
    assert done.returncode == 2
    assert not [part for part in parts if part not in done.stderr], done.stderr


HOSTILE = [
    "--tp 2 --pp 2 --cp 2 --zero 2 --dp-overlap no",
    "--tp-overlap yes --tp 2 --no-sequence-parallel --pp 2 --zero 3",
    "--offload weights --zero 1 --cp 4 --cp-exchange ring --gradients bf16",
    "--moments bf16 --reshard never --order tp-pp-cp-dp --pp 2 --cp 2",
    "--precision fp8 --recompute selective --tp 8",
]


@pytest.mark.parametrize("program", mark_full(get_args(ExportName), every=8))
def test_the_nearest_plan_of_a_refusal_is_accepted_and_exported(program: str, tmp_path: Path) -> None:
    on = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "16", "--seq-length", "2048", "--trainer", program)
    for text in HOSTILE:
        pins = read_options(text)
        done = call("plan", *on, *write_options(pins), "--top", "1", "-f", "json")
        assert done.returncode in (0, 2), done.stderr
        if done.returncode == 2:
            assert f"unsupported by {program}" in done.stderr
            (nearest_text,) = re.findall(r"plan that it runs: (.*?)(?:; or --trainer|\n)", done.stderr)
            nearest = read_options(nearest_text)
            done = call("plan", *on, *write_options(pins | nearest), "--top", "1", "-f", "json")
            assert done.returncode == 0, (text, nearest, done.stderr)
        (tmp_path / "plan.json").write_text(done.stdout)
        exported = call("planner", "export", "plan.json", "--to", program, cwd=tmp_path)
        assert exported.returncode == 0, exported.stderr


def read_options(text: str) -> dict[str, str]:
    """Options with their values; a flag and its opposite are one."""
    options = dict(re.findall(r"--(\S+)(?: ([^-\s]\S*))?", text))
    if "no-sequence-parallel" in options:
        return {name: value for name, value in options.items() if name != "no-sequence-parallel"} | {
            "sequence-parallel": "no"
        }
    return options


def write_options(options: dict[str, str]) -> list[str]:
    words = []
    for name, value in options.items():
        if name == "sequence-parallel":
            words += ["--no-sequence-parallel" if value == "no" else "--sequence-parallel"]
        else:
            words += [f"--{name}", value]
    return words


def test_without_a_trainer_pinned_values_that_the_default_does_not_run_are_warned_of() -> None:
    done = call("planner", "estimate", *ON, "--pp", "2", "--schedule", "zero-bubble", "--zero", "1")
    assert done.returncode == 0
    assert "unsupported by megatron-lm" in done.stderr


def test_a_deepspeed_plan_may_have_zero_3_with_tensor_parallelism() -> None:
    assert call("planner", "estimate", *ON, "--trainer", "deepspeed", "--zero", "3", "--tp", "4").returncode == 0


def test_old_gpus_have_unfused_attention() -> None:
    on = (
        "llama-2-7b",
        "-c",
        "dgx-v100",
        "--nodes",
        "4",
        "-b",
        "64",
        "--tp",
        "8",
        "--recompute",
        "full",
        "-f",
        "json",
    )
    pins = ("--recompute", "full", "--zero", "1")
    assert json.loads(call("planner", "estimate", *on, *pins).stdout)["training"]["attention"] == "unfused"
    asked = call("planner", "estimate", *on, *pins, "--attention", "flash", "--trainer", "megatron-lm")
    assert asked.returncode == 2
    assert "8.0" in asked.stderr


OLD_GPU = """
name = "old"
nodes = 2
[node]
devices = 8
[node.accelerator]
name = "t4-like"
architecture = "Turing"
peak_flops = { fp16 = "65TFLOP/s", fp32 = "8.1TFLOP/s" }
memory = { capacity = "32GB", bandwidth = "320GB/s" }
[node.link]
topology = "nvswitch"
bandwidth = "16GB/s"
[node.nic]
count = 1
bandwidth = "100Gb/s"
[[fabric]]
name = "leaf"
"""


def test_what_a_generation_of_gpus_lacks_is_never_planned_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text(OLD_GPU)

    def estimate(*options: str) -> CompletedProcess[str]:
        on = ("llama-3-8b", "-c", "old.toml", "-b", "64", "--seq-length", "2048")
        pins = ("--tp", "8", "--pp", "2", "--zero", "0")
        return call("planner", "estimate", *on, *pins, *options, "-f", "json", cwd=tmp_path)

    done = estimate()
    assert not done.stderr
    scenario = json.loads(done.stdout)["training"]
    assert (scenario["precision"], scenario["attention"]) == ("fp16", "unfused")
    for precision in ("bf16", "fp8", "tf32"):
        done = estimate("--precision", precision)
        assert (done.returncode, "no dense peak for this precision" in done.stderr) == (2, True)
    for program in ("megatron-lm", "megatron-bridge", "nemo"):
        done = estimate("--trainer", program, "--attention", "flash")
        assert (done.returncode, "compute capability of 8.0" in done.stderr) == (2, True)
    amd = call("plan", "llama-3-8b", "-c", "mi355x", "--nodes", "1", "-b", "64", "--precision", "mxfp8", *TITAN)
    assert (amd.returncode, "10.0" in amd.stderr, "it runs: --precision bf16" in amd.stderr) == (2, True, True)
    experts = call("planner", "estimate", "mixtral-8x7b", "-c", "dgx-v100", "--nodes", "2", "-b", "64", "--tp", "8")
    assert "grouped GEMMs need a compute capability of 8.0" in experts.stderr
    # T5 is trained by none of Megatron's programs on any GPU
    assert call("planner", "estimate", "t5-large", "-c", "dgx-v100", "--nodes", "2", "-b", "64").stderr == ""


def test_torchtitan_predicts_several_tokens_without_pipeline_and_context_parallelism() -> None:
    on = ("deepseek-v3", "-c", "dgx-h100", "--nodes", "128", "-b", "2048", "--mtp-layers", "1", *TITAN)
    done = call("planner", "estimate", *on, "--pp", "2", "--cp", "2", "--zero", "3", "--ep", "8")
    assert done.returncode == 2
    assert "pp 1 with multi-token prediction" in done.stderr and "cp 1 with multi-token" in done.stderr, done.stderr
    assert "--pp 1 --cp 1" in done.stderr, done.stderr


def test_rejected_candidates_are_counted_and_all_found_plans_keep_the_rules() -> None:
    done = call("plan", *ON, "--trainer", "torchtitan", "--top", "50", "--no-diverse", "--within", "0", "-f", "json")
    answer = json.loads(done.stdout)
    search = answer["search"]
    assert search["cut_by"]["trainer"] > 0
    assert search["candidates"] == search["feasible"] + sum(search["cut_by"].values())
    assert all(plan["strategy"]["zero_stage"] > 1 and plan["strategy"]["tp"] <= 8 for plan in answer["plans"])


def read_training(*options: str) -> dict[str, object]:
    done = call("planner", "estimate", *ON, "--tp", "4", "--recompute", "full", "-f", "json", *options)
    assert done.returncode == 0, done.stderr
    training: dict[str, object] = json.loads(done.stdout)["training"]
    return training | {"loss": json.loads(done.stdout)["plans"][0]["settings"]["loss"]}


def test_an_older_version_has_what_it_did_otherwise_and_the_document_names_it() -> None:
    newest = read_training("--trainer", "torchtitan")
    assert (newest["trainer"], newest["loss"]) == ("torchtitan@0.3", "chunked")
    assert "trainer" not in read_training("--trainer", "megatron-lm")
    losses = {}
    for version in ("2025-02", "0.1", "2026-05"):
        training = read_training("--trainer", f"TorchTitan@{version}", "--launch", "compiled")
        losses[training["trainer"]] = training["loss"]
    assert losses == {"torchtitan@2025-02": "plain", "torchtitan@0.1": "compiled", "torchtitan@0.3": "chunked"}
    assert read_training("--trainer", "megatron-bridge@25.11", "-c", "dgx-b200")["framework"] == "megatron-classic"


def test_the_version_that_the_list_prints_is_one_of_trainer() -> None:
    for part in json.loads(call("planner", "trainers", "list", "-f", "json").stdout)["trainers"]:
        if part["version"]:
            named = f"{part['name']}@{part['version']}"
            shown = json.loads(call("planner", "trainers", "show", named, "-f", "json").stdout)["trainers"]
            assert [one["name"] for one in shown] == [part["name"]]
            assert parse_trainer(named, "--trainer", TRAINERS) in (part["name"], named)
    with pytest.raises(InputError, match=r"core_v0\.16\.1, core_v0\.16"):
        parse_trainer("megatron-lm@9", "--trainer", TRAINERS)


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("--trainer torchtitan@0.33", ["torchtitan@0.33", "2024-10", "did you mean 0.3?"]),
        ("--trainer megatron-classic@26.06", ["kind of plans", "megatron-bridge"]),
        ("--trainer torchtitan@2024-08 --cp 2", ["--cp: unsupported by torchtitan 2024-07", "cp 1"]),
        ("--trainer megatron-lm@core_v0.7 --zero 2", ["--zero: unsupported by megatron-lm core_v0.7"]),
        ("--trainer torchtune --pp 2", ["--pp: unsupported by torchtune", "pp 1"]),
        ("--trainer neuronx --zero 1", ["--cluster: unsupported by neuronx", "AWS npu"]),
        ("--trainer mindspeed --zero 1", ["--cluster: unsupported by mindspeed", "Huawei npu"]),
        ("--trainer nanotron --zero 3", ["--zero: unsupported by nanotron", "--zero 1"]),
        ("--trainer hf-trainer --zero 1", ["--zero: unsupported by hf-trainer", "--trainer deepspeed"]),
        ("--trainer composer --tp 2", ["--tp: unsupported by composer", "tp 1"]),
        ("--trainer megatron-deepspeed --zero 2 --pp 2", ["unsupported by megatron-deepspeed", "pipeline stages"]),
    ],
)
def test_trainers_and_versions_without_files_refuse_what_they_do_not_run(asked: str, parts: list[str]) -> None:
    done = call("planner", "estimate", *ON, *asked.split())
    assert done.returncode == 2
    assert not [part for part in parts if part not in done.stderr], done.stderr


@pytest.mark.parametrize(
    ("trainer", "cluster"), [("maxtext", "dgx-h100"), ("neuronx", "aws-trn2"), ("mindspeed", "ascend-910b")]
)
def test_experts_exchange_by_deepep_only_where_the_trainer_has_it(trainer: str, cluster: str) -> None:
    words = ("qwen3-30b-a3b", "-c", cluster, "--nodes", "4", "-b", "128", "--vpp", "1", "--ep", "8", "--top", "1")
    words = (*words, "--trainer", trainer)
    own = json.loads(call("plan", *words, "-f", "json").stdout)["plans"][0]
    assert own["settings"]["ep_exchange"] == "nccl"
    pinned = json.loads(call("plan", *words, "--ep-exchange", "nccl", "-f", "json").stdout)["plans"][0]
    assert pinned == own
    refused = call("plan", *words, "--ep-exchange", "deepep")
    assert (refused.returncode, "--ep-exchange: unsupported by" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("cluster", "trainer"), [("aws-trn1", "neuronx"), ("ascend-910b", "mindspeed"), ("tpu-v6e", "maxtext")]
)
def test_the_default_trainer_runs_on_the_accelerator(cluster: str, trainer: str) -> None:
    words = ("llama-2-7b", "-c", cluster, "--nodes", "2", "-b", "64", "--vpp", "1")
    done = call("plan", *words, "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["training"]["framework"] == trainer
    # as if it had been named: all its rules hold
    assert (
        json.loads(call("plan", *words, "--trainer", trainer, "-f", "json").stdout)["plans"]
        == (json.loads(done.stdout)["plans"])
    )


def test_a_trainer_holds_what_its_sources_say() -> None:
    """Bytes of a step of pure data parallelism without ZeRO on one device, for each parameter."""
    for name, (weights, gradients, optimizer) in {
        "torchtune": (2, 2, 4),
        "nanotron": (2, 4, 12),  # and 2 in a backward pass
        "hf-trainer": (2, 4, 12),
        "composer": (2, 4, 12),
    }.items():
        on = ("1B", "-c", "dgx-h100", "--devices", "1", "-b", "8", "-f", "json", "--recompute", "full")
        # of a chunked loss the head's newest gradient stands beside their sum
        loss = ("--loss", "plain") if name == "torchtune" else ()
        document = json.loads(call("planner", "estimate", *on, "--trainer", name, *loss).stdout)
        memory, parameters = document["plans"][0]["memory"], document["model"]["parameters"]
        per_parameter = [memory[f"{part}_bytes"] / parameters for part in ("weights", "gradients", "optimizer")]
        if name == "nanotron":  # where the peak is in a backward pass, 16-bit gradients stand beside the sum
            assert 4 <= per_parameter[1] <= 6
            per_parameter[1] = 4
        assert per_parameter == pytest.approx([weights, gradients, optimizer], rel=1e-9), name


def test_no_files_are_written_for_some_trainers_and_the_nearest_are_named(tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.json"
    plan_file.write_text(call("plan", *ON, "--trainer", "hf-trainer", "--top", "1", "-f", "json").stdout)
    refused = call("planner", "export", str(plan_file), "--to", "hf-trainer")
    assert refused.returncode == 2
    assert "no files are written for hf-trainer" in refused.stderr and "accelerate" in refused.stderr
    assert call("planner", "export", str(plan_file), "--to", "accelerate", "--arguments", "train.py").returncode == 0


def test_a_plan_for_an_older_version_is_explained_and_exported_with_a_note(tmp_path: Path) -> None:
    pins = ("--tp", "2", "--recompute", "full", "--launch", "compiled", "--trainer", "torchtitan@0.1")
    plan_file, step = tmp_path / "plan.json", call("planner", "estimate", *ON, *pins, "--zero", "3", "-f", "json")
    plan_file.write_text(step.stdout)
    explained = json.loads(call("planner", "explain", str(plan_file), "-f", "json").stdout)
    assert explained["step_time_s"] == json.loads(step.stdout)["plans"][0]["step_time_s"]
    exported = call("planner", "export", str(plan_file), "--to", "torchtitan")
    assert exported.returncode == 0, exported.stderr
    assert "the plan is for torchtitan@0.1, the files are for torchtitan 0.3" in exported.stderr


def test_a_version_is_shown_with_its_rules() -> None:
    (part,) = json.loads(call("planner", "trainers", "show", "torchtune@0.3", "-f", "json").stdout)["trainers"]
    (newest,) = json.loads(call("planner", "trainers", "show", "torchtune", "-f", "json").stdout)["trainers"]
    assert (part["version"], newest["versions"][0]["name"]) == ("0.3", "0.7")
    assert len(part["rules"]) > len(newest["rules"])
    assert newest["calibration"] == "fsdp2"


def test_mindspeed_runs_dualpipe_v_on_ascend_without_overlapped_gradients() -> None:
    on = ("llama-2-7b", "-c", "ascend-910b", "--nodes", "2", "-b", "64", "--pp", "2", "--tp", "2", "--zero", "1")
    options = (*on, "--recompute", "full", "--trainer", "mindspeed", "--schedule", "dualpipe-v", "--vpp", "2")
    assert call("planner", "estimate", *options, "--dp-overlap", "no").returncode == 0
    assert call("planner", "estimate", *options).returncode == 0
    refused = call("planner", "estimate", *options, "--dp-overlap", "yes")
    assert refused.returncode == 2
    assert "--dp-overlap: unsupported by mindspeed" in refused.stderr


@pytest.mark.parametrize(("cluster", "exchange"), [("dgx-h100", "deepep"), ("dgx-a100", "nccl"), ("mi300x", "nccl")])
def test_experts_are_exchanged_by_deepep_where_it_has_kernels(cluster: str, exchange: str, tmp_path: Path) -> None:
    arguments = ("mixtral-8x7b", "-c", cluster, "--nodes", "4", "-b", "256", "--ep", "8", "--tokens", "1B")
    done = call("plan", *arguments, "--trainer", "megatron-lm", "--top", "1", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plans"][0]["settings"]["ep_exchange"] == exchange
    plan = tmp_path / "plan.json"
    plan.write_text(done.stdout)
    exported = call("planner", "export", str(plan), "--to", "megatron-lm")
    assert exported.returncode == 0
    assert "DeepEP" not in exported.stderr


@pytest.mark.parametrize(
    ("trainer", "option", "refusal"),
    [
        ("torchtitan@2024-07", "--loss chunked --zero 3", "--loss: unsupported by torchtitan"),
        ("torchtitan@0.2", "--loss chunked --zero 3", "--loss: unsupported by torchtitan"),
        ("torchtitan@2024-10", "--loss compiled --zero 3", ""),
        (
            "megatron-lm@core_v0.4",
            "--precision fp8 --fp8-recipe blockwise",
            "--fp8-recipe: unsupported by megatron-lm",
        ),
        ("megatron-lm@core_v0.12", "--precision fp8 --fp8-recipe blockwise", "--fp8-recipe: unsupported by megatron"),
        ("megatron-lm@core_v0.13", "--precision fp8 --fp8-recipe blockwise", ""),
        ("megatron-lm@core_v0.4", "--pp 2 --layout first-15-last-17", "--layout: unsupported by megatron-lm"),
        (
            "megatron-lm@core_v0.4",
            "--recompute selective --recompute-modules mlp",
            "--recompute-modules: unsupported by megatron-lm",
        ),
        ("megatron-lm@core_v0.12", "--recompute selective --recompute-modules mlp", ""),
    ],
)
def test_a_version_runs_only_what_had_come_by_then(trainer: str, option: str, refusal: str) -> None:
    words = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--vpp", "1")
    done = call("plan", *words, *option.split(), "--trainer", trainer)
    assert (done.returncode == 2) == bool(refusal), done.stderr
    assert refusal in done.stderr


def test_what_would_fit_names_only_options_that_the_trainer_has() -> None:
    words = ("llama-3-70b", "-c", "dgx-h100", "--nodes", "1", "-b", "64", "--zero", "3", "--recompute", "none")
    done = call("planner", "estimate", *words, "--trainer", "fsdp2")
    assert done.returncode == 3
    assert "--recompute full" in done.stderr
    assert "--tp" not in done.stderr
    assert "--pp" not in done.stderr
