"""Amazon SageMaker: a request of CreateTrainingJob, and the program of its containers.

docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html; a container finds the names of the hosts
in /opt/ml/input/config/resourceconfig.json and the files of the channel `plan` below /opt/ml/input/data.
"""

from __future__ import annotations

from collections.abc import Iterator

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
from planner.export.text import format_json
from planner.export.trainer import TRAIN_SCRIPT, FileTexts, format_script_header
from planner.units import DAY_S, parse_count

INSTANCE_TYPES = {
    ("v100-sxm2-16gb", 8): "ml.p3.16xlarge",
    ("v100-sxm2-32gb", 8): "ml.p3dn.24xlarge",
    ("a100-sxm-40gb", 8): "ml.p4d.24xlarge",
    ("a100-sxm-80gb", 8): "ml.p4de.24xlarge",
    ("h100-sxm-80gb", 8): "ml.p5.48xlarge",
    ("h200-sxm", 8): "ml.p5en.48xlarge",
    ("b200", 8): "ml.p6-b200.48xlarge",
    ("b300", 8): "ml.p6-b300.48xlarge",
    ("gb200", 4): "ml.p6e-gb200.36xlarge",
    ("a10", 8): "ml.g5.48xlarge",
    ("l4", 8): "ml.g6.48xlarge",
    ("l40s", 8): "ml.g6e.48xlarge",
}
"""Training instance types of its API (botocore, TrainingInstanceType); sizes of docs.aws.amazon.com/ec2."""
_MAX_RUNTIME_S = 28 * int(DAY_S)
"""Longest run of a training job (docs.aws.amazon.com/general/latest/gr/sagemaker.html)."""
_RETRIES = 30
"""Most retries of a job after a fault of the service."""
_DEFAULT_RUNTIME_S = int(DAY_S)
_PROGRAM_TEMPLATE = """config=/opt/ml/input/config/resourceconfig.json
read -r MASTER_ADDR NODE_RANK < <(python3 - "$config" << 'END'
import json, sys

config = json.load(open(sys.argv[1]))
hosts = sorted(config["hosts"], key=lambda name: int(name.rsplit("-", 1)[-1]))
print(hosts[0], hosts.index(config["current_host"]))
END
)
export MASTER_ADDR NODE_RANK CHECKPOINTS=/opt/ml/checkpoints
exec bash "$(dirname -- "${BASH_SOURCE[0]}")/%s"
"""


def _list_fields(run: PlannedRun) -> tuple[LauncherField, ...]:
    return (
        build_image_field(run),
        LauncherField("role", "ROLE-ARN", "role of the job, arn:aws:iam::ACCOUNT:role/NAME"),
        LauncherField("bucket", "BUCKET", "S3 bucket of the files and the output of the run"),
        LauncherField("volume", "500", "GB of the volume of each node"),
    )


def _build_notes(run: PlannedRun) -> Iterator[str]:
    yield from build_host_order_note(run)
    time_limit_s = compute_time_limit_s(run)
    if time_limit_s is not None and time_limit_s > _MAX_RUNTIME_S:
        yield (
            "a training job of SageMaker ends after 28 days, before all of the plan's tokens are trained: a job of "
            "another name goes on from its checkpoints"
        )


def _build_files(job: LaunchJob) -> FileTexts:
    """Raise InputError for a volume that is not a number of GB."""
    run, values = job.run, job.field_values
    s3_prefix = f"s3://{values['bucket']}/{run.name}"
    s3_source = {"S3DataType": "S3Prefix", "S3Uri": f"{s3_prefix}/plan/", "S3DataDistributionType": "FullyReplicated"}
    request = {
        "TrainingJobName": run.name,
        "AlgorithmSpecification": {
            "TrainingImage": values["image"],
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["bash", "/opt/ml/input/data/plan/sagemaker.sh"],
        },
        "RoleArn": values["role"],
        "InputDataConfig": [{"ChannelName": "plan", "DataSource": {"S3DataSource": s3_source}}],
        "OutputDataConfig": {"S3OutputPath": f"{s3_prefix}/output/"},
        "CheckpointConfig": {"S3Uri": f"{s3_prefix}/checkpoints/", "LocalPath": "/opt/ml/checkpoints"},
        "RetryStrategy": {"MaximumRetryAttempts": _RETRIES},
        "ResourceConfig": {
            "InstanceType": INSTANCE_TYPES[run.node],
            "InstanceCount": run.nodes,
            "VolumeSizeInGB": parse_count(values["volume"], key="--with volume", example="500"),
        },
        "StoppingCondition": {
            "MaxRuntimeInSeconds": min(compute_time_limit_s(run) or _DEFAULT_RUNTIME_S, _MAX_RUNTIME_S)
        },
    }
    program = (
        format_script_header(run, job.trainer_name)
        + f"# From the folder of the files:\n#   aws s3 sync . {s3_prefix}/plan/\n"
        + "#   aws sagemaker create-training-job --cli-input-json file://sagemaker.json\n"
        + _PROGRAM_TEMPLATE % TRAIN_SCRIPT
    )
    return {"sagemaker.json": format_json(request), "sagemaker.sh": program}


LAUNCHER = Launcher(
    "sagemaker",
    _build_files,
    _list_fields,
    lambda run, trainer_name: find_unlisted_node(run, INSTANCE_TYPES),
    _build_notes,
)
