"""`planner export`: files of every trainer and launcher, what is refused, and hostile names."""

import ast
import itertools
import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from planner.export.exported import export_plan as export_run
from planner.export.launchers import LAUNCHERS
from planner.export.trainer import UserExtras
from planner.export.trainers import TRAINERS
from tests.cli.run import call
from tests.export.plans import CASES, PLANS, PLANS_BY_TRAINER, build_run, estimate_document, export_plan
from tests.export.real.words import capture_arguments
from tests.export.test_launchers import build_launcher_file
from tests.sample import mark_full

STORED = Path(__file__).parents[1] / "fixtures" / "plan.json"
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "export.md"
GOLDEN = Path(__file__).parent / "golden"
"""Made anew with `python -m tests.export.test_export`; read the difference before it is committed."""


def write_plan_document(folder: Path, arguments: str) -> Path:
    """A file with the document of `planner estimate`."""
    file = folder / "plan.json"
    done = call("planner", "estimate", *shlex.split(arguments), "--format", "json")
    assert done.returncode == 0, done.stderr
    file.write_text(done.stdout)
    return file


def test_every_name_of_the_command_is_there_and_has_plans() -> None:
    from planner.cli.commands.export import LauncherName

    assert get_args(LauncherName) == tuple(LAUNCHERS)
    assert set(PLANS_BY_TRAINER) == set(TRAINERS)
    assert {name for names in PLANS_BY_TRAINER.values() for name in names} == set(PLANS)


def test_every_launcher_has_a_golden_file_and_every_name_a_row_of_the_page() -> None:
    shown = {path.name.split("--")[1] for path in GOLDEN.iterdir()} - {"alone"}
    assert shown == set(LAUNCHERS) - {"gcp-tpu"}  # the stored plan is for GPUs
    page = HOW_TO.read_text("utf-8")
    assert [name for name in (*TRAINERS, *LAUNCHERS) if f"\n| `{name}` |" not in page] == []


@pytest.mark.parametrize(("trainer", "name"), mark_full(CASES, every=3))
def test_a_plan_becomes_files_that_name_it(trainer: str, name: str) -> None:
    plan = build_run(name)
    assert list(TRAINERS[trainer].find_unsupported(plan)) == []
    texts = TRAINERS[trainer].build_files(plan, UserExtras())
    assert "train.sh" in texts
    for file, text in texts.items():
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert all(line.isprintable() and len(line) < 300 for line in text.splitlines() if "[[" not in line)
        if not file.endswith(".json"):
            assert plan.title in text
            assert f"MFU {100 * plan.mfu:.1f} % of the " in text
        if file.endswith(".py"):
            compile(text, file, "exec")


@pytest.mark.parametrize("trainer", [name for name in PLANS_BY_TRAINER if name not in ("maxtext",)])
def test_the_script_starts_every_rank_of_the_plan(trainer: str, tmp_path: Path) -> None:
    name = PLANS_BY_TRAINER[trainer][0]
    plan, folder = build_run(name), export_plan(tmp_path, name, trainer)
    command = "accelerate" if trainer == "accelerate" else "torchrun"
    script = folder / "train.sh"
    words, _ = capture_arguments(
        command, script, "my script.py", NODE_RANK="3", MASTER_ADDR="first", MEGATRON_LM="/m"
    )
    assert "my script.py" in words
    if command == "torchrun":
        options = {words[i]: words[i + 1] for i in range(0, 10, 2)}
        assert options == {
            "--nnodes": str(plan.nodes),
            "--nproc-per-node": str(plan.devices_per_node),
            "--node-rank": "3",
            "--master-addr": "first",
            "--master-port": "29500",
        }
    else:
        assert words[words.index("--machine_rank") + 1] == "3"


def test_a_script_requires_the_number_of_its_node(tmp_path: Path) -> None:
    script = export_plan(tmp_path, "fsdp", "torchtitan") / "train.sh"
    with pytest.raises(AssertionError, match="NODE_RANK: the number of this node, from 0 to 15"):
        capture_arguments("torchrun", script, NODE_RANK="")
    alone = export_plan(tmp_path, "one-node", "torchtitan") / "train.sh"
    words, _ = capture_arguments("torchrun", alone, NODE_RANK="", MASTER_ADDR="")
    assert words[:8] == ["--nnodes", "1", "--nproc-per-node", "8", "--node-rank", "0", "--master-addr", "127.0.0.1"]


