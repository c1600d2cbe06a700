"""Slurm: a batch script that runs `train.sh` once on each node.

A run that is longer than a job is several: Slurm signals the script before the end (sbatch, `--signal=B:`), the
script puts the job back into the queue (`scontrol requeue`), and it goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

from planner.errors import InputError
from planner.export.launcher import (
    Launcher,
    LauncherField,
    LaunchJob,
    build_hosts_file,
    compute_time_limit_s,
)
from planner.export.run import PlannedRun
from planner.export.text import format_comments, format_exports, quote_words
from planner.export.trainer import MASTER_PORT, TRAIN_SCRIPT, FileTexts
from planner.units import DAY_S, parse_count

_USUAL_HOURS = 24
"""Hours of a job."""
_SIGNAL_TIME_S = 300
"""Seconds before the end of a job at which it is queued again,"""
_EXIT_TIME_S = 1200
"""and at which a trainer that looks at the clock saves a checkpoint and stops."""
_REQUEUE_CODE = """export EXIT_MINUTES=${{EXIT_MINUTES:-{minutes}}}
# queue the job again, to go on from the last checkpoint
requeue() {{ scontrol requeue "$SLURM_JOB_ID"; }}
trap requeue USR1
"""
_WAIT_CODE = """ &
# a signal ends the first wait, a requeued job is ended by Slurm
srun=$! status=0
wait "$srun" || status=$?
while kill -0 "$srun" 2> /dev/null; do
  status=0
  wait "$srun" || status=$?
done
if (( status == 0 && SECONDS >= EXIT_MINUTES * 60 )); then requeue; fi
exit "$status"
"""


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    return (
        LauncherField("partition", "", "partition of the nodes"),
        LauncherField("account", "", "account that is charged"),
        LauncherField("qos", "", "quality of service"),
        LauncherField("image", "", "container image, where the cluster has pyxis"),
        LauncherField("mounts", "", "mounts of the container, SRC:DST,..."),
        LauncherField("hours", "", "hours of a job (24), after which it is queued again until the run is done"),
    )


def _build_sbatch_options(job: LaunchJob) -> list[str]:
    run, time_limit_s = job.run, _compute_job_limit_s(job.run, job.field_values)
    options = [
        f"--job-name={run.name}",
        f"--nodes={run.nodes}",
        "--ntasks-per-node=1",
        "--exclusive",
        "--output=%x-%j.out",
    ]
    if run.accelerator.device_type == "gpu":
        options.append(f"--gpus-per-node={run.devices_per_node}")
    if time_limit_s is not None:
        options += [
            f"--time={_format_time(time_limit_s)}",
            "--requeue",
            "--open-mode=append",
            f"--signal=B:USR1@{_SIGNAL_TIME_S}",
        ]
    if run.hosts:
        options.append(f"--nodelist={','.join(run.hosts)}")
    user_values = {name: job.field_values[name] for name in ("partition", "account", "qos")}
    return options + [
        f"--{name}={quote_words(value.replace(chr(10), chr(32)))}" for name, value in user_values.items() if value
    ]


def _compute_job_limit_s(run: PlannedRun, field_values: Mapping[str, str]) -> int | None:
    """Seconds of one job; None where neither the plan's tokens nor hours limit it. Raises InputError for hours that
    are no number.
    """
    time_limit_s, stated_hours = compute_time_limit_s(run), field_values["hours"]
    if not stated_hours:
        return None if time_limit_s is None else min(time_limit_s, _USUAL_HOURS * 3600)
    hours = parse_count(stated_hours, key="--with hours", example="24")
    if hours < 1:
        raise InputError("out of range", key="--with hours", value=hours, expected="at least 1")
    return hours * 3600 if time_limit_s is None else min(time_limit_s, hours * 3600)


def _compute_job_s(run: PlannedRun, field_values: Mapping[str, str]) -> int | None:
    """Seconds of one job of several."""
    limit_s = _compute_job_limit_s(run, field_values)
    return limit_s if limit_s is not None and limit_s < run.training_time_s else None


def _format_time(time_s: int) -> str:
    """The time in Slurm's form, D-HH:MM:SS."""
    days, remainder_s = divmod(time_s, int(DAY_S))
    return f"{days}-{remainder_s // 3600:02}:{remainder_s % 3600 // 60:02}:{remainder_s % 60:02}"


def _build_container_options(job: LaunchJob) -> list[str]:
    """Arguments of srun for a container, with the files mounted at the same path."""
    image, mounts = job.field_values["image"], job.field_values["mounts"]
    if not image:
        return []
    extra_mounts = f",{quote_words(mounts)}" if mounts else ""
    return [f"--container-image={quote_words(image)}", f'--container-mounts="$plan":"$plan"{extra_mounts}']


def _build_files(job: LaunchJob) -> FileTexts:
    run = job.run
    if run.hosts:
        # hosts in the order of the ranks: task i is on line i of the file
        first_host, node_rank = run.hosts[0], "$SLURM_PROCID"
        hostfile_export = 'export SLURM_HOSTFILE="$plan/hosts.txt"\n'
        srun_options = ["--distribution=arbitrary"]
        master_address = f"MASTER_ADDR={quote_words(first_host)}\n"
    else:
        node_rank, hostfile_export, srun_options = "$SLURM_NODEID", "", []
        master_address = 'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)\n'
    time_limit_s = _compute_job_limit_s(job.run, job.field_values)
    text = (
        "#!/usr/bin/env bash\n"
        + "".join(f"#SBATCH {option}\n" for option in _build_sbatch_options(job))
        + format_comments(
            [
                *job.description,
                "Submit it from its own folder, on a file system that all nodes share:",
                "  sbatch slurm.sbatch",
            ]
        )
        + "set -euo pipefail\n"
        + "plan=${SLURM_SUBMIT_DIR:?submit it with sbatch}\n"
        + master_address
        + "export MASTER_ADDR\n"
        + format_exports({"MASTER_PORT": MASTER_PORT})
        + hostfile_export
        + ("" if time_limit_s is None else _REQUEUE_CODE.format(minutes=(time_limit_s - _EXIT_TIME_S) // 60))
        + "# shellcheck disable=SC2016  # expanded on each node\n"
        + " ".join(["srun --kill-on-bad-exit=1", *srun_options, *_build_container_options(job)])
        + " \\\n"
        + f'  bash -c \'NODE_RANK={node_rank} exec bash "$0" "$@"\' "$plan/{TRAIN_SCRIPT}" "$@"'
        + ("\n" if time_limit_s is None else _WAIT_CODE)
    )
    return {"slurm.sbatch": text, **build_hosts_file(run)}


LAUNCHER = Launcher("slurm", _build_files, _list_fields, compute_job_s=_compute_job_s)
