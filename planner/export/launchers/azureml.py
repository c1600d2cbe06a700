"""Azure Machine Learning: a command job (learn.microsoft.com/azure/machine-learning/reference-yaml-job-command).

With the PyTorch distribution and a process a node it sets NODE_RANK, MASTER_ADDR and MASTER_PORT itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import machines
from planner.export.images import build_image_field
from planner.export.launcher import Launcher, LauncherField, LaunchJob, build_host_order_note, compute_time_limit_s
from planner.export.run import PlannedRun
from planner.export.shell import TRAIN_SCRIPT, describe_plan
from planner.export.trainer import FileTexts, UnsupportedSetting
from planner.export.yaml_json import format_yaml

NAME = "azureml"

_JOB_SCHEMA_URL = "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json"


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    return (
        build_image_field(run),
        LauncherField("compute", "COMPUTE", f"compute cluster of {machines.find_azure_vm_size(run)} nodes"),
        LauncherField("experiment", run.name, "experiment that the run is shown in"),
    )


def _find_unsupported(run: PlannedRun, trainer_name: str) -> Iterator[UnsupportedSetting]:
    if machines.find_azure_vm_size(run) is None:
        node_text = f"{run.devices_per_node} x {run.accelerator.name}"
        yield UnsupportedSetting("accelerator", node_text, f"a node of {machines.format_known_machines(NAME)}")


def _build_files(job: LaunchJob) -> FileTexts:
    run, values, time_limit_s = job.run, job.field_values, compute_time_limit_s(job.run)
    document: dict[str, object] = {
        "$schema": _JOB_SCHEMA_URL,
        "type": "command",
        "display_name": run.name,
        "experiment_name": values["experiment"],
        "code": ".",
        "command": f"bash {TRAIN_SCRIPT}",
        "environment": {"image": values["image"]},
        "compute": f"azureml:{values['compute']}",
        "resources": {"instance_count": run.nodes, "shm_size": "64g"},
        "distribution": {"type": "pytorch", "process_count_per_instance": 1},
    }
    if time_limit_s is not None:
        document["limits"] = {"timeout": time_limit_s}
    lines = [
        *describe_plan(run, job.trainer_name),
        f"The compute cluster's nodes: {machines.find_azure_vm_size(run)}.",
        "From its folder: az ml job create --file azureml.yaml",
    ]
    return {"azureml.yaml": format_yaml(lines, document)}


LAUNCHER = Launcher(NAME, _list_fields, _find_unsupported, build_host_order_note, _build_files)
