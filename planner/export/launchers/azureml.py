"""Azure Machine Learning: a command job (learn.microsoft.com/azure/machine-learning/reference-yaml-job-command).

With the PyTorch distribution and a process a node it sets NODE_RANK, MASTER_ADDR and MASTER_PORT itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import machines
from planner.export.images import image_field
from planner.export.launcher import Field, Job, Launcher, limit_s, unordered
from planner.export.run import Run
from planner.export.shell import TRAIN, about_plan
from planner.export.trainer import Files, Misfit
from planner.export.yaml_json import to_yaml

NAME = "azureml"

_SCHEMA = "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json"


def _fields(run: Run) -> tuple[Field, ...]:
    return (
        image_field(run),
        Field("compute", "COMPUTE", f"compute cluster of {machines.azure(run)} nodes"),
        Field("experiment", run.name, "experiment that the run is shown in"),
    )


def _misfits(run: Run, trainer: str) -> Iterator[Misfit]:
    if machines.azure(run) is None:
        has = f"{run.devices_per_node} x {run.part.name}"
        yield Misfit("accelerator", has, f"a node of {machines.known(NAME)}")


def _files(job: Job) -> Files:
    run, values, limit = job.run, job.values, limit_s(job.run)
    document: dict[str, object] = {
        "$schema": _SCHEMA,
        "type": "command",
        "display_name": run.name,
        "experiment_name": values["experiment"],
        "code": ".",
        "command": f"bash {TRAIN}",
        "environment": {"image": values["image"]},
        "compute": f"azureml:{values['compute']}",
        "resources": {"instance_count": run.nodes, "shm_size": "64g"},
        "distribution": {"type": "pytorch", "process_count_per_instance": 1},
    }
    if limit is not None:
        document["limits"] = {"timeout": limit}
    lines = [
        *about_plan(run, job.trainer),
        f"The compute cluster's nodes: {machines.azure(run)}.",
        "From its folder: az ml job create --file azureml.yaml",
    ]
    return {"azureml.yaml": to_yaml(lines, document)}


LAUNCHER = Launcher(NAME, _fields, _misfits, unordered, _files)
