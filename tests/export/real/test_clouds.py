"""Files for clouds: by SkyPilot, by SageMaker's service model, by Azure's SDK; Cloud TPU's script by shellcheck."""

import json
from pathlib import Path

import pytest
import yaml

from tests.export.plans import build_run, export_plan
from tests.export.real.needs import import_package
from tests.export.real.test_shell import check_scripts, find_shellcheck

pytestmark = pytest.mark.export

PLANS = [("dense", "megatron-lm"), ("zero-1", "deepspeed"), ("one-node", "torchtitan"), ("fsdp", "accelerate")]


@pytest.mark.parametrize(("name", "trainer"), PLANS)
def test_skypilot_reads_its_task(name: str, trainer: str, tmp_path: Path) -> None:
    sky, run = import_package("sky"), build_run(name)
    options = ("--with", "infra=aws", "--with", "image=a/b:1", "--with", "setup=pip install x")
    folder = export_plan(tmp_path, name, trainer, "--launcher", "skypilot", *options)
    raw = yaml.safe_load((folder / "skypilot.yaml").read_text())
    task = sky.Task.from_yaml_config(raw)
    assert task.num_nodes == run.nodes
    assert task.name == run.name
    (resources,) = task.resources
    assert resources.accelerators == {"H100": 8}


@pytest.mark.parametrize(("name", "trainer"), PLANS)
def test_sagemaker_takes_the_request(name: str, trainer: str, tmp_path: Path) -> None:
    session, validate = import_package("botocore.session"), import_package("botocore.validate")
    options = ("--with", "role=arn:aws:iam::123456789012:role/train", "--with", "bucket=plans")
    folder = export_plan(tmp_path, name, trainer, "--launcher", "sagemaker", *options)
    request = json.loads((folder / "sagemaker.json").read_text())
    service = session.get_session().get_service_model("sagemaker")
    shape = service.operation_model("CreateTrainingJob").input_shape
    report = validate.ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    assert request["ResourceConfig"]["InstanceType"] in service.shape_for("TrainingInstanceType").enum
    assert request["ResourceConfig"]["InstanceCount"] == build_run(name).nodes
    assert check_scripts(folder) == 2


def test_sagemaker_has_every_instance_type() -> None:
    from planner.export.launchers.sagemaker import INSTANCE_TYPES

    service = import_package("botocore.session").get_session().get_service_model("sagemaker")
    assert set(INSTANCE_TYPES.values()) <= set(service.shape_for("TrainingInstanceType").enum)


@pytest.mark.parametrize(("name", "trainer"), PLANS)
def test_azure_reads_its_job(name: str, trainer: str, tmp_path: Path) -> None:
    ml, run = import_package("azure.ai.ml"), build_run(name)
    folder = export_plan(tmp_path, name, trainer, "--launcher", "azureml", "--with", "compute=gpus")
    job = ml.load_job(str(folder / "azureml.yaml"))
    assert type(job).__name__ == "Command"
    assert job.resources.instance_count == run.nodes
    assert job.distribution.process_count_per_instance == 1
    assert job.compute == "gpus"
    assert job._validate().passed
    if run.tokens is not None:
        assert run.training_time_s < job.limits.timeout < 2 * run.training_time_s


@pytest.mark.parametrize("name", ["tpu", "tpu-experts"])
def test_shellcheck_accepts_the_script_for_cloud_tpu(name: str, tmp_path: Path) -> None:
    find_shellcheck()
    folder = export_plan(tmp_path, name, "maxtext", "--launcher", "gcp-tpu", "--with", "zone=us-east5-a")
    assert check_scripts(folder) == 2
    assert f"--accelerator-type v5p-{2 * build_run(name).devices} " in (folder / "gcp-tpu.sh").read_text()