def test_arguments_of_the_user_are_passed_on_unchanged(tmp_path: Path) -> None:
    hostile = """--name 'it'"'"'s $(touch x) `y` "z"' --glob '*'"""
    options = ("--arguments", f"train.py {hostile}", "--env", "PYTHONPATH=$(touch x) 'a'", "--env", "DATA=b=c")
    folder = export_plan(tmp_path, "zero-1", "deepspeed", *options)
    words, environment = capture_arguments("torchrun", folder / "train.sh")
    assert words[10:15] == ["train.py", "--name", 'it\'s $(touch x) `y` "z"', "--glob", "*"]
    assert environment["PYTHONPATH"] == "$(touch x) 'a'"
    words, _ = capture_arguments("torchrun", folder / "train.sh", "other.py")
    assert "train.py" not in words


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("strategy", "pp", 3, "plans[0].strategy: does not match the number of devices"),
        ("strategy", "vpp", 10**9, "plans[0].strategy.vpp: out of range"),
        ("strategy", "micro_batch", 3, "plans[0].strategy.micro_batch: does not divide"),
        ("settings", "order", "tp-wait", "plans[0].settings.order: unknown rank order"),
        ("training", "launch", "graph:foo", "training.launch: "),
        ("settings", "recompute_modules", "mpl", "plans[0].settings.recompute_modules: unknown value"),
        ("settings", "offload_modules", "mpl", "plans[0].settings.offload_modules: unknown value"),
        (
            *("settings", "loss", "plian"),
            "plans[0].settings.loss: unknown value\n  value:    plian\n"
            "  expected: one of chunked, compiled, fused, plain\n  did you mean plain?",
        ),
        (
            *("settings", "offload", ["wrights"]),
            "plans[0].settings.offload[0]: unknown value\n  value:    wrights\n"
            "  expected: one of activations, optimizer, weights\n",
        ),
    ],
)
def test_an_edited_plan_that_is_impossible_is_refused(
    part: str, name: str, value: object, message: str, tmp_path: Path
) -> None:
    plan = write_plan_document(tmp_path, "gpt-1.7b --cluster dgx-h100 --nodes 1 --global-batch 256 --zero 1")
    raw = json.loads(plan.read_text())
    (raw["training"] if part == "training" else raw["plans"][0][part])[name] = value
    plan = tmp_path / "edited.json"
    plan.write_text(json.dumps(raw))
    done = call("planner", "export", str(plan), "--to", "deepspeed")
    assert done.returncode == 2
    assert f"edited.json: {message}" in done.stderr


def test_a_variable_has_a_single_value(tmp_path: Path) -> None:
    plan = write_plan_document(tmp_path, "gpt-1.7b --cluster dgx-h100 --nodes 1 --global-batch 256 --zero 1")
    done = call("planner", "export", str(plan), "--to", "deepspeed", "--env", "A=1", "--env", "A=2")
    assert done.returncode == 2
    assert "--env A: is given twice" in done.stderr


