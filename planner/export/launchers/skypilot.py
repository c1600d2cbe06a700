"""SkyPilot: a task (docs.skypilot.co/en/latest/reference/yaml-spec.html) that runs `train.sh` on each node."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export.launcher import Launcher, LauncherField, LaunchJob, build_host_order_note
from planner.export.launchers.gcp_tpu import TPU_TYPES, find_tpu_slice
from planner.export.run import PlannedRun
from planner.export.text import format_yaml
from planner.export.trainer import MASTER_PORT, TRAIN_SCRIPT, FileTexts, UnsupportedSetting

_ACCELERATORS = {
    "v100-sxm2-16gb": "V100",
    "v100-sxm2-32gb": "V100-32GB",
    "a100-sxm-40gb": "A100",
    "a100-sxm-80gb": "A100-80GB",
    "h100-sxm-80gb": "H100",
    "h200-sxm": "H200",
    "b200": "B200",
    "gb200": "GB200",
    "a10": "A10G",
    "t4": "T4",
    "l4": "L4",
    "l40s": "L40S",
    "mi300x": "MI300X",
}
"""Canonical names of SkyPilot's catalogue, by the name in hardware_db."""
_RUN_COMMANDS = f"""export NODE_RANK="$SKYPILOT_NODE_RANK"
MASTER_ADDR=$(head -n 1 <<< "$SKYPILOT_NODE_IPS")
export MASTER_ADDR
bash {TRAIN_SCRIPT}
"""


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    return (
        LauncherField("image", "", "container image or image of the cloud"),
        LauncherField("infra", "", "cloud, region and zone: aws, gcp/us-central1"),
        LauncherField("setup", "", "command that installs the trainer"),
        LauncherField("bucket", "", "bucket of the checkpoints, s3://... or gs://..."),
    )


def _find_accelerator(run: PlannedRun) -> str | None:
    """The accelerator's name; None where it is not in SkyPilot's catalogue."""
    tpu_slice = find_tpu_slice(run)
    return f"tpu-{tpu_slice[0]}" if tpu_slice else _ACCELERATORS.get(run.accelerator.name)


def _find_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    if run.accelerator.device_type and _find_accelerator(run) is None:
        known = ", ".join([*_ACCELERATORS, *TPU_TYPES])
        yield UnsupportedSetting("accelerator", run.accelerator.name, f"one of {known}")


def _build_files(job: LaunchJob) -> FileTexts:
    run, values = job.run, job.field_values
    accelerator_name = _find_accelerator(run) or run.accelerator.name
    is_tpu = accelerator_name.startswith("tpu-")
    resources: dict[str, object] = {"accelerators": f"{accelerator_name}:{1 if is_tpu else run.devices_per_node}"}
    if values["infra"]:
        resources["infra"] = values["infra"]
    if values["image"]:
        image = values["image"]
        resources["image_id"] = image if ":" in image.split("/")[0] else f"docker:{image}"
    task: dict[str, object] = {
        "name": run.name,
        "workdir": ".",
        # a slice of TPUs is a single node, whose hosts all run the command
        "num_nodes": 1 if is_tpu else run.nodes,
        "resources": resources,
        "envs": {"MASTER_PORT": str(MASTER_PORT)},
    }
    if values["bucket"]:
        task["file_mounts"] = {"/checkpoints": {"source": values["bucket"], "mode": "MOUNT"}}
        task["envs"] = {"MASTER_PORT": str(MASTER_PORT), "CHECKPOINTS": f"/checkpoints/{run.name}"}
    if values["setup"]:
        task["setup"] = values["setup"] + "\n"
    task["run"] = f"bash {TRAIN_SCRIPT}\n" if is_tpu else _RUN_COMMANDS
    lines = [
        *job.description,
        "From its folder: sky launch skypilot.yaml, or with a bucket, to go on after failures: sky jobs launch",
    ]
    return {"skypilot.yaml": format_yaml(lines, task)}


LAUNCHER = Launcher("skypilot", _build_files, _list_fields, _find_unsupported, build_host_order_note)
