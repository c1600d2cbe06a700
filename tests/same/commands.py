"""Every command and form of both programs, by names, and the files that they read.

Help is not among them: it is for people, as wide as `COLUMNS` says.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.cli.sweeps.small import SMALL
from tests.examples import DEFAULTS, LAB, NETWORK, WIRED, pools_file

_ROOT = Path(__file__).parents[2]
FORMS = ("table", "json", "jsonl", "csv", "markdown", "html", "junit")
_FILES = " ".join(f"-o out/answer{ending}" for ending in (".txt", ".json", ".jsonl", ".csv", ".md", ".html", ".xml"))
_TWO = "llama-3-8b -c dgx-h100 --nodes 2 -b 64"
_EIGHT = f"{_TWO} --tp 8 --sequence-parallel"

FORMED = {
    "plan": f"plan {_TWO} --tokens 1T --grid fr",
    "plan-two-kinds": "plan llama-3-8b -c in/both.toml -b 64 --tp 1,2",
    "estimate": f"planner estimate {_EIGHT} --zero 1 --tokens 1T",
    "what-if": f"planner what-if {_TWO} --set fabric.bandwidth=2x",
    "size": "planner size llama-3-8b -c dgx-h100 --tokens 1T --deadline 60d",
    "compare": "planner compare llama-3-8b --on dgx-h100:8 --on tpu-v5p:16 --on in/lab.toml:4 --tokens 1T",
    "explain": "planner explain in/plan.json",
    "topology": "planner topology in/wired.toml",
    "validate": "planner validate",
    "hardware-show": "planner hardware show h100-sxm-80gb --sources",
    "hardware-list": "planner hardware list --can-train --sort price",
    "hardware-compare": "planner hardware compare a100-sxm-80gb h100-sxm-80gb b200",
    "models-list": "planner models list",
    "models-families": "planner models families",
    "cluster-list": "planner cluster list",
    "check": "planner check in/plans.toml",
    "diff": "planner diff in/plan.json in/other.json",
}
"""Told as a table on stdout and as a file of every form, which are the bytes that `--format` gives."""

PLAIN = {
    "plan gpt-3": "plan gpt-3-175b -c dgx-h100 --nodes 512 -b 3072 -f json",
    "plan ranges": "plan llama-3-8b -c dgx-h100 --nodes 2 -b 64..256 --critical-batch 4M --tokens 1T -f json",
    "plan pareto": "plan 70B -c dgx-a100 --nodes 4 -b 512 --pareto cost,energy --order all --tp 8 --pp 2,4 -f json",
    "plan little": "plan in/net.toml -c in/lab.toml -b 64 --tokens 1M --uncertainty 3 --spares 0 --shrink -f json",
    "plan uncertain": f"plan {_TWO} --uncertainty 100 -f json",
    "plan offload": f"plan {_TWO} --offload none,optimizer --schedule 1f1b,zero-bubble -f csv",
    "plan moe": "plan mixtral-8x7b -c gb200-nvl72 --nodes 16 -b 1024 --diverse -f jsonl",
    "plan lora": f"plan {_TWO} --lora 16:4bit --optimizer adam8bit -f json",
    "plan faults": "plan llama-3-8b -c dgx-h100 --nodes 4 -b 64 --fault node-3 --fault node-1:2=0.5 -f json",
    "plan own": "plan in/net.toml -c in/lab.toml -b 64 -f json",
    "plan config": "plan in/config.json -c dgx-a100 --nodes 2 -b 64 -f json",
    "plan wired": "plan llama-3-8b -c in/wired.toml -b 64 --hostfile out/hosts.txt -f json",
    "plan nothing fits": "plan gpt-3-175b -c dgx-h100 --nodes 1 -b 64 -f json",
    "plan not met": f"plan {_TWO} --require 'mfu >= 99%'",
    "plan wrong name": "plan lama-3-8b -c dgx-h100 --nodes 2 -b 64",
    "compare any": "planner compare llama-3-8b --any --devices 64 --tokens 100B --objective cost -f json",
    "size budget": "planner size llama-3-8b -c dgx-h100 --budget 200kUSD --nodes 16 -o out/curve.svg",
    "size value": "planner size llama-3-8b -c dgx-h100 --tokens 1T --deadline 60d -f value --field devices",
    "topology drawn": "planner topology in/wired.toml -o out/a.svg -o out/a.dot -o out/a.graphml",
    "topology levels": "planner topology dgx-h100 --nodes 128 -o out/a.svg -o out/a.dot -o out/a.graphml",
    "topology torus": "planner topology tpu-v5e -f json -o out/a.svg",
    "trace": "planner explain in/plan.json --trace out/trace.json",
    "trace all ranks": "planner explain in/plan.json --trace out/trace.json --ranks all -o out/why.html",
    "validate own": "planner validate --runs in/runs.csv -f csv",
    "check in CI": "env GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=out/summary.md planner check in/plans.toml "
    "--require 'mfu >= 99%' --code-quality out/quality.json --out-dir out/plans -f junit",
    "diff in CI": "env GITHUB_STEP_SUMMARY=out/summary.md planner diff in/plan.json in/other.json -f markdown",
    "sweep csv": "planner sweep in/sweep.toml -o out/r.csv",
    "sweep jsonl": "planner sweep in/sweep.toml -o out/r.jsonl --workers 1",
    "sweep parquet": "planner sweep in/sweep.toml -o out/r.parquet --workers 2",
    "plot": "planner plot in/r.csv --x nodes --y mfu --by model -o out/p.svg -o out/p.html -o out/p.txt",
    "completion": "planner completion bash",
    **{
        f"schema {name}": f"planner schema {name}".strip()
        for name in ("", "what-if", "explain", "check", "diff", "validate", "topology", "hardware", "mixed")
    },
    **{
        f"import {name}": f"planner cluster import in/clusters/{name} {options}".strip()
        for name, options in {
            "topo-dgx-1.txt": "--node dgx-v100 --nodes 2",
            "slurm-tree-azure.conf": "--node dgx-h100",
            "ibnetdiscover-ndr.txt": "--node dgx-h100",
            "links-ndt.csv": "--node dgx-h100 --link-bandwidth 400Gb/s",
            "hostfile-deepspeed.txt": "--node dgx-h100",
            "kubernetes-nvl72.json": "--node gb200-nvl72-tray",
            "nccl-p4d.xml": "--node aws-p4d",
            "graph-leaf-spine.graphml": "--node dgx-h100",
            "graph-leaf-spine.json": "--node dgx-h100",
        }.items()
    },
    **{
        f"export {to} {launcher}": f"planner export in/{plan}.json --to {to} --launcher {launcher} {own} -o out/run"
        for to, launcher, plan, own in (
            ("megatron-lm", "slurm", "plan", ""),
            ("megatron-bridge", "torchrun", "plan", ""),
            ("nemo", "kubernetes", "plan", "--with image=my/nemo:1 --env B=2 --env A=1"),
            ("torchtitan", "skypilot", "fsdp", ""),
            ("fsdp2", "torchrun", "fsdp", "--arguments train.py"),
            ("deepspeed", "azureml", "deepspeed", "--arguments train.py --with compute=c"),
            ("accelerate", "sagemaker", "fsdp", "--arguments train.py --with image=i --with role=r --with bucket=b"),
            ("maxtext", "gcp-tpu", "maxtext", "--with zone=z"),
        )
    },
}

FAILING = {"plan nothing fits": 3, "plan not met": 4, "plan wrong name": 2, "check in CI": 4}
"""The exit codes of commands that do not end with 0."""

PREPARED = {
    "plan.json": f"planner estimate {_EIGHT} --framework megatron --zero 1 --tokens 1T -f json",
    "other.json": f"planner estimate {_EIGHT} --framework megatron --zero 0 --micro-batch 2 --tokens 1T -f json",
    "fsdp.json": f"planner estimate {_TWO} --framework fsdp2 --tp 1 --zero 3 --tokens 1T -f json",
    "deepspeed.json": f"planner estimate {_TWO} --framework deepspeed --tp 1 --zero 3 --tokens 1T -f json",
    "maxtext.json": "planner estimate llama-3-8b -c tpu-v5p --nodes 4 -b 64 --framework maxtext --zero 3 -f json",
    "r.csv": "planner sweep in/sweep.toml -o in/r.csv",
}
"""What the commands above read of others' answers: made once."""