@pytest.mark.parametrize(
    ("trainer", "arguments", "key", "value", "supported"),
    [
        ("fsdp2", "--pp 4 --zero 2", "pp", "4", "--to megatron-lm, megatron-bridge, nemo"),
        ("deepspeed", "--cp 4", "cp", "4", "--to megatron-lm"),
        ("deepspeed", "--pp 2", "pp", "2", "nemo"),
        ("megatron-lm", "--pp 2 --schedule zero-bubble", "schedule", "zero-bubble", "schedule 1f1b"),
        ("megatron-lm", "--tp 2 --no-sequence-parallel --tp-overlap yes", "tp_overlap", "yes", "--sequence-parallel"),
        ("megatron-lm", "--tp 2 --pp 2 --order pp-tp-cp-dp", "order", "pp-tp-cp-dp", "tp-cp-dp-pp"),
        ("megatron-lm", "--zero 1 --offload activations", "offload_modules", "all", "names of modules"),
        ("torchtitan", "--zero 1", "zero_stage", "1", "zero_stage 2 or 3; or --to megatron-lm"),
        ("torchtitan", "--zero 3 --cp 2 --cp-exchange ring", "cp_exchange", "ring", "all-gather"),
        ("torchtitan", "--zero 3 --gradients bf16", "gradients", "bf16", "fp32"),
        ("accelerate", "--zero 3 --recompute selective", "recompute", "selective", "none or full"),
        ("accelerate", "--zero 3 --offload optimizer", "offload", "optimizer", "optimizer+weights"),
        ("maxtext", "--zero 1 --pp 2", "pp", "2", "megatron-lm"),
    ],
)
def test_a_setting_that_a_trainer_does_not_support_is_refused(
    trainer: str, arguments: str, key: str, value: str, supported: str, tmp_path: Path
) -> None:
    model = "llama-3-8b --recompute full" if trainer == "torchtitan" else "gpt-1.7b"
    plan = write_plan_document(tmp_path, f"{model} --cluster dgx-h100 --nodes 4 --global-batch 256 {arguments}")
    done = call("planner", "export", str(plan), "--to", trainer, "-o", str(tmp_path / "made"))
    assert done.returncode == 2
    refused, stated = re.findall(r"error: (.*): \S+ does not support .*\n  value:    (.*)\n", done.stderr)[0]
    assert key in refused.split(", ")
    assert stated == value or f"{key} {value}" in stated.split(", ")
    assert supported in done.stderr
    assert not (tmp_path / "made").exists()


