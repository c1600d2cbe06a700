"""Cloud TPU: a script that requests a slice, copies the files to all of its hosts, and runs `train.sh` on each.

cloud.google.com/tpu/docs/queued-resources and cloud.google.com/sdk/gcloud/reference/compute/tpus/tpu-vm. Hosts of a
slice discover each other, without node numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.launcher import Launcher, LauncherField, LaunchJob, build_host_order_note
from planner.export.run import PlannedRun
from planner.export.text import quote_words
from planner.export.trainer import FileTexts, UnsupportedSetting, format_script_header

TPU_TYPES = {
    "tpu-v2": ("v2", 2, "tpu-ubuntu2204-base"),
    "tpu-v3": ("v3", 2, "tpu-ubuntu2204-base"),
    "tpu-v4": ("v4", 2, "tpu-ubuntu2204-base"),
    "tpu-v5e": ("v5litepod", 1, "v2-alpha-tpuv5-lite"),
    "tpu-v5p": ("v5p", 2, "v2-alpha-tpuv5"),
    "tpu-v6e": ("v6e", 1, "v2-alpha-tpuv6e"),
}
"""The prefix of a type, the units that it counts per chip, and the runtime version (cloud.google.com/tpu/docs, the
page of each generation). A type counts TensorCores, which v2 to v4 and v5p have two of per chip.
"""
_SCRIPT_TEMPLATE = """# From the folder of the files: bash gcp-tpu.sh; it does not delete the slice:
#   gcloud compute tpus queued-resources delete NAME --force
name={name}
where=({where})
setup={setup}
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")"

gcloud compute tpus queued-resources create "$name" --node-id "$name" "${{where[@]}}" \\
  --accelerator-type {slice_type} --runtime-version {runtime}
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
"${{tpu[@]}}" ssh "$name" "${{where[@]}}" --worker all --command {command}
"""


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    return (
        LauncherField("zone", "ZONE", "zone that has the slice"),
        LauncherField("project", "", "project that is charged"),
        LauncherField("bucket", "BUCKET", "Cloud Storage bucket of the checkpoints"),
        LauncherField("setup", "python3 -m pip install maxtext", "command that installs the trainer"),
    )


def find_tpu_slice(run: PlannedRun) -> tuple[str, str] | None:
    """Type and runtime version of a slice with all of the plan's chips; None where Cloud TPU has none."""
    if run.accelerator.name not in TPU_TYPES:
        return None
    type_prefix, cores_per_chip, runtime_version = TPU_TYPES[run.accelerator.name]
    return f"{type_prefix}-{cores_per_chip * run.devices}", runtime_version


def _find_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    if find_tpu_slice(run) is None:
        yield UnsupportedSetting("accelerator", run.accelerator.name, f"one of {', '.join(TPU_TYPES)}")


def _build_files(job: LaunchJob) -> FileTexts:
    tpu_slice = find_tpu_slice(job.run)
    assert tpu_slice is not None
    location_options = ["--zone", job.field_values["zone"]]
    if job.field_values["project"]:
        location_options += ["--project", job.field_values["project"]]
    checkpoints = f"gs://{job.field_values['bucket']}/{job.run.name}"
    text = format_script_header(job.run, job.trainer_name) + _SCRIPT_TEMPLATE.format(
        name=quote_words(job.run.name),
        where=quote_words(*location_options),
        setup=quote_words(job.field_values["setup"]),
        slice_type=tpu_slice[0],
        runtime=tpu_slice[1],
        files=quote_words(*job.files),
        command=quote_words(f"CHECKPOINTS={quote_words(checkpoints)} bash plan/train.sh"),
    )
    return {"gcp-tpu.sh": text}


LAUNCHER = Launcher("gcp-tpu", _build_files, _list_fields, _find_unsupported, build_host_order_note)