def commands() -> dict[str, list[str]]:
    """All, each as the words of a command line; `-o` is always below `out/`."""
    forms = {f"plan {form}": f"{FORMED['plan']} -f {form}" for form in FORMS}
    files = {name: f"{line} {_FILES}" for name, line in FORMED.items()}
    return {name: shlex.split(line) for name, line in {**files, **forms, **PLAIN}.items()}


def write_inputs(folder: Path) -> None:
    """The files that commands read, but for those of PREPARED."""
    folder.mkdir()
    own = LAB.format(**DEFAULTS)
    texts = {
        "lab.toml": own,
        "wired.toml": own.partition("[[fabric]]")[0].replace("nodes = 4", "") + WIRED.format(up=1600),
        "both.toml": pools_file(slow_tflops=150),
        "net.toml": NETWORK.format(size=32, width=16, repeat=2, groups=1, out=32),
        "sweep.toml": SMALL,
        "plans.toml": (_ROOT / "docs" / "ci" / "plan.toml").read_text(),
        "runs.csv": "".join((_ROOT / "tests" / "published" / "measured_runs.csv").open().readlines()[:30]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "clusters").mkdir()
    for one in (_ROOT / "tests" / "fixtures" / "clusters").iterdir():
        (folder / "clusters" / one.name).write_bytes(one.read_bytes())
    config = next(iter(sorted((_ROOT / "tests" / "fixtures" / "configs").rglob("*.json"))))
    (folder / "config.json").write_bytes(config.read_bytes())
