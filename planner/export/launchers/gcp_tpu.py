"""Cloud TPU: a script that asks for a slice, copies the files to all of its hosts, and runs `train.sh` on each.

cloud.google.com/tpu/docs/queued-resources and cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm. Hosts of a
slice find each other: nobody tells them their number.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import machines
from planner.export.launcher import Field, Job, Launcher, unordered
from planner.export.run import Run
from planner.export.shell import beginning, quoted
from planner.export.trainer import Files, Misfit

NAME = "gcp-tpu"

_TEXT = """# From the folder of the files: bash gcp-tpu.sh; it leaves the slice to you:
#   gcloud compute tpus queued-resources delete NAME --force
name={name}
where=({where})
setup={setup}
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")"

gcloud compute tpus queued-resources create "$name" --node-id "$name" "${{where[@]}}" \\
  --accelerator-type {kind} --runtime-version {runtime}
until state=$(gcloud compute tpus queued-resources describe "$name" "${{where[@]}}" --format 'value(state.state)') &&
  [[ $state == ACTIVE ]]; do
  if [[ $state == FAILED || $state == SUSPENDED ]]; then
    echo "$name: $state" >&2
    exit 1
  fi
  sleep 60
done

tpu=(gcloud compute tpus tpu-vm)
"${{tpu[@]}}" ssh "$name" "${{where[@]}}" --worker all --command 'mkdir -p plan'
"${{tpu[@]}}" scp {files} "$name:plan/" "${{where[@]}}" --worker all
if [[ -n $setup ]]; then
  "${{tpu[@]}}" ssh "$name" "${{where[@]}}" --worker all --command "$setup"
fi
"${{tpu[@]}}" ssh "$name" "${{where[@]}}" --worker all --command 'bash plan/train.sh'
"""


def _fields(run: Run) -> tuple[Field, ...]:
    return (
        Field("zone", "ZONE", "zone that has the slice"),
        Field("project", "", "project that pays"),
        Field("setup", "python3 -m pip install maxtext", "command that installs the trainer"),
    )


def _misfits(run: Run, trainer: str) -> Iterator[Misfit]:
    if machines.tpu_type(run) is None:
        yield Misfit("accelerator", run.part.name, f"one of {machines.known(NAME)}")


def _files(job: Job) -> Files:
    found = machines.tpu_type(job.run)
    assert found is not None
    where = ["--zone", job.values["zone"]]
    if job.values["project"]:
        where += ["--project", job.values["project"]]
    text = beginning(job.run, job.trainer) + _TEXT.format(
        name=quoted([job.run.name]),
        where=quoted(where),
        setup=quoted([job.values["setup"]]),
        kind=found[0],
        runtime=found[1],
        files=quoted(list(job.files)),
    )
    return {"gcp-tpu.sh": text}


LAUNCHER = Launcher(NAME, _fields, _misfits, unordered, _files)
