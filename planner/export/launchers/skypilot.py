"""SkyPilot: a task (docs.skypilot.co/en/latest/reference/yaml-spec.html) that runs `train.sh` on each node."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import machines
from planner.export.launcher import Launcher, LauncherField, LaunchJob, build_host_order_note
from planner.export.run import PlannedRun
from planner.export.shell import MASTER_PORT, TRAIN_SCRIPT, describe_plan
from planner.export.trainer import FileTexts, UnsupportedSetting
from planner.export.yaml_json import format_yaml

NAME = "skypilot"

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
    )


def _find_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    if run.accelerator.device_type and machines.find_skypilot_accelerator(run) is None:
        yield UnsupportedSetting(
            "accelerator", run.accelerator.name, f"one of {machines.format_known_machines(NAME)}"
        )


def _build_files(job: LaunchJob) -> FileTexts:
    run, values = job.run, job.field_values
    accelerator_name = machines.find_skypilot_accelerator(run) or run.accelerator.name
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
    if values["setup"]:
        task["setup"] = values["setup"] + "\n"
    task["run"] = f"bash {TRAIN_SCRIPT}\n" if is_tpu else _RUN_COMMANDS
    return {
        "skypilot.yaml": format_yaml(
            [*describe_plan(run, job.trainer_name), "From its folder: sky launch skypilot.yaml"], task
        )
    }


LAUNCHER = Launcher(NAME, _list_fields, _find_unsupported, build_host_order_note, _build_files)
