"""Slurm: a batch script that runs `train.sh` once on each node."""

from __future__ import annotations

from planner.export.launcher import (
    Field,
    Job,
    Launcher,
    any_trainer,
    days_and_time,
    host_list,
    limit_s,
)
from planner.export.run import Run
from planner.export.shell import (
    PORT,
    TRAIN,
    about_plan,
    comments,
    exports,
    quoted,
)
from planner.export.trainer import Files

NAME = "slurm"


def _fields(run: Run) -> tuple[Field, ...]:
    return (
        Field("partition", "", "partition of the nodes"),
        Field("account", "", "account that pays"),
        Field("qos", "", "quality of service"),
        Field("image", "", "container image, where the cluster has pyxis"),
        Field("mounts", "", "what the container sees of the host, SRC:DST,..."),
    )


def _options(job: Job) -> list[str]:
    run, limit = job.run, limit_s(job.run)
    found = [
        f"--job-name={run.name}",
        f"--nodes={run.nodes}",
        "--ntasks-per-node=1",
        "--exclusive",
        "--output=%x-%j.out",
    ]
    if run.part.kind == "gpu":
        found.append(f"--gpus-per-node={run.devices_per_node}")
    if limit is not None:
        found.append(f"--time={days_and_time(limit)}")
    if run.hosts:
        found.append(f"--nodelist={','.join(run.hosts)}")
    given = {name: job.values[name] for name in ("partition", "account", "qos")}
    return found + [f"--{name}={_word(value)}" for name, value in given.items() if value]


def _word(text: str) -> str:
    """A value in a line of #SBATCH, which knows quotes as the shell does."""
    return quoted([text.replace("\n", " ")])


def _container(job: Job) -> list[str]:
    """Words of srun for a container, in which the files are where they are outside."""
    image, mounts = job.values["image"], job.values["mounts"]
    if not image:
        return []
    more = f",{quoted([mounts])}" if mounts else ""
    return [f"--container-image={quoted([image])}", f'--container-mounts="$plan":"$plan"{more}']


def _files(job: Job) -> Files:
    run = job.run
    if run.hosts:
        # hosts in the order of the ranks: task i is on line i of the file
        first, rank = run.hosts[0], "$SLURM_PROCID"
        hosts = 'export SLURM_HOSTFILE="$plan/hosts.txt"\n'
        words = ["--distribution=arbitrary"]
        master = f"MASTER_ADDR={quoted([first])}\n"
    else:
        rank, hosts, words = "$SLURM_NODEID", "", []
        master = 'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)\n'
    text = (
        "#!/usr/bin/env bash\n"
        + "".join(f"#SBATCH {option}\n" for option in _options(job))
        + comments(
            [
                *about_plan(run, job.trainer),
                "Submit it from its own folder, which all nodes see:",
                "  sbatch slurm.sbatch",
            ]
        )
        + "set -euo pipefail\n"
        + "plan=${SLURM_SUBMIT_DIR:?submit it with sbatch}\n"
        + master
        + "export MASTER_ADDR\n"
        + exports({"MASTER_PORT": PORT})
        + hosts
        + "# shellcheck disable=SC2016  # the number is each node's own\n"
        + f"srun --kill-on-bad-exit=1{''.join(' ' + word for word in [*words, *_container(job)])} \\\n"
        + f'  bash -c \'NODE_RANK={rank} exec bash "$0" "$@"\' "$plan/{TRAIN}" "$@"\n'
    )
    return {"slurm.sbatch": text, **host_list(run)}


LAUNCHER = Launcher(NAME, _fields, any_trainer, lambda run: iter(()), _files)
