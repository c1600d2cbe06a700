"""Azure Machine Learning: a command job (learn.microsoft.com/azure/machine-learning/reference-yaml-job-command).

With the PyTorch distribution and a process a node it sets NODE_RANK, MASTER_ADDR and MASTER_PORT itself.
"""

from __future__ import annotations

from planner.export.launcher import (
    Launcher,
    LauncherField,
    LaunchJob,
    build_host_order_note,
    build_image_field,
    compute_time_limit_s,
    find_unlisted_node,
)
from planner.export.run import PlannedRun
from planner.export.text import format_yaml
from planner.export.trainer import TRAIN_SCRIPT, FileTexts

_VM_SIZES = {
    ("v100-sxm2-32gb", 8): "Standard_ND40rs_v2",
    ("a100-sxm-40gb", 8): "Standard_ND96asr_v4",
    ("a100-sxm-80gb", 8): "Standard_ND96amsr_A100_v4",
    ("h100-sxm-80gb", 8): "Standard_ND96isr_H100_v5",
    ("h200-sxm", 8): "Standard_ND96isr_H200_v5",
    ("mi300x", 8): "Standard_ND96isr_MI300X_v5",
    ("gb200", 4): "Standard_ND128isr_NDR_GB200_v6",
    ("gb300", 4): "Standard_ND128isr_GB300_v6",
}
"""learn.microsoft.com/azure/virtual-machines/sizes, "GPU accelerated"; names as in github.com/Azure/azhpc-images."""
_JOB_SCHEMA_URL = "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json"


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    return (
        build_image_field(run),
        LauncherField("compute", "COMPUTE", f"compute cluster of {_VM_SIZES.get(run.node)} nodes"),
        LauncherField("experiment", run.name, "experiment that the run is shown in"),
    )


def _build_files(job: LaunchJob) -> FileTexts:
    run, values, time_limit_s = job.run, job.field_values, compute_time_limit_s(job.run)
    document: dict[str, object] = {
        "$schema": _JOB_SCHEMA_URL,
        "type": "command",
        "display_name": run.name,
        "experiment_name": values["experiment"],
        "code": ".",
        "command": f"CHECKPOINTS=${{{{outputs.checkpoints}}}} bash {TRAIN_SCRIPT}",
        "outputs": {"checkpoints": {"type": "uri_folder", "mode": "rw_mount"}},
        "environment": {"image": values["image"]},
        "compute": f"azureml:{values['compute']}",
        "resources": {"instance_count": run.nodes, "shm_size": "64g"},
        "distribution": {"type": "pytorch", "process_count_per_instance": 1},
    }
    if time_limit_s is not None:
        document["limits"] = {"timeout": time_limit_s}
    lines = [
        *job.description,
        f"The compute cluster's nodes: {_VM_SIZES.get(run.node)}.",
        "From its folder: az ml job create --file azureml.yaml",
    ]
    return {"azureml.yaml": format_yaml(lines, document)}


LAUNCHER = Launcher(
    "azureml",
    _build_files,
    _list_fields,
    lambda run, trainer_name: find_unlisted_node(run, _VM_SIZES),
    build_host_order_note,
)
