"""SkyPilot: a task (docs.skypilot.co/en/latest/reference/yaml-spec.html) that runs `train.sh` on each node."""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import machines
from planner.export.launcher import Field, Job, Launcher, unordered
from planner.export.run import Run
from planner.export.shell import PORT, TRAIN, about_plan
from planner.export.trainer import Files, Misfit
from planner.export.yaml_json import to_yaml

NAME = "skypilot"

_RUN = f"""export NODE_RANK="$SKYPILOT_NODE_RANK"
MASTER_ADDR=$(head -n 1 <<< "$SKYPILOT_NODE_IPS")
export MASTER_ADDR
bash {TRAIN}
"""


def _fields(run: Run) -> tuple[Field, ...]:
    return (
        Field("image", "", "container image or image of the cloud"),
        Field("infra", "", "cloud, region and zone: aws, gcp/us-central1"),
        Field("setup", "", "command that installs the trainer"),
    )


def _misfits(run: Run, trainer: str) -> Iterator[Misfit]:
    if run.part.kind and machines.skypilot(run) is None:
        yield Misfit("accelerator", run.part.name, f"one of {machines.known(NAME)}")


def _files(job: Job) -> Files:
    run, values = job.run, job.values
    name = machines.skypilot(run) or run.part.name
    tpu = name.startswith("tpu-")
    resources: dict[str, object] = {"accelerators": f"{name}:{1 if tpu else run.devices_per_node}"}
    if values["infra"]:
        resources["infra"] = values["infra"]
    if values["image"]:
        image = values["image"]
        resources["image_id"] = image if ":" in image.split("/")[0] else f"docker:{image}"
    task: dict[str, object] = {
        "name": run.name,
        "workdir": ".",
        # a slice of TPUs is one node, whose hosts all run the command
        "num_nodes": 1 if tpu else run.nodes,
        "resources": resources,
        "envs": {"MASTER_PORT": str(PORT)},
    }
    if values["setup"]:
        task["setup"] = values["setup"] + "\n"
    task["run"] = f"bash {TRAIN}\n" if tpu else _RUN
    return {
        "skypilot.yaml": to_yaml([*about_plan(run, job.trainer), "From its folder: sky launch skypilot.yaml"], task)
    }


LAUNCHER = Launcher(NAME, _fields, _misfits, unordered, _files)
