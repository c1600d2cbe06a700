"""Amazon SageMaker: a request to CreateTrainingJob, and the program of its containers.

docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html; a container finds the names of the hosts
in /opt/ml/input/config/resourceconfig.json and the files of the channel `plan` below /opt/ml/input/data.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import machines
from planner.export.images import image_field
from planner.export.launcher import Field, Job, Launcher, limit_s, unordered
from planner.export.run import Run
from planner.export.shell import TRAIN, beginning
from planner.export.trainer import Files, Misfit
from planner.export.yaml_json import to_json
from planner.units import DAY_S, parse_count

NAME = "sagemaker"

_LONGEST_S = 28 * int(DAY_S)
"""The most that a training job may run (docs.aws.amazon.com/general/latest/gr/sagemaker.html)."""
_USUAL_S = int(DAY_S)
_PROGRAM = """config=/opt/ml/input/config/resourceconfig.json
read -r MASTER_ADDR NODE_RANK < <(python3 - "$config" << 'END'
import json, sys

told = json.load(open(sys.argv[1]))
hosts = sorted(told["hosts"], key=lambda name: int(name.rsplit("-", 1)[-1]))
print(hosts[0], hosts.index(told["current_host"]))
END
)
export MASTER_ADDR NODE_RANK
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/%s"
"""


def _fields(run: Run) -> tuple[Field, ...]:
    return (
        image_field(run),
        Field("role", "ROLE-ARN", "role of the job, arn:aws:iam::ACCOUNT:role/NAME"),
        Field("bucket", "BUCKET", "S3 bucket of the files and of what the run writes"),
        Field("volume", "500", "GB of the volume of each node"),
    )


def _misfits(run: Run, trainer: str) -> Iterator[Misfit]:
    if machines.sagemaker(run) is None:
        has = f"{run.devices_per_node} x {run.part.name}"
        yield Misfit("accelerator", has, f"a node of {machines.known(NAME)}")


def _notes(run: Run) -> Iterator[str]:
    yield from unordered(run)
    limit = limit_s(run)
    if limit is not None and limit > _LONGEST_S:
        yield "a training job of SageMaker ends after 28 days, before the plan's tokens are trained"


def _files(job: Job) -> Files:
    """Raises InputError for a volume that is no number of GB."""
    run, values = job.run, job.values
    place = f"s3://{values['bucket']}/{run.name}"
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{place}/plan/", "S3DataDistributionType": "FullyReplicated"}
    request = {
        "TrainingJobName": run.name,
        "AlgorithmSpecification": {
            "TrainingImage": values["image"],
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["bash", "/opt/ml/input/data/plan/sagemaker.sh"],
        },
        "RoleArn": values["role"],
        "InputDataConfig": [{"ChannelName": "plan", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"{place}/output/"},
        "ResourceConfig": {
            "InstanceType": machines.sagemaker(run),
            "InstanceCount": run.nodes,
            "VolumeSizeInGB": parse_count(values["volume"], key="--with volume", example="500"),
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": min(limit_s(run) or _USUAL_S, _LONGEST_S)},
    }
    program = (
        beginning(run, job.trainer)
        + f"# From the folder of the files:\n#   aws s3 sync . {place}/plan/\n"
        + "#   aws sagemaker create-training-job --cli-input-json file://sagemaker.json\n"
        + _PROGRAM % TRAIN
    )
    return {"sagemaker.json": to_json(request), "sagemaker.sh": program}


LAUNCHER = Launcher(NAME, _fields, _misfits, _notes, _files)
