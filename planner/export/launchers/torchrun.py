"""torchrun by hand: a script to run on each node, which finds the node's number and runs `train.sh`."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.launcher import Field, Job, Launcher, host_list
from planner.export.run import Run
from planner.export.shell import TRAIN, beginning, comments, quoted
from planner.export.trainer import Files, Misfit

NAME = "torchrun"


def _fields(run: Run) -> tuple[Field, ...]:
    return ()


def _misfits(run: Run, trainer: str) -> Iterator[Misfit]:
    if trainer == "maxtext":
        yield Misfit("--to", trainer, "a trainer on PyTorch")


def _files(job: Job) -> Files:
    run = job.run
    if run.hosts:
        how = ["Run it on every host of hosts.txt, from a folder that all see: bash torchrun.sh"]
        found = (
            f"hosts=({quoted(run.hosts)})\n"
            "MASTER_ADDR=${hosts[0]}\n"
            "for (( NODE_RANK = 0; NODE_RANK < ${#hosts[@]}; NODE_RANK++ )); do\n"
            '  case ${hosts[NODE_RANK]} in "$(hostname)" | "$(hostname -s)" | "$(hostname -f)") break ;; esac\n'
            "done\n"
            "if (( NODE_RANK == ${#hosts[@]} )); then\n"
            '  echo "$(hostname) is none of the hosts of the plan" >&2\n'
            "  exit 1\n"
            "fi\n"
        )
    elif run.nodes == 1:
        how, found = ["Run it on the node: bash torchrun.sh"], "NODE_RANK=0 MASTER_ADDR=127.0.0.1\n"
    else:
        how = [f"Run it on node i, from 0 to {run.nodes - 1}: bash torchrun.sh MASTER_ADDR i"]
        found = (
            "MASTER_ADDR=${1:?the name or address of node 0}\n"
            f"NODE_RANK=${{2:?the number of this node, from 0 to {run.nodes - 1}}}\n"
            "shift 2\n"
        )
    text = (
        beginning(run, job.trainer)
        + comments(how)
        + found
        + "export MASTER_ADDR NODE_RANK\n"
        + f'exec bash "$(dirname -- "${{BASH_SOURCE[0]}}")/{TRAIN}" "$@"\n'
    )
    return {"torchrun.sh": text, **host_list(run)}


LAUNCHER = Launcher(NAME, _fields, _misfits, lambda run: iter(()), _files)