def test_harmless_differences_are_warnings(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(estimate_document("fsdp"))
    done = call("planner", "export", str(plan), "--to", "torchtitan")
    assert done.stderr.splitlines() == [
        "warning: gradients are communicated in fp32, where the plan has bf16: steps are longer",
        "warning: the plan is for fsdp2@2.13, the files are for torchtitan 0.3",
        "warning: the plan has no --tokens: 100 steps are trained",
    ]
    done = call("planner", "export", str(plan), "--to", "accelerate")
    assert "accelerate runs a script of yours" in done.stderr
    plan.write_text(estimate_document("dense"))
    done = call("planner", "export", str(plan), "--to", "megatron-lm", "--launcher", "slurm")
    assert done.stderr == ""


def test_a_loss_that_the_trainer_has_not_is_left_out_only_where_the_user_says_so(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(estimate_document("qwen"))
    words = ("planner", "export", str(plan), "--to")
    refused = call(*words, "torchtitan")
    assert refused.returncode == 2
    for part in ("model.moe.aux_loss", "0.001", "--without aux-loss", "torchtitan/components/optimizer"):
        assert part in refused.stderr
    allowed = call(*words, "torchtitan", "--without", "aux-loss")
    assert allowed.returncode == 0
    assert "torchtitan has no loss that balances experts" in allowed.stderr
    plan.write_text(estimate_document("fsdp"))
    needless = call(*words, "torchtitan", "--without", "aux-loss")
    assert needless.returncode == 2
    assert "leaves out no loss" in needless.stderr


def test_uneven_chunks_are_written_layer_by_layer(tmp_path: Path) -> None:
    text = (export_plan(tmp_path, "uneven", "megatron-lm") / "train.sh").read_text()
    layout = text.split("--pipeline-model-parallel-layout '")[1].split("'")[0]
    chunks = layout.split("|")
    assert len(chunks) == 16 * 2
    assert chunks[0].startswith("E")
    assert chunks[-1].endswith("L")
    layers = [int(chunk.strip("EL").removeprefix("t*") or 0) for chunk in chunks]
    assert sum(layers) == 126


def test_a_layout_and_a_folded_schedule_are_written(tmp_path: Path) -> None:
    for trainer, file, text in (
        ("megatron-lm", "train.sh", "--pipeline-model-parallel-layout 'Et*21|t*20|t*20|t*19L'"),
        ("megatron-bridge", "planned_bridge.py", "'Et*21|t*20|t*20|t*19L'"),
        ("nemo", "planned_nemo.py", "'Et*21|t*20|t*20|t*19L'"),
    ):
        assert text in (export_plan(tmp_path, "laid-out", trainer) / file).read_text().replace('"', "'")
    (path,) = export_plan(tmp_path, "folded", "torchtitan").glob("*.py")
    text = path.read_text()
    assert "pipeline_parallel_schedule='ZBVZeroBubble'" in text
    chunks = ast.literal_eval(text.split("module_fqns_per_model_part=")[1].split(",\n")[0])
    assert [sum(name.startswith("layers.") for name in chunk) for chunk in chunks] == [9, 10, 10, 11] * 2


def test_slurm_has_the_size_and_the_time_of_the_plan(tmp_path: Path) -> None:
    options = ("--launcher", "slurm", "--with", "partition=big one", "--with", "image=a b.sqsh")
    text = (export_plan(tmp_path, "dense", "megatron-lm", *options) / "slurm.sbatch").read_text()
    assert "#SBATCH --nodes=16\n" in text
    assert "#SBATCH --gpus-per-node=8\n" in text
    assert "#SBATCH --partition='big one'\n" in text
    assert "--container-image='a b.sqsh' " in text
    plan = build_run("dense")
    assert plan.training_time_s > 48 * 3600
    assert "#SBATCH --time=1-00:00:00\n" in text
    assert "#SBATCH --time=2-00:00:00\n" in build_launcher_file("slurm", plan, "megatron-lm", hours="48")
    days, clock = (
        build_launcher_file("slurm", plan, "megatron-lm", hours="99999").split("--time=")[1].split("\n")[0].split("-")
    )
    hours, minutes, _ = map(int, clock.split(":"))
    limit = int(days) * 86_400 + hours * 3600 + minutes * 60
    assert plan.training_time_s < limit < 1.5 * plan.training_time_s + 3600


@pytest.mark.parametrize("trainer", list(TRAINERS))
def test_a_job_that_is_queued_again_has_saved_checkpoints(trainer: str) -> None:
    """However rare failures are: a job of 12 hours would else begin each time where the one before it began."""
    plan = replace(build_run(PLANS_BY_TRAINER[trainer][0]), checkpoint_steps=10**6, tokens=10**15)
    exported = export_run(plan, trainer, UserExtras(), "slurm", {"hours": "12"})
    steps = int(43_200 / 24 / plan.step_time_s)
    text = "".join(exported.files.values())
    if TRAINERS[trainer].saves_before_end:
        assert "1000000" in text
        assert "EXIT_MINUTES" in "".join(text for name, text in exported.files.items() if name != "slurm.sbatch")
    else:
        assert re.search(rf"\b{steps}\b", text)
        assert "1000000" not in text
        assert any(note.startswith(f"a checkpoint every {steps:,} steps") for note in exported.notes)
    # one job for the whole run
    whole = export_run(plan, trainer, UserExtras(), "slurm", {"hours": "999999999"})
    assert "1000000" in "".join(whole.files.values())


def test_hours_limit_a_job_of_a_plan_without_tokens() -> None:
    plan = replace(build_run("dense"), tokens=None)
    assert "--time" not in build_launcher_file("slurm", plan, "megatron-lm")
    assert "#SBATCH --time=0-02:00:00\n" in build_launcher_file("slurm", plan, "megatron-lm", hours="2")


def test_a_job_that_ends_before_the_run_is_queued_again(tmp_path: Path) -> None:
    folder = export_plan(tmp_path, "dense", "megatron-lm", "--launcher", "slurm")
    captured = folder / "captured"
    variables = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "7"}
    # the nodes' names are those of the plan's node 0; srun goes on until it is ended, as Slurm does with a job
    write_program(folder, "scontrol", f'[[ $1 == show ]] && echo n1 || echo "$@" >> {captured}')
    write_program(folder, "srun", 'kill -USR1 "$PPID"; sleep 1')
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", str(folder / "slurm.sbatch")], env={**variables, **path}, check=False, timeout=60)
    assert done.returncode == 0
    assert captured.read_text() == "requeue 7\n"
    # a trainer that stopped by the clock, and one that was done before
    captured.unlink()
    write_program(folder, "srun", "sleep 1")
    for minutes, expected in (("0", True), ("9", False)):
        environment = {**variables, **path, "EXIT_MINUTES": minutes}
        subprocess.run(["bash", str(folder / "slurm.sbatch")], env=environment, check=True, timeout=60)
        assert captured.exists() == expected
        captured.unlink(missing_ok=True)
    write_program(folder, "srun", "exit 3")
    done = subprocess.run(["bash", str(folder / "slurm.sbatch")], env={**variables, **path}, check=False, timeout=60)
    assert done.returncode == 3
    assert not captured.exists()


@pytest.mark.parametrize("trainer", list(TRAINERS))
def test_a_run_goes_on_from_the_checkpoints_that_it_saves(trainer: str, tmp_path: Path) -> None:
    name = PLANS_BY_TRAINER[trainer][0]
    plan, folder = build_run(name), export_plan(tmp_path, name, trainer)
    texts = [path.read_text() for path in folder.iterdir()]
    assert any(re.search(rf"\b{plan.checkpoint_steps}\b", text) for text in texts)
    assert any("CHECKPOINTS" in text for text in texts)
    if trainer == "megatron-lm":
        words, _ = capture_arguments("torchrun", folder / "train.sh", MEGATRON_LM="/m", EXIT_MINUTES="90")
        captured = dict(itertools.pairwise(words))
        assert captured["--save"] == captured["--load"] == str(folder / "checkpoints")
        assert (captured["--save-interval"], captured["--exit-duration-in-mins"]) == (
            str(plan.checkpoint_steps),
            "90",
        )
        words, _ = capture_arguments("torchrun", folder / "train.sh", MEGATRON_LM="/m", CHECKPOINTS="/my folder")
        assert words[words.index("--load") + 1] == "/my folder"
        assert "--exit-duration-in-mins" not in words


def test_a_refusal_names_all_obstacles_and_the_trainers_that_run_the_whole_plan(tmp_path: Path) -> None:
    question = (
        "mixtral-8x7b --cluster dgx-h100 --nodes 16 --global-batch 512 --pp 2 --ep 8 --zero 1 --recompute selective"
    )
    done = call("planner", "export", str(write_plan_document(tmp_path, question)), "--to", "fsdp2")
    assert done.returncode == 2
    for part in (
        "pp, ep, zero_stage: fsdp2 does not support these settings",
        "pp 2, ep 8, zero_stage 1",
        "pp 1; ep 1; zero_stage 2 or 3; or --to megatron-lm, megatron-bridge, nemo\n",
    ):
        assert part in done.stderr


def test_the_interval_of_checkpoints_is_the_planned_one(tmp_path: Path) -> None:
    question = "llama-3-8b --cluster dgx-h100 --nodes 16 --global-batch 512 --tp 2 --zero 1 --recompute full"
    plan = write_plan_document(tmp_path, f"{question} --failures")
    interval_steps = json.loads(plan.read_text())["reliability"]["checkpoint"]["interval_steps"]
    done = call("planner", "export", str(plan), "--to", "megatron-lm")
    assert f"--save-interval {interval_steps}\n" in done.stdout


def test_hosts_are_started_in_the_order_of_the_ranks(tmp_path: Path) -> None:
    plan = write_plan_document(
        tmp_path, "llama-3-8b --cluster dgx-h100 --nodes 4 --global-batch 256 --fault node-2:0=0.5 --zero 3"
    )
    hosts = json.loads(plan.read_text())["placement"]["hosts"]
    folder = tmp_path / "made"
    done = call("planner", "export", str(plan), "--to", "torchtitan", "--launcher", "slurm", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "hosts.txt").read_text().split() == hosts
    text = (folder / "slurm.sbatch").read_text()
    assert f"#SBATCH --nodelist={','.join(hosts)}\n" in text
    words, environment = capture_arguments("srun", folder / "slurm.sbatch", SLURM_SUBMIT_DIR=str(folder))
    assert "--distribution=arbitrary" in words
    assert environment["MASTER_ADDR"] == hosts[0]
    done = call(
        "planner", "export", str(plan), "--to", "torchtitan", "--launcher", "kubernetes", "--force", "-o", str(folder)
    )
    assert "order of hosts (hosts.txt) is not kept" in done.stderr


def write_program(folder: Path, name: str, text: str) -> None:
    """A program that replaces one of the cluster's."""
    (folder / "bin").mkdir(exist_ok=True)
    file = folder / "bin" / name
    file.write_text(f"#!/usr/bin/env bash\n{text}\n")
    file.chmod(0o755)


def test_slurm_starts_train_sh_with_the_number_of_each_node(tmp_path: Path) -> None:
    folder = export_plan(tmp_path, "fsdp", "torchtitan", "--launcher", "slurm")
    write_program(folder, "scontrol", "printf 'n1\\nn2\\n'")
    write_program(folder, "srun", 'while [[ $1 == --* ]]; do shift; done; SLURM_NODEID=7 exec "$@"')
    variables = {"SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_NODELIST": "n[1-2]", "MASTER_ADDR": "", "NODE_RANK": ""}
    words, environment = capture_arguments("torchrun", folder / "slurm.sbatch", "--training.steps", "3", **variables)
    assert (environment["NODE_RANK"], environment["MASTER_ADDR"]) == ("7", "n1")
    assert words[-2:] == ["--training.steps", "3"]


def test_a_host_finds_its_number_in_the_plan(tmp_path: Path) -> None:
    plan = write_plan_document(
        tmp_path, "llama-3-8b --cluster dgx-h100 --nodes 4 --global-batch 256 --fault node-2:0=0.5 --zero 3"
    )
    hosts, folder = json.loads(plan.read_text())["placement"]["hosts"], tmp_path / "made"
    call("planner", "export", str(plan), "--to", "torchtitan", "--launcher", "torchrun", "-o", str(folder))
    write_program(folder, "hostname", f'[[ $1 == -s ]] && echo {hosts[2]} || echo "full.name"')
    words, environment = capture_arguments("torchrun", folder / "torchrun.sh", NODE_RANK="", MASTER_ADDR="")
    assert words[words.index("--node-rank") + 1] == "2"
    assert environment["MASTER_ADDR"] == hosts[0]
    write_program(folder, "hostname", "echo other")
    with pytest.raises(AssertionError, match="other is not a host of the plan"):
        capture_arguments("torchrun", folder / "torchrun.sh")


def test_torchrun_by_hand_takes_the_first_node_and_the_number(tmp_path: Path) -> None:
    script = export_plan(tmp_path, "fsdp", "torchtitan", "--launcher", "torchrun") / "torchrun.sh"
    words, environment = capture_arguments("torchrun", script, "first", "5", "--training.steps", "3")
    assert (environment["MASTER_ADDR"], environment["NODE_RANK"]) == ("first", "5")
    assert words[-2:] == ["--training.steps", "3"]


def test_sagemaker_finds_its_number_among_its_hosts(tmp_path: Path) -> None:
    folder = export_plan(tmp_path, "fsdp", "torchtitan", "--launcher", "sagemaker")
    config = tmp_path / "resourceconfig.json"
    config.write_text(json.dumps({"current_host": "algo-2", "hosts": ["algo-10", "algo-2", "algo-1"]}))
    script = folder / "sagemaker.sh"
    script.write_text(script.read_text().replace("/opt/ml/input/config/resourceconfig.json", str(config)))
    _, environment = capture_arguments("torchrun", script, NODE_RANK="", MASTER_ADDR="")
    assert (environment["MASTER_ADDR"], environment["NODE_RANK"]) == ("algo-1", "1")


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_files_equal_the_golden_files(name: str) -> None:
    assert export_golden_file(name) == (GOLDEN / name).read_text()


def export_golden_file(name: str) -> str:
    """A file of the stored plan; its name begins with trainer and launcher."""
    trainer, launcher, file = name.split("--")
    words = () if launcher == "alone" else ("--launcher", launcher)
    printed = call("planner", "export", str(STORED), "--plan", "2", "--to", trainer, *words).stdout
    if len(re.findall("^==> .* <==$", printed, re.M)) == 0:
        return printed
    return printed.split(f"==> {file} <==\n")[1].split("\n==> ")[0]


if __name__ == "__main__":
    for path in GOLDEN.iterdir():
        path.write_text(export_golden_file(path.name))
