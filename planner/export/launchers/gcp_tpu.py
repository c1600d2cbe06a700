"""Cloud TPU: a script that requests a slice, copies the files to all of its hosts, and runs `train.sh` on each.

cloud.google.com/tpu/docs/queued-resources and cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm. Hosts of a
slice discover each other, without node numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import machines
from planner.export.launcher import Launcher, LauncherField, LaunchJob, build_host_order_note
from planner.export.run import PlannedRun
from planner.export.shell import format_script_header, quote_words
from planner.export.trainer import FileTexts, UnsupportedSetting

NAME = "gcp-tpu"

_SCRIPT_TEMPLATE = """# From the folder of the files: bash gcp-tpu.sh; it does not delete the slice:
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


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    return (
        LauncherField("zone", "ZONE", "zone that has the slice"),
        LauncherField("project", "", "project that is charged"),
        LauncherField("setup", "python3 -m pip install maxtext", "command that installs the trainer"),
    )


def _find_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    if machines.find_tpu_slice(run) is None:
        yield UnsupportedSetting(
            "accelerator", run.accelerator.name, f"one of {machines.format_known_machines(NAME)}"
        )


def _build_files(job: LaunchJob) -> FileTexts:
    tpu_slice = machines.find_tpu_slice(job.run)
    assert tpu_slice is not None
    location_options = ["--zone", job.field_values["zone"]]
    if job.field_values["project"]:
        location_options += ["--project", job.field_values["project"]]
    text = format_script_header(job.run, job.trainer_name) + _SCRIPT_TEMPLATE.format(
        name=quote_words([job.run.name]),
        where=quote_words(location_options),
        setup=quote_words([job.field_values["setup"]]),
        kind=tpu_slice[0],
        runtime=tpu_slice[1],
        files=quote_words(list(job.files)),
    )
    return {"gcp-tpu.sh": text}


LAUNCHER = Launcher(NAME, _list_fields, _find_unsupported, build_host_order_note, _build_files)
