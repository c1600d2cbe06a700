"""What programs do by themselves on an accelerator and at a version, as plans have it and exported files say it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.run import call


@pytest.mark.parametrize(
    ("trainer", "loss"),
    [
        ("torchtitan@2024-09", "plain"),
        ("torchtitan@2024-11", "compiled"),
        ("torchtitan@2024-12", "plain"),
        ("torchtitan@2025-03", "plain"),
        ("torchtitan@2025-04", "compiled"),
        ("torchtitan@2026-03", "compiled"),
        ("torchtitan@2026-04", "chunked"),
    ],
)
def test_torchtitan_has_the_loss_of_its_month(trainer: str, loss: str) -> None:
    on = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "1", "-b", "16", "--trainer", trainer, "--launch", "compiled")
    done = call("plan", *on, "--top", "1", "-f", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plans"][0]["settings"]["loss"] == loss


@pytest.mark.parametrize(
    ("trainer", "cluster", "exchange"),
    [
        ("megatron-bridge", "dgx-h100", "deepep"),
        ("megatron-bridge", "dgx-b200", "deepep"),
        ("megatron-bridge", "gb200-nvl72", "hybridep"),
        ("megatron-bridge", "gb300-nvl72", "hybridep"),
        ("megatron-lm", "gb200-nvl72", "hybridep"),
        ("megatron-lm@core_v0.15", "gb200-nvl72", "nccl"),
        ("megatron-lm@core_v0.10", "dgx-h100", "nccl"),
        ("megatron-bridge@25.09", "gb200-nvl72", "nccl"),
        ("nemo", "gb200-nvl72", "nccl"),
        ("nemo@24.09", "dgx-h100", "nccl"),
        ("torchtitan", "dgx-h100", "nccl"),
        ("torchtitan@2025-08", "dgx-h100", "nccl"),
    ],
)
def test_experts_exchange_by_what_the_trainer_has_there_and_its_files_say_it(
    trainer: str, cluster: str, exchange: str, tmp_path: Path
) -> None:
    words = ("qwen3-30b-a3b", "-c", cluster, "--nodes", "4", "-b", "128", "--ep", "8", "--vpp", "1", "--top", "1")
    done = call("plan", *words, "--trainer", trainer, "-f", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["plans"][0]["settings"]["ep_exchange"] == exchange
    (tmp_path / "plan.json").write_text(done.stdout)
    program, _, version = trainer.partition("@")
    without = ("--without", "aux-loss") if program == "torchtitan" else ()
    exported = call("planner", "export", "plan.json", "--to", program, "-o", "files", *without, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert (f"the plan is for {program}@" in exported.stderr) == bool(version), exported.stderr


def test_a_version_without_deepep_refuses_it() -> None:
    words = ("qwen3-30b-a3b", "-c", "dgx-h100", "--nodes", "4", "-b", "128", "--ep", "8", "--ep-exchange", "deepep")
    for trainer in ("megatron-lm@core_v0.10", "nemo@24.09", "torchtitan@0.2"):
        refused = call("plan", *words, "--trainer", trainer)
        assert (refused.returncode, "ep_exchange nccl (DeepEP came with" in refused.stderr) == (2, True)
    assert call("plan", *words, "--trainer", "torchtitan@0.2.1", "--top", "1").returncode == 0


@pytest.mark.parametrize(
    ("trainer", "reason"),
    [
        ("megatron-lm", "GPTDataset"),
        ("megatron-bridge", "packed_sequence_specs"),
        ("nemo", "packed_sequence_specs"),
        ("deepspeed", "sdpa"),
        ("fsdp2", "sdpa"),
        ("accelerate", "sdpa"),
        ("hf-trainer", "sdpa"),
        ("nanotron", "llama.py"),
        ("megatron-deepspeed", "FlashAttention gets no lengths of documents"),
        ("composer@0.14", "attn_uses_sequence_id"),
        ("torchtitan", ""),
        ("maxtext", ""),
        ("torchtune", ""),
        ("composer", ""),
    ],
)
def test_documents_apart_are_planned_where_the_trainer_leaves_out_their_pairs(trainer: str, reason: str) -> None:
    on = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--seq-length", "16K", "--packing", "2K")
    done = call("plan", *on, "--trainer", trainer, "--top", "1")
    assert done.returncode == (2 if reason else 0), done.stderr
    if reason:
        assert "--packing: unsupported by" in done.stderr
        assert reason in done.stderr
        assert "not written by planner export" not in done.stderr
        assert "it runs: --packing no" in done.stderr


def test_maxtext_packs_documents_on_gpus_and_says_how_many(tmp_path: Path) -> None:
    on = ("llama-3-8b", "-b", "64", "--seq-length", "16K", "--trainer", "maxtext", "--top", "1", "-f", "json")
    for packing, lines in {"2K": {"packing: true", "max_segments_per_seq: 16"}, "no": {"packing: false"}}.items():
        done = call("plan", *on, "-c", "dgx-h100", "--nodes", "2", "--packing", packing)
        assert done.returncode == 0, done.stderr
        (tmp_path / "plan.json").write_text(done.stdout)
        exported = call("planner", "export", "plan.json", "--to", "maxtext", "-o", "f", "--force", cwd=tmp_path)
        assert exported.returncode == 0, exported.stderr
        assert lines <= set((tmp_path / "f" / "maxtext.yml").read_text().splitlines())
    gpus = ("-c", "dgx-h100", "--nodes", "2", "--cp", "2", "--packing", "2K")
    assert "cp_exchange ring" in call("plan", *on, *gpus, "--cp-exchange", "all-gather").stderr
    assert call("plan", *on, *gpus, "--cp-exchange", "ring").returncode == 0
    tpus = call("plan", *on, "-c", "tpu-v5p", "--nodes", "8", "--packing", "2K")
    assert (tpus.returncode, "splash attention on TPUs computes the pairs" in tpus.stderr) == (2, True)


def test_settings_that_make_no_difference_to_any_plan_are_not_listed() -> None:
    on = ("-c", "dgx-h100", "--nodes", "2", "-b", "64", "--trainer", "torchtitan", "--launch", "eager", "--top", "1")
    assert re.search(r"^Settings +chunked loss$", call("plan", "llama-3-8b", *on, "--cp", "1").stdout, re.MULTILINE)
    assert re.search(
        r"^Settings +cp by all-gather, chunked loss$",
        call("plan", "llama-3-8b", *on, "--cp", "2").stdout,
        re.MULTILINE,
    )
    experts = call("plan", "qwen3-30b-a3b", *on, "--ep", "8", "--cp", "1").stdout
    assert re.search(r"^Settings +ep by nccl, chunked loss$", experts, re.MULTILINE)


def test_hierarchical_context_parallelism_is_planned_and_written_with_its_sizes(tmp_path: Path) -> None:
    on = ("llama-3-8b", "-c", "dgx-h100", "--nodes", "4", "-b", "16", "--seq-length", "64K", "--top", "1")
    plan = ("--tp", "1", "--cp", "16", "--pp", "1", "--cp-exchange", "hierarchical", "--trainer", "megatron-lm")
    done = call("plan", *on, *plan, "-f", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["plans"][0]["cp_group_sizes"] == [8, 2]
    (tmp_path / "plan.json").write_text(done.stdout)
    exported = call("planner", "export", "plan.json", "--to", "megatron-lm", "-o", "f", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    lines = [line.strip() for line in (tmp_path / "f" / "train.sh").read_text().splitlines()]
    assert {"--cp-comm-type a2a+p2p", "--hierarchical-context-parallel-sizes 8 2"} <= set(lines)
    document["plans"][0]["cp_group_sizes"] = [8, 4]
    (tmp_path / "plan.json").write_text(json.dumps(document))
    wrong = call("planner", "export", "plan.json", "--to", "megatron-lm", "-o", "g", cwd=tmp_path)
    assert (wrong.returncode, "cp_group_sizes" in wrong.stderr, "product is cp 16" in wrong.stderr) == (2, True, True)


def test_experts_with_biases_are_not_cut_by_tensor_parallelism_in_megatron() -> None:
    on = ("gpt-oss-20b", "-c", "dgx-h100", "--nodes", "2", "-b", "64", "--tp", "2", "--ep", "4")
    refused = call("plan", *on, "--etp", "2", "--trainer", "megatron-bridge")
    assert (refused.returncode, "etp 1 where experts have biases" in refused.stderr) == (2, True), refused.stderr
    assert call("plan", *on, "--etp", "1", "--trainer", "megatron-bridge").returncode == 0
    assert call("plan", "qwen3-30b-a3b", *on[1:], "--etp", "2", "--trainer", "megatron-bridge").returncode == 0
