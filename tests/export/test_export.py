"""`planner export`: files of every trainer and launcher, what is refused, and hostile names."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from planner.export.launchers import LAUNCHERS
from planner.export.trainer import Own
from planner.export.trainers import TRAINERS
from tests.cli.run import call, run
from tests.export.plans import CASES, OF, PLANS, document, exported, run_of
from tests.export.real.words import handed_to


def planned(folder: Path, question: str) -> Path:
    """A file with the plan of a question to `planner estimate`."""
    file = folder / "plan.json"
    done = call("planner", "estimate", *shlex.split(question), "--format", "json")
    assert done.returncode == 0, done.stderr
    file.write_text(done.stdout)
    return file


def test_every_name_of_the_command_is_there_and_has_plans() -> None:
    from planner.cli.export import LauncherName, To

    assert [one.value for one in To] == list(TRAINERS)
    assert [one.value for one in LauncherName] == list(LAUNCHERS)
    assert set(OF) == set(TRAINERS)
    assert {name for names in OF.values() for name in names} == set(PLANS)


@pytest.mark.parametrize(("trainer", "name"), CASES)
def test_a_plan_becomes_files_that_tell_of_it(trainer: str, name: str) -> None:
    plan = run_of(name)
    assert list(TRAINERS[trainer].misfits(plan)) == []
    texts = TRAINERS[trainer].files(plan, Own())
    assert "train.sh" in texts
    for file, text in texts.items():
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert all(line.isprintable() and len(line) < 300 for line in text.splitlines() if "[[" not in line)
        if not file.endswith(".json"):
            assert plan.title in text
            assert f"MFU {100 * plan.mfu:.1f} %" in text
        if file.endswith(".py"):
            compile(text, file, "exec")


@pytest.mark.parametrize("trainer", [name for name in OF if name not in ("maxtext",)])
def test_the_script_starts_every_rank_of_the_plan(trainer: str, tmp_path: Path) -> None:
    name = OF[trainer][0]
    plan, folder = run_of(name), exported(tmp_path, name, trainer)
    program = "accelerate" if trainer == "accelerate" else "torchrun"
    script = folder / "train.sh"
    words, _ = handed_to(program, script, "my script.py", NODE_RANK="3", MASTER_ADDR="first", MEGATRON_LM="/m")
    assert "my script.py" in words
    if program == "torchrun":
        told = {words[i]: words[i + 1] for i in range(0, 10, 2)}
        assert told == {
            "--nnodes": str(plan.nodes),
            "--nproc-per-node": str(plan.devices_per_node),
            "--node-rank": "3",
            "--master-addr": "first",
            "--master-port": "29500",
        }
    else:
        assert words[words.index("--machine_rank") + 1] == "3"


def test_a_script_needs_to_be_told_which_node_it_is_on(tmp_path: Path) -> None:
    script = exported(tmp_path, "fsdp", "torchtitan") / "train.sh"
    with pytest.raises(AssertionError, match="NODE_RANK: the number of this node, from 0 to 15"):
        handed_to("torchrun", script, NODE_RANK="")
    alone = exported(tmp_path, "one-node", "torchtitan") / "train.sh"
    words, _ = handed_to("torchrun", alone, NODE_RANK="", MASTER_ADDR="")
    assert words[:8] == ["--nnodes", "1", "--nproc-per-node", "8", "--node-rank", "0", "--master-addr", "127.0.0.1"]


def test_what_the_user_adds_is_passed_on_as_it_is(tmp_path: Path) -> None:
    hostile = """--name 'it'"'"'s $(touch x) `y` "z"' --glob '*'"""
    options = ("--arguments", f"train.py {hostile}", "--env", "PYTHONPATH=$(touch x) 'a'", "--env", "DATA=b=c")
    folder = exported(tmp_path, "zero-1", "deepspeed", *options)
    words, environment = handed_to("torchrun", folder / "train.sh")
    assert words[10:15] == ["train.py", "--name", 'it\'s $(touch x) `y` "z"', "--glob", "*"]
    assert environment["PYTHONPATH"] == "$(touch x) 'a'"
    words, _ = handed_to("torchrun", folder / "train.sh", "other.py")
    assert "train.py" not in words


@pytest.mark.parametrize(
    ("trainer", "question", "key", "value", "able"),
    [
        ("fsdp2", "--pp 4 --zero 2", "pp", "4", "--to megatron-lm, megatron-bridge, torchtitan"),
        ("deepspeed", "--cp 4", "cp", "4", "--to megatron-lm"),
        ("deepspeed", "--pp 2", "pp", "2", "torchtitan"),
        ("megatron-lm", "--pp 2 --schedule zero-bubble", "schedule", "zero-bubble", "torchtitan"),
        ("megatron-lm", "--tp 2 --tp-overlap yes", "tp_overlap", "yes", "--sequence-parallel"),
        ("megatron-lm", "--tp 2 --pp 2 --order pp-tp-cp-dp", "order", "pp-tp-cp-dp", "tp-cp-dp-pp"),
        ("megatron-lm", "--zero 1 --offload activations", "offload", "activations", "offload none or optimizer"),
        ("torchtitan", "--zero 1", "zero_stage", "1", "zero_stage 2 or 3; or --to megatron-lm"),
        ("torchtitan", "--zero 3 --cp 2 --cp-exchange ring", "cp_exchange", "ring", "all-gather"),
        ("torchtitan", "--zero 3 --gradients bf16", "gradients", "bf16", "fp32"),
        ("accelerate", "--zero 3 --recompute selective", "recompute", "selective", "none or full"),
        ("accelerate", "--zero 3 --offload optimizer", "offload", "optimizer", "optimizer+weights"),
        ("maxtext", "--zero 1 --pp 2", "pp", "2", "megatron-lm"),
    ],
)
def test_a_setting_that_a_trainer_cannot_be_told_is_refused(
    trainer: str, question: str, key: str, value: str, able: str, tmp_path: Path
) -> None:
    model = "llama-3-8b --recompute full" if trainer == "torchtitan" else "gpt-1.7b"
    plan = planned(tmp_path, f"{model} --cluster dgx-h100 --nodes 4 --global-batch 256 {question}")
    done = call("planner", "export", str(plan), "--to", trainer, "-o", str(tmp_path / "made"))
    assert done.returncode == 2
    assert f"{key}: {trainer} cannot be told this setting" in done.stderr
    assert f"  value:    {value}\n" in done.stderr
    assert able in done.stderr
    assert not (tmp_path / "made").exists()


def test_what_is_done_otherwise_without_harm_is_told(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(document("fsdp"))
    done = call("planner", "export", str(plan), "--to", "torchtitan")
    assert done.stderr.splitlines() == [
        "warning: gradients are sent in fp32, where the plan has bf16: it takes longer than planned",
        "warning: the plan has no --tokens: 100 steps are trained",
    ]
    done = call("planner", "export", str(plan), "--to", "accelerate")
    assert "accelerate runs a script of yours" in done.stderr
    plan.write_text(document("dense"))
    done = call("planner", "export", str(plan), "--to", "megatron-lm", "--launcher", "slurm")
    assert done.stderr == ""


def test_uneven_chunks_are_told_layer_by_layer(tmp_path: Path) -> None:
    text = (exported(tmp_path, "uneven", "megatron-lm") / "train.sh").read_text()
    layout = text.split("--pipeline-model-parallel-layout '")[1].split("'")[0]
    chunks = layout.split("|")
    assert len(chunks) == 16 * 2
    assert chunks[0].startswith("E")
    assert chunks[-1].endswith("L")
    layers = [int(chunk.strip("EL").removeprefix("t*") or 0) for chunk in chunks]
    assert sum(layers) == 126


def test_slurm_has_the_plan_s_size_and_time(tmp_path: Path) -> None:
    options = ("--launcher", "slurm", "--with", "partition=big one", "--with", "image=a b.sqsh")
    text = (exported(tmp_path, "dense", "megatron-lm", *options) / "slurm.sbatch").read_text()
    assert "#SBATCH --nodes=16\n" in text
    assert "#SBATCH --gpus-per-node=8\n" in text
    assert "#SBATCH --partition='big one'\n" in text
    assert "'--container-image=a b.sqsh'" in text
    plan = run_of("dense")
    days, clock = text.split("--time=")[1].split("\n")[0].split("-")
    hours, minutes, _ = map(int, clock.split(":"))
    limit = int(days) * 86_400 + hours * 3600 + minutes * 60
    assert plan.seconds < limit < 1.5 * plan.seconds + 3600


def test_hosts_are_started_in_the_order_of_the_ranks(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, "llama-3-8b --cluster dgx-h100 --nodes 4 --global-batch 256 --fault node-2:0=0.5 --zero 3"
    )
    hosts = json.loads(plan.read_text())["placement"]["hosts"]
    folder = tmp_path / "made"
    done = call("planner", "export", str(plan), "--to", "torchtitan", "--launcher", "slurm", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    assert (folder / "hosts.txt").read_text().split() == hosts
    text = (folder / "slurm.sbatch").read_text()
    assert f"#SBATCH --nodelist={','.join(hosts)}\n" in text
    words, environment = handed_to("srun", folder / "slurm.sbatch", SLURM_SUBMIT_DIR=str(folder))
    assert "--distribution=arbitrary" in words
    assert environment["MASTER_ADDR"] == hosts[0]
    done = call(
        "planner", "export", str(plan), "--to", "torchtitan", "--launcher", "kubernetes", "--force", "-o", str(folder)
    )
    assert "order of hosts (hosts.txt) is not kept" in done.stderr


def test_files_are_not_written_over_without_force(tmp_path: Path) -> None:
    plan, folder = tmp_path / "plan.json", tmp_path / "a" / "made"
    plan.write_text(document("fsdp"))
    words = ("planner", "export", str(plan), "--to", "fsdp2", "-o", str(folder))
    assert call(*words).returncode == 0
    (folder / "train.sh").write_text("mine")
    done = call(*words)
    assert done.returncode == 2
    assert "--output: is there already" in done.stderr
    assert (folder / "train.sh").read_text() == "mine"
    assert call(*words, "--force").returncode == 0
    assert (folder / "train.sh").read_text() != "mine"
    assert sorted(file.name for file in folder.iterdir()) == ["planned_fsdp2.py", "train.sh"]


def test_without_a_folder_files_are_told_below_their_names(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(document("dense"))
    one = call("planner", "export", str(plan), "--to", "megatron-lm").stdout
    assert one.startswith("#!/usr/bin/env bash\n")
    several = call("planner", "export", str(plan), "--to", "megatron-lm", "--launcher", "kubernetes").stdout
    assert several.startswith(f"==> train.sh <==\n{one}\n==> kubernetes.yaml <==\n# ")
    first = run("planner", "export", str(plan), "--to", "megatron-lm", PYTHONHASHSEED="1").stdout
    assert first == one


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--with", "image=a"), "--with: is for a launcher"),
        (("--launcher", "slurm", "--with", "partitoin=a"), "did you mean partition?"),
        (("--launcher", "slurm", "--with", "partition"), "--with: not a name with a value"),
        (("--env", "1A=b"), "--env: not a name with a value"),
        (("--env", "A=b\nc"), "--env: not a name with a value"),
        (("--arguments", "it's"), "--arguments: not words: No closing quotation"),
        (("--plan", "7"), "--plan: there are fewer plans"),
        (("--launcher", "gcp-tpu"), "accelerator: gcp-tpu cannot launch this"),
    ],
)
def test_bad_options_are_one_message(words: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(document("dense"))
    done = call("planner", "export", str(plan), "--to", "megatron-lm", *words)
    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stdout == ""


def test_a_model_of_a_file_is_asked_for_and_its_name_harms_nothing(tmp_path: Path) -> None:
    model = tmp_path / "model.toml"
    model.write_text(
        'name = "$(touch x)\\n`y`"\ntitle = "a\\u001b[31m\\n$(touch x) *# \'\\""\nhidden_size = 1024\nlayers = 8\n'
        "heads = 8\nffn_size = 4096\nvocab_size = 32000\nseq_length = 2048\ngated_mlp = true\nnorm = 'rmsnorm'\n"
    )
    plan = planned(tmp_path, f"{model} --cluster dgx-h100 --nodes 1 --global-batch 64 --zero 1")
    done = call("planner", "export", str(plan), "--to", "megatron-lm")
    assert done.returncode == 2
    assert "its file: --model PATH" in done.stderr
    folder = tmp_path / "made"
    words = ("--model", str(model), "--launcher", "kubernetes", "-o", str(folder))
    done = call("planner", "export", str(plan), "--to", "megatron-lm", *words)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in (folder / "train.sh").read_text()
    handed_to("torchrun", folder / "train.sh", MEGATRON_LM="/m")
    assert not (folder / "x").exists()
    objects = list(yaml.safe_load_all((folder / "kubernetes.yaml").read_text()))
    assert {one["metadata"]["name"] for one in objects} == {"touch-x-y"}


def test_a_model_that_a_trainer_has_no_parts_for_is_refused(tmp_path: Path) -> None:
    for question, trainer, said in (
        ("t5-11b --cluster dgx-h100 --nodes 4 --global-batch 64 --tp 8", "megatron-lm", "model: megatron-lm"),
        (
            "mpt-7b --cluster dgx-h100 --nodes 4 --global-batch 64 --zero 3",
            "torchtitan",
            "model.gated_mlp: torchtitan",
        ),
        (
            "gpt-oss-20b --cluster dgx-h100 --nodes 4 --global-batch 64 --tp 8 --sequence-parallel",
            "megatron-lm",
            "bias",
        ),
    ):
        done = call("planner", "export", str(planned(tmp_path, question)), "--to", trainer)
        assert done.returncode == 2
        assert said in done.stderr


def test_techniques_are_refused(tmp_path: Path) -> None:
    question = "llama-3-8b --cluster dgx-h100 --nodes 1 --global-batch 64 --lora 16"
    done = call("planner", "export", str(planned(tmp_path, question)), "--to", "megatron-lm")
    assert done.returncode == 2
    assert "techniques: techniques are not exported" in done.stderr
