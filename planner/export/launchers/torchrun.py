"""torchrun by hand: a script to run on each node, which determines the node's number and runs `train.sh`."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.launcher import Launcher, LaunchJob, build_hosts_file
from planner.export.run import PlannedRun
from planner.export.text import format_comments, quote_words
from planner.export.trainer import TRAIN_SCRIPT, FileTexts, UnsupportedSetting, format_script_header


def _find_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    if trainer_name == "maxtext":
        yield UnsupportedSetting("--to", trainer_name, "a trainer on PyTorch")


def _build_files(job: LaunchJob) -> FileTexts:
    run = job.run
    if run.hosts:
        instructions = ["Run it on every host of hosts.txt, from a folder that all share: bash torchrun.sh"]
        node_rank_code = (
            f"hosts=({quote_words(*run.hosts)})\n"
            "MASTER_ADDR=${hosts[0]}\n"
            "for (( NODE_RANK = 0; NODE_RANK < ${#hosts[@]}; NODE_RANK++ )); do\n"
            '  case ${hosts[NODE_RANK]} in "$(hostname)" | "$(hostname -s)" | "$(hostname -f)") break ;; esac\n'
            "done\n"
            "if (( NODE_RANK == ${#hosts[@]} )); then\n"
            '  echo "$(hostname) is not a host of the plan" >&2\n'
            "  exit 1\n"
            "fi\n"
        )
    elif run.nodes == 1:
        instructions, node_rank_code = ["Run it on the node: bash torchrun.sh"], "NODE_RANK=0 MASTER_ADDR=127.0.0.1\n"
    else:
        instructions = [f"Run it on node i, from 0 to {run.nodes - 1}: bash torchrun.sh MASTER_ADDR i"]
        node_rank_code = (
            "MASTER_ADDR=${1:?the name or address of node 0}\n"
            f"NODE_RANK=${{2:?the number of this node, from 0 to {run.nodes - 1}}}\n"
            "shift 2\n"
        )
    text = (
        format_script_header(run, job.trainer_name)
        + format_comments(instructions)
        + node_rank_code
        + "export MASTER_ADDR NODE_RANK\n"
        + f'exec bash "$(dirname -- "${{BASH_SOURCE[0]}}")/{TRAIN_SCRIPT}" "$@"\n'
    )
    return {"torchrun.sh": text, **build_hosts_file(run)}


LAUNCHER = Launcher("torchrun", _build_files, find_unsupported=_find_unsupported)
