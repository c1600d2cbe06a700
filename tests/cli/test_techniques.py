"""Energy, carbon and techniques on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import call
from tests.examples import NETWORK

ARGUMENTS = ("llama-3-8b", "--cluster", "dgx-h100", "--nodes", "2", "--global-batch", "64", "--no-failures")


def read_document(*options: str) -> dict:
    done = call("plan", *ARGUMENTS, *options, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_energy_adds_up_and_carbon_follows_from_it() -> None:
    result = read_document("--grid", "fr", "--pue", "1.3", "--tokens", "15T")
    plan, power, carbon = result["plans"][0], result["power"], result["carbon"]
    joules = sum(plan["energy"].values())
    assert joules == pytest.approx(plan["energy_j_per_step"])
    assert plan["energy"]["cooling_j"] == pytest.approx(joules * 0.3 / 1.3)
    assert power["mean_w"] == pytest.approx(joules / plan["step_time_s"])
    assert power["run_j"] == pytest.approx(joules * result["run"]["steps"])
    assert carbon["kg_per_step"] == pytest.approx(joules / 3.6e6 * 0.04418)
    assert carbon["kg_of_run"] == pytest.approx(carbon["kg_per_step"] * result["run"]["steps"])
    assert (carbon["grid"], carbon["date"]) == ("fr", "2024")
    assert {assumption["name"]: assumption["source"] for assumption in power["assumed"]}["pue"] == "--pue"
    assert read_document()["carbon"] is None


def test_the_sentence_of_energy_names_the_grid() -> None:
    done = call("plan", *ARGUMENTS, "--tokens", "1T", "--carbon-intensity", "56g/kWh")
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Energy: "))
    assert "for the run = " in line
    assert line.endswith("t CO2e at given (56 g/kWh).")


def test_techniques_are_reported_with_unknown_accuracy() -> None:
    techniques = read_document("--lora", "64:4bit", "--optimizer", "adam8bit")["techniques"]
    assert [technique["name"] for technique in techniques] == [
        "optimizer adam8bit",
        "LoRA of rank 64, frozen matrices in 4 bit",
    ]
    assert {technique["accuracy"] for technique in techniques} == {"unknown"}
    done = call("planner", "estimate", *ARGUMENTS, "--zero", "2", "--prune", "2:4")
    assert "Technique: 2:4 pruning: " in done.stdout
    assert "Accuracy: unknown, not modelled." in done.stdout
    assert read_document()["techniques"] == []


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (("--grid", "frr"), ("--grid: unknown grid", "did you mean fr?")),
        (("--grid", "fr", "--carbon-intensity", "56g/kWh"), ("conflicting options",)),
        (("--carbon-intensity", "56"), ("a number without a unit", "56g/kWh")),
        (("--pue", "0.9"), ("--pue: out of range", "from 1 to 5")),
        (("--pue", "good"), ("--pue",)),
        (("--lora", "16:4bi"), ("--lora", "did you mean 4bit?")),
        (("--lora", "16:4bit:8bit"), ("--lora: unknown format",)),
        (("--lora", "16:8bit"), ("--lora: multiplies in bf16 have no frozen weights of 8 bits", "fp8 or mxfp8")),
        (("--lora", "0"), ("--lora: out of range",)),
        (("--prune", "2:5"), ("--prune: unknown pattern", "did you mean 2:4?")),
        (("--prune", "unstructured:1.5"), ("--prune: not a share",)),
        (("--prune", "2:4", "--lora", "4"), ("--prune, --lora",)),
        (("--low-rank", "2"), ("--low-rank: not a share",)),
        (("--distil", "lama-3-8b"), ("--distil: unknown model", "did you mean llama-3-8b?")),
        (("--distil", "gpt-3-175b"), ("a teacher with the same vocabulary",)),
        (("--distil", "vit-b-16"), ("vit-b-16 is trained on images", "a teacher that is trained on sequences")),
        (("--optimizer", "adamm"), ("--optimizer: unknown value", "did you mean adamw?")),
    ],
)
def test_meaningless_techniques_are_reported(options: tuple[str, ...], messages: tuple[str, ...]) -> None:
    done = call("plan", *ARGUMENTS, *options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for text in messages:
        assert text in done.stderr


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ("resnet-50", "vit-h-14", ""),
        ("vit-b-16", "resnet-152", ""),
        ("wavenet", "wavenet", ""),
        ("resnet-50", "wavenet", "a teacher that is trained on images"),
        ("wavenet", "resnet-50", "a teacher that is trained on clips"),
        ("resnet-50", "llama-3-8b", "llama-3-8b is trained on sequences, resnet-50 on images"),
        ("resnet-50", "ten.toml", "a teacher with as many classes"),
    ],
)
def test_a_teacher_sees_the_same_samples_and_has_as_many_classes(
    student: str, teacher: str, message: str, tmp_path: Path
) -> None:
    if teacher == "ten.toml":
        file = tmp_path / teacher
        file.write_text(NETWORK.format(size=32, width=16, repeat=2, groups=1, out=32))
        teacher = str(file)
    arguments = ("planner", "estimate", student, "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "512")
    done = call(*arguments, "--distil", teacher)
    if message:
        assert done.returncode == 2
        assert message in done.stderr
        assert "--distil" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_a_teacher_of_images_takes_its_own_forward_pass_for_every_student() -> None:
    lines = set()
    for student in ("resnet-50", "vit-b-16"):
        arguments = ("planner", "estimate", student, "--cluster", "dgx-h100", "--nodes", "1", "--global-batch", "512")
        (line,) = (
            text_line
            for text_line in call(*arguments, "--distil", "vit-h-14").stdout.splitlines()
            if text_line.startswith("Technique")
        )
        lines.add(line.split(" for the teacher's")[0])
    # the 167 GMAC of ViT-H/14 at 224 x 224 are 335 GFLOP
    assert lines == {"Technique: distillation from vit-h-14: 3.35e+11 FLOPs of one image"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--optimizer", "muon"),
        ("--lora", "16"),
        ("--prune", "2:4"),
        ("--low-rank", "0.25"),
        ("--distil", "llama-3-70b"),
    ],
)
def test_no_plan_is_found_for_a_trainer_whose_export_refuses_it(option: str, value: str, tmp_path: Path) -> None:
    trainers = ("megatron", "megatron-bridge", "nemo", "deepspeed") if option == "--optimizer" else ("torchtitan",)
    for trainer in trainers:
        done = call("plan", *ARGUMENTS, "--trainer", trainer, option, value, "--top", "1")
        assert (done.returncode, done.stdout) == (2, ""), trainer
        assert f"{option}: not in the files that planner export writes for " in done.stderr
    # it is described all the same, and planned for programs that export writes no files for, and for no program
    estimate = call("planner", "estimate", *ARGUMENTS, "--trainer", "torchtitan", option, value, "--nodes", "16")
    assert f"{option}: not in the files that planner export writes for torchtitan" in estimate.stderr
    plan = call("plan", *ARGUMENTS, option, value, "--top", "1", "--format", "json")
    assert plan.returncode == 0, plan.stderr
    (tmp_path / "plan.json").write_text(plan.stdout)
    exported = call("planner", "export", "plan.json", "--to", "megatron-bridge", "-o", "f", cwd=tmp_path)
    assert (exported.returncode, "export does not support techniques" in exported.stderr) == (2, True)


def test_the_optimizer_that_all_files_have_is_planned_for_and_exported(tmp_path: Path) -> None:
    options = ("--trainer", "megatron-bridge", "--optimizer", "adamw", "--top", "1", "--format", "json")
    plan = call("plan", *ARGUMENTS, *options)
    assert plan.returncode == 0, plan.stderr
    (tmp_path / "plan.json").write_text(plan.stdout)
    exported = call("planner", "export", "plan.json", "--to", "megatron-bridge", "-o", "f", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr


def test_a_program_that_export_writes_no_files_for_keeps_its_techniques() -> None:
    done = call("plan", *ARGUMENTS, "--trainer", "torchtune", "--lora", "16", "--top", "1", "--format", "json")
    assert done.returncode == 0, done.stderr
