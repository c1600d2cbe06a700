"""Shell scripts: what they say of the plan, quoted words, and `train.sh`, one node's part of a run.

Every trainer writes a `train.sh`, every launcher runs it once on each node with NODE_RANK, MASTER_ADDR and
MASTER_PORT set; the number of nodes and of devices are the plan's.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from planner.export.run import Run
from planner.export.trainer import Own

Options = Sequence[tuple[object, ...]]
"""Command-line options, each with its values."""

TRAIN = "train.sh"
PORT = 29500
"""Where the first node listens: torchrun's usual port."""


def about_plan(run: Run, to: str) -> list[str]:
    """What the files say of the plan, in lines without comment signs."""
    one = run.strategy
    split = ["dp", "tp", "pp", "cp", "ep", "vpp"]
    degrees = ", ".join(f"{name} {getattr(one, name)}" for name in split if getattr(one, name) > 1 or name == "dp")
    length = f" of {run.seq_length:,} tokens" if run.model is not None and run.model.vision is None else ""
    return [
        f"{run.title} on {run.nodes:,} x {run.devices_per_node} {run.part.name} ({run.cluster}), for {to}.",
        f"Plan: {degrees}, micro-batch {one.micro_batch}, ZeRO {one.zero_stage}, recompute {one.recompute};",
        f"global batch {run.global_batch:,}{length}, {run.precision}.",
        f"Predicted: {run.step_time_s:.4g} s a step, MFU {100 * run.mfu:.1f} %.",
    ]


def comments(lines: Sequence[str]) -> str:
    """The lines as comments of a shell script, of YAML or of Python."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def quoted(words: Sequence[object]) -> str:
    """Words that the shell reads as they are."""
    return " ".join(shlex.quote(str(word)) for word in words)


def array(name: str, options: Options, comment: str = "") -> str:
    """A bash array, an option a line."""
    body = "".join(f"  {quoted(option)}\n" for option in options)
    return (f"# {comment}\n" if comment else "") + f"{name}=(\n{body})\n"


def exports(variables: Mapping[str, object]) -> str:
    """Environment variables, each set where the user has not set it."""
    return "".join(f"export {name}=${{{name}:-{shlex.quote(str(value))}}}\n" for name, value in variables.items())


def beginning(run: Run, to: str) -> str:
    """The first lines of a script: what it is for, and that it ends at the first fault."""
    return f"#!/usr/bin/env bash\n{comments(about_plan(run, to))}set -euo pipefail\n"


def train_script(
    run: Run, to: str, own: Own, body: str, variables: Mapping[str, object] = MappingProxyType({})
) -> str:
    """`train.sh`: `body` runs the trainer, with `"$here"` the folder of the files and `"$@"` what is passed on."""
    default = ""
    if own.arguments:
        default = f"if (( $# == 0 )); then set -- {quoted(own.arguments)}; fi\n"
    return (
        beginning(run, to)
        + ('here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)\n' if '"$here' in body else "")
        + exports({name: value for name, value in variables.items() if name not in own.variables})
        + "".join(f"export {name}={quoted([value])}\n" for name, value in own.variables.items())
        + default
        + body
    )


def torchrun(run: Run) -> str:
    """The bash array `torchrun`: one process a device, ranks in the order of the nodes."""
    return (
        rendezvous(run) + "torchrun=(\n"
        f"  torchrun --nnodes {run.nodes} --nproc-per-node {run.devices_per_node}\n"
        '  --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT"\n'
        ")\n"
    )


def rendezvous(run: Run) -> str:
    """What the launcher says; a single node needs nobody to."""
    if run.nodes == 1:
        lines = [': "${NODE_RANK:=0}" "${MASTER_ADDR:=127.0.0.1}"']
    else:
        lines = [
            f': "${{NODE_RANK:?the number of this node, from 0 to {run.nodes - 1}}}"',
            ': "${MASTER_ADDR:?the name or address of node 0}"',
        ]
    return "\n".join([*lines, f': "${{MASTER_PORT:={PORT}}}"']) + "\n"
