"""Shell scripts: comments on the plan, quoted words, and `train.sh`, which runs a node's part of the job.

Every trainer writes a `train.sh`; every launcher runs it once on each node with NODE_RANK, MASTER_ADDR and
MASTER_PORT set. The numbers of nodes and devices are the plan's.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from planner.export.run import PlannedRun
from planner.export.trainer import UserExtras

CommandOptions = Sequence[tuple[object, ...]]
"""Command-line options, each with its values."""

TRAIN_SCRIPT = "train.sh"
MASTER_PORT = 29500
"""Port of the first node: torchrun's default."""


def describe_plan(run: PlannedRun, trainer_name: str) -> list[str]:
    """The description of the plan for the head of files, in lines without comment signs."""
    strategy = run.strategy
    degree_names = ["dp", "tp", "pp", "cp", "ep", "vpp"]
    degrees = ", ".join(
        f"{name} {getattr(strategy, name)}" for name in degree_names if getattr(strategy, name) > 1 or name == "dp"
    )
    length_text = f" of {run.seq_length:,} tokens" if run.model is not None and run.model.vision is None else ""
    return [
        f"{run.title} on {run.nodes:,} x {run.devices_per_node} {run.accelerator.name} ({run.cluster}), "
        f"for {trainer_name}.",
        f"Plan: {degrees}, micro-batch {strategy.micro_batch}, ZeRO {strategy.zero_stage}, "
        f"recompute {strategy.recompute};",
        f"global batch {run.global_batch:,}{length_text}, {run.precision}.",
        f"Predicted: {run.step_time_s:.4g} s per step, MFU {100 * run.mfu:.1f} %.",
    ]


def format_comments(lines: Sequence[str]) -> str:
    """The lines as comments of a shell script, of YAML or of Python."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def quote_words(words: Sequence[object]) -> str:
    """Words, quoted for the shell."""
    return " ".join(shlex.quote(str(word)) for word in words)


def format_bash_array(name: str, options: CommandOptions, comment: str = "") -> str:
    """A bash array with an option per line."""
    body = "".join(f"  {quote_words(option)}\n" for option in options)
    return (f"# {comment}\n" if comment else "") + f"{name}=(\n{body})\n"


def format_exports(variables: Mapping[str, object]) -> str:
    """Environment variables, each set where the user has not set it."""
    return "".join(f"export {name}=${{{name}:-{shlex.quote(str(value))}}}\n" for name, value in variables.items())


def format_script_header(run: PlannedRun, trainer_name: str) -> str:
    """The first lines of a script: the description of the plan, and `set` to end at the first error."""
    return f"#!/usr/bin/env bash\n{format_comments(describe_plan(run, trainer_name))}set -euo pipefail\n"


def render_train_script(
    run: PlannedRun,
    trainer_name: str,
    extras: UserExtras,
    body: str,
    variables: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """`train.sh`: `body` runs the trainer, with `"$here"` the folder of the files and `"$@"` its arguments."""
    default_arguments = ""
    if extras.arguments:
        default_arguments = f"if (( $# == 0 )); then set -- {quote_words(extras.arguments)}; fi\n"
    return (
        format_script_header(run, trainer_name)
        + ('here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)\n' if '"$here' in body else "")
        + format_exports({name: value for name, value in variables.items() if name not in extras.variables})
        + "".join(f"export {name}={quote_words([value])}\n" for name, value in extras.variables.items())
        + default_arguments
        + body
    )


def format_torchrun_array(run: PlannedRun) -> str:
    """The bash array `format_torchrun_array`: one process a device, ranks in the order of the nodes."""
    return (
        format_rendezvous(run) + "torchrun=(\n"
        f"  torchrun --nnodes {run.nodes} --nproc-per-node {run.devices_per_node}\n"
        '  --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT"\n'
        ")\n"
    )


def format_rendezvous(run: PlannedRun) -> str:
    """The variables that the launcher sets, with defaults on a single node."""
    if run.nodes == 1:
        lines = [': "${NODE_RANK:=0}" "${MASTER_ADDR:=127.0.0.1}"']
    else:
        lines = [
            f': "${{NODE_RANK:?the number of this node, from 0 to {run.nodes - 1}}}"',
            ': "${MASTER_ADDR:?the name or address of node 0}"',
        ]
    return "\n".join([*lines, f': "${{MASTER_PORT:={MASTER_PORT}}}"']) + "\n"
